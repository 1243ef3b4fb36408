import { f64Column, type SlabColumn, u32Column } from "./slab-column.ts";

/**
 * The order in which waiting messages become due: a heap with four children per node over the rows of a table, by due time,
 * then by number (what was sent first goes first). It does not know what time it is, so no jump of a clock can disturb it;
 * see decisions/heap-by-due-time.md for what else was measured. 16 bytes per row.
 */
export class DueHeap {
  /** Rows in heap order. */
  readonly #heap: SlabColumn<Uint32Array> = u32Column();
  /** By row: its place in the heap. */
  readonly #places: SlabColumn<Uint32Array> = u32Column();
  readonly #due: SlabColumn<Float64Array> = f64Column();
  readonly #numberOf: (row: number) => number;
  #count = 0;

  /** `numberOf`: breaks ties; different for each row. */
  constructor(numberOf: (row: number) => number) {
    this.#numberOf = numberOf;
  }

  get count(): number {
    return this.#count;
  }

  dueMs(row: number): number {
    return this.#due.get(row);
  }

  /** The row that is due first; -1 when there is none. */
  first(): number {
    return this.#count === 0 ? -1 : this.#heap.get(0);
  }

  /** The row's number must be known to `numberOf` already. */
  add(row: number, dueMs: number): void {
    this.#due.reach(row);
    this.#places.reach(row);
    this.#heap.reach(this.#count);
    this.#due.set(row, dueMs);
    this.#rise(this.#count++, row);
  }

  remove(row: number): void {
    const place = this.#places.get(row);
    const last = this.#heap.get(--this.#count);
    if (last === row) return;
    if (place > 0 && this.#isBefore(last, this.#heap.get((place - 1) >>> 2))) this.#rise(place, last);
    else this.#sink(place, last);
  }

  #isBefore(a: number, b: number): boolean {
    const dueA = this.#due.get(a);
    const dueB = this.#due.get(b);
    return dueA < dueB || (dueA === dueB && this.#numberOf(a) < this.#numberOf(b));
  }

  /** Puts a row at `from` or above, where it belongs. */
  #rise(from: number, row: number): void {
    const heap = this.#heap;
    let place = from;
    while (place > 0) {
      const parentPlace = (place - 1) >>> 2;
      const parent = heap.get(parentPlace);
      if (!this.#isBefore(row, parent)) break;
      heap.set(place, parent);
      this.#places.set(parent, place);
      place = parentPlace;
    }
    heap.set(place, row);
    this.#places.set(row, place);
  }

  /** Puts a row at `from` or below. */
  #sink(from: number, row: number): void {
    const heap = this.#heap;
    let place = from;
    for (let child = 4 * place + 1; child < this.#count; child = 4 * place + 1) {
      let best = child;
      let bestRow = heap.get(child);
      const end = Math.min(child + 4, this.#count);
      for (let other = child + 1; other < end; other++) {
        const otherRow = heap.get(other);
        if (!this.#isBefore(otherRow, bestRow)) continue;
        best = other;
        bestRow = otherRow;
      }
      if (!this.#isBefore(bestRow, row)) break;
      heap.set(place, bestRow);
      this.#places.set(bestRow, place);
      place = best;
    }
    heap.set(place, row);
    this.#places.set(row, place);
  }
}
