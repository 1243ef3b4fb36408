import type { Timer } from "../../proto/runtime/clock.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { settle } from "../support/manual-clock.ts";

/** Something that has a time at which it happens. */
interface PendingEvent {
  atMs: number;
  order: number;
  /** Whose turn it is; undefined: nobody's, it happens to the world. */
  readonly owner: EventOwner | undefined;
  readonly action: () => void;
  isCancelled: boolean;
}

/** A process: it may be dead, stopped or busy when its event comes. */
export interface EventOwner {
  /** For the trace. */
  readonly number: number;
  /** Takes the event, now or later, or drops it. True when a turn ran, so that promises are to be settled. */
  take(action: () => void, isCancelled: () => boolean): boolean;
}

/**
 * Time and chance of a simulation. Events happen in the order of their time, equal ones in the order in which they were asked
 * for; between two events everything settles that can. Nothing else moves time, so one seed is one history.
 */
export class World {
  readonly seed: number;
  /** Milliseconds since the world began. What histories are written in; nobody in it can see it. */
  nowMs = 0;
  #events: PendingEvent[] = [];
  #order = 0;
  #hash = 0;
  #eventCount = 0;
  #streams = 0;
  #processes = 0;
  /** The first error that anybody threw; ends the run. */
  failure: Error | undefined;

  constructor(seed: number) {
    this.seed = seed >>> 0;
  }

  /** Chance of its own for each part, so that one part that asks more often does not change all others. */
  randomness(): Randomness {
    return new SeededRandomness((this.seed ^ Math.imul(++this.#streams, 0x9e3779b1)) >>> 0);
  }

  /** Everything that happened, in one number. */
  get traceHash(): number {
    return this.#hash;
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  nextProcessNumber(): number {
    return ++this.#processes;
  }

  trace(value: number): void {
    this.#hash = (Math.imul(this.#hash ^ value, 0x01000193) + 0x9e3779b9) >>> 0;
  }

  after(delayMs: number, owner: EventOwner | undefined, action: () => void): Timer {
    return this.at(this.nowMs + delayMs, owner, action);
  }

  at(atMs: number, owner: EventOwner | undefined, action: () => void): Timer {
    const event: PendingEvent = { atMs, order: this.#order++, owner, action, isCancelled: false };
    this.#push(event);
    return {
      cancel: () => {
        event.isCancelled = true;
      },
    };
  }

  /** Runs until `isDone`, or until nothing is left, or past `endMs`. Rejects with the first error that anybody threw. */
  async run(isDone: () => boolean, endMs = Number.POSITIVE_INFINITY): Promise<void> {
    while (!isDone()) {
      const event = this.#events[0];
      if (event === undefined || event.atMs > endMs) break;
      this.#pop();
      if (event.isCancelled) continue;
      this.nowMs = Math.max(this.nowMs, event.atMs);
      this.#eventCount++;
      this.trace(event.owner?.number ?? 0);
      this.trace((this.nowMs * 1000) | 0);
      if (event.owner === undefined) event.action();
      else if (!event.owner.take(event.action, () => event.isCancelled)) continue;
      if (this.failure !== undefined) throw this.failure;
      await settle();
      if (this.failure !== undefined) throw this.failure;
    }
  }

  fail(error: unknown): void {
    this.failure ??= error instanceof Error ? error : new Error(String(error));
  }

  #push(event: PendingEvent): void {
    const events = this.#events;
    let at = events.length;
    events.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, events[parent]!)) break;
      events[at] = events[parent]!;
      at = parent;
    }
    events[at] = event;
  }

  #pop(): void {
    const events = this.#events;
    const last = events.pop()!;
    if (events.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && isBefore(events[child + 1]!, events[child]!)) child++;
      if (!isBefore(events[child]!, last)) break;
      events[at] = events[child]!;
      at = child;
    }
    events[at] = last;
  }
}

function isBefore(a: PendingEvent, b: PendingEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
