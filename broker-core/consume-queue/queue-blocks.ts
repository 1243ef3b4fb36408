import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import type { RowChunks } from "../dispatch/row-chunks.ts";
import { BlockDirectory } from "./block-directory.ts";
import { EntryCache } from "./entry-cache.ts";
import type { EntrySlabs } from "./entry-slabs.ts";
import {
  blockBefore,
  blockBytes,
  blockBytesMax,
  blockCount,
  blockFirst,
  blockHeadBytes,
  isBlockIntact,
  sealBlock,
} from "./index-block.ts";
import { blockEntriesMax, entryBytes } from "./index-entry.ts";
import { IndexDamage, type IndexPages } from "./index-pages.ts";
import * as queueRow from "./queue-row.ts";

/** Longer chains are put together: whoever reads a queue reads its whole chain. */
const chainDepthMax = 32;
/** Read at first of a block whose length is not known. */
const firstReadBytes = blockBytes(8);

/**
 * The part of the consume queues that is on disk. A queue's entries lie in this order:
 *
 *     directory: blocks of mostly 256 entries | chain: up to 255 entries in up to 32 blocks | tail, in memory
 *
 * A block that fills while its queue is busy goes into the directory. What is written because its memory was needed is
 * short, and goes into the chain: each block names the one before, so a queue with few messages needs no directory.
 */
export class QueueBlocks {
  readonly #rows: RowChunks;
  readonly #slabs: EntrySlabs;
  readonly #pages: IndexPages;
  readonly #cache: EntryCache;
  /** By queue. */
  readonly #directories = new Map<number, BlockDirectory>();
  readonly #block = Buffer.alloc(blockBytesMax);
  /** Entries of a chain while they are gathered; as a block, so that they can be written as one. */
  readonly #gathered = Buffer.alloc(blockBytesMax);
  // The run that was read last: a scan finds its next entry here.
  #lastSlot = -1;
  #lastFirst = 0;
  #lastEnd = 0;
  #lastEntry = 0;

  constructor(rows: RowChunks, slabs: EntrySlabs, pages: IndexPages, cacheBytes: number) {
    this.#rows = rows;
    this.#slabs = slabs;
    this.#pages = pages;
    this.#cache = new EntryCache(slabs, cacheBytes);
  }

  /** The entry of an offset that is not in the tail. Throws `IndexDamage`. */
  entry(slot: number, offset: number): number {
    if (slot !== this.#lastSlot || offset < this.#lastFirst || offset >= this.#lastEnd) this.#turnTo(slot, offset);
    return this.#lastEntry + offset - this.#lastFirst;
  }

  /** Offset behind the entries that lie side by side from that of `offset` on. */
  runEnd(slot: number, offset: number): number {
    this.entry(slot, offset);
    return this.#lastEnd;
  }

  /** A block is full, and its queue goes on: its 256 entries go to disk, and stay in memory for readers. */
  close(slot: number): void {
    const directory = this.#directoryOf(slot);
    this.#emptyChain(slot, directory);
    const { first, count, entry } = this.#tail(slot);
    this.#slabs.copyOut(entry, count, this.#block, blockHeadBytes);
    const address = this.#write(this.#block, slot, first, count, queueRow.noBlock);
    directory.push(first, count, address, this.#slabs.position(entry));
    this.#slabs.move(entry, this.#cache.entry(this.#cache.add(address, first, first + count)), count);
    this.#lastSlot = -1;
  }

  /** The memory of the tail block is needed: its entries go to disk, and the queue has no tail. */
  spill(slot: number): void {
    const { first, count, entry } = this.#tail(slot);
    const depth = queueRow.chainDepth(this.#rows, slot);
    const before = queueRow.chainCount(this.#rows, slot);
    this.#lastSlot = -1;
    if (depth < chainDepthMax && before + count < blockEntriesMax) {
      this.#slabs.copyOut(entry, count, this.#block, blockHeadBytes);
      const address = this.#write(this.#block, slot, first, count, queueRow.chainHead(this.#rows, slot));
      queueRow.setChain(this.#rows, slot, address, depth + 1, before + count);
    } else this.#spillWithChain(slot, first, count, entry);
    queueRow.setTail(this.#rows, slot, 0, 0, 0);
  }

  /** Drops blocks that hold offsets below `begin` only. */
  dropBelow(slot: number, begin: number): void {
    if (slot === this.#lastSlot) this.#lastSlot = -1;
    const directory = this.#directories.get(slot);
    if (directory !== undefined) {
      while (!directory.isEmpty && begin > directory.begin) {
        const block = directory.find(directory.begin);
        if (directory.endOf(block) > begin) break;
        this.#pages.drop(directory.address(block), blockBytes(directory.endOf(block) - directory.first(block)));
        directory.dropFirst();
      }
      if (directory.isEmpty) this.#directories.delete(slot);
    }
    if (queueRow.chainDepth(this.#rows, slot) > 0 && begin >= this.#chainEnd(slot)) this.#dropChain(slot);
  }

  /** Drops all that a queue has on disk. */
  dropAll(slot: number): void {
    this.dropBelow(slot, Number.POSITIVE_INFINITY);
  }

  /** Files whose entries all lie below a log position go, whoever still names them. */
  dropFilesBelow(position: number): void {
    this.#pages.dropBelow(position);
    this.#lastSlot = -1;
  }

  /**
   * The first offset that is not certainly below a log position, looking no further than the run in which `offset` lies;
   * what lies in files that were dropped is below.
   */
  skipBelow(slot: number, offset: number, position: number): number {
    const directory = this.#directories.get(slot);
    if (directory !== undefined && offset < directory.end) {
      const last = directory.findPosition(position);
      const block = Math.max(last, directory.find(offset));
      if (!this.#pages.has(directory.address(block))) return directory.endOf(block);
      return Math.max(offset, directory.first(block));
    }
    if (!this.#pages.has(queueRow.chainHead(this.#rows, slot))) return this.#chainEnd(slot);
    const known = this.#cache.find(queueRow.chainHead(this.#rows, slot));
    if (known >= 0) this.#remember(slot, known);
    else this.#loadChain(slot);
    return Math.max(offset, this.#lastFirst);
  }

  writeTo(into: ImageWriter): void {
    into.u32(this.#directories.size);
    for (const [slot, directory] of this.#directories) {
      into.u32(slot);
      directory.writeTo(into);
    }
    this.#pages.writeTo(into);
  }

  /** False when the disk has not all that the image names. */
  readFrom(from: ImageReader): boolean {
    for (let left = from.u32(); left > 0; left--) {
      const slot = from.u32();
      this.#directories.set(slot, BlockDirectory.readFrom(from));
    }
    return this.#pages.readFrom(from);
  }

  /** Forgets all blocks of all queues: the rows name none any more. */
  clear(): void {
    this.#directories.clear();
    this.#pages.clear();
    this.#lastSlot = -1;
  }

  #turnTo(slot: number, offset: number): void {
    const directory = this.#directories.get(slot);
    if (directory !== undefined && offset < directory.end) {
      const block = directory.find(offset);
      const address = directory.address(block);
      const known = this.#cache.find(address);
      if (known >= 0) this.#remember(slot, known);
      else this.#loadBlock(slot, address, directory.first(block), directory.endOf(block));
    } else if (queueRow.chainDepth(this.#rows, slot) > 0) {
      const known = this.#cache.find(queueRow.chainHead(this.#rows, slot));
      if (known >= 0) this.#remember(slot, known);
      else this.#loadChain(slot);
    }
    if (slot !== this.#lastSlot || offset < this.#lastFirst || offset >= this.#lastEnd) {
      this.#lastSlot = -1;
      throw new IndexDamage(
        `queue ${slot} has no entry for offset ${offset}; it has [${queueRow.beginOffset(this.#rows, slot)}, ` +
          `${queueRow.endOffset(this.#rows, slot)})`,
      );
    }
  }

  #remember(slot: number, run: number): void {
    this.#lastSlot = slot;
    this.#lastFirst = this.#cache.first(run);
    this.#lastEnd = this.#cache.end(run);
    this.#lastEntry = this.#cache.entry(run);
  }

  #loadBlock(slot: number, address: number, first: number, end: number): void {
    const length = blockBytes(end - first);
    const got = this.#pages.read(address, this.#block, length);
    const isIt =
      got === length &&
      isBlockIntact(this.#block, 0, address, slot) &&
      blockBytes(blockCount(this.#block, 0)) === length;
    if (!isIt) throw this.#pages.damage(address, `no block of ${end - first} entries of queue ${slot}`);
    const run = this.#cache.add(address, first, end);
    this.#slabs.copyIn(this.#cache.entry(run), end - first, this.#block, blockHeadBytes);
    this.#remember(slot, run);
  }

  #loadChain(slot: number): void {
    const head = queueRow.chainHead(this.#rows, slot);
    const end = this.#chainEnd(slot);
    const from = this.#gatherChain(slot);
    const run = this.#cache.add(head, from, end);
    const skipped = from - (end - queueRow.chainCount(this.#rows, slot));
    this.#slabs.copyIn(this.#cache.entry(run), end - from, this.#gathered, blockHeadBytes + skipped * entryBytes);
    this.#remember(slot, run);
  }

  /**
   * Reads the blocks of a chain into `#gathered`, each entry at its place among all of the chain. What lies below the
   * beginning of the queue is left out. Returns the first offset that was read.
   */
  #gatherChain(slot: number): number {
    const end = this.#chainEnd(slot);
    const first = end - queueRow.chainCount(this.#rows, slot);
    const begin = Math.max(first, queueRow.beginOffset(this.#rows, slot));
    let reached = end;
    for (let address = queueRow.chainHead(this.#rows, slot); reached > begin; ) {
      if (!this.#pages.has(address)) return reached;
      this.#readBlock(slot, address, reached);
      const count = blockCount(this.#block, 0);
      reached -= count;
      this.#block.copy(
        this.#gathered,
        blockHeadBytes + (reached - first) * entryBytes,
        blockHeadBytes,
        blockBytes(count),
      );
      address = blockBefore(this.#block, 0);
    }
    return reached;
  }

  /** Reads the block that ends at offset `end` into `#block`. */
  #readBlock(slot: number, address: number, end: number): void {
    let got = this.#pages.read(address, this.#block, firstReadBytes);
    const length = got < blockHeadBytes ? 0 : blockBytes(blockCount(this.#block, 0));
    if (length > got) got = this.#pages.read(address, this.#block, length);
    const isIt =
      length > 0 &&
      got >= length &&
      isBlockIntact(this.#block, 0, address, slot) &&
      blockFirst(this.#block, 0) + blockCount(this.#block, 0) === end;
    if (!isIt) throw this.#pages.damage(address, `no block of queue ${slot} that ends at offset ${end}`);
  }

  /** The tail and the chain become one block; with 256 entries or more, one in the directory and a rest. */
  #spillWithChain(slot: number, first: number, count: number, entry: number): void {
    const from = this.#gatherChain(slot);
    const before = first - from;
    const chainFirst = first - queueRow.chainCount(this.#rows, slot);
    this.#dropChain(slot);
    const bytes = this.#gathered;
    bytes.copyWithin(blockHeadBytes, blockHeadBytes + (from - chainFirst) * entryBytes, blockBytes(first - chainFirst));
    const fitting = Math.min(count, blockEntriesMax - before);
    this.#slabs.copyOut(entry, fitting, bytes, blockBytes(before));
    const position = bytes.readDoubleLE(blockHeadBytes);
    const address = this.#write(bytes, slot, from, before + fitting, queueRow.noBlock);
    if (before + fitting < blockEntriesMax) {
      queueRow.setChain(this.#rows, slot, address, 1, before + fitting);
      return;
    }
    this.#directoryOf(slot).push(from, blockEntriesMax, address, position);
    if (fitting === count) return;
    this.#slabs.copyOut(entry + fitting, count - fitting, bytes, blockHeadBytes);
    const rest = this.#write(bytes, slot, from + blockEntriesMax, count - fitting, queueRow.noBlock);
    queueRow.setChain(this.#rows, slot, rest, 1, count - fitting);
  }

  /** What is in the chain comes before what is about to go into the directory. */
  #emptyChain(slot: number, directory: BlockDirectory): void {
    if (queueRow.chainDepth(this.#rows, slot) === 0) return;
    const end = this.#chainEnd(slot);
    const chainFirst = end - queueRow.chainCount(this.#rows, slot);
    const from = this.#gatherChain(slot);
    this.#dropChain(slot);
    if (from === end) return;
    const bytes = this.#gathered;
    bytes.copyWithin(blockHeadBytes, blockHeadBytes + (from - chainFirst) * entryBytes, blockBytes(end - chainFirst));
    const position = bytes.readDoubleLE(blockHeadBytes);
    directory.push(from, end - from, this.#write(bytes, slot, from, end - from, queueRow.noBlock), position);
  }

  #dropChain(slot: number): void {
    let address = queueRow.chainHead(this.#rows, slot);
    for (let left = queueRow.chainDepth(this.#rows, slot); left > 0 && this.#pages.has(address); left--) {
      if (this.#pages.read(address, this.#block, blockHeadBytes) < blockHeadBytes) break;
      const count = blockCount(this.#block, 0);
      this.#pages.drop(address, blockBytes(count));
      address = blockBefore(this.#block, 0);
    }
    queueRow.setChain(this.#rows, slot, queueRow.noBlock, 0, 0);
  }

  #write(bytes: Buffer, slot: number, first: number, count: number, before: number): number {
    const length = blockBytes(count);
    const address = this.#pages.next(length);
    sealBlock(bytes, 0, address, slot, first, count, before);
    this.#pages.append(bytes, length, bytes.readDoubleLE(length - entryBytes));
    return address;
  }

  /** What of the tail the queue still has. */
  #tail(slot: number): { readonly first: number; readonly count: number; readonly entry: number } {
    const end = queueRow.endOffset(this.#rows, slot);
    const first = this.#chainEnd(slot);
    const from = Math.max(first, queueRow.beginOffset(this.#rows, slot));
    return { first: from, count: end - from, entry: queueRow.tailOf(this.#rows, slot) + from - first };
  }

  /** Offset behind the chain, where the tail begins. */
  #chainEnd(slot: number): number {
    return queueRow.endOffset(this.#rows, slot) - queueRow.tailCount(this.#rows, slot);
  }

  #directoryOf(slot: number): BlockDirectory {
    let directory = this.#directories.get(slot);
    if (directory === undefined) {
      directory = new BlockDirectory();
      this.#directories.set(slot, directory);
    }
    return directory;
  }
}
