import { none } from "./lease-table.ts";

/** The table whose rows a heap orders: leases, or message groups. */
export interface HeapRows {
  /** By row: the log position that orders. */
  readonly position: Float64Array;
  /** By row: its place in the heap; `none` when it is in none. */
  readonly heapAt: Int32Array;
}

/** Of every heap that never held anything: most subscriptions never have a redelivery. */
const nothing = new Uint32Array(0);

/**
 * What a subscription may hand out before it looks at new messages, oldest first: a binary heap of rows (of leases: the
 * redeliveries; of message groups: those whose turn it is) ordered by log position, which within a queue is the order of
 * offsets. Rows know their place, so an ack takes one out of the middle in O(log n).
 */
export class ReadyHeap {
  readonly #rows: HeapRows;
  #slots = nothing;
  #count = 0;
  /** Rows that the filter in force does not want. A hint of this run: a start finds all in the heap. */
  #aside: Set<number> | undefined;

  constructor(rows: HeapRows) {
    this.#rows = rows;
  }

  /** Rows that may be handed out, those set aside too. */
  get count(): number {
    return this.#count + (this.#aside?.size ?? 0);
  }

  /** Rows in the heap. */
  get heapCount(): number {
    return this.#count;
  }

  /** Row at a place of the heap; place 0 is the oldest, the children of place i are 2i + 1 and 2i + 2. */
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
    const place = this.#rows.heapAt[slot]!;
    if (place === none) {
      this.#aside?.delete(slot);
      return;
    }
    this.#rows.heapAt[slot] = none;
    const last = this.#slots[--this.#count]!;
    if (last === slot) return;
    this.#put(place, last);
    this.#rise(place, last);
    this.#sink(this.#rows.heapAt[last]!, last);
  }

  /** Takes a row out of the order, so that it is not looked at again and again. */
  setAside(slot: number): void {
    this.remove(slot);
    this.#aside ??= new Set();
    this.#aside.add(slot);
  }

  /** Rows that were set aside are looked at again. */
  takeBack(): void {
    const rows = this.#aside;
    this.#aside = undefined;
    for (const slot of rows ?? []) this.push(slot);
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
    this.#rows.heapAt[slot] = place;
  }

  #isOlder(a: number, b: number): boolean {
    return this.#rows.position[a]! < this.#rows.position[b]!;
  }
}
