/**
 * A hierarchical timing wheel over numbered timers: four levels of 256 slots, 4 ms per slot of the lowest, so 1 s, 4 min,
 * 18 h and 198 days ahead; a later due time waits in the last slot and is placed anew. A timer costs 20 bytes; setting and
 * cancelling are a few array writes. Never one `setTimeout` per message, never a heap of objects.
 */
const tickMs = 4;
const levelCount = 4;
const slotBits = 8;
const slotCount = 1 << slotBits;
/** The last slot of the top level, from wherever in the current one we stand. */
const ticksMax = (slotCount - 1) * slotCount ** (levelCount - 1);

const none = -1;

export class TimerWheel {
  /** First timer of each slot of each level. */
  readonly #heads = new Int32Array(levelCount * slotCount).fill(none);
  /** By timer. `#slots`: where it hangs, `none` when it is not set. */
  #next = new Int32Array(64).fill(none);
  #prev = new Int32Array(64).fill(none);
  #slots = new Int32Array(64).fill(none);
  #due = new Float64Array(64);
  /** All slots before this tick are empty. */
  #tick: number;
  #count = 0;

  constructor(nowMs: number) {
    this.#tick = Math.floor(nowMs / tickMs);
  }

  get count(): number {
    return this.#count;
  }

  isSet(timer: number): boolean {
    return timer < this.#slots.length && this.#slots[timer] !== none;
  }

  /** Sets a timer, or sets it anew. A due time in the past fires at the next `advance`. */
  set(timer: number, dueMs: number): void {
    if (timer >= this.#slots.length) this.#grow(timer);
    if (this.#slots[timer] !== none) this.#unlink(timer);
    else this.#count++;
    this.#due[timer] = dueMs;
    this.#link(timer);
  }

  cancel(timer: number): void {
    if (!this.isSet(timer)) return;
    this.#unlink(timer);
    this.#count--;
  }

  /**
   * Unsets and returns a timer whose due time is not after `nowMs`; -1 when there is none left. To be called until it
   * returns -1; timers may be set and cancelled between the calls.
   */
  takeDue(nowMs: number): number {
    const nowTick = Math.floor(nowMs / tickMs);
    while (this.#count > 0) {
      const slot = this.#tick % slotCount;
      for (let timer = this.#heads[slot]!; timer !== none; timer = this.#next[timer]!) {
        if (this.#due[timer]! > nowMs) continue;
        this.#unlink(timer);
        this.#count--;
        return timer;
      }
      if (this.#tick >= nowTick) return none;
      this.#step(nowTick);
    }
    if (this.#tick < nowTick) this.#tick = nowTick;
    return none;
  }

  /** Time at which `takeDue` is next worth a call: at most a tick after the first due time. Infinity when nothing is set. */
  nextMs(): number {
    if (this.#count === 0) return Number.POSITIVE_INFINITY;
    // An upper slot may begin before the first timer of a lower level is due.
    const own = this.#nextTick(0, 0);
    return Math.min(own + 1, this.#nextUpperTick()) * tickMs;
  }

  /** First tick at which an upper slot with timers begins; Infinity: there is none. */
  #nextUpperTick(): number {
    let next = Number.POSITIVE_INFINITY;
    // The current slot of an upper level has been emptied into the levels below.
    for (let level = 1; level < levelCount; level++) next = Math.min(next, this.#nextTick(level, 1));
    return next;
  }

  /** First tick at which a slot of `level` with timers begins, from `from` slots ahead on; Infinity: there is none. */
  #nextTick(level: number, from: number): number {
    const span = slotCount ** level;
    const current = Math.floor(this.#tick / span);
    for (let i = from; i < slotCount; i++) {
      const slot = current + i;
      if (this.#heads[level * slotCount + (slot % slotCount)] !== none) return slot * span;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Moves on to the next tick at which there is something to do, and empties upper slots that begin there. */
  #step(nowTick: number): void {
    const next = Math.min(this.#nextTick(0, 1), this.#nextUpperTick());
    this.#tick = Math.min(next, nowTick);
    for (let level = 1, span = slotCount; level < levelCount && this.#tick % span === 0; level++, span *= slotCount) {
      this.#cascade(level * slotCount + (Math.floor(this.#tick / span) % slotCount));
    }
  }

  #cascade(slot: number): void {
    let timer = this.#heads[slot]!;
    this.#heads[slot] = none;
    while (timer !== none) {
      const next = this.#next[timer]!;
      this.#link(timer);
      timer = next;
    }
  }

  #link(timer: number): void {
    const dueTick = Math.max(Math.floor(this.#due[timer]! / tickMs), this.#tick);
    const ahead = Math.min(dueTick - this.#tick, ticksMax);
    const tick = this.#tick + ahead;
    let level = 0;
    let span = 1;
    // The level whose slot distance is still below one round.
    while (Math.floor(tick / span) - Math.floor(this.#tick / span) >= slotCount) {
      level++;
      span *= slotCount;
    }
    const slot = level * slotCount + (Math.floor(tick / span) % slotCount);
    const head = this.#heads[slot]!;
    this.#slots[timer] = slot;
    this.#prev[timer] = none;
    this.#next[timer] = head;
    if (head !== none) this.#prev[head] = timer;
    this.#heads[slot] = timer;
  }

  #unlink(timer: number): void {
    const next = this.#next[timer]!;
    const prev = this.#prev[timer]!;
    if (prev === none) this.#heads[this.#slots[timer]!] = next;
    else this.#next[prev] = next;
    if (next !== none) this.#prev[next] = prev;
    this.#slots[timer] = none;
  }

  #grow(timer: number): void {
    const length = Math.max(this.#slots.length * 2, timer + 1);
    const widen = (from: Int32Array): Int32Array<ArrayBuffer> => {
      const to = new Int32Array(length).fill(none);
      to.set(from);
      return to;
    };
    this.#next = widen(this.#next);
    this.#prev = widen(this.#prev);
    this.#slots = widen(this.#slots);
    const due = new Float64Array(length);
    due.set(this.#due);
    this.#due = due;
  }
}
