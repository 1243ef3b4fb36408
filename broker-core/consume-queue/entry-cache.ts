import { type EntrySlabs, slabEntries } from "./entry-slabs.ts";
import { blockEntriesMax, entryBytes } from "./index-entry.ts";

const runsPerSlab = slabEntries / blockEntriesMax;

/**
 * Entries that are on disk, kept in memory for readers: runs of up to 256, found by the address of their block, which never
 * names another one. The place that was filled longest ago is filled next.
 */
export class EntryCache {
  readonly #slabs: EntrySlabs;
  readonly #runByAddress = new Map<number, number>();
  /** By run: first entry, and the address it was filled from; -1: never filled. */
  readonly #entries: number[] = [];
  readonly #addresses: Float64Array;
  readonly #firsts: Float64Array;
  readonly #ends: Float64Array;
  #next = 0;

  constructor(slabs: EntrySlabs, bytesMax: number) {
    this.#slabs = slabs;
    const runsMax = Math.max(2, Math.floor(bytesMax / (slabEntries * entryBytes))) * runsPerSlab;
    this.#addresses = new Float64Array(runsMax).fill(-1);
    this.#firsts = new Float64Array(runsMax);
    this.#ends = new Float64Array(runsMax);
  }

  /** The run of an address; -1 when it is not here. */
  find(address: number): number {
    return this.#runByAddress.get(address) ?? -1;
  }

  /** A run for the entries `[first, end)` of an address, to be filled by the caller. */
  add(address: number, first: number, end: number): number {
    const run = this.#next;
    this.#next = (run + 1) % this.#addresses.length;
    if (run === this.#entries.length) {
      const slab = this.#slabs.take();
      for (let i = 0; i < runsPerSlab; i++) this.#entries.push(slab * slabEntries + i * blockEntriesMax);
    }
    this.#runByAddress.delete(this.#addresses[run]!);
    this.#runByAddress.set(address, run);
    this.#addresses[run] = address;
    this.#firsts[run] = first;
    this.#ends[run] = end;
    return run;
  }

  /** First entry of a run. */
  entry(run: number): number {
    return this.#entries[run]!;
  }

  first(run: number): number {
    return this.#firsts[run]!;
  }

  end(run: number): number {
    return this.#ends[run]!;
  }
}
