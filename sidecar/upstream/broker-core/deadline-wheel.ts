/**
 * Deadlines of many calls with one timer: a wheel of 10 ms buckets, intrusive lists in typed arrays, no object per call.
 * A deadline fires in the tick before it would be missed. Times are monotonic milliseconds.
 */
export const deadlineTickMs = 10;
const bucketCount = 1024;
const none = -1;

export class DeadlineWheel {
  readonly #heads = new Int32Array(bucketCount).fill(none);
  #nexts = new Int32Array(0);
  #previous = new Int32Array(0);
  /** Tick in which a slot fires; none: not armed. */
  #ticks = new Float64Array(0);
  #doneTick: number;
  #count = 0;

  constructor(nowMs: number) {
    this.#doneTick = Math.floor(nowMs / deadlineTickMs);
  }

  /** Armed slots. */
  get count(): number {
    return this.#count;
  }

  /** Makes room for slots below `capacity`. */
  grow(capacity: number): void {
    const before = this.#ticks.length;
    this.#nexts = grown(this.#nexts, new Int32Array(capacity));
    this.#previous = grown(this.#previous, new Int32Array(capacity));
    this.#ticks = grown(this.#ticks, new Float64Array(capacity));
    this.#ticks.fill(none, before);
  }

  /** Arms `slot`, or moves its deadline. */
  arm(slot: number, deadlineMs: number): void {
    this.disarm(slot);
    // The tick that ends at or before the deadline; never one that has passed already.
    const tick = Math.max(Math.floor(deadlineMs / deadlineTickMs) - 1, this.#doneTick + 1);
    const bucket = tick % bucketCount;
    const head = this.#heads[bucket]!;
    this.#ticks[slot] = tick;
    this.#nexts[slot] = head;
    this.#previous[slot] = none;
    if (head !== none) this.#previous[head] = slot;
    this.#heads[bucket] = slot;
    this.#count++;
  }

  /** Does nothing when `slot` is not armed. */
  disarm(slot: number): void {
    const tick = this.#ticks[slot]!;
    if (tick === none) return;
    const next = this.#nexts[slot]!;
    const previous = this.#previous[slot]!;
    if (previous === none) this.#heads[tick % bucketCount] = next;
    else this.#nexts[previous] = next;
    if (next !== none) this.#previous[next] = previous;
    this.#ticks[slot] = none;
    this.#count--;
  }

  /** When `advance` is next needed; perhaps too early, never too late. Infinity when nothing is armed. */
  nextMs(): number {
    if (this.#count === 0) return Number.POSITIVE_INFINITY;
    for (let i = 1; i <= bucketCount; i++) {
      const tick = this.#doneTick + i;
      if (this.#heads[tick % bucketCount] !== none) return tick * deadlineTickMs;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Fires what is due, each slot disarmed before. `fire` may arm and disarm. */
  advance(nowMs: number, fire: (slot: number) => void): void {
    const nowTick = Math.floor(nowMs / deadlineTickMs);
    // After a long sleep one round over all buckets sees everything.
    const first = Math.max(this.#doneTick + 1, nowTick - bucketCount + 1);
    this.#doneTick = Math.max(this.#doneTick, nowTick);
    for (let tick = first; tick <= nowTick; tick++) this.#fireBucket(tick % bucketCount, nowTick, fire);
  }

  #fireBucket(bucket: number, nowTick: number, fire: (slot: number) => void): void {
    let slot = this.#heads[bucket]!;
    while (slot !== none) {
      if (this.#ticks[slot]! > nowTick) {
        slot = this.#nexts[slot]!;
        continue;
      }
      this.disarm(slot);
      fire(slot);
      // `fire` may have changed the list anywhere: begin again. What it armed lies in a later tick.
      slot = this.#heads[bucket]!;
    }
  }
}

function grown<T extends Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
