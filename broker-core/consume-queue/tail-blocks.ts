import { type EntrySlabs, slabEntries } from "./entry-slabs.ts";
import { blockEntriesMax, entryBytes } from "./index-entry.ts";

/**
 * Entries of a block, by class: a queue with few messages costs little, one with many is copied five times at most. Where memory is
 * too short for all queues, a block is written out when as much memory as there is was given to others: the smaller the first one
 * is, the later that is, and the more entries it has by then.
 */
export const blockClassEntries = [2, 4, 16, 64, blockEntriesMax] as const;
export const blockClassMax = blockClassEntries.length - 1;

/** The blocks of one slab: of one class, given out from front to back. */
interface BlockSlab {
  readonly slab: number;
  readonly blockEntries: number;
  /** Queue of each block, plus one; 0: not in use. */
  readonly owners: Uint32Array;
  taken: number;
  used: number;
}

/**
 * Memory for the youngest entries of each queue. Blocks of a slab are given out once; a slab whose blocks are all given back
 * is free for any class. When the memory is used up the oldest slab is emptied (`takeOldest`), so what is written to disk is
 * what was not written to for the longest time, in pieces of 96 KiB.
 */
export class TailBlocks {
  readonly #slabs: EntrySlabs;
  readonly #slabsMax: number;
  /** By class: the slab whose blocks are given out. */
  readonly #open: (BlockSlab | undefined)[] = blockClassEntries.map(() => undefined);
  /** By number of the slab. */
  readonly #bySlab: (BlockSlab | undefined)[] = [];
  /** Oldest first. */
  readonly #inOrder = new Set<BlockSlab>();

  constructor(slabs: EntrySlabs, bytesMax: number) {
    this.#slabs = slabs;
    this.#slabsMax = Math.max(1, Math.floor(bytesMax / (slabEntries * entryBytes)));
  }

  /** Whether the next block of this class needs memory that only `takeOldest` can give. */
  isFull(blockClass: number): boolean {
    const open = this.#open[blockClass];
    return (open === undefined || open.taken === open.owners.length) && this.#inOrder.size >= this.#slabsMax;
  }

  /** A block for a queue: its first entry. */
  take(blockClass: number, queue: number): number {
    let open = this.#open[blockClass];
    if (open === undefined || open.taken === open.owners.length) open = this.#openSlab(blockClass);
    const block = open.taken++;
    open.owners[block] = queue + 1;
    open.used++;
    return open.slab * slabEntries + block * open.blockEntries;
  }

  give(entry: number): void {
    const slab = this.#bySlab[Math.floor(entry / slabEntries)]!;
    slab.owners[(entry % slabEntries) / slab.blockEntries] = 0;
    slab.used--;
    if (slab.used === 0 && slab.taken === slab.owners.length) this.#release(slab);
  }

  /**
   * Gives back the blocks of the slab that was opened first. `empty` is called for the queue of each before, and `announce`
   * before that with all of them: the owners, plus one, 0: none.
   */
  takeOldest(announce: (owners: Uint32Array, count: number) => void, empty: (queue: number) => void): void {
    const [oldest] = this.#inOrder;
    if (oldest === undefined) return;
    announce(oldest.owners, oldest.taken);
    for (let block = 0; block < oldest.taken; block++) {
      const owner = oldest.owners[block]!;
      if (owner !== 0) empty(owner - 1);
    }
    this.#release(oldest);
  }

  #openSlab(blockClass: number): BlockSlab {
    const before = this.#open[blockClass];
    const blockEntries = blockClassEntries[blockClass]!;
    const opened = {
      slab: this.#slabs.take(),
      blockEntries,
      owners: new Uint32Array(slabEntries / blockEntries),
      taken: 0,
      used: 0,
    };
    this.#open[blockClass] = opened;
    this.#bySlab[opened.slab] = opened;
    this.#inOrder.add(opened);
    if (before !== undefined && before.used === 0 && this.#inOrder.has(before)) this.#release(before);
    return opened;
  }

  #release(slab: BlockSlab): void {
    if (!this.#inOrder.delete(slab)) return;
    const open = this.#open.indexOf(slab);
    if (open >= 0) this.#open[open] = undefined;
    this.#bySlab[slab.slab] = undefined;
    this.#slabs.give(slab.slab);
  }
}
