import { strict as assert } from "node:assert";
import { endianness } from "node:os";
import { crc32 } from "../commit-log/crc32.ts";
import type { LogStretch } from "../commit-log/log-history.ts";
import { type Storage, StorageError, type StorageFile, writeWhole } from "../storage/storage.ts";

// Entries are sorted as 64-bit numbers whose upper half is the key.
assert(endianness() === "LE", "popmesh runs on little-endian machines");

export const indexDirectory = "look-up";

/**
 * The index of one sealed stretch of the log: entries (u32 distance from its beginning, u32 key), sorted by key, then distance.
 * 8 bytes for each key of each record. A cache: without it the stretch itself is looked through.
 *
 *     0  u32 magic
 *     4  u32 nonce of the stretch's file: an index of another life of it is worth nothing
 *     8  f64 first log position
 *     16 f64 position behind the last
 *     24 u32 entries
 *     28 u32 CRC of the entries
 *     32 u32 CRC of this header
 *     36 u32 0
 */
const headerBytes = 40;
const magic = 0xf150_4d6b;
const entryBytes = 8;

export function indexPath(stretch: LogStretch): string {
  return `${indexDirectory}/${String(stretch.from).padStart(20, "0")}.idx`;
}

/** Collects the entries of a stretch. */
export class StretchIndexBuilder {
  readonly #from: number;
  #entries = new Uint32Array(1 << 16);
  #count = 0;

  constructor(from: number) {
    this.#from = from;
  }

  add(key: number, position: number): void {
    if (this.#count * 2 === this.#entries.length) {
      const wider = new Uint32Array(this.#entries.length * 2);
      wider.set(this.#entries);
      this.#entries = wider;
    }
    this.#entries[this.#count * 2] = position - this.#from;
    this.#entries[this.#count * 2 + 1] = key;
    this.#count++;
  }

  /** Writes the index; it is there completely or not at all. Needs no sync: what a crash leaves in part is built again. */
  write(storage: Storage, stretch: LogStretch): void {
    new BigUint64Array(this.#entries.buffer, 0, this.#count).sort();
    const entries = Buffer.from(this.#entries.buffer, 0, this.#count * entryBytes);
    const header = Buffer.alloc(headerBytes);
    header.writeUInt32LE(magic, 0);
    header.writeUInt32LE(stretch.nonce, 4);
    header.writeDoubleLE(stretch.from, 8);
    header.writeDoubleLE(stretch.to, 16);
    header.writeUInt32LE(this.#count, 24);
    header.writeUInt32LE(crc32(entries, 0, entries.length), 28);
    header.writeUInt32LE(crc32(header, 0, 32), 32);
    storage.makeDirectory(indexDirectory);
    const path = indexPath(stretch);
    const file = storage.open(`${path}.tmp`, { create: true });
    try {
      file.truncate(0);
      writeWhole(file, entries, headerBytes);
      writeWhole(file, header, 0);
    } catch (error) {
      file.close();
      storage.unlink(`${path}.tmp`);
      throw error;
    }
    file.close();
    storage.rename(`${path}.tmp`, path);
  }
}

/** A written index, opened for one look-up. */
export class StretchIndex {
  readonly #file: StorageFile;
  readonly #from: number;
  readonly #count: number;
  readonly #entry = Buffer.alloc(entryBytes);

  private constructor(file: StorageFile, from: number, count: number) {
    this.#file = file;
    this.#from = from;
    this.#count = count;
  }

  /** Undefined when there is none that can be read, or none of exactly this stretch. */
  static open(storage: Storage, stretch: LogStretch): StretchIndex | undefined {
    const path = indexPath(stretch);
    if (!storage.exists(path)) return undefined;
    let file: StorageFile | undefined;
    try {
      file = storage.open(path, { create: false });
      const index = StretchIndex.#whole(file, stretch);
      if (index === undefined) file.close();
      return index;
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      file?.close();
      return undefined;
    }
  }

  static #whole(file: StorageFile, stretch: LogStretch): StretchIndex | undefined {
    const header = Buffer.alloc(headerBytes);
    const isWhole =
      file.read(header, 0, headerBytes, 0) === headerBytes &&
      header.readUInt32LE(0) === magic &&
      header.readUInt32LE(32) === crc32(header, 0, 32) &&
      header.readUInt32LE(4) === stretch.nonce &&
      header.readDoubleLE(8) === stretch.from &&
      header.readDoubleLE(16) === stretch.to &&
      file.sizeBytes() === headerBytes + header.readUInt32LE(24) * entryBytes;
    return isWhole ? new StretchIndex(file, stretch.from, header.readUInt32LE(24)) : undefined;
  }

  /** Reads everything and compares: true when the entries are those that were written. For a check of the directory. */
  isIntact(): boolean {
    const header = Buffer.alloc(headerBytes);
    const entries = Buffer.alloc(this.#count * entryBytes);
    this.#file.read(header, 0, headerBytes, 0);
    return (
      this.#file.read(entries, 0, entries.length, headerBytes) === entries.length &&
      header.readUInt32LE(28) === crc32(entries, 0, entries.length)
    );
  }

  /** Log positions of the records that have `key`, in order. */
  positions(key: number): number[] {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keyAt(middle) < key) low = middle + 1;
      else high = middle;
    }
    const found: number[] = [];
    for (let at = low; at < this.#count && this.#keyAt(at) === key; at++) {
      const position = this.#from + this.#entry.readUInt32LE(0);
      if (position !== found.at(-1)) found.push(position);
    }
    return found;
  }

  close(): void {
    this.#file.close();
  }

  #keyAt(index: number): number {
    const at = headerBytes + index * entryBytes;
    if (this.#file.read(this.#entry, 0, entryBytes, at) !== entryBytes) {
      throw new StorageError("io", `${this.#file.path} is shorter than it says`);
    }
    return this.#entry.readUInt32LE(4);
  }
}
