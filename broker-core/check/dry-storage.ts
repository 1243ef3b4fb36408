import { type Storage, StorageError, type StorageFile } from "../storage/storage.ts";

/**
 * A data directory that its user cannot change: what is made, renamed and removed happens in memory only, and a file that is on
 * disk cannot be written. So a check runs the code of a real start and leaves everything as it was.
 */
export class DryStorage implements Storage {
  readonly #below: Storage;
  /** Files that were made here. */
  readonly #made = new Map<string, Uint8Array>();
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
    if (made !== undefined) return new MadeFile(path, made, (bytes) => this.#made.set(path, bytes));
    if (this.exists(path)) return new KeptFile(path, this.#below.open(this.#onDisk(path), { create: false }));
    if (!options.create) throw new StorageError("missing", `open ${path}: there is no such file`);
    this.#made.set(path, new Uint8Array(0));
    return this.open(path, options);
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

  #onDisk(path: string): string {
    return this.#moved.get(path) ?? path;
  }
}

/** A file on disk: read, never written. */
class KeptFile implements StorageFile {
  readonly path: string;
  readonly #file: StorageFile;

  constructor(path: string, file: StorageFile) {
    this.path = path;
    this.#file = file;
  }

  write(): number {
    throw new StorageError("read-only", `${this.path}: a check changes nothing`);
  }

  truncate(): void {
    throw new StorageError("read-only", `${this.path}: a check changes nothing`);
  }

  read(into: Uint8Array, start: number, end: number, position: number): number {
    return this.#file.read(into, start, end, position);
  }

  readCold(into: Uint8Array, start: number, end: number, position: number): Promise<number> {
    return this.#file.readCold(into, start, end, position);
  }

  sync(): Promise<void> {
    return Promise.resolve();
  }

  sizeBytes(): number {
    return this.#file.sizeBytes();
  }

  close(): void {
    this.#file.close();
  }
}

/** A file that is in memory only. */
class MadeFile implements StorageFile {
  readonly path: string;
  #bytes: Uint8Array;
  readonly #keep: (bytes: Uint8Array) => void;

  constructor(path: string, bytes: Uint8Array, keep: (bytes: Uint8Array) => void) {
    this.path = path;
    this.#bytes = bytes;
    this.#keep = keep;
  }

  write(bytes: Uint8Array, start: number, end: number, position: number): number {
    if (position + end - start > this.#bytes.length) this.truncate(position + end - start);
    this.#bytes.set(bytes.subarray(start, end), position);
    return end - start;
  }

  truncate(sizeBytes: number): void {
    const resized = new Uint8Array(sizeBytes);
    resized.set(this.#bytes.subarray(0, sizeBytes));
    this.#bytes = resized;
    this.#keep(resized);
  }

  read(into: Uint8Array, start: number, end: number, position: number): number {
    const part = this.#bytes.subarray(position, position + end - start);
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
    return this.#bytes.length;
  }

  close(): void {}
}
