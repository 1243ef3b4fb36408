import type { Clock } from "../../proto/runtime/clock.ts";

/** By then a machine that started with a wrong clock has mostly asked somebody for the right one. */
const settleMsMax = 600_000;
/** Of a short retention, the share by which a start may delay it. */
const settleShare = 0.1;

/**
 * The time by which messages get old. What is removed once does not come back when a wrong clock is put right, so a wall clock that is
 * ahead for a while must make nothing old:
 *
 *  - at a start it gets ten minutes to be put right, in which nothing is old;
 *  - then time goes on by the monotonic clock: the wall clock set ahead changes nothing until the next start, set back it counts.
 */
export class AgeClock {
  readonly #clock: Clock;
  readonly #settledAtMs: number;
  /** Wall clock less monotonic clock, when it had settled. */
  #offsetMs: number | undefined;

  /** `ageMs`: how old messages get. */
  constructor(clock: Clock, ageMs: number) {
    this.#clock = clock;
    this.#settledAtMs = clock.monotonicMs() + Math.min(settleMsMax, ageMs * settleShare);
  }

  /** Milliseconds since 1970. */
  get nowMs(): number {
    const wallMs = this.#clock.wallMs();
    return this.isSettled ? Math.min(this.#offsetMs! + this.#clock.monotonicMs(), wallMs) : wallMs;
  }

  /** Whether anything may go because it is old. */
  get isSettled(): boolean {
    if (this.#offsetMs !== undefined) return true;
    const monotonicMs = this.#clock.monotonicMs();
    if (monotonicMs < this.#settledAtMs) return false;
    this.#offsetMs = this.#clock.wallMs() - monotonicMs;
    return true;
  }
}
