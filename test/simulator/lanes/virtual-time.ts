import type { Clock, Timer } from "../../../proto/runtime/clock.ts";

interface PlannedEvent {
  readonly atMs: number;
  readonly order: number;
  readonly action: () => void;
}

/** Time of a schedule: events happen in the order of their time, equal ones in the order in which they were asked for. No promises. */
export class VirtualTime implements Pick<Clock, "monotonicMs"> {
  nowMs = 0;
  /** By how much the wall clock is off; steps change it. */
  wallOffsetMs = 1_700_000_000_000;
  eventCount = 0;
  #order = 0;
  readonly #heap: PlannedEvent[] = [];

  monotonicMs(): number {
    return this.nowMs;
  }

  get wallMs(): number {
    return this.nowMs + this.wallOffsetMs;
  }

  after(delayMs: number, action: () => void): void {
    this.at(this.nowMs + delayMs, action);
  }

  at(atMs: number, action: () => void): void {
    const event = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, action };
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  /** Runs what is planned until then; `afterEach` ends the turn of each event. */
  run(untilMs: number, afterEach: () => void): void {
    for (let first = this.#heap[0]; first !== undefined && first.atMs <= untilMs; first = this.#heap[0]) {
      this.#pop();
      this.nowMs = first.atMs;
      this.eventCount++;
      first.action();
      afterEach();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  /** As a clock for what takes one and only reads it. */
  get clock(): Clock {
    const cannot = (): never => {
      throw new Error("this clock is only read");
    };
    return {
      bootId: "boot",
      monotonicMs: () => this.nowMs,
      wallMs: () => this.wallMs,
      after: cannot as () => Timer,
      every: cannot as () => Timer,
      atTurnEnd: cannot,
    };
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: PlannedEvent, b: PlannedEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
