import { none } from "./lease-table.ts";
import type { ReadyHeap } from "./ready-heap.ts";

/** Redeliveries, or message groups whose turn it is, looked at in one go; those that do not match the filter count too. */
const heapVisitsMax = 256;

/** Walks a heap from its oldest row without changing it. One walk at a time. */
export class HeapWalk {
  /** Places that may hold the next oldest row: each visit takes one and adds at most two. */
  readonly #frontier = new Uint32Array(heapVisitsMax + 1);
  #open = 0;
  #visits = 0;

  begin(heap: ReadyHeap): void {
    this.#frontier[0] = 0;
    this.#open = Math.min(heap.heapCount, 1);
    this.#visits = 0;
  }

  /** The walk has ended before the heap did. */
  get isCut(): boolean {
    return this.#open > 0 && this.#visits > heapVisitsMax;
  }

  /** The next row; `none` at the end, or after `heapVisitsMax`. */
  next(heap: ReadyHeap, position: Float64Array): number {
    if (this.#open === 0 || this.#visits++ === heapVisitsMax) return none;
    const frontier = this.#frontier;
    let oldest = 0;
    for (let i = 1; i < this.#open; i++) {
      if (position[heap.at(frontier[i]!)]! < position[heap.at(frontier[oldest]!)]!) oldest = i;
    }
    const place = frontier[oldest]!;
    frontier[oldest] = frontier[--this.#open]!;
    if (2 * place + 1 < heap.heapCount) frontier[this.#open++] = 2 * place + 1;
    if (2 * place + 2 < heap.heapCount) frontier[this.#open++] = 2 * place + 2;
    return heap.at(place);
  }
}
