import type { Clock } from "../../proto/runtime/clock.ts";

export interface TraceLanesLimits {
  /** Traces remembered; the one that was not used for longest goes first. */
  readonly tracesMax: number;
  /** A trace is forgotten when it was not seen for so long: nothing of it is under way any more. */
  readonly forgetMs: number;
}

/** About 200 bytes each, so 13 MB at most. */
export const traceLanesLimits: TraceLanesLimits = Object.freeze({ tracesMax: 65_536, forgetMs: 600_000 });

interface Remembered {
  lane: string;
  seenMs: number;
}

/**
 * In which lane a trace is (L11): learned from the marks of messages that were delivered here, so that what the application sends in
 * the same trace is of the same lane, whatever the lane of the instance. Kept in memory only: a restarted sidecar
 * learns anew.
 */
export class TraceLanes {
  readonly #clock: Clock;
  readonly #limits: TraceLanesLimits;
  /** By trace id, the one used last at the end. */
  readonly #traces = new Map<string, Remembered>();

  constructor(clock: Clock, limits = traceLanesLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get count(): number {
    return this.#traces.size;
  }

  /** A message of this trace with this mark was delivered here. */
  learn(traceId: string, lane: string): void {
    const known = this.#traces.get(traceId) ?? { lane, seenMs: 0 };
    known.lane = lane;
    this.#use(traceId, known, this.#clock.monotonicMs());
    if (this.#traces.size <= this.#limits.tracesMax) return;
    for (const oldest of this.#traces.keys()) {
      this.#traces.delete(oldest);
      return;
    }
  }

  /** The lane of a trace; undefined: nothing is known of it. */
  laneOf(traceId: string): string | undefined {
    const known = this.#traces.get(traceId);
    if (known === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - known.seenMs >= this.#limits.forgetMs) {
      this.#traces.delete(traceId);
      return undefined;
    }
    this.#use(traceId, known, nowMs);
    return known.lane;
  }

  #use(traceId: string, known: Remembered, nowMs: number): void {
    known.seenMs = nowMs;
    this.#traces.delete(traceId);
    this.#traces.set(traceId, known);
  }
}
