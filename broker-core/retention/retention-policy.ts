import { TrimReason } from "../record/log-trimmed-record.ts";

/** What is looked at to decide where the log shall begin; positions are of the log, times of one steady clock. */
export interface RetentionView {
  readonly nowMs: number;
  /** Where the log begins now. */
  readonly logBegin: number;
  /** In order of position, the one in use last. */
  readonly segments: readonly { readonly base: number; readonly end: number; readonly bytes: number }[];
  /** Positions with a durable base image, in order, and when the log stood there: everything below is older. */
  readonly bases: readonly { readonly position: number; readonly takenMs: number }[];
  /** Of the file system; infinite where it cannot be told. */
  readonly freeBytes: number;
  readonly totalBytes: number;
}

export interface RetentionSettings {
  /** Messages older than this may go; 0: age is no reason. */
  readonly ageMs: number;
  /** The log shall not be larger; 0: size is no reason. */
  readonly bytes: number;
}

export interface RetentionDecision {
  readonly begin: number;
  readonly reason: TrimReason;
}

/** The oldest segments go, even young ones, when the disk is fuller than this (reliability table: 85 %). */
const pressureFraction = 0.85;
/** With so much free there is no hurry, whatever share of a large disk that is. */
const roomyBytes = 24 * 1024 ** 3;

/**
 * Where the log shall begin; undefined: where it does. A pure function. The two youngest segments always stay whole, and the log
 * can begin only where a base image stands.
 */
export function decideRetention(view: RetentionView, settings: RetentionSettings): RetentionDecision | undefined {
  const youngest = view.segments.at(-2)?.base ?? 0;
  const possible = view.bases.filter(({ position }) => position > view.logBegin && position <= youngest);
  const byAge =
    settings.ageMs > 0 ? possible.findLast(({ takenMs }) => takenMs + settings.ageMs <= view.nowMs) : undefined;
  const logBytes = view.segments.reduce((sum, { bytes }) => sum + bytes, 0);
  const bySize = settings.bytes > 0 ? freeing(view, possible, logBytes - settings.bytes) : undefined;
  const usedBytes = view.totalBytes - view.freeBytes;
  const isPressed =
    Number.isFinite(view.totalBytes) && view.freeBytes < roomyBytes && usedBytes > pressureFraction * view.totalBytes;
  const byDisk = isPressed ? freeing(view, possible, usedBytes - pressureFraction * view.totalBytes) : undefined;
  let decision: RetentionDecision | undefined;
  for (const [base, reason] of [
    [byAge, TrimReason.Age],
    [bySize, TrimReason.Size],
    [byDisk, TrimReason.Disk],
  ] as const) {
    if (base !== undefined && base.position > (decision?.begin ?? view.logBegin)) {
      decision = { begin: base.position, reason };
    }
  }
  return decision;
}

/** The first base that gives `wantedBytes` back, else the last one. */
function freeing(
  view: RetentionView,
  possible: RetentionView["bases"],
  wantedBytes: number,
): RetentionView["bases"][number] | undefined {
  if (!(wantedBytes > 0)) return undefined;
  return (
    possible.find(({ position }) => {
      const floor = removalFloor(view.segments, position);
      const freed = view.segments.reduce((sum, { end, bytes }) => (end <= floor ? sum + bytes : sum), 0);
      return freed >= wantedBytes;
    }) ?? possible.at(-1)
  );
}

/**
 * Segments below may go when the log begins at `begin`: all before the one that precedes it, because a record may point one
 * segment back (log.ts, `youngPosition`).
 */
export function removalFloor(segments: RetentionView["segments"], begin: number): number {
  const at = segments.findIndex(({ end }) => end > begin);
  return at < 0 ? 0 : (segments[Math.max(0, at - 1)]?.base ?? 0);
}
