import { z } from "zod";
import { processingBucketCount } from "../../proto/lane/processing-bucket.ts";

/** What became of hand-outs within a window. */
export interface Outcomes {
  readonly acks: number;
  readonly failures: number;
  readonly deadLetters: number;
  /** Of acks, by processing time (proto/lane/processing-bucket.ts). */
  readonly buckets: readonly number[];
  /** Age of the oldest message that the lane owns and is not done with, now. */
  readonly lagMs: number;
}

/** Of one group: the lane that is tried, and base. */
export interface GroupOutcomes {
  /** "<namespace>/<group>". */
  readonly group: string;
  readonly lane: Outcomes;
  readonly base: Outcomes;
}

/** One lane in a broker's answer to `lane.outcomes`, as far as it is read here. */
const laneSchema = z.object({
  group: z.string(),
  lane: z.string(),
  acks: z.number(),
  failures: z.number(),
  deadLetters: z.number(),
  buckets: z.array(z.number()),
  lagMs: z.number(),
});

/** A broker's answer to `lane.outcomes`. `run`: counts of another run have nothing to do with those of this one. */
export const outcomesAnswer = z.object({ run: z.number(), items: z.array(laneSchema) });
export type OutcomesAnswer = z.infer<typeof outcomesAnswer>;

/** Pieces that a window is cut into: so finely it moves. */
const piecesPerWindow = 60;
/** Acks, failures, dead letters, then the buckets. */
const countsLength = 3 + processingBucketCount;

interface Series {
  run: number;
  last: Float64Array;
}
interface Piece {
  readonly sinceMs: number;
  untilMs: number;
  /** By "<group>\n<lane>". */
  readonly counts: Map<string, Float64Array>;
}

/**
 * Outcomes over a window that ends now, from counts of brokers that only grow. Counts of a broker that started again, or that fall, begin
 * anew; what one counted before it was asked for the first time is not of the window.
 */
export class OutcomeWindow {
  readonly #windowMs: number;
  /** By "<broker>\n<group>\n<lane>". */
  readonly #series = new Map<string, Series>();
  readonly #asked = new Set<string>();
  #pieces: Piece[] = [];
  /** By broker: what it said last. */
  readonly #lags = new Map<string, ReadonlyMap<string, number>>();
  #sinceMs: number;

  /** `nowMs`: monotonic, as everywhere here. */
  constructor(windowMs: number, nowMs: number) {
    this.#windowMs = windowMs;
    this.#sinceMs = nowMs;
  }

  /** Takes what a broker says now. */
  take(broker: string, { run, items }: OutcomesAnswer, nowMs: number): void {
    const piece = this.#pieceAt(nowMs);
    const lags = new Map<string, number>();
    for (const item of items) {
      const key = `${item.group}\n${item.lane}`;
      lags.set(key, Math.max(lags.get(key) ?? 0, item.lagMs));
      const counts = countsOf(item);
      const seriesKey = `${broker}\n${key}`;
      const known = this.#series.get(seriesKey);
      this.#series.set(seriesKey, { run, last: counts });
      // A lane that came after the broker was first asked began at 0.
      if (known === undefined && !this.#asked.has(broker)) continue;
      const goesOn = known?.run === run && known.last.every((before, i) => counts[i]! >= before);
      const into = piece.counts.get(key) ?? new Float64Array(countsLength);
      for (let i = 0; i < countsLength; i++) into[i]! += counts[i]! - (goesOn ? known.last[i]! : 0);
      piece.counts.set(key, into);
    }
    this.#lags.set(broker, lags);
    this.#asked.add(broker);
  }

  /** A step begins: what was before says nothing of it. */
  restart(nowMs: number): void {
    this.#pieces = [];
    this.#sinceMs = nowMs;
  }

  /** How long the window is now: less than it may be after a start. */
  coveredMs(nowMs: number): number {
    return Math.min(this.#windowMs, nowMs - this.#sinceMs);
  }

  /** Each group that has a lane of this name. */
  outcomes(lane: string, baseLane: string, nowMs: number): GroupOutcomes[] {
    const sums = new Map<string, Float64Array>();
    for (const { untilMs, counts } of this.#pieces) {
      if (untilMs < nowMs - this.#windowMs) continue;
      for (const [key, added] of counts) {
        const sum = sums.get(key) ?? new Float64Array(countsLength);
        for (let i = 0; i < countsLength; i++) sum[i]! += added[i]!;
        sums.set(key, sum);
      }
    }
    const groups = new Set<string>();
    for (const lags of this.#lags.values()) {
      for (const key of lags.keys()) if (key.endsWith(`\n${lane}`)) groups.add(key.slice(0, -lane.length - 1));
    }
    return [...groups].sort().map((group) => ({
      group,
      lane: this.#of(sums, `${group}\n${lane}`),
      base: this.#of(sums, `${group}\n${baseLane}`),
    }));
  }

  #of(sums: ReadonlyMap<string, Float64Array>, key: string): Outcomes {
    const [acks = 0, failures = 0, deadLetters = 0, ...buckets] = sums.get(key) ?? [];
    let lagMs = 0;
    for (const lags of this.#lags.values()) lagMs = Math.max(lagMs, lags.get(key) ?? 0);
    return { acks, failures, deadLetters, buckets, lagMs };
  }

  #pieceAt(nowMs: number): Piece {
    const last = this.#pieces.at(-1);
    if (last !== undefined && nowMs - last.sinceMs < this.#windowMs / piecesPerWindow) {
      last.untilMs = nowMs;
      return last;
    }
    const piece: Piece = { sinceMs: nowMs, untilMs: nowMs, counts: new Map() };
    this.#pieces = [...this.#pieces.filter(({ untilMs }) => untilMs >= nowMs - this.#windowMs), piece];
    return piece;
  }
}

function countsOf({ acks, failures, deadLetters, buckets }: OutcomesAnswer["items"][number]): Float64Array {
  const counts = new Float64Array(countsLength);
  counts.set([acks, failures, deadLetters]);
  counts.set(buckets.slice(0, processingBucketCount), 3);
  return counts;
}
