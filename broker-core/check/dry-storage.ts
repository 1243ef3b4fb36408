import { type Storage, StorageError, type StorageFile } from "../storage/storage.ts";

/**
 * A data directory that its user cannot change: what is made, written, renamed and removed happens in memory only. So a check
 * runs the code of a real start and leaves everything as it was.
 */
export class DryStorage implements Storage {
  readonly #below: Storage;
  /** Files that were made here. */
  readonly #made = new Map<string, MadeBytes>();
  /** Path of the file on disk by its new path. */
  readonly #moved = new Map<string, string>();
  /** Paths on disk that are gone for whoever looks through here. */
  readonly #gone = new Set<string>();
  readonly writtenBytes = 0;

  constructor(below: Storage) {
    this.#below = below;
  }

  open(path: string, options: { readonly create: boolean }): StorageFile {
    const made = this.#made.get(path);
    if (made !== undefined) return new MadeFile(path, made);
    if (this.exists(path)) {
      return new KeptFile(path, this.#below.open(this.#onDisk(path), { create: false }), (bytes) =>
        this.#take(path, bytes),
      );
    }
    if (!options.create) throw new StorageError("missing", `open ${path}: there is no such file`);
    return new MadeFile(path, this.#take(path, Buffer.alloc(0)));
  }

  exists(path: string): boolean {
    if (this.#made.has(path) || this.#moved.has(path)) return true;
    return !this.#gone.has(path) && this.#below.exists(path);
  }

  list(directory: string): string[] {
    const prefix = directory === "" ? "" : `${directory}/`;
    const isIn = (path: string) => path.startsWith(prefix) && !path.slice(prefix.length).includes("/");
    const onDisk = this.#below.list(directory).filter((name) => !this.#gone.has(prefix + name));
    const here = [...this.#made.keys(), ...this.#moved.keys()].filter(isIn).map((path) => path.slice(prefix.length));
    return [...new Set([...onDisk, ...here])].sort();
  }

  makeDirectory(): void {}

  rename(from: string, to: string): void {
    const made = this.#made.get(from);
    const source = made === undefined ? this.#onDisk(from) : undefined;
    this.unlink(from);
    if (this.exists(to)) this.unlink(to);
    if (made !== undefined) this.#made.set(to, made);
    else if (source !== undefined) this.#moved.set(to, source);
  }

  unlink(path: string): void {
    if (!this.#made.delete(path) && !this.#moved.delete(path)) this.#gone.add(path);
  }

  syncDirectory(): Promise<void> {
    return Promise.resolve();
  }

  lock(): void {
    this.#below.lock();
  }

  unlock(): void {
    this.#below.unlock();
  }

  freeBytes(): number {
    return this.#below.freeBytes();
  }

  totalBytes(): number {
    return this.#below.totalBytes();
  }

  /** From now on the file is in memory, with these bytes. */
  #take(path: string, bytes: Buffer): MadeBytes {
    const made = { bytes, length: bytes.length };
    this.#made.set(path, made);
    return made;
  }

  #onDisk(path: string): string {
    return this.#moved.get(path) ?? path;
  }
}

/** What a file that is in memory only holds: the first `length` of `bytes`. */
interface MadeBytes {
  bytes: Buffer;
  length: number;
}

/** A file on disk. Whoever writes to it gets a copy in memory. */
class KeptFile implements StorageFile {
  readonly path: string;
  readonly #file: StorageFile;
  readonly #take: (bytes: Buffer) => MadeBytes;
  #made: MadeFile | undefined;

  constructor(path: string, file: StorageFile, take: (bytes: Buffer) => MadeBytes) {
    this.path = path;
    this.#file = file;
    this.#take = take;
  }

  write(bytes: Uint8Array, start: number, end: number, position: number): number {
    return this.#copy().write(bytes, start, end, position);
  }

  truncate(sizeBytes: number): void {
    this.#copy().truncate(sizeBytes);
  }

  read(into: Uint8Array, start: number, end: number, position: number): number {
    return (this.#made ?? this.#file).read(into, start, end, position);
  }

  readCold(into: Uint8Array, start: number, end: number, position: number): Promise<number> {
    return (this.#made ?? this.#file).readCold(into, start, end, position);
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  sizeBytes(): number {
    return (this.#made ?? this.#file).sizeBytes();
  }

  close(): void {
    this.#file.close();
  }

  #copy(): MadeFile {
    if (this.#made === undefined) {
      const bytes = Buffer.alloc(this.#file.sizeBytes());
      this.#file.read(bytes, 0, bytes.length, 0);
      this.#made = new MadeFile(this.path, this.#take(bytes));
    }
    return this.#made;
  }
}

/** A file that is in memory only. */
class MadeFile implements StorageFile {
  readonly path: string;
  readonly #made: MadeBytes;

  constructor(path: string, made: MadeBytes) {
    this.path = path;
    this.#made = made;
  }

  write(bytes: Uint8Array, start: number, end: number, position: number): number {
    const behind = position + end - start;
    if (behind > this.#made.length) this.truncate(behind);
    this.#made.bytes.set(bytes.subarray(start, end), position);
    return end - start;
  }

  truncate(sizeBytes: number): void {
    const made = this.#made;
    if (sizeBytes > made.bytes.length) {
      const wider = Buffer.alloc(Math.max(2 * made.bytes.length, sizeBytes));
      made.bytes.copy(wider, 0, 0, made.length);
      made.bytes = wider;
    }
    if (sizeBytes < made.length) made.bytes.fill(0, sizeBytes, made.length);
    made.length = sizeBytes;
  }

  read(into: Uint8Array, start: number, end: number, position: number): number {
    const part = this.#made.bytes.subarray(position, Math.min(this.#made.length, position + end - start));
    into.set(part, start);
    return part.length;
  }

  readCold(into: Uint8Array, start: number, end: number, position: number): Promise<number> {
    return Promise.resolve(this.read(into, start, end, position));
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  sizeBytes(): number {
    return this.#made.length;
  }

  close(): void {}
}
