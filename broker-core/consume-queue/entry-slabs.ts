import { entryBytes } from "./index-entry.ts";

const slabShift = 12;
/** Entries of one slab: 96 KiB. */
export const slabEntries = 1 << slabShift;
const slabMask = slabEntries - 1;
const doubles = entryBytes / 8;
const words = entryBytes / 4;

/**
 * Memory for index entries, in slabs. An entry is a row, not a place in six columns: one cache line each for a write and for
 * a read, which is what counts when a million queues take turns. Entries are numbered over all slabs.
 */
export class EntrySlabs {
  readonly #doubles: Float64Array[] = [];
  readonly #words: Uint32Array[] = [];
  readonly #bytes: Buffer[] = [];
  readonly #free: number[] = [];

  /** Slabs in use. */
  get count(): number {
    return this.#bytes.length - this.#free.length;
  }

  /** Takes a slab and returns its number; its entries are from `slab * slabEntries` on. */
  take(): number {
    const known = this.#free.pop();
    if (known !== undefined) return known;
    const bytes = Buffer.allocUnsafeSlow(slabEntries * entryBytes);
    this.#bytes.push(bytes);
    this.#doubles.push(new Float64Array(bytes.buffer, bytes.byteOffset, slabEntries * doubles));
    this.#words.push(new Uint32Array(bytes.buffer, bytes.byteOffset, slabEntries * words));
    return this.#bytes.length - 1;
  }

  give(slab: number): void {
    this.#free.push(slab);
  }

  position(entry: number): number {
    return this.#doubles[entry >>> slabShift]![(entry & slabMask) * doubles]!;
  }

  bytes(entry: number): number {
    return this.#words[entry >>> slabShift]![(entry & slabMask) * words + 2]!;
  }

  tagHash(entry: number): number {
    return this.#words[entry >>> slabShift]![(entry & slabMask) * words + 3]!;
  }

  groupHash(entry: number): number {
    return this.#words[entry >>> slabShift]![(entry & slabMask) * words + 4]!;
  }

  lane(entry: number): number {
    return this.#words[entry >>> slabShift]![(entry & slabMask) * words + 5]! & 0xffff;
  }

  flags(entry: number): number {
    return this.#words[entry >>> slabShift]![(entry & slabMask) * words + 5]! >>> 16;
  }

  set(
    entry: number,
    position: number,
    bytes: number,
    tagHash: number,
    groupHash: number,
    lane: number,
    flags: number,
  ): void {
    const slab = entry >>> slabShift;
    const at = entry & slabMask;
    this.#doubles[slab]![at * doubles] = position;
    const row = this.#words[slab]!;
    row[at * words + 2] = bytes;
    row[at * words + 3] = tagHash;
    row[at * words + 4] = groupHash;
    row[at * words + 5] = lane | (flags << 16);
  }

  /** Copies entries that lie side by side. */
  move(from: number, to: number, count: number): void {
    const start = (from & slabMask) * entryBytes;
    this.#bytes[from >>> slabShift]!.copy(
      this.#bytes[to >>> slabShift]!,
      (to & slabMask) * entryBytes,
      start,
      start + count * entryBytes,
    );
  }

  copyOut(entry: number, count: number, into: Buffer, at: number): void {
    const start = (entry & slabMask) * entryBytes;
    this.#bytes[entry >>> slabShift]!.copy(into, at, start, start + count * entryBytes);
  }

  copyIn(entry: number, count: number, from: Buffer, at: number): void {
    from.copy(this.#bytes[entry >>> slabShift]!, (entry & slabMask) * entryBytes, at, at + count * entryBytes);
  }
}
