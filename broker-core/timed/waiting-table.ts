import { DueHeap } from "./due-heap.ts";
import { NumberIndex } from "./number-index.ts";
import { f64Column, type SlabColumn, u16Column, u32Column } from "./slab-column.ts";

/** No row. */
export const none = -1;

/** Waiting messages are counted by stretches of the log: 64 MiB, the usual size of a segment. */
export const stretchBytes = 2 ** 26;
/** A row's number fits behind a place within a stretch into 53 bits. */
const rowsMax = 2 ** 27;

/**
 * All messages that wait for their time, one row each: 47 bytes with both indexes (the heap by due time, the index by number),
 * in slabs, so that ten million stay below half a gigabyte and growing copies nothing. The message itself is in the log.
 */
export class WaitingTable {
  /** 48 bits: 100 000 messages a second take 89 years. 0: the row is free. */
  readonly #numberLow: SlabColumn<Uint32Array> = u32Column();
  readonly #numberHigh: SlabColumn<Uint16Array> = u16Column();
  /** Of the record that holds the message. */
  readonly #positions: SlabColumn<Float64Array> = f64Column();
  /** Of a free row: the next free one, plus 1. */
  readonly #topicIds: SlabColumn<Uint32Array> = u32Column();
  readonly #numberOf = (row: number): number => this.#numberLow.get(row) + this.#numberHigh.get(row) * 2 ** 32;
  readonly #heap = new DueHeap(this.#numberOf);
  readonly #byNumber = new NumberIndex(this.#numberOf);
  /** Rows ever used lie below. */
  #end = 0;
  /** First free row, plus 1. */
  #free = 0;
  /** Waiting messages by stretch of the log. */
  readonly #stretches = new Map<number, number>();
  /** Waiting messages by topic id. */
  readonly #topics = new Map<number, number>();
  /** Above every number in the log. */
  nextNumber = 1;
  /**
   * The latest due time among the messages that were released. What is due later has certainly not been released, whatever the
   * clocks did: so a repeated recall gets a true answer, and nothing is kept for that.
   */
  releasedThroughMs = 0;

  get count(): number {
    return this.#heap.count;
  }

  /** By topic id; topics without any are left out. */
  get counts(): ReadonlyMap<number, number> {
    return this.#topics;
  }

  countOf(topicId: number): number {
    return this.#topics.get(topicId) ?? 0;
  }

  /** The row that is due first; `none` when nothing waits. */
  first(): number {
    return this.#heap.first();
  }

  /** The row of a number; `none` when it does not wait (any more). */
  find(number: number): number {
    return this.#byNumber.find(number);
  }

  number(row: number): number {
    return this.#numberOf(row);
  }

  dueMs(row: number): number {
    return this.#heap.dueMs(row);
  }

  position(row: number): number {
    return this.#positions.get(row);
  }

  topicId(row: number): number {
    return this.#topicIds.get(row);
  }

  /** The number must not wait already. */
  add(number: number, dueMs: number, position: number, topicId: number): void {
    const row = this.#takeRow();
    this.#numberLow.set(row, number % 2 ** 32);
    this.#numberHigh.set(row, Math.floor(number / 2 ** 32));
    this.#positions.set(row, position);
    this.#topicIds.set(row, topicId);
    this.#heap.add(row, dueMs);
    this.#byNumber.add(number, row);
    tally(this.#stretches, stretchOf(position), 1);
    tally(this.#topics, topicId, 1);
    if (number >= this.nextNumber) this.nextNumber = number + 1;
  }

  remove(row: number): void {
    this.#heap.remove(row);
    this.#byNumber.remove(this.#numberOf(row), row);
    tally(this.#stretches, stretchOf(this.#positions.get(row)), -1);
    tally(this.#topics, this.#topicIds.get(row), -1);
    this.#numberLow.set(row, 0);
    this.#numberHigh.set(row, 0);
    this.#topicIds.set(row, this.#free);
    this.#free = row + 1;
  }

  /** The message was written again. */
  move(row: number, position: number): void {
    tally(this.#stretches, stretchOf(this.#positions.get(row)), -1);
    this.#positions.set(row, position);
    tally(this.#stretches, stretchOf(position), 1);
  }

  /** All rows lie below; those that are free have the number 0. */
  get end(): number {
    return this.#end;
  }

  /** Rows in use, in no order. A row may be removed when it was given. */
  *rows(): Generator<number> {
    for (let row = 0; row < this.#end; row++) if (this.#numberOf(row) > 0) yield row;
  }

  /** Where the first stretch of the log begins that holds a waiting message and ends behind `position`; else Infinity. */
  stretchFrom(position: number): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const stretch of this.#stretches.keys()) {
      if (stretch < oldest && stretch >= stretchOf(position)) oldest = stretch;
    }
    return oldest * stretchBytes;
  }

  /**
   * The waiting messages that lie in [from, end) of the log, at most `stretchBytes`, in its order. One pass over the table:
   * tens of milliseconds for ten million rows.
   */
  rowsIn(from: number, end: number): RowsInLogOrder {
    let packed = new Float64Array(1024);
    let count = 0;
    for (let row = 0; row < this.#end; row++) {
      const at = this.#positions.get(row);
      if (at >= end || at < from || this.#numberOf(row) === 0) continue;
      if (count === packed.length) {
        const wider = new Float64Array(2 * count);
        wider.set(packed);
        packed = wider;
      }
      packed[count++] = (at - from) * rowsMax + row;
    }
    return new RowsInLogOrder(from, packed.subarray(0, count).sort());
  }

  #takeRow(): number {
    if (this.#free > 0) {
      const row = this.#free - 1;
      this.#free = this.#topicIds.get(row);
      return row;
    }
    const row = this.#end++;
    this.#numberLow.reach(row);
    this.#numberHigh.reach(row);
    this.#positions.reach(row);
    this.#topicIds.reach(row);
    return row;
  }
}

function stretchOf(position: number): number {
  return Math.floor(position / stretchBytes);
}

function tally(counts: Map<number, number>, key: number, by: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

/** Rows with the positions they had, packed into numbers that sort by position. */
export class RowsInLogOrder {
  readonly #from: number;
  readonly #packed: Float64Array;

  constructor(from: number, packed: Float64Array) {
    this.#from = from;
    this.#packed = packed;
  }

  get length(): number {
    return this.#packed.length;
  }

  row(index: number): number {
    return this.#packed[index]! % rowsMax;
  }

  position(index: number): number {
    return this.#from + Math.floor(this.#packed[index]! / rowsMax);
  }
}
