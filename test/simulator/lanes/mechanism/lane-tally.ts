import type { SentMessage } from "../lane-judge.ts";
import type { LaneSchedule } from "../lane-schedule.ts";
import { keyCount } from "../lane-schedule.ts";

/** A message of a schedule; its number is its place among them. */
export interface ScheduledMessage extends SentMessage {
  readonly atMs: number;
}

/** All messages of a schedule, in the order in which they are sent. */
export function messagesOf({ sends }: LaneSchedule): ScheduledMessage[] {
  return sends.flatMap(({ atMs, topic, kind, mark, tag, orderKey, key, count }) =>
    Array.from({ length: count }, (_, i) => {
      const shareText = orderKey >= 0 ? `g${orderKey}` : `u${(key + i) % keyCount}`;
      return { atMs, topic, kind, mark: mark === "" ? "base" : mark, tag, orderKey, shareText };
    }),
  );
}

export interface TallyCounts {
  messages: number;
  lost: number;
  duplicates: number;
  /** Of the duplicates: not in flight when their consumer was killed, which is what any system that gives at least once may give again. */
  unexcused: number;
  disordered: number;
}

/** Counts the same of every mechanism: what a group's consumers, of whichever lane, handled. */
export class LaneTally {
  readonly #orderKey: number[];
  readonly #handled: Uint16Array;
  readonly #cut: Uint16Array;
  readonly #latest = new Map<number, number>();
  #disordered = 0;

  constructor(messages: readonly ScheduledMessage[]) {
    this.#orderKey = messages.map(({ orderKey }) => orderKey);
    this.#handled = new Uint16Array(messages.length);
    this.#cut = new Uint16Array(messages.length);
  }

  /** Some consumer of the group begins to handle a message. */
  handled(message: number): void {
    if (this.#handled[message]!++ > 0) return;
    const key = this.#orderKey[message]!;
    if (key < 0) return;
    const latest = this.#latest.get(key) ?? -1;
    if (message < latest) this.#disordered++;
    else this.#latest.set(key, message);
  }

  /** Whoever handles it is killed. */
  cut(message: number): void {
    this.#cut[message]!++;
  }

  counts(): TallyCounts {
    const counts = {
      messages: this.#handled.length,
      lost: 0,
      duplicates: 0,
      unexcused: 0,
      disordered: this.#disordered,
    };
    for (const [message, times] of this.#handled.entries()) {
      if (times === 0) counts.lost++;
      else {
        counts.duplicates += times - 1;
        counts.unexcused += Math.max(0, times - 1 - this.#cut[message]!);
      }
    }
    return counts;
  }
}
