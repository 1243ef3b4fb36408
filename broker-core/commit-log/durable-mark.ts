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
  readonly #file: StorageFile;
  #count: number;
  #position: number;

  private constructor(file: StorageFile, count: number, position: number) {
    this.#file = file;
    this.#count = count;
    this.#position = position;
  }

  /** Opens or makes the file. */
  static async open(storage: Storage): Promise<DurableMark> {
    const isNew = !storage.exists(path);
    const file = storage.open(path, { create: true });
    const mark = isNew ? new DurableMark(file, 0, 0) : DurableMark.#read(file);
    if (isNew) {
      writeWhole(file, Buffer.alloc(2 * slotBytes), 0);
      await file.sync();
      await storage.syncDirectory(logDirectory);
    }
    return mark;
  }

  static #read(file: StorageFile): DurableMark {
    const bytes = Buffer.alloc(2 * slotBytes);
    let [count, position] = [0, 0];
    file.read(bytes, 0, bytes.length, 0);
    for (const at of [0, slotBytes]) {
      if (bytes.readUInt32BE(at) !== magic || bytes.readUInt32BE(at + 24) !== crc32(bytes, at, at + 24)) continue;
      if (readUint53(bytes, at + 8) <= count) continue;
      count = readUint53(bytes, at + 8);
      position = readUint53(bytes, at + 16);
    }
    return new DurableMark(file, count, position);
  }

  /** The highest position known from here; 0 when nothing is readable. */
  get position(): number {
    return this.#position;
  }

  /** Resolves when the mark is on disk. Throws or rejects with `StorageError`. */
  async write(position: number): Promise<void> {
    const slot = Buffer.alloc(slotBytes);
    const count = this.#count + 1;
    slot.writeUInt32BE(magic, 0);
    writeUint53(slot, count, 8);
    writeUint53(slot, position, 16);
    slot.writeUInt32BE(crc32(slot, 0, 24), 24);
    writeWhole(this.#file, slot, (count % 2) * slotBytes);
    this.#count = count;
    await this.#file.sync();
    this.#position = position;
  }

  close(): void {
    this.#file.close();
  }
}
