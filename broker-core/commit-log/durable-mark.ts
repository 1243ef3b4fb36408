import { type Storage, type StorageFile, writeWhole } from "../storage/storage.ts";
import { crc32 } from "./crc32.ts";
import { readUint53, writeUint53 } from "./log-frame.ts";
import { logDirectory } from "./segment.ts";

const path = `${logDirectory}/durable.mark`;
const slotBytes = 512;
const magic = 0xf1504d6d;

/**
 * Remembers, outside the segments, up to where the log was on disk when it last came to rest: only so can a start tell
 * damage to the last acknowledged batch, or a shortened last file, from a tail that was never finished. Two slots are written
 * in turn, so that a torn write leaves the other.
 */
export class DurableMark {
  readonly #storage: Storage;
  #file: StorageFile | undefined;
  #count = 0;
  #position = 0;

  private constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** Reads the file, if there is one. */
  static open(storage: Storage): DurableMark {
    const mark = new DurableMark(storage);
    if (storage.exists(path)) mark.#read();
    return mark;
  }

  #read(): void {
    this.#file = this.#storage.open(path, { create: false });
    const bytes = Buffer.alloc(2 * slotBytes);
    this.#file.read(bytes, 0, bytes.length, 0);
    for (const at of [0, slotBytes]) {
      if (bytes.readUInt32BE(at) !== magic || bytes.readUInt32BE(at + 24) !== crc32(bytes, at, at + 24)) continue;
      if (readUint53(bytes, at + 8) <= this.#count) continue;
      this.#count = readUint53(bytes, at + 8);
      this.#position = readUint53(bytes, at + 16);
    }
  }

  /** Makes the file where there is none. */
  async make(): Promise<void> {
    if (this.#file !== undefined) return;
    this.#file = this.#storage.open(path, { create: true });
    writeWhole(this.#file, Buffer.alloc(2 * slotBytes), 0);
    await this.#file.sync();
    await this.#storage.syncDirectory(logDirectory);
  }

  /** The highest position known from here; 0 when nothing is readable. */
  get position(): number {
    return this.#position;
  }

  /** Resolves when the mark is on disk. After `make`. Rejects with `StorageError`. */
  async write(position: number): Promise<void> {
    const file = this.#file!;
    const slot = Buffer.alloc(slotBytes);
    const count = this.#count + 1;
    slot.writeUInt32BE(magic, 0);
    writeUint53(slot, count, 8);
    writeUint53(slot, position, 16);
    slot.writeUInt32BE(crc32(slot, 0, 24), 24);
    writeWhole(file, slot, (count % 2) * slotBytes);
    this.#count = count;
    await file.sync();
    this.#position = position;
  }

  close(): void {
    this.#file?.close();
  }
}
