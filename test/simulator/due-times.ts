import { Code } from "../../proto/code.ts";
import type { HistoryEvent } from "../support/history.ts";
import type { WallClockHistory } from "./wall-clock-history.ts";

/** What the broker takes at most. */
const delayMsMax = 40 * 86_400_000;

/**
 * The wall times for which messages were asked, and what they mean in the world's time once a run is over: a message is early
 * before the broker's clock has shown its time, and late when it has shown it ever since.
 */
export class DueTimes {
  readonly #dueMs = new Map<string, number>();
  /** The last wall time that was asked for. */
  latestMs = Number.NEGATIVE_INFINITY;

  note(id: string, dueMs: number): void {
    this.#dueMs.set(id, dueMs);
    this.latestMs = Math.max(this.latestMs, dueMs);
  }

  /** The events with the targets of their messages, by the clock of the broker's machine. */
  resolve(events: readonly HistoryEvent[], clock: WallClockHistory): HistoryEvent[] {
    return events.map((event) => {
      const dueMs = event.op === "send" ? this.#dueMs.get(event.id ?? "") : undefined;
      if (dueMs === undefined) return event;
      const { code, ...sent } = event;
      // Set back far enough, the clock makes any time too far ahead.
      const isTooFar = clock.wasBefore(dueMs - delayMsMax, event.t0, event.t1);
      return {
        ...sent,
        targetMs: clock.firstReached(dueMs, event.t0),
        visibleMs: clock.reachedForGood(dueMs, event.t0),
        ...(code === undefined || (code === Code.IllegalDeliveryTime && isTooFar) ? {} : { code }),
      };
    });
  }
}
