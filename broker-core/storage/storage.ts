/**
 * The one door to the disk (docs/storage-door.md). `NodeStorage` is the real one; the tests hand in a simulated disk
 * that tears writes, drops what was not synced and fails on demand. Paths are relative to the data directory, use "/"
 * and are made of numbers and fixed words only, never of user strings.
 *
 * Small writes and reads are synchronous: they go to and come from the page cache in 1-2 us, where a detour over the
 * thread pool costs 20 us. Only what really waits for the device is asynchronous.
 */
export interface Storage {
  /** Opens a file for reading and writing. Throws `StorageError` ("missing") when it does not exist and `create` is false. */
  open(path: string, options: { readonly create: boolean }): StorageFile;
  exists(path: string): boolean;
  /** Names (not paths) in a directory, sorted; an absent directory is empty. */
  list(directory: string): string[];
  /** Creates a directory with its parents; an existing one is fine. */
  makeDirectory(directory: string): void;
  /** Atomic within the data directory; replaces the target. Durable only after `syncDirectory` of the parent. */
  rename(from: string, to: string): void;
  unlink(path: string): void;
  /** Makes creations, renames and removals in `directory` durable. */
  syncDirectory(directory: string): Promise<void>;
  /**
   * Takes the data directory for this process until it ends. Throws `StorageError` ("locked") naming the holder when
   * another live process has it.
   */
  lock(): void;
  /** Gives the data directory back at a clean stop; without it the next process finds the holder dead. */
  unlock(): void;
  /** Free bytes of the file system; Infinity where it cannot be told. */
  freeBytes(): number;
  /** Bytes of the file system that are used or free for us; Infinity where it cannot be told. */
  totalBytes(): number;
  /** Bytes that `write` of any file has taken since the start. */
  readonly writtenBytes: number;
}

/** An open file. Not shared between two holders: whoever opens closes. */
export interface StorageFile {
  readonly path: string;
  /**
   * Writes `bytes[start, end)` at `position` into the page cache and returns how many were taken, which may be fewer
   * (a filling disk): callers check. Throws `StorageError`.
   */
  write(bytes: Uint8Array, start: number, end: number, position: number): number;
  /** Reads into `into[start, end)` from `position`; returns the count, fewer only at the end of the file. */
  read(into: Uint8Array, start: number, end: number, position: number): number;
  /** The same off the event loop, for what is surely cold. */
  readCold(into: Uint8Array, start: number, end: number, position: number): Promise<number>;
  /** fdatasync. Resolves when everything written before the call is on disk. After a rejection the file's state is unknown: never retry (B12). */
  sync(): Promise<void>;
  sizeBytes(): number;
  truncate(sizeBytes: number): void;
  close(): void;
}

/** Why the disk refused. "full" covers ENOSPC, EDQUOT and EFBIG; "read-only" EROFS; "descriptors" EMFILE and ENFILE. */
export type StorageErrorKind = "missing" | "locked" | "full" | "read-only" | "descriptors" | "io";

export class StorageError extends Error {
  override readonly name = "StorageError";
  readonly kind: StorageErrorKind;

  constructor(kind: StorageErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** Writes all of `bytes` or throws: a short count is "full", as a filling disk reports it first (no error yet). */
export function writeWhole(file: StorageFile, bytes: Uint8Array, position: number): void {
  const written = file.write(bytes, 0, bytes.length, position);
  if (written !== bytes.length) {
    throw new StorageError(
      "full",
      `${file.path}: wrote ${written} of ${bytes.length} bytes at ${position}; the disk is full`,
    );
  }
}
