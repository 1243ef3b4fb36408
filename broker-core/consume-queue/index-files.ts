import type { Log } from "../../proto/runtime/log.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { crc32 } from "../commit-log/crc32.ts";
import { writeUint53 } from "../commit-log/log-frame.ts";
import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { quarantine } from "../storage/quarantine.ts";
import { type Storage, StorageError, type StorageFile } from "../storage/storage.ts";
import { IndexDamage, type IndexPages } from "./index-pages.ts";

export const indexDirectory = "index";
const fileName = /^\d{20}\.idx$/;

/** u32 magic, u32 version, u64 address of the first byte behind the header, u32 nonce, u32 CRC of what stands before. */
const headerBytes = 64;
const magic = 0xf1504d78;
const version = 1;

/** A file that holds this much is followed by the next. */
const fileBytesDefault = 64 * 1024 * 1024;
/** Blocks are written together. */
const bufferBytes = 256 * 1024;
/** Descriptors kept open. */
const openFilesMax = 16;

export interface IndexFilesOptions {
  readonly storage: Storage;
  readonly randomness: Randomness;
  readonly log: Log;
  /** Default 64 MiB. */
  readonly fileBytes?: number;
}

/** What `hold` keeps in memory at most. A replay that makes more of the index than this writes it. */
const heldBytesMax = 16 * 1024 * 1024;

interface IndexFile {
  readonly base: number;
  readonly path: string;
  /** Random: a file of that name from another life of the index is not taken for this one. */
  readonly nonce: number;
  file: StorageFile | undefined;
  /** Bytes of blocks in it, those in the buffer left out. */
  writtenBytes: number;
  /** Of those, in blocks that are needed. */
  liveBytes: number;
  /** Log position of the youngest entry. */
  newestPosition: number;
  isSynced: boolean;
  /** It is on disk with its header. */
  isCreated: boolean;
}

/**
 * The index on disk: files of blocks, one after the other, whatever queue they are of, so their number depends on the bytes
 * and not on the queues. Blocks are never written over. A file goes when none of its blocks is needed any more.
 *
 * Nothing is synced on the way. A checkpoint that names blocks first waits for `sync`, and files that a kept checkpoint names
 * stay (`checkpointWritten`). A start takes what its checkpoint names and cuts off the rest: what the index has beyond the
 * checkpoint nobody vouches for. What is named and not there, or damaged, is read from the log again.
 */
export class IndexFiles implements IndexPages {
  readonly #options: IndexFilesOptions;
  readonly #fileBytes: number;
  /** In order of address. The last one is written to. */
  readonly #files: IndexFile[] = [];
  /** With an open descriptor, in order of opening. */
  readonly #open: IndexFile[] = [];
  /** Blocks of the last file that are not written yet. */
  #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  #buffered = 0;
  #isFailing = false;
  /** Must stay open until its sync is over. */
  #syncing: IndexFile | undefined;
  /** A sync failed: nobody knows what is on disk. */
  #isBroken = false;
  #namesChanged = false;
  /** State images made so far; the one the broker started from is number 0. */
  #images = 0;
  /** Newest image that is in a checkpoint; -1: none. */
  #newestWritten = -1;
  /** Files that are not needed, and the number of the youngest image that may name them. */
  #given: { readonly path: string; readonly lastImage: number; readonly file?: IndexFile }[] = [];

  /** Set while nothing may be changed on disk: what is to be done then. */
  #held: (() => void)[] | undefined;

  constructor(options: IndexFilesOptions) {
    this.#options = options;
    this.#fileBytes = options.fileBytes ?? fileBytesDefault;
  }

  /** Changes nothing on disk from now on: until the log was read, nobody knows whether the directory is one for this release. */
  hold(): void {
    this.#held = [];
  }

  /** Does what was put off since `hold`. */
  settle(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const change of held) change();
  }

  #change(change: () => void): void {
    if (this.#held === undefined) change();
    else this.#held.push(change);
  }

  /** Files with blocks that are needed. */
  get fileCount(): number {
    return this.#files.length;
  }

  /** Bytes of blocks in them. */
  get bytes(): number {
    return this.#files.reduce((sum, { writtenBytes }) => sum + writtenBytes, this.#buffered);
  }

  next(length: number): number {
    let last = this.#files.at(-1);
    // While the disk refuses, the last file takes everything.
    if (last === undefined || (last.writtenBytes + this.#buffered + length > this.#fileBytes && this.#flush())) {
      last = this.#begin(last);
    }
    return last.base + last.writtenBytes + this.#buffered;
  }

  append(bytes: Buffer, length: number, newestPosition: number): void {
    const last = this.#files.at(-1)!;
    if (this.#buffered + length > this.#buffer.length && !this.#flush()) {
      const wider = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#buffered + length));
      this.#buffer.copy(wider, 0, 0, this.#buffered);
      this.#buffer = wider;
    }
    bytes.copy(this.#buffer, this.#buffered, 0, length);
    this.#buffered += length;
    last.liveBytes += length;
    last.newestPosition = Math.max(last.newestPosition, newestPosition);
  }

  has(address: number): boolean {
    return this.#fileOf(address) !== undefined;
  }

  read(address: number, into: Buffer, length: number): number {
    const found = this.#fileOf(address);
    if (found === undefined) return 0;
    const at = address - found.base;
    if (at >= found.writtenBytes) {
      return this.#buffer.copy(
        into,
        0,
        at - found.writtenBytes,
        Math.min(at - found.writtenBytes + length, this.#buffered),
      );
    }
    try {
      return this.#opened(found).read(into, 0, Math.min(length, found.writtenBytes - at), headerBytes + at);
    } catch (error) {
      if (error instanceof StorageError && error.kind !== "descriptors") throw this.damage(address, error.message);
      throw error;
    }
  }

  drop(address: number, length: number): void {
    const found = this.#fileOf(address);
    if (found === undefined) return;
    found.liveBytes -= length;
    if (found.liveBytes <= 0 && found !== this.#files.at(-1)) this.#giveUp(found);
  }

  dropBelow(position: number): void {
    for (const file of this.#files.slice(0, -1)) if (file.newestPosition < position) this.#giveUp(file);
  }

  damage(address: number, what: string): IndexDamage {
    const found = this.#fileOf(address);
    const where = `${found?.path ?? indexDirectory} at ${address - (found?.base ?? 0)}`;
    const { log, storage } = this.#options;
    log.error(
      { path: found?.path, address },
      "the index is damaged; the broker ends, and reads it from the log when it starts",
    );
    if (found !== undefined) {
      this.#close(found);
      try {
        quarantine(storage, found.path);
      } catch (error) {
        log.error({ err: error, path: found.path }, "a damaged file of the index cannot be moved away; remove it");
      }
    }
    return new IndexDamage(`${where}: ${what}; the index is read from the log at the next start`);
  }

  clear(): void {
    const { storage } = this.#options;
    for (const file of this.#files.splice(0)) this.#close(file);
    this.#change(() => {
      for (const name of fileNames(storage)) storage.unlink(`${indexDirectory}/${name}`);
    });
    this.#buffered = 0;
    this.#given = [];
    this.#namesChanged = true;
  }

  writeTo(into: ImageWriter): void {
    this.#flush();
    this.#images++;
    into.u32(this.#files.length);
    for (const [i, { base, nonce, writtenBytes, liveBytes, newestPosition }] of this.#files.entries()) {
      into.f64(base);
      into.u32(nonce);
      // What a full disk did not take yet is named as well, because `sync` sees to it before the image counts.
      into.f64(writtenBytes + (i === this.#files.length - 1 ? this.#buffered : 0));
      into.f64(liveBytes);
      into.f64(newestPosition);
    }
  }

  readFrom(from: ImageReader): boolean {
    const { storage } = this.#options;
    let isThere = true;
    for (let left = from.u32(); left > 0; left--) {
      const base = from.f64();
      const file = {
        ...{ base, path: pathOf(base), nonce: from.u32(), file: undefined, isSynced: true, isCreated: true },
        ...{ writtenBytes: from.f64(), liveBytes: from.f64(), newestPosition: from.f64() },
      };
      this.#files.push(file);
      isThere &&= this.#isWhole(file);
    }
    if (!isThere) return false;
    const last = this.#files.at(-1);
    const end = last === undefined ? 0 : last.base + last.writtenBytes;
    for (const name of fileNames(storage)) {
      const path = `${indexDirectory}/${name}`;
      if (this.#files.some((file) => file.path === path)) continue;
      // Ahead of the image: of a life that ended before its next checkpoint. Before it: an older checkpoint may name it.
      if (Number(name.slice(0, 20)) >= end) this.#change(() => storage.unlink(path));
      else this.#given.push({ path, lastImage: -1 });
    }
    if (last !== undefined) {
      const bytes = headerBytes + last.writtenBytes;
      this.#change(() => this.#opened(last).truncate(bytes));
    }
    this.#newestWritten = 0;
    return true;
  }

  /**
   * Resolves when everything that the images made so far name is on disk, to the number of the last of them. Rejects with
   * `StorageError` when the disk does not take it; the images are of no use then.
   */
  async sync(): Promise<number> {
    const image = this.#images;
    if (!this.#flush()) throw new StorageError("full", `${indexDirectory}: the disk does not take the index`);
    try {
      if (this.#namesChanged) {
        this.#namesChanged = false;
        this.#options.storage.makeDirectory(indexDirectory);
        await this.#options.storage.syncDirectory(indexDirectory);
      }
      for (const file of [...this.#namedAndGiven(), ...this.#files]) {
        if (file.isSynced) continue;
        file.isSynced = true;
        this.#syncing = file;
        await this.#opened(file).sync();
        this.#syncing = undefined;
        if (!this.#files.includes(file)) this.#close(file);
      }
    } catch (error) {
      this.#syncing = undefined;
      this.#isBroken = true;
      throw error;
    }
    if (this.#isBroken) throw new StorageError("io", `${indexDirectory}: an earlier sync failed`);
    return image;
  }

  /** Files that are not needed any more, and that an image names which is in no checkpoint yet. */
  #namedAndGiven(): IndexFile[] {
    return this.#given.flatMap(({ file, lastImage }) =>
      file !== undefined && lastImage > this.#newestWritten ? [file] : [],
    );
  }

  /** A checkpoint with this image is on disk, beside the one before. Files that neither names are removed. */
  checkpointWritten(image: number): void {
    const older = this.#newestWritten;
    this.#newestWritten = image;
    this.#given = this.#given.filter(({ path, lastImage }) => {
      if (lastImage >= older) return true;
      try {
        this.#options.storage.unlink(path);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        this.#options.log.warn({ err: error, path }, "a file of the index that nobody needs cannot be removed");
      }
      return false;
    });
  }

  close(): void {
    for (const file of this.#files) this.#close(file);
  }

  /** True when nothing is left in the buffer. */
  #flush(): boolean {
    const last = this.#files.at(-1);
    if (last === undefined || this.#buffered === 0) return true;
    if (this.#held !== undefined) {
      if (this.#buffered < heldBytesMax) return false;
      this.settle();
    }
    try {
      const file = last.isCreated ? this.#opened(last) : this.#created(last);
      for (let done = 0; done < this.#buffered; ) {
        const count = file.write(this.#buffer, done, this.#buffered, headerBytes + last.writtenBytes + done);
        if (count <= 0) throw new StorageError("full", `${last.path}: nothing was written`);
        done += count;
      }
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      if (!this.#isFailing) this.#options.log.warn({ err: error }, "the index cannot be written; it stays in memory");
      this.#isFailing = true;
      return false;
    }
    last.writtenBytes += this.#buffered;
    last.isSynced = false;
    this.#buffered = 0;
    this.#isFailing = false;
    if (this.#buffer.length > bufferBytes) this.#buffer = Buffer.allocUnsafeSlow(bufferBytes);
    return true;
  }

  #begin(before: IndexFile | undefined): IndexFile {
    const base = before === undefined ? 0 : before.base + before.writtenBytes;
    const begun: IndexFile = {
      ...{ base, path: pathOf(base), nonce: this.#options.randomness.uint32(), file: undefined },
      ...{ writtenBytes: 0, liveBytes: 0, newestPosition: 0, isSynced: false, isCreated: false },
    };
    this.#files.push(begun);
    if (before !== undefined && before.liveBytes <= 0) this.#giveUp(before);
    return begun;
  }

  #created(file: IndexFile): StorageFile {
    this.#options.storage.makeDirectory(indexDirectory);
    const created = this.#keepOpen(file, true);
    created.truncate(0);
    if (created.write(headerOf(file), 0, headerBytes, 0) !== headerBytes) {
      throw new StorageError("full", `${file.path}: no room for a header`);
    }
    file.isCreated = true;
    this.#namesChanged = true;
    return created;
  }

  #giveUp(file: IndexFile): void {
    this.#close(file);
    this.#files.splice(this.#files.indexOf(file), 1);
    this.#given.push({ path: file.path, lastImage: this.#images, file });
  }

  #fileOf(address: number): IndexFile | undefined {
    const files = this.#files;
    let low = 0;
    let high = files.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (files[middle]!.base <= address) low = middle + 1;
      else high = middle;
    }
    const found = files[low - 1];
    if (found === undefined) return undefined;
    const buffered = low === files.length ? this.#buffered : 0;
    return address < found.base + found.writtenBytes + buffered ? found : undefined;
  }

  #isWhole(file: IndexFile): boolean {
    const { log } = this.#options;
    try {
      const header = Buffer.alloc(headerBytes);
      const opened = this.#opened(file);
      if (
        opened.read(header, 0, headerBytes, 0) === headerBytes &&
        header.equals(headerOf(file)) &&
        opened.sizeBytes() >= headerBytes + file.writtenBytes
      ) {
        return true;
      }
    } catch (error) {
      if (!(error instanceof StorageError) || error.kind === "descriptors") throw error;
    }
    log.warn(
      { path: file.path },
      "a file of the index is not as the checkpoint knows it; all of the log is read again",
    );
    return false;
  }

  #opened(file: IndexFile): StorageFile {
    return file.file ?? this.#keepOpen(file, false);
  }

  #keepOpen(file: IndexFile, create: boolean): StorageFile {
    if (file.file !== undefined) return file.file;
    const { storage } = this.#options;
    while (this.#open.length >= openFilesMax) this.#close(this.#open[0]!);
    try {
      file.file = storage.open(file.path, { create });
    } catch (error) {
      if (!(error instanceof StorageError) || error.kind !== "descriptors") throw error;
      for (const other of [...this.#open]) this.#close(other);
      file.file = storage.open(file.path, { create });
    }
    this.#open.push(file);
    return file.file;
  }

  #close(file: IndexFile): void {
    const at = this.#open.indexOf(file);
    if (at >= 0) this.#open.splice(at, 1);
    if (file === this.#syncing) {
      // Closed when the sync is over; until then it is open, and nobody's to close.
      if (this.#files.includes(file)) this.#open.push(file);
      return;
    }
    file.file?.close();
    file.file = undefined;
  }
}

function pathOf(base: number): string {
  return `${indexDirectory}/${String(base).padStart(20, "0")}.idx`;
}

function fileNames(storage: Storage): string[] {
  return storage.list(indexDirectory).filter((name) => fileName.test(name));
}

function headerOf({ base, nonce }: IndexFile): Buffer {
  const header = Buffer.alloc(headerBytes);
  header.writeUInt32BE(magic, 0);
  header.writeUInt32BE(version, 4);
  writeUint53(header, base, 8);
  header.writeUInt32BE(nonce, 16);
  header.writeUInt32BE(crc32(header, 0, 20), 20);
  return header;
}
