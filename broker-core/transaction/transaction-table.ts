import { mix, SlotIndex } from "../pop/slot-index.ts";
import { ResolutionRing } from "./resolution-ring.ts";

/**
 * One row for each open transaction: where its half message lies and when its producer is asked next. Struct of arrays, about
 * 100 bytes a row with its index and timer; found by number.
 */
export class TransactionTable {
  /** 0: the row is free. */
  number = new Float64Array(64);
  /** Random number of the run that gave the number out. */
  run = new Uint32Array(64);
  topicId = new Uint32Array(64);
  /** Log position of the record that holds the message: the half message, or the Carry that took it along. */
  position = new Float64Array(64);
  /** Of the client's message. */
  bytes = new Uint32Array(64);
  tagHash = new Uint32Array(64);
  /** Monotonic time of this boot at which it was stored; of an earlier boot an estimate by the wall clock at our start. */
  storedMs = new Float64Array(64);
  storedWallMs = new Float64Array(64);
  /** 1: stored in an earlier boot. */
  isOldStored = new Uint8Array(64);
  /** Times that a producer was asked. */
  checks = new Uint16Array(64);
  /** Monotonic time of the next check. */
  dueMs = new Float64Array(64);
  dueWallMs = new Float64Array(64);
  /** What `dueMs` was granted: after a reboot no check is further away. */
  delayMs = new Uint32Array(64);
  /** 1: `dueMs` was set in an earlier boot. */
  isOldDue = new Uint8Array(64);
  readonly resolutions = new ResolutionRing();

  readonly #byNumber = new SlotIndex();
  /** Open transactions by topic id; topics without any are left out. */
  readonly #countOf = new Map<number, number>();
  readonly #free: number[] = [];
  #end = 0;
  #count = 0;

  /** Open transactions. */
  get count(): number {
    return this.#count;
  }

  /** All slots are below; free ones among them. */
  get end(): number {
    return this.#end;
  }

  /** Open transactions of a topic. */
  countOf(topicId: number): number {
    return this.#countOf.get(topicId) ?? 0;
  }

  /** The topics with open transactions, and how many each has. */
  get counts(): Iterable<readonly [topicId: number, count: number]> {
    return this.#countOf;
  }

  /** Slot of an open transaction; -1 when it is not (any more). */
  find(number: number): number {
    const hash = numberHash(number);
    for (let i = this.#byNumber.first(hash); i >= 0; i = this.#byNumber.next(i, hash)) {
      const slot = this.#byNumber.slotAt(i);
      if (this.number[slot] === number) return slot;
    }
    return -1;
  }

  /** A new row; every other column is the caller's to fill. */
  add(number: number, topicId: number): number {
    const slot = this.#free.pop() ?? this.#end++;
    if (slot >= this.number.length) this.#grow();
    this.#count++;
    this.number[slot] = number;
    this.topicId[slot] = topicId;
    this.#countOf.set(topicId, this.countOf(topicId) + 1);
    this.#byNumber.insert(numberHash(number), slot);
    return slot;
  }

  /** The row must be at no timer any more. */
  remove(slot: number): void {
    this.#byNumber.remove(numberHash(this.number[slot]!), slot);
    this.number[slot] = 0;
    this.#count--;
    const topicId = this.topicId[slot]!;
    const left = this.countOf(topicId) - 1;
    if (left === 0) this.#countOf.delete(topicId);
    else this.#countOf.set(topicId, left);
    this.#free.push(slot);
  }

  /** Slots of the open ones that `holds`, by number. */
  slotsWhere(holds: (slot: number) => boolean): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.#end; slot++) if (this.number[slot] !== 0 && holds(slot)) slots.push(slot);
    return slots.sort((a, b) => this.number[a]! - this.number[b]!);
  }

  #grow(): void {
    const length = this.number.length * 2;
    this.number = widen(new Float64Array(length), this.number);
    this.run = widen(new Uint32Array(length), this.run);
    this.topicId = widen(new Uint32Array(length), this.topicId);
    this.position = widen(new Float64Array(length), this.position);
    this.bytes = widen(new Uint32Array(length), this.bytes);
    this.tagHash = widen(new Uint32Array(length), this.tagHash);
    this.storedMs = widen(new Float64Array(length), this.storedMs);
    this.storedWallMs = widen(new Float64Array(length), this.storedWallMs);
    this.isOldStored = widen(new Uint8Array(length), this.isOldStored);
    this.checks = widen(new Uint16Array(length), this.checks);
    this.dueMs = widen(new Float64Array(length), this.dueMs);
    this.dueWallMs = widen(new Float64Array(length), this.dueWallMs);
    this.delayMs = widen(new Uint32Array(length), this.delayMs);
    this.isOldDue = widen(new Uint8Array(length), this.isOldDue);
  }
}

function numberHash(number: number): number {
  return mix(number % 0x1_0000_0000, number / 0x1_0000_0000);
}

function widen<T extends { set(from: T): void }>(into: T, from: T): T {
  into.set(from);
  return into;
}
