import { type LeaseTable, none } from "./lease-table.ts";

/** Of every heap that never held anything: most subscriptions never have a redelivery. */
const nothing = new Uint32Array(0);

/**
 * The redeliveries of one subscription, oldest message first: a binary heap of lease slots ordered by log position, which
 * within a queue is the order of offsets. Rows know their place, so an ack takes one out of the middle in O(log n).
 */
export class ReadyHeap {
  readonly #leases: LeaseTable;
  #slots = nothing;
  #count = 0;

  constructor(leases: LeaseTable) {
    this.#leases = leases;
  }

  get count(): number {
    return this.#count;
  }

  /** Slot at a place of the heap; place 0 is the oldest, the children of place i are 2i + 1 and 2i + 2. */
  at(place: number): number {
    return this.#slots[place]!;
  }

  push(slot: number): void {
    if (this.#count === this.#slots.length) {
      const wider = new Uint32Array(Math.max(8, this.#slots.length * 2));
      wider.set(this.#slots);
      this.#slots = wider;
    }
    this.#rise(this.#count++, slot);
  }

  remove(slot: number): void {
    const place = this.#leases.heapAt[slot]!;
    this.#leases.heapAt[slot] = none;
    const last = this.#slots[--this.#count]!;
    if (last === slot) return;
    this.#put(place, last);
    this.#rise(place, last);
    this.#sink(this.#leases.heapAt[last]!, last);
  }

  #rise(from: number, slot: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#isOlder(slot, this.#slots[parent]!)) break;
      this.#put(place, this.#slots[parent]!);
      place = parent;
    }
    this.#put(place, slot);
  }

  #sink(from: number, slot: number): void {
    let place = from;
    for (let child = 2 * place + 1; child < this.#count; child = 2 * place + 1) {
      if (child + 1 < this.#count && this.#isOlder(this.#slots[child + 1]!, this.#slots[child]!)) child++;
      if (!this.#isOlder(this.#slots[child]!, slot)) break;
      this.#put(place, this.#slots[child]!);
      place = child;
    }
    this.#put(place, slot);
  }

  #put(place: number, slot: number): void {
    this.#slots[place] = slot;
    this.#leases.heapAt[slot] = place;
  }

  #isOlder(a: number, b: number): boolean {
    return this.#leases.position[a]! < this.#leases.position[b]!;
  }
}
