import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";

const periodMs = 500;
/** Shorter pauses are ordinary work. */
const stallMsMin = 1_000;
const keptMs = 60_000;

/**
 * Notices when this process stood still: suspended, or too busy to run its timers. Leases given before a stall may be over
 * after it.
 */
export class StallWatch {
  readonly #clock: Clock;
  #timer: Timer | undefined;
  #lastTickMs: number;
  #stalls: { readonly endedMs: number; readonly lastedMs: number }[] = [];
  #stallCount = 0;

  constructor(clock: Clock, metrics: MetricRegistry) {
    this.#clock = clock;
    this.#lastTickMs = clock.monotonicMs();
    metrics.gaugeOf(
      "popmesh_sidecar_stalls",
      "Times this process stood still for over a second.",
      () => this.#stallCount,
    );
  }

  start(): void {
    this.#lastTickMs = this.#clock.monotonicMs();
    this.#timer = this.#clock.every(periodMs, () => this.#tick());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** The longest time the process stood still since then, in milliseconds; includes a stall that has only just ended. */
  longestSince(sinceMs: number): number {
    const nowMs = this.#clock.monotonicMs();
    let longestMs = nowMs - this.#lastTickMs - periodMs;
    for (const stall of this.#stalls) {
      if (stall.endedMs > sinceMs) longestMs = Math.max(longestMs, stall.lastedMs);
    }
    return longestMs < stallMsMin ? 0 : longestMs;
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    const lastedMs = nowMs - this.#lastTickMs - periodMs;
    this.#lastTickMs = nowMs;
    if (this.#stalls.length > 0) this.#stalls = this.#stalls.filter(({ endedMs }) => nowMs - endedMs < keptMs);
    if (lastedMs < stallMsMin) return;
    this.#stalls.push({ endedMs: nowMs, lastedMs });
    this.#stallCount++;
  }
}
