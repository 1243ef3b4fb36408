import {
  closeSync,
  existsSync,
  fdatasync,
  fstatSync,
  fsync,
  ftruncateSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readSync,
  renameSync,
  statfsSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DirectoryLock } from "./directory-lock.ts";
import { type Storage, StorageError, type StorageErrorKind, type StorageFile } from "./storage.ts";

/** The real disk, below one data directory. */
export class NodeStorage implements Storage {
  readonly #root: string;
  readonly #lock: DirectoryLock;
  readonly #written = { bytes: 0 };

  /**
   * `directory`: absolute or relative to the working directory; made when it is absent, unless `mayCreate` is false: then
   * `StorageError` ("missing"). `bootId` names this boot of the machine.
   */
  constructor(directory: string, bootId: string, mayCreate = true) {
    if (!mayCreate && !existsSync(directory)) {
      throw new StorageError("missing", `there is no directory ${directory}`);
    }
    this.#root = directory;
    this.#lock = new DirectoryLock(join(directory, "lock"), bootId);
    attempt(`create data directory ${directory}`, () => mkdirSync(directory, { recursive: true }));
  }

  open(path: string, options: { readonly create: boolean }): StorageFile {
    const full = join(this.#root, path);
    return attempt(`open ${full}`, () => {
      return new NodeFile(path, full, openOrCreate(full, options.create), this.#written);
    });
  }

  exists(path: string): boolean {
    return existsSync(join(this.#root, path));
  }

  list(directory: string): string[] {
    const full = join(this.#root, directory);
    return existsSync(full) ? attempt(`list ${full}`, () => readdirSync(full).sort()) : [];
  }

  makeDirectory(directory: string): void {
    const full = join(this.#root, directory);
    attempt(`create directory ${full}`, () => mkdirSync(full, { recursive: true }));
  }

  rename(from: string, to: string): void {
    const [source, target] = [join(this.#root, from), join(this.#root, to)];
    attempt(`rename ${source} to ${target}`, () => renameSync(source, target));
  }

  unlink(path: string): void {
    const full = join(this.#root, path);
    attempt(`remove ${full}`, () => unlinkSync(full));
  }

  syncDirectory(directory: string): Promise<void> {
    const full = join(this.#root, directory);
    return new Promise((resolve, reject) => {
      const fd = attempt(`open directory ${full}`, () => openSync(full, "r"));
      fsync(fd, (error) => {
        closeSync(fd);
        if (error === null) resolve();
        else reject(asStorageError(`sync directory ${full}`, error));
      });
    });
  }

  lock(): void {
    attempt(`lock data directory ${this.#root}`, () => this.#lock.take());
  }

  unlock(): void {
    this.#lock.release();
  }

  totalBytes(): number {
    try {
      const { blocks, bfree, bavail, bsize } = statfsSync(this.#root);
      // As df counts: what is kept for root is neither used nor free.
      return (blocks - bfree + bavail) * bsize;
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }

  freeBytes(): number {
    try {
      const { bavail, bsize } = statfsSync(this.#root);
      return bavail * bsize;
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }

  get writtenBytes(): number {
    return this.#written.bytes;
  }
}

class NodeFile implements StorageFile {
  readonly path: string;
  readonly #full: string;
  #fd: number;
  /** The medium was read-only when it was opened. */
  #isForReading: boolean;
  /** Of the storage, over all its files. */
  readonly #written: { bytes: number };

  constructor(path: string, full: string, { fd, isForReading }: Opened, written: { bytes: number }) {
    this.path = path;
    this.#full = full;
    this.#fd = fd;
    this.#isForReading = isForReading;
    this.#written = written;
  }

  write(bytes: Uint8Array, start: number, end: number, position: number): number {
    try {
      this.#openForWriting();
      const count = writeSync(this.#fd, bytes, start, end - start, position);
      this.#written.bytes += count;
      return count;
    } catch (error) {
      throw asStorageError(`write ${this.#full} at ${position}`, error);
    }
  }

  read(into: Uint8Array, start: number, end: number, position: number): number {
    try {
      let count = 0;
      while (start + count < end) {
        const got = readSync(this.#fd, into, start + count, end - start - count, position + count);
        if (got === 0) break;
        count += got;
      }
      return count;
    } catch (error) {
      throw asStorageError(`read ${this.#full} at ${position}`, error);
    }
  }

  readCold(into: Uint8Array, start: number, end: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.#fd, into, start, end - start, position, (error, count) => {
        if (error === null) resolve(count);
        else reject(asStorageError(`read ${this.#full} at ${position}`, error));
      });
    });
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#fd, (error) => {
        if (error === null) resolve();
        else reject(asStorageError(`sync ${this.#full}`, error));
      });
    });
  }

  sizeBytes(): number {
    return attempt(`size of ${this.#full}`, () => fstatSync(this.#fd).size);
  }

  truncate(sizeBytes: number): void {
    attempt(`truncate ${this.#full} to ${sizeBytes}`, () => {
      this.#openForWriting();
      ftruncateSync(this.#fd, sizeBytes);
    });
  }

  close(): void {
    attempt(`close ${this.#full}`, () => closeSync(this.#fd));
  }

  /** The medium may be writable again. Throws as the system does while it is not. */
  #openForWriting(): void {
    if (!this.#isForReading) return;
    const fd = openSync(this.#full, "r+");
    closeSync(this.#fd);
    this.#fd = fd;
    this.#isForReading = false;
  }
}

interface Opened {
  readonly fd: number;
  readonly isForReading: boolean;
}

/**
 * Node has no flag for "read and write, create, do not truncate" but the numeric ones; two tries say the same. What a read-only
 * medium holds can be read all the same.
 */
function openOrCreate(full: string, create: boolean): Opened {
  try {
    return { fd: openSync(full, "r+"), isForReading: false };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EROFS" && existsSync(full)) return { fd: openSync(full, "r"), isForReading: true };
    if (!create || code !== "ENOENT") throw error;
    mkdirSync(dirname(full), { recursive: true });
    return { fd: openSync(full, "wx+", 0o600), isForReading: false };
  }
}

function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw asStorageError(what, error);
  }
}

const kindOfCode: Readonly<Record<string, StorageErrorKind>> = {
  ENOENT: "missing",
  ENOSPC: "full",
  EDQUOT: "full",
  EFBIG: "full",
  EROFS: "read-only",
  EMFILE: "descriptors",
  ENFILE: "descriptors",
};

function asStorageError(what: string, error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  return new StorageError(kindOfCode[code ?? ""] ?? "io", `${what}: ${code ?? message}`, { cause: error });
}
