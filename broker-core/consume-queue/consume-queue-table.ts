import type { ImageExtent, ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { widened } from "../dispatch/widened.ts";

/**
 * The consume queues of all topics: for each (topic, queue) an index from offset to log position, with what a scan needs
 * without reading the log.
 *
 * Struct of arrays. A queue without messages costs a few numbers. Entries live in blocks of 64 taken from shared slabs, 23
 * bytes each; a queue's directory lists its blocks, so a look-up is two array reads.
 */
const blockShift = 6;
const blockEntries = 1 << blockShift;
/** Entries of one slab: 1.6 MB, so growth never copies and never stalls. */
const slabShift = 16;
const slabEntries = 1 << slabShift;

export const EntryFlag = {
  /** The position is that of a DeadLetter record, which points at the message. */
  DeadLetter: 1,
  /** The position is that of a Commit or Due record, which points at the message or carries it. */
  Reference: 2,
} as const;

export class ConsumeQueueTable {
  #topicIds = new Uint32Array(64);
  #queueIds = new Uint16Array(64);
  #beginOffsets = new Float64Array(64);
  #endOffsets = new Float64Array(64);
  #visibleEnds = new Float64Array(64);
  readonly #directories: (Uint32Array | undefined)[] = [];
  readonly #freeQueues: number[] = [];
  #queueCount = 0;

  readonly #positions: Float64Array[] = [];
  readonly #bytes: Uint32Array[] = [];
  readonly #tagHashes: Uint32Array[] = [];
  readonly #groupHashes: Uint32Array[] = [];
  readonly #lanes: Uint16Array[] = [];
  readonly #flags: Uint8Array[] = [];
  readonly #freeBlocks: number[] = [];
  #blockCount = 0;

  /** Adds an empty queue and returns its slot. */
  add(topicId: number, queueId: number): number {
    const slot = this.#freeQueues.pop() ?? this.#queueCount++;
    if (slot >= this.#topicIds.length) this.#growQueues();
    this.#topicIds[slot] = topicId;
    this.#queueIds[slot] = queueId;
    this.#beginOffsets[slot] = 0;
    this.#endOffsets[slot] = 0;
    this.#visibleEnds[slot] = 0;
    this.#directories[slot] = undefined;
    return slot;
  }

  /** Gives a queue and its blocks back. */
  remove(slot: number): void {
    this.trim(slot, this.#endOffsets[slot]!);
    if (this.#endOffsets[slot]! % blockEntries > 0) this.#freeBlock(slot, this.#endOffsets[slot]!);
    this.#directories[slot] = undefined;
    this.#beginOffsets[slot] = 0;
    this.#endOffsets[slot] = 0;
    this.#visibleEnds[slot] = 0;
    this.#topicIds[slot] = 0;
    this.#freeQueues.push(slot);
  }

  topicId(slot: number): number {
    return this.#topicIds[slot]!;
  }

  queueId(slot: number): number {
    return this.#queueIds[slot]!;
  }

  /** Offset of the oldest message that is still there; `endOffset` when none is. */
  beginOffset(slot: number): number {
    return this.#beginOffsets[slot]!;
  }

  /** Drops the entries below `newBegin`, which is at most `endOffset`. The others keep their offsets. */
  trim(slot: number, newBegin: number): void {
    const begin = this.#beginOffsets[slot]!;
    if (newBegin <= begin) return;
    for (let block = Math.floor(begin / blockEntries); (block + 1) * blockEntries <= newBegin; block++) {
      this.#freeBlock(slot, block * blockEntries);
    }
    this.#beginOffsets[slot] = newBegin;
  }

  /** Calls `action` for each queue that has entries below a log position, with the offset behind the last of them. */
  forEachBelow(position: number, action: (slot: number, newBegin: number) => void): void {
    for (let slot = 0; slot < this.#queueCount; slot++) {
      const begin = this.#beginOffsets[slot]!;
      if (begin === this.#endOffsets[slot]! || this.position(this.entry(slot, begin)) >= position) continue;
      action(slot, this.firstAtOrAbove(slot, position));
    }
  }

  /** Offset of the first entry that lies at a log position or above; `endOffset` when all lie below. */
  firstAtOrAbove(slot: number, position: number): number {
    let low = this.#beginOffsets[slot]!;
    let high = this.#endOffsets[slot]!;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.position(this.entry(slot, middle)) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Offset of the next message. */
  endOffset(slot: number): number {
    return this.#endOffsets[slot]!;
  }

  /** Consumers see the offsets below: those whose records are durable (B3). */
  visibleEnd(slot: number): number {
    return this.#visibleEnds[slot]!;
  }

  setVisibleEnd(slot: number, offset: number): void {
    this.#visibleEnds[slot] = offset;
  }

  /** Everything there is is durable: the end of a start. */
  showAll(): void {
    this.#visibleEnds.set(this.#endOffsets.subarray(0, this.#queueCount));
  }

  append(
    slot: number,
    position: number,
    bytes: number,
    tagHash: number,
    groupHash: number,
    lane: number,
    flags: number,
  ): void {
    const offset = this.#endOffsets[slot]!;
    if ((offset & (blockEntries - 1)) === 0) this.#addBlock(slot, offset / blockEntries);
    this.#endOffsets[slot] = offset + 1;
    const entry = this.entry(slot, offset);
    const slab = entry >>> slabShift;
    const at = entry & (slabEntries - 1);
    this.#positions[slab]![at] = position;
    this.#bytes[slab]![at] = bytes;
    this.#tagHashes[slab]![at] = tagHash;
    this.#groupHashes[slab]![at] = groupHash;
    this.#lanes[slab]![at] = lane;
    this.#flags[slab]![at] = flags;
  }

  /**
   * Where the entry of `offset` lies, for the reads below; good until the next call of anything else here. `offset` is from
   * `beginOffset` on and below `endOffset`.
   */
  entry(slot: number, offset: number): number {
    const block = this.#directories[slot]![Math.floor(offset / blockEntries)]!;
    return block * blockEntries + (offset % blockEntries);
  }

  /**
   * How many entries, this one included, follow `offset` side by side: those of the offsets behind it are `entry + 1` and so
   * on. A scan of `[offset, end)` asks once for each such run. At least 1, at most `end - offset`.
   */
  runLength(_slot: number, offset: number, end: number): number {
    return Math.min(end - offset, blockEntries - (offset % blockEntries));
  }

  position(entry: number): number {
    return this.#positions[entry >>> slabShift]![entry & (slabEntries - 1)]!;
  }

  /** Bytes of the client's message. */
  bytes(entry: number): number {
    return this.#bytes[entry >>> slabShift]![entry & (slabEntries - 1)]!;
  }

  tagHash(entry: number): number {
    return this.#tagHashes[entry >>> slabShift]![entry & (slabEntries - 1)]!;
  }

  groupHash(entry: number): number {
    return this.#groupHashes[entry >>> slabShift]![entry & (slabEntries - 1)]!;
  }

  lane(entry: number): number {
    return this.#lanes[entry >>> slabShift]![entry & (slabEntries - 1)]!;
  }

  flags(entry: number): number {
    return this.#flags[entry >>> slabShift]![entry & (slabEntries - 1)]!;
  }

  /** Bytes that `copyEntries` takes for so many entries: `endOffset - beginOffset`. */
  static bytesOf(entryCount: number): number {
    return entryCount * entryBytes;
  }

  /** Writes a queue's entries column by column, for a state image: a copy per block and column, not per entry. */
  copyEntries(slot: number, into: Buffer, start: number): void {
    let at = start;
    for (const column of this.#columns()) {
      for (let offset = this.#beginOffsets[slot]!, count = 0; offset < this.#endOffsets[slot]!; offset += count) {
        count = this.runLength(slot, offset, this.#endOffsets[slot]!);
        const { bytes, begin, end } = column.place(this.entry(slot, offset), count);
        bytes.copy(into, at, begin, end);
        at += end - begin;
      }
    }
  }

  /** Fills an empty queue with what `copyEntries` wrote: the entries of `[first, last)`. */
  restoreEntries(slot: number, first: number, last: number, from: Buffer, start: number): void {
    for (let block = Math.floor(first / blockEntries); block * blockEntries < last; block++)
      this.#addBlock(slot, block);
    this.#beginOffsets[slot] = first;
    this.#endOffsets[slot] = last;
    let at = start;
    for (const column of this.#columns()) {
      for (let offset = first, count = 0; offset < last; offset += count) {
        count = this.runLength(slot, offset, last);
        const { bytes, begin, end } = column.place(this.entry(slot, offset), count);
        from.copy(bytes, begin, at, at + end - begin);
        at += end - begin;
      }
    }
  }

  /** For a state image. */
  writeTo(into: ImageWriter, extent: ImageExtent): void {
    into.u32(this.#queueCount);
    into.column(this.#topicIds.subarray(0, this.#queueCount));
    into.column(this.#queueIds.subarray(0, this.#queueCount));
    const begins = extent === "whole" ? this.#beginOffsets : this.#endOffsets;
    into.column(begins.subarray(0, this.#queueCount));
    into.column(this.#endOffsets.subarray(0, this.#queueCount));
    if (extent !== "whole") return;
    for (let slot = 0; slot < this.#queueCount; slot++) {
      const count = this.#endOffsets[slot]! - this.#beginOffsets[slot]!;
      if (count > 0) into.fill(count * entryBytes, (bytes, at) => this.copyEntries(slot, bytes, at));
    }
  }

  /** Fills an empty table. */
  readFrom(from: ImageReader): void {
    const count = from.u32();
    this.#growQueues(count);
    this.#queueCount = count;
    from.column(this.#topicIds.subarray(0, count));
    from.column(this.#queueIds.subarray(0, count));
    from.column(this.#beginOffsets.subarray(0, count));
    from.column(this.#endOffsets.subarray(0, count));
    for (let slot = count - 1; slot >= 0; slot--) if (this.#topicIds[slot] === 0) this.#freeQueues.push(slot);
    for (let slot = 0; slot < count; slot++) {
      const begin = this.#beginOffsets[slot]!;
      const end = this.#endOffsets[slot]!;
      if (!(begin <= end)) throw new RangeError("a queue ends before it begins");
      // A queue that lost all of its entries still needs the block that the next one goes into.
      if (begin < end || end % blockEntries > 0) {
        from.take((end - begin) * entryBytes, (bytes, at) => this.restoreEntries(slot, begin, end, bytes, at));
      }
    }
  }

  #columns(): Column[] {
    return [
      new Column(this.#positions, 8),
      new Column(this.#bytes, 4),
      new Column(this.#tagHashes, 4),
      new Column(this.#groupHashes, 4),
      new Column(this.#lanes, 2),
      new Column(this.#flags, 1),
    ];
  }

  #freeBlock(slot: number, offset: number): void {
    this.#freeBlocks.push(this.#directories[slot]![Math.floor(offset / blockEntries)]!);
  }

  #addBlock(slot: number, blockIndex: number): void {
    let directory = this.#directories[slot];
    if (directory === undefined || blockIndex >= directory.length) {
      const wider = new Uint32Array(Math.max(4, blockIndex * 2));
      if (directory !== undefined) wider.set(directory);
      this.#directories[slot] = directory = wider;
    }
    const block = this.#freeBlocks.pop() ?? this.#blockCount++;
    directory[blockIndex] = block;
    if (block * blockEntries >= this.#positions.length * slabEntries) {
      this.#positions.push(new Float64Array(slabEntries));
      this.#bytes.push(new Uint32Array(slabEntries));
      this.#tagHashes.push(new Uint32Array(slabEntries));
      this.#groupHashes.push(new Uint32Array(slabEntries));
      this.#lanes.push(new Uint16Array(slabEntries));
      this.#flags.push(new Uint8Array(slabEntries));
    }
  }

  #growQueues(count = this.#topicIds.length * 2): void {
    this.#topicIds = widened(this.#topicIds, count);
    this.#queueIds = widened(this.#queueIds, count);
    this.#beginOffsets = widened(this.#beginOffsets, count);
    this.#endOffsets = widened(this.#endOffsets, count);
    this.#visibleEnds = widened(this.#visibleEnds, count);
  }
}

const entryBytes = 8 + 4 + 4 + 4 + 2 + 1;

/** One column of the index as bytes. */
class Column {
  readonly #slabs: readonly Buffer[];
  readonly #width: number;
  /** Reused: the place that was asked for last. */
  readonly #place = { bytes: Buffer.alloc(0) as Buffer, begin: 0, end: 0 };

  constructor(slabs: readonly (Float64Array | Uint32Array | Uint16Array | Uint8Array)[], width: number) {
    this.#slabs = slabs.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength));
    this.#width = width;
  }

  /** Where `count` entries of one block lie. */
  place(entry: number, count: number): { readonly bytes: Buffer; readonly begin: number; readonly end: number } {
    const place = this.#place;
    place.bytes = this.#slabs[entry >>> slabShift]!;
    place.begin = (entry & (slabEntries - 1)) * this.#width;
    place.end = place.begin + count * this.#width;
    return place;
  }
}
