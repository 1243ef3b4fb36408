/**
 * What recovery does, as tables: every combination of what it can find has exactly one row, and a test walks them all.
 * "Durable" is the position up to which the log is known to have been on disk.
 */

/** Where a stretch of the log lies. Durable positions are frame boundaries, so only a bad stretch can lie across one. */
export type Place = "below durable" | "across durable" | "above durable";

export type StretchAction =
  /** Hand it to the state, serve it. */
  | "serve"
  /** Hand it to the state, and write it again before any traffic: the disk may not hold what the page cache shows. */
  | "serve and rewrite"
  /** It was acknowledged and is lost: report it, go on behind it. */
  | "report damage"
  /** Report what lies below durable; the log ends at durable. */
  | "report damage and end"
  /** A write that was never finished or never acknowledged: the log ends here, whatever stands behind. */
  | "end";

export const stretchTable: readonly {
  readonly valid: boolean;
  readonly place: Place;
  readonly action: StretchAction;
}[] = [
  { valid: true, place: "below durable", action: "serve" },
  { valid: true, place: "across durable", action: "serve" },
  { valid: true, place: "above durable", action: "serve and rewrite" },
  { valid: false, place: "below durable", action: "report damage" },
  { valid: false, place: "across durable", action: "report damage and end" },
  { valid: false, place: "above durable", action: "end" },
];

export function stretchAction(valid: boolean, from: number, to: number, durable: number): StretchAction {
  const place = to <= durable ? "below durable" : from < durable ? "across durable" : "above durable";
  for (const row of stretchTable) if (row.valid === valid && row.place === place) return row.action;
  throw new Error("the recovery table has a gap");
}

/** What was found at the end of the log. */
export interface TailFindings {
  /** There is a last segment, and its header is intact. */
  readonly lastSegmentUsable: boolean;
  /** The log reaches durable, instead of ending before it. */
  readonly reachesDurable: boolean;
  /** Valid records stand above durable. */
  readonly hasTail: boolean;
  /**
   * Behind the end of the log stand frames that prove themselves: later batches than a torn one. Written over in part, the rest
   * could be taken for the log. Anything else there is as good as zeros: pieces, or what a file held in an earlier life.
   */
  readonly hasResidue: boolean;
}

export type TailAction =
  /** The last stop was clean: write on in the last segment. */
  | "continue"
  /** Write the tail (which may be empty) into a fresh segment that begins at durable; cut everything older there. */
  | "fresh segment";

/** A fresh segment is never wrong. Going on in an old file is safe only where nothing at all has to be overwritten. */
export const tailTable: readonly (TailFindings & { readonly action: TailAction })[] = [
  row(true, true, false, false, "continue"),
  row(true, true, false, true, "fresh segment"),
  row(true, true, true, false, "fresh segment"),
  row(true, true, true, true, "fresh segment"),
  row(true, false, false, false, "fresh segment"),
  row(true, false, false, true, "fresh segment"),
  row(true, false, true, false, "fresh segment"),
  row(true, false, true, true, "fresh segment"),
  row(false, true, false, false, "fresh segment"),
  row(false, true, false, true, "fresh segment"),
  row(false, true, true, false, "fresh segment"),
  row(false, true, true, true, "fresh segment"),
  row(false, false, false, false, "fresh segment"),
  row(false, false, false, true, "fresh segment"),
  row(false, false, true, false, "fresh segment"),
  row(false, false, true, true, "fresh segment"),
];

function row(
  lastSegmentUsable: boolean,
  reachesDurable: boolean,
  hasTail: boolean,
  hasResidue: boolean,
  action: TailAction,
): TailFindings & { readonly action: TailAction } {
  return { lastSegmentUsable, reachesDurable, hasTail, hasResidue, action };
}

export function tailAction(found: TailFindings): TailAction {
  for (const entry of tailTable) {
    if (
      entry.lastSegmentUsable === found.lastSegmentUsable &&
      entry.reachesDurable === found.reachesDurable &&
      entry.hasTail === found.hasTail &&
      entry.hasResidue === found.hasResidue
    ) {
      return entry.action;
    }
  }
  throw new Error("the recovery table has a gap");
}
