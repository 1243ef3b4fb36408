import type { ImageExtent, ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { RowChunks, rowMask, rowShift } from "../dispatch/row-chunks.ts";
import { EntrySlabs } from "./entry-slabs.ts";
import { EntryFlag, entryBytes } from "./index-entry.ts";
import type { IndexPages } from "./index-pages.ts";
import { MemoryIndexPages } from "./memory-index-pages.ts";
import { QueueBlocks } from "./queue-blocks.ts";
import * as queueRow from "./queue-row.ts";
import { blockClassEntries, blockClassMax, TailBlocks } from "./tail-blocks.ts";

export { EntryFlag } from "./index-entry.ts";

/** Memory for entries, whatever the number of queues and messages: three quarters for the youngest, one for readers. */
const indexBytesDefault = 64 * 1024 * 1024;

/** A row in an image without messages: topic id, queue id in 2 bytes, offset of the next entry. */
const bareRowBytes = 4 + 2 + 8;

const { doubleWords, halfWords } = queueRow;

/**
 * The consume queues of all topics: for each (topic, queue) an index from offset to log position, with what a scan needs
 * without reading the log.
 *
 * A queue is a row of 48 bytes. Its youngest entries are in memory (tail-blocks.ts); what is older, or of a queue that was
 * quiet for long, lies in the index on disk (queue-blocks.ts), and a bounded part of that in memory for readers. So neither
 * a long backlog nor an idle queue costs memory.
 */
export class ConsumeQueueTable {
  readonly #rows = new RowChunks(queueRow.doubleWords);
  readonly #doubles = this.#rows.doubles;
  readonly #halves = this.#rows.halves;
  readonly #freeQueues: number[] = [];
  #queueCount = 0;
  /** Entries whose log position is below are gone, whether a row says so already or not. */
  #trimPosition = 0;
  #trimUnit = -1;
  /** Of the position where the log begins from which lost entries are read. */
  #recoverUnit = -1;
  readonly #slabs = new EntrySlabs();
  readonly #tails: TailBlocks;
  readonly #blocks: QueueBlocks;
  /** Of no meaning; what is written nowhere is not read either. */
  readonly #touched = new Uint32Array(1);
  /** Where each queue ended when the index was lost; undefined when it was not. */
  #lostEnds: Float64Array | undefined;

  /** `indexBytes`: memory for entries. */
  constructor(pages: IndexPages = new MemoryIndexPages(), indexBytes = indexBytesDefault) {
    this.#tails = new TailBlocks(this.#slabs, (indexBytes * 3) / 4);
    this.#blocks = new QueueBlocks(this.#rows, this.#slabs, pages, indexBytes / 4);
  }

  /** Adds an empty queue and returns its slot. */
  add(topicId: number, queueId: number): number {
    const slot = this.#freeQueues.pop() ?? this.#queueCount++;
    this.#rows.reach(slot);
    queueRow.clear(this.#rows, slot, topicId, queueId);
    return slot;
  }

  /** Gives a queue and its entries back. */
  remove(slot: number): void {
    this.#blocks.dropAll(slot);
    this.#giveTail(slot);
    queueRow.clear(this.#rows, slot, 0, 0);
    this.#freeQueues.push(slot);
  }

  topicId(slot: number): number {
    return this.#halves[slot >>> rowShift]![(slot & rowMask) * halfWords]!;
  }

  queueId(slot: number): number {
    return this.#halves[slot >>> rowShift]![(slot & rowMask) * halfWords + queueRow.queueAndTail]! & 0xffff;
  }

  /** Offset of the oldest message that is still there; `endOffset` when none is. */
  beginOffset(slot: number): number {
    const isSure = queueRow.oldestUnit(this.#rows, slot) > this.#trimUnit;
    if (!isSure && queueRow.beginOffset(this.#rows, slot) < this.endOffset(slot)) this.#trimRow(slot);
    return queueRow.beginOffset(this.#rows, slot);
  }

  /** Drops the entries below `newBegin`, which is at most `endOffset`. The others keep their offsets. */
  trim(slot: number, newBegin: number): void {
    const at = (slot & rowMask) * doubleWords;
    const row = this.#doubles[slot >>> rowShift]!;
    if (newBegin <= row[at + queueRow.begin]!) return;
    row[at + queueRow.begin] = newBegin;
    this.#blocks.dropBelow(slot, newBegin);
    if (newBegin === row[at + queueRow.end]) this.#giveTail(slot);
  }

  /**
   * Drops the entries of all queues that lie below a log position, because the log begins there now. Walks no queue: each is
   * put right when somebody asks where it begins (`beginOffset`), which whoever reads entries does first.
   */
  trimBelow(position: number): void {
    if (position <= this.#trimPosition) return;
    this.#trimPosition = position;
    this.#trimUnit = queueRow.unitOf(position);
    this.#blocks.dropFilesBelow(position);
  }

  /**
   * Calls `action` for each queue that has entries below a log position, with the offset behind the last of them. Looks at
   * every queue, and reads the index of those with such entries.
   */
  forEachBelow(position: number, action: (slot: number, newBegin: number) => void): void {
    const unit = queueRow.unitOf(position);
    for (let slot = 0; slot < this.#queueCount; slot++) {
      if (queueRow.oldestUnit(this.#rows, slot) > unit || this.topicId(slot) === 0) continue;
      const newBegin = this.firstAtOrAbove(slot, position);
      if (newBegin > this.beginOffset(slot)) action(slot, newBegin);
    }
  }

  /** Offset of the first entry that lies at a log position or above; `endOffset` when all lie below. */
  firstAtOrAbove(slot: number, position: number): number {
    const end = this.endOffset(slot);
    const tailBegin = end - queueRow.tailCount(this.#rows, slot);
    let low = queueRow.beginOffset(this.#rows, slot);
    for (let isFound = false; low < end && !isFound; ) {
      for (let from = -1; low < tailBegin && low !== from; ) {
        from = low;
        low = this.#blocks.skipBelow(slot, from, position);
      }
      const runEnd = low < tailBegin ? this.#blocks.runEnd(slot, low) : end;
      for (let high = runEnd; low < high; ) {
        const middle = Math.floor((low + high) / 2);
        if (this.position(this.entry(slot, middle)) < position) low = middle + 1;
        else high = middle;
      }
      isFound = low < runEnd;
    }
    return low;
  }

  /** Offset of the next message. */
  endOffset(slot: number): number {
    return this.#doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + queueRow.end]!;
  }

  /** Consumers see the offsets below: those whose records are durable (B3). */
  visibleEnd(slot: number): number {
    const hidden = this.#halves[slot >>> rowShift]![(slot & rowMask) * halfWords + queueRow.hidden]!;
    return this.endOffset(slot) - hidden;
  }

  setVisibleEnd(slot: number, offset: number): void {
    const hidden = this.endOffset(slot) - offset;
    this.#halves[slot >>> rowShift]![(slot & rowMask) * halfWords + queueRow.hidden] = hidden;
  }

  /** Everything there is is durable: the end of a start. */
  showAll(): void {
    for (let slot = 0; slot < this.#queueCount; slot++) {
      this.#halves[slot >>> rowShift]![(slot & rowMask) * halfWords + queueRow.hidden] = 0;
    }
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
    const halves = this.#halves[slot >>> rowShift]!;
    const at = (slot & rowMask) * halfWords;
    let tailCount = halves[at + queueRow.queueAndTail]! >>> 16;
    if (tailCount === 0 || tailCount === blockClassEntries[queueRow.blockClassOf(halves[at + queueRow.shape]!)]) {
      this.#growTail(slot);
      tailCount = halves[at + queueRow.queueAndTail]! >>> 16;
    }
    this.#slabs.set(halves[at + queueRow.tail]! + tailCount, position, bytes, tagHash, groupHash, lane, flags);
    halves[at + queueRow.queueAndTail]! += 1 << 16;
    halves[at + queueRow.hidden]! += 1;
    const row = this.#doubles[slot >>> rowShift]!;
    const rowAt = (slot & rowMask) * doubleWords;
    if (row[rowAt + queueRow.begin] === row[rowAt + queueRow.end]) queueRow.setOldest(this.#rows, slot, position);
    row[rowAt + queueRow.end]! += 1;
  }

  /**
   * Where the entry of `offset` lies, for the reads below; good until the next call of anything else here. `offset` is from
   * `beginOffset` on and below `endOffset`. Throws `IndexDamage`.
   */
  entry(slot: number, offset: number): number {
    const halves = this.#halves[slot >>> rowShift]!;
    const at = (slot & rowMask) * halfWords;
    const end = this.#doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + queueRow.end]!;
    const inTail = offset - (end - (halves[at + queueRow.queueAndTail]! >>> 16));
    return inTail >= 0 ? halves[at + queueRow.tail]! + inTail : this.#blocks.entry(slot, offset);
  }

  /**
   * How many entries, this one included, follow `offset` side by side: those of the offsets behind it are `entry + 1` and so
   * on. To be asked right after `entry`. A scan of `[offset, end)` asks once for each such run. At least 1, at most
   * `end - offset`.
   */
  runLength(slot: number, offset: number, end: number): number {
    const tailBegin = this.endOffset(slot) - queueRow.tailCount(this.#rows, slot);
    return Math.min(end, offset >= tailBegin ? end : this.#blocks.runEnd(slot, offset)) - offset;
  }

  position(entry: number): number {
    return this.#slabs.position(entry);
  }

  /** Bytes of the client's message. */
  bytes(entry: number): number {
    return this.#slabs.bytes(entry);
  }

  tagHash(entry: number): number {
    return this.#slabs.tagHash(entry);
  }

  groupHash(entry: number): number {
    return this.#slabs.groupHash(entry);
  }

  lane(entry: number): number {
    return this.#slabs.lane(entry);
  }

  flags(entry: number): number {
    return this.#slabs.flags(entry);
  }

  /** Bytes that `copyEntries` takes for so many entries: `endOffset - beginOffset`. */
  static bytesOf(entryCount: number): number {
    return entryCount * entryBytes;
  }

  /** Writes a queue's entries, wherever they are, one after the other. */
  copyEntries(slot: number, into: Buffer, start: number): void {
    const end = this.endOffset(slot);
    let at = start;
    for (let offset = this.beginOffset(slot), count = 0; offset < end; offset += count) {
      const entry = this.entry(slot, offset);
      count = this.runLength(slot, offset, end);
      this.#slabs.copyOut(entry, count, into, at);
      at += count * entryBytes;
    }
  }

  /** Bytes of the rows in an image that has nothing of single messages. */
  get imageBytesWithoutMessages(): number {
    return this.#queueCount * bareRowBytes;
  }

  /** For a state image: the rows, the entries that are in memory only, and the names of those on disk. */
  writeTo(into: ImageWriter, extent: ImageExtent): void {
    into.u8(extent === "whole" ? 1 : 0);
    into.u32(this.#queueCount);
    if (extent !== "whole") {
      into.fill(this.imageBytesWithoutMessages, (bytes, start) => {
        for (let slot = 0, at = start; slot < this.#queueCount; slot++, at += bareRowBytes) {
          bytes.writeUInt32LE(this.topicId(slot), at);
          bytes.writeUInt16LE(this.queueId(slot), at + 4);
          bytes.writeDoubleLE(this.endOffset(slot), at + 6);
        }
      });
      return;
    }
    into.f64(this.#trimPosition);
    this.#rows.writeTo(into, this.#queueCount);
    this.#blocks.writeTo(into);
    for (let slot = 0; slot < this.#queueCount; slot++) {
      const count = queueRow.tailCount(this.#rows, slot);
      if (count === 0) continue;
      const tail = queueRow.tailOf(this.#rows, slot);
      into.fill(count * entryBytes, (bytes, at) => this.#slabs.copyOut(tail, count, bytes, at));
    }
  }

  /** Fills an empty table. */
  readFrom(from: ImageReader): void {
    const isWhole = from.u8() === 1;
    const queueCount = from.u32();
    if (!isWhole) {
      this.clearPages();
      for (let slot = 0; slot < queueCount; slot++) {
        this.#rows.reach(slot);
        queueRow.clear(this.#rows, slot, from.u32(), from.u16());
        queueRow.restart(this.#rows, slot, from.f64());
        if (this.topicId(slot) === 0) this.#freeQueues.push(slot);
      }
      this.#queueCount = queueCount;
      return;
    }
    this.#queueCount = queueCount;
    this.#trimPosition = from.f64();
    this.#trimUnit = this.#trimPosition === 0 ? -1 : queueRow.unitOf(this.#trimPosition);
    this.#rows.readFrom(from, queueCount);
    const isThere = this.#blocks.readFrom(from);
    for (let slot = 0; slot < queueCount; slot++) {
      if (this.topicId(slot) === 0) this.#freeQueues.push(slot);
      const count = queueRow.tailCount(this.#rows, slot);
      if (count === 0) continue;
      from.take(count * entryBytes, (bytes, at) => {
        // To make room for it may take a look at what is on disk.
        if (isThere) this.#restoreTail(slot, count, bytes, at);
        else queueRow.setTail(this.#rows, slot, 0, 0, 0);
      });
    }
    if (!isThere) this.#lose();
  }

  /** The image names parts of the index that are not there: all entries must come from the log (`recover`, `recovered`). */
  get isLost(): boolean {
    return this.#lostEnds !== undefined;
  }

  /** The log begins there, or before: what lost entries lie below its beginning stay lost. The first call counts. */
  recoverFrom(position: number): void {
    // In the first unit lies the first record there ever was: nothing is missing before it.
    if (this.#recoverUnit < 0) this.#recoverUnit = queueRow.unitOf(position) || -1;
  }

  /** Takes an entry again that was lost; others are left alone. To be called with all of the log, in its order. */
  recover(
    slot: number,
    offset: number,
    position: number,
    bytes: number,
    tagHash: number,
    groupHash: number,
    lane: number,
    flags: number,
  ): void {
    if (offset >= (this.#lostEnds?.[slot] ?? 0)) return;
    if (offset > this.endOffset(slot)) this.#goOnAt(slot, offset, position);
    if (offset === this.endOffset(slot)) this.append(slot, position, bytes, tagHash, groupHash, lane, flags);
  }

  /** All of the log below `position` was seen. */
  recovered(position: number): void {
    const ends = this.#lostEnds;
    this.#lostEnds = undefined;
    for (let slot = 0; ends !== undefined && slot < ends.length; slot++) {
      if (this.topicId(slot) !== 0 && this.endOffset(slot) < ends[slot]!) this.#goOnAt(slot, ends[slot]!, position);
    }
  }

  /** The next entry that the log has, or the end of the queue, is at `offset`: those before are gone, or damage took their records. */
  #goOnAt(slot: number, offset: number, position: number): void {
    if (this.#isGone(slot)) {
      queueRow.restart(this.#rows, slot, offset);
      return;
    }
    // Offsets are known to groups and clients, so they stay. No record lies at that position.
    while (this.endOffset(slot) < offset) this.append(slot, position - 1, 0, 0, 0, 0, EntryFlag.Lost);
  }

  /** Forgets what lies on disk from an earlier life: everything is read from the log. */
  clearPages(): void {
    this.#blocks.clear();
  }

  /** Nothing of this queue was found, and its oldest entry lay before the beginning of the log. */
  #isGone(slot: number): boolean {
    const isEmpty = this.endOffset(slot) === queueRow.beginOffset(this.#rows, slot);
    return isEmpty && queueRow.oldestUnit(this.#rows, slot) <= this.#recoverUnit;
  }

  #lose(): void {
    this.#lostEnds = new Float64Array(this.#queueCount);
    for (let slot = 0; slot < this.#queueCount; slot++) {
      this.#lostEnds[slot] = this.endOffset(slot);
      this.#giveTail(slot);
      queueRow.restart(this.#rows, slot, queueRow.beginOffset(this.#rows, slot));
    }
    this.#blocks.clear();
  }

  /** The log begins behind the oldest entry of this queue, or near it. */
  #trimRow(slot: number): void {
    const begin = this.firstAtOrAbove(slot, this.#trimPosition);
    this.trim(slot, begin);
    if (begin < this.endOffset(slot)) queueRow.setOldest(this.#rows, slot, this.position(this.entry(slot, begin)));
  }

  /** Makes room for another entry in memory; may write others, of this queue too, to disk. */
  #growTail(slot: number): void {
    let count = queueRow.tailCount(this.#rows, slot);
    let blockClass = 0;
    if (count === blockClassEntries[blockClassMax]) {
      this.#blocks.close(slot);
      this.#giveTail(slot);
      // It filled a large one: it will fill another.
      blockClass = blockClassMax;
    } else if (count > 0) blockClass = queueRow.blockClass(this.#rows, slot) + 1;
    if (this.#tails.isFull(blockClass)) {
      this.#tails.takeOldest(this.#touch, this.#spill);
      if (count > 0 && queueRow.tailCount(this.#rows, slot) === 0) blockClass = 0;
    }
    count = queueRow.tailCount(this.#rows, slot);
    const tail = this.#tails.take(blockClass, slot);
    if (count > 0) {
      this.#slabs.move(queueRow.tailOf(this.#rows, slot), tail, count);
      this.#tails.give(queueRow.tailOf(this.#rows, slot));
    }
    queueRow.setTail(this.#rows, slot, tail, count, blockClass);
  }

  /**
   * Reads the rows of many queues, one right after the other. They lie far apart, and memory serves many such reads at once; in
   * between two spills each would be waited for by itself.
   */
  readonly #touch = (owners: Uint32Array, count: number): void => {
    let touched = 0;
    for (let i = 0; i < count; i++) {
      const slot = owners[i]! - 1;
      if (slot < 0) continue;
      const halves = this.#halves[slot >>> rowShift]!;
      const at = (slot & rowMask) * halfWords;
      // Half of the rows lie in two cache lines.
      touched ^= halves[at]! ^ halves[at + halfWords - 1]!;
    }
    this.#touched[0] = touched;
  };

  /** The memory of a queue's tail is needed. */
  readonly #spill = (slot: number): void => {
    // What the log has no more is not written, and nothing that only it refers to is read.
    this.beginOffset(slot);
    if (queueRow.tailCount(this.#rows, slot) > 0) this.#blocks.spill(slot);
  };

  #giveTail(slot: number): void {
    if (queueRow.tailCount(this.#rows, slot) > 0) this.#tails.give(queueRow.tailOf(this.#rows, slot));
    queueRow.setTail(this.#rows, slot, 0, 0, 0);
  }

  #restoreTail(slot: number, count: number, bytes: Buffer, at: number): void {
    let blockClass = 0;
    while (blockClassEntries[blockClass]! < count) blockClass++;
    queueRow.setTail(this.#rows, slot, 0, 0, 0);
    if (this.#tails.isFull(blockClass)) this.#tails.takeOldest(this.#touch, this.#spill);
    const tail = this.#tails.take(blockClass, slot);
    this.#slabs.copyIn(tail, count, bytes, at);
    queueRow.setTail(this.#rows, slot, tail, count, blockClass);
  }
}
