import { type Storage, StorageError, type StorageFile } from "../storage/storage.ts";
import { crc32 } from "./crc32.ts";
import { LogFormatError } from "./log-format-error.ts";
import { type Epoch, logFormatVersion, readUint53, writeUint53 } from "./log-frame.ts";

export const logDirectory = "log";

/** The header stands twice, in disk sectors that no batch ever shares, so that no later write can tear it. */
const headerCopyBytes = 512;
export const segmentHeaderBytes = 2 * headerCopyBytes;
const segmentMagic = 0xf1504d73;

export interface SegmentHeader {
  readonly epoch: Epoch;
  /** Log position of the first byte behind the header. */
  readonly base: number;
  /** Bytes for frames. */
  readonly capacityBytes: number;
  /** Everything below was on disk when the file was made. */
  readonly durableUpTo: number;
  readonly createdWallMs: number;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(segmentHeaderBytes);
  bytes.writeUInt32BE(segmentMagic, 0);
  bytes.writeUInt16BE(logFormatVersion, 4);
  bytes.writeUInt32BE(header.epoch.ordinal, 8);
  bytes.writeUInt32BE(header.epoch.nonce, 12);
  writeUint53(bytes, header.base, 16);
  writeUint53(bytes, header.capacityBytes, 24);
  writeUint53(bytes, header.durableUpTo, 32);
  writeUint53(bytes, header.createdWallMs, 40);
  bytes.writeUInt32BE(crc32(bytes, 0, 52), 52);
  bytes.copy(bytes, headerCopyBytes, 0, headerCopyBytes);
  return bytes;
}

/** Undefined when neither copy is intact. Throws `LogFormatError` for a header of a newer release. */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  for (const at of [0, headerCopyBytes]) {
    if (bytes.readUInt32BE(at) !== segmentMagic || bytes.readUInt32BE(at + 52) !== crc32(bytes, at, at + 52)) continue;
    const version = bytes.readUInt16BE(at + 4);
    if (version !== logFormatVersion) {
      throw new LogFormatError(`the log has format ${version}; this release knows ${logFormatVersion}`);
    }
    return {
      epoch: { ordinal: bytes.readUInt32BE(at + 8), nonce: bytes.readUInt32BE(at + 12) },
      base: readUint53(bytes, at + 16),
      capacityBytes: readUint53(bytes, at + 24),
      durableUpTo: readUint53(bytes, at + 32),
      createdWallMs: readUint53(bytes, at + 40),
    };
  }
  return undefined;
}

export function segmentPath(base: number): string {
  return `${logDirectory}/${String(base).padStart(20, "0")}.log`;
}

/** A file of the log. Its descriptor is opened when first needed and kept. */
export class Segment {
  readonly path: string;
  readonly base: number;
  readonly epoch: Epoch;
  readonly capacityBytes: number;
  /** When the file was made, by the clock that retention goes by; 0 when its header is lost. */
  readonly createdWallMs: number;
  /** Position behind the last that this file answers for; less than its capacity where a later file took over. */
  end: number;
  /** Where the file stands as long as it has not got its own name back (segment-finder.ts); undefined: at `path`. */
  foundAt: string | undefined;
  readonly #storage: Storage;
  #file: StorageFile | undefined;
  #readers = 0;
  #onUnread: (() => void) | undefined;

  constructor(
    storage: Storage,
    path: string,
    header: Pick<SegmentHeader, "base" | "epoch" | "capacityBytes"> & { readonly createdWallMs?: number },
    file?: StorageFile,
  ) {
    this.#storage = storage;
    this.path = path;
    this.base = header.base;
    this.epoch = header.epoch;
    this.capacityBytes = header.capacityBytes;
    this.createdWallMs = header.createdWallMs ?? 0;
    this.end = header.base + header.capacityBytes;
    this.#file = file;
  }

  /** Throws `StorageError`. */
  open(): StorageFile {
    this.#file ??= this.#storage.open(this.foundAt ?? this.path, { create: false });
    return this.#file;
  }

  get file(): StorageFile {
    return this.#file ?? this.open();
  }

  get isOpen(): boolean {
    return this.#file !== undefined;
  }

  offsetOf(position: number): number {
    return segmentHeaderBytes + position - this.base;
  }

  /** Reads from a log position on; returns the count, fewer only at the end of the file. */
  read(into: Buffer, start: number, end: number, position: number): number {
    return this.file.read(into, start, end, this.offsetOf(position));
  }

  /** A read that takes longer than a call begins: until `release` the file keeps its name, its bytes and its descriptor. */
  hold(): void {
    this.#readers++;
  }

  release(): void {
    this.#readers--;
    if (this.#readers === 0) this.#onUnread?.();
  }

  get isHeld(): boolean {
    return this.#readers > 0;
  }

  /** Resolves when no read is under way. For a segment that is out of the log, so that no new one can begin. */
  whenUnread(): Promise<void> {
    if (this.#readers === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#onUnread = resolve));
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

/**
 * A segment in the making: blocks that exist first (fdatasync of those takes half as long as of a growing file), then its
 * header, then sync, name, sync of the directory. Only what `finish` returns may hold records.
 */
export class SegmentDraft {
  readonly header: SegmentHeader;
  /** The spare file that this segment is made of; undefined for a new one. */
  readonly spare: string | undefined;
  readonly #storage: Storage;
  readonly #path: string;
  readonly #file: StorageFile;
  #filledBytes: number;

  /** With `spare`, a file of the right size whose contents are of no use any more, there is nothing to fill. */
  constructor(storage: Storage, header: SegmentHeader, spare?: string) {
    this.header = header;
    this.spare = spare;
    this.#storage = storage;
    this.#path = spare ?? `${segmentPath(header.base)}.tmp`;
    this.#file = storage.open(this.#path, { create: spare === undefined });
    this.#filledBytes = spare === undefined ? segmentHeaderBytes : this.#fileBytes;
    if (spare === undefined) this.#file.truncate(0);
  }

  get #fileBytes(): number {
    return segmentHeaderBytes + this.header.capacityBytes;
  }

  get isFilled(): boolean {
    return this.#filledBytes >= this.#fileBytes;
  }

  /** Writes up to `bytes` more zeros and returns how many. Throws `StorageError`; then `discard` gives the space back. */
  fill(bytes: number): number {
    const start = this.#filledBytes;
    const end = Math.min(start + bytes, this.#fileBytes);
    while (this.#filledBytes < end) {
      const count = Math.min(zeros.length, end - this.#filledBytes);
      this.#write(zeros, count, this.#filledBytes);
      this.#filledBytes += count;
    }
    return Math.max(0, end - start);
  }

  /** Puts bytes at a log position; only after `fill` has reached the end. */
  writeAt(bytes: Buffer, count: number, position: number): void {
    this.#write(bytes, count, segmentHeaderBytes + position - this.header.base);
  }

  sync(): Promise<void> {
    return this.#file.sync();
  }

  /** The header is on disk before the name is: whoever finds the name finds no header of the file's earlier life. */
  async finish(): Promise<Segment> {
    this.#write(encodeSegmentHeader(this.header), segmentHeaderBytes, 0);
    await this.#file.sync();
    const path = segmentPath(this.header.base);
    this.#storage.rename(this.#path, path);
    await this.#storage.syncDirectory(logDirectory);
    return new Segment(this.#storage, path, this.header, this.#file);
  }

  /** A spare stays where it is, for another try. */
  discard(): void {
    this.#file.close();
    if (this.spare === undefined) this.#storage.unlink(this.#path);
  }

  #write(bytes: Buffer, count: number, offset: number): void {
    const written = this.#file.write(bytes, 0, count, offset);
    if (written !== count) {
      throw new StorageError(
        "full",
        `${this.#path}: wrote ${written} of ${count} bytes at ${offset}; the disk is full`,
      );
    }
  }
}

const zeros = Buffer.alloc(256 * 1024);
