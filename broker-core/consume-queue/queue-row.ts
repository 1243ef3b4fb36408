import { type RowChunks, rowMask, rowShift } from "../dispatch/row-chunks.ts";

/**
 * The row of a consume queue, 48 bytes; numbers of 8 bytes are counted in doubles, those of 4 in halves.
 *
 *     half 0    topic id; 0: the row is free
 *     half 1    queue id in the lower 16 bits, entries of the tail block above
 *     double 1  offset of the oldest entry
 *     double 2  offset of the next entry
 *     double 3  address of the youngest block on disk that is in no directory; -1: none
 *     half 8    first entry of the tail block in memory; of no meaning when it has none
 *     half 9    entries that are not durable yet: they end the queue
 *     half 10   the oldest entry lies at this log position or above, in units of 64 KiB
 *     half 11   shape: blocks of the chain (8 bits), its entries (8), class of the tail block (8)
 */
export const doubleWords = 6;
export const halfWords = 12;
export const queueAndTail = 1;
export const begin = 1;
export const end = 2;
export const chain = 3;
export const tail = 8;
export const hidden = 9;
const oldest = 10;
export const shape = 11;

const positionUnit = 65_536;
/** Address of no block. */
export const noBlock = -1;

export function blockClassOf(shapeBits: number): number {
  return (shapeBits >>> 16) & 0xff;
}

export function clear(rows: RowChunks, slot: number, topicId: number, queueId: number): void {
  const halves = rows.halves[slot >>> rowShift]!;
  const at = (slot & rowMask) * halfWords;
  halves.fill(0, at, at + halfWords);
  halves[at] = topicId;
  halves[at + queueAndTail] = queueId;
  rows.doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + chain] = noBlock;
}

/** Empties a queue: the next entry has `offset`. */
export function restart(rows: RowChunks, slot: number, offset: number): void {
  const row = rows.doubles[slot >>> rowShift]!;
  const at = (slot & rowMask) * doubleWords;
  row[at + begin] = offset;
  row[at + end] = offset;
  row[at + chain] = noBlock;
  const halves = rows.halves[slot >>> rowShift]!;
  halves[(slot & rowMask) * halfWords + hidden] = 0;
  halves[(slot & rowMask) * halfWords + shape] = 0;
}

export function beginOffset(rows: RowChunks, slot: number): number {
  return rows.doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + begin]!;
}

export function endOffset(rows: RowChunks, slot: number): number {
  return rows.doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + end]!;
}

export function tailCount(rows: RowChunks, slot: number): number {
  return rows.halves[slot >>> rowShift]![(slot & rowMask) * halfWords + queueAndTail]! >>> 16;
}

export function tailOf(rows: RowChunks, slot: number): number {
  return rows.halves[slot >>> rowShift]![(slot & rowMask) * halfWords + tail]!;
}

export function blockClass(rows: RowChunks, slot: number): number {
  return blockClassOf(rows.halves[slot >>> rowShift]![(slot & rowMask) * halfWords + shape]!);
}

export function setTail(rows: RowChunks, slot: number, entry: number, count: number, ofClass: number): void {
  const halves = rows.halves[slot >>> rowShift]!;
  const at = (slot & rowMask) * halfWords;
  halves[at + tail] = entry;
  halves[at + queueAndTail] = (halves[at + queueAndTail]! & 0xffff) | (count << 16);
  halves[at + shape] = (halves[at + shape]! & ~0xff_0000) | (ofClass << 16);
}

/** The unit of 64 KiB of the log in which the oldest entry lies, or one before it. */
export function oldestUnit(rows: RowChunks, slot: number): number {
  return rows.halves[slot >>> rowShift]![(slot & rowMask) * halfWords + oldest]!;
}

export function unitOf(position: number): number {
  return Math.floor(position / positionUnit);
}

export function setOldest(rows: RowChunks, slot: number, position: number): void {
  rows.halves[slot >>> rowShift]![(slot & rowMask) * halfWords + oldest] = position / positionUnit;
}

/** Blocks of the chain. */
export function chainDepth(rows: RowChunks, slot: number): number {
  return rows.halves[slot >>> rowShift]![(slot & rowMask) * halfWords + shape]! & 0xff;
}

/** Entries of the chain: at most 255. */
export function chainCount(rows: RowChunks, slot: number): number {
  return (rows.halves[slot >>> rowShift]![(slot & rowMask) * halfWords + shape]! >>> 8) & 0xff;
}

export function chainHead(rows: RowChunks, slot: number): number {
  return rows.doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + chain]!;
}

export function setChain(rows: RowChunks, slot: number, head: number, depth: number, count: number): void {
  rows.doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + chain] = head;
  const halves = rows.halves[slot >>> rowShift]!;
  const at = (slot & rowMask) * halfWords + shape;
  halves[at] = (halves[at]! & ~0xffff) | depth | (count << 8);
}
