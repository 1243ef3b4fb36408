import type { Clock, Timer } from "../../../proto/runtime/clock.ts";

/** Length of a tick, milliseconds: a deadline is acted on at most this late. */
const tickMs = 20;
/** Ticks per turn of the wheel; a later deadline stays in its slot for further turns. */
const slots = 1024;

/** What waits in a wheel: the links belong to the wheel. */
export interface WheelEntry {
  readonly deadlineMs: number;
  wheelNext: WheelEntry | undefined;
  wheelPrevious: WheelEntry | undefined;
  /** Slot the entry is in, or -1. */
  wheelSlot: number;
}

/**
 * Deadlines of all calls of a process on one timer: adding and removing is a few writes, no timer and no allocation per
 * call. The timer runs only while something waits.
 */
export class DeadlineWheel {
  readonly #clock: Clock;
  readonly #onDue: (entry: WheelEntry) => void;
  readonly #heads: (WheelEntry | undefined)[] = new Array(slots).fill(undefined);
  #count = 0;
  #tick = 0;
  #timer: Timer | undefined;

  /** `onDue` is called once per entry, after it was taken out; it may add and remove entries. */
  constructor(clock: Clock, onDue: (entry: WheelEntry) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  get count(): number {
    return this.#count;
  }

  /** `entry.deadlineMs` is monotonic and finite; one that has passed already is due at the next tick. */
  add(entry: WheelEntry): void {
    if (this.#timer === undefined) {
      this.#tick = Math.floor(this.#clock.monotonicMs() / tickMs);
      this.#timer = this.#clock.after(tickMs, this.#turn);
    }
    const tick = Math.max(Math.ceil(entry.deadlineMs / tickMs), this.#tick + 1);
    const slot = tick % slots;
    const head = this.#heads[slot];
    entry.wheelSlot = slot;
    entry.wheelPrevious = undefined;
    entry.wheelNext = head;
    if (head !== undefined) head.wheelPrevious = entry;
    this.#heads[slot] = entry;
    this.#count++;
  }

  /** Does nothing for an entry that is not in the wheel. */
  remove(entry: WheelEntry): void {
    if (entry.wheelSlot < 0) return;
    const { wheelNext: next, wheelPrevious: previous } = entry;
    if (previous === undefined) this.#heads[entry.wheelSlot] = next;
    else previous.wheelNext = next;
    if (next !== undefined) next.wheelPrevious = previous;
    entry.wheelNext = undefined;
    entry.wheelPrevious = undefined;
    entry.wheelSlot = -1;
    this.#count--;
  }

  /** Stops the timer and forgets what waits. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#heads.fill(undefined);
    this.#count = 0;
  }

  readonly #turn = (): void => {
    const nowMs = this.#clock.monotonicMs();
    const nowTick = Math.floor(nowMs / tickMs);
    // After a stall of more than a turn every slot is looked at once.
    if (nowTick - this.#tick > slots) this.#tick = nowTick - slots;
    while (this.#tick < nowTick) {
      this.#tick++;
      this.#expire(this.#tick % slots, nowMs);
    }
    this.#timer = this.#count > 0 ? this.#clock.after(tickMs, this.#turn) : undefined;
  };

  #expire(slot: number, nowMs: number): void {
    let due: WheelEntry | undefined;
    for (let entry = this.#heads[slot]; entry !== undefined; ) {
      const next: WheelEntry | undefined = entry.wheelNext;
      if (entry.deadlineMs <= nowMs) {
        this.remove(entry);
        entry.wheelNext = due;
        due = entry;
      }
      entry = next;
    }
    // Told only now: what `onDue` does to the slot cannot disturb the walk.
    while (due !== undefined) {
      const entry = due;
      due = entry.wheelNext;
      entry.wheelNext = undefined;
      this.#onDue(entry);
    }
  }
}
