import { crc32 } from "../../broker-core/commit-log/crc32.ts";
import {
  type Storage,
  StorageError,
  type StorageErrorKind,
  type StorageFile,
} from "../../broker-core/storage/storage.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";

/*
 * A disk that does what real ones do when it hurts. Faults it knows:
 *
 *  - `crash`: of the 512-byte sectors that were not synced any subset reaches the disk; a changed length is old, new or in
 *    between (the rest zeros); creations, renames and removals whose directory was not synced may be gone, in order or not.
 *  - `kill`: the process dies, the page cache stays.
 *  - a failing call (`fail`): by name and number, once or from then on, of any kind; a short write is one of them.
 *  - a failed sync: its pages count as clean, reads go on seeing them, the disk never gets them.
 *  - a slow sync (`syncDelayMs`): what is written meanwhile is not covered by it.
 *  - a slow read off the event loop (`readDelayMs`): the bytes are those of the moment of its end.
 *  - a full disk (`capacityBytes`): a short count first, the error with the next call.
 *  - damage at rest: `alter`, `resize`, `remove`, `swap`, `makeUnreadable`.
 *
 * Every call goes into `traceHash`: the same seed must give the same hash.
 */
const sectorBytes = 512;

export type DiskCall = "open" | "read" | "write" | "sync" | "syncDirectory" | "rename" | "unlink" | "truncate";

export interface PlannedFault {
  readonly call: DiskCall;
  /** The how manieth call from now, from 1. */
  readonly at: number;
  readonly kind: StorageErrorKind;
  /** Every later call of that name fails too. */
  readonly sticky?: boolean;
  /** For a write: this many bytes are taken and no error is given. */
  readonly shortBytes?: number;
}

interface Inode {
  /** What reads see. */
  cache: Buffer;
  size: number;
  durable: Buffer;
  durableSize: number;
  /** Sector to the number of the write that dirtied it last. */
  readonly dirty: Map<number, number>;
  unreadable: { readonly from: number; readonly to: number }[];
}

interface DirectoryChange {
  readonly directory: string;
  readonly removes: string | undefined;
  readonly adds: { readonly path: string; readonly inode: Inode } | undefined;
}

export class SimulatedDisk implements Storage {
  /** Calls so far, by name. */
  readonly calls: Record<DiskCall, number> = {
    open: 0,
    read: 0,
    write: 0,
    sync: 0,
    syncDirectory: 0,
    rename: 0,
    unlink: 0,
    truncate: 0,
  };
  capacityBytes = Number.POSITIVE_INFINITY;
  /** How long a sync takes on `clock`; undefined answers at once. Asked for each sync. */
  syncDelayMs: (() => number) | undefined;
  /** The same of a read off the event loop. */
  readDelayMs: (() => number) | undefined;
  clock: Clock | undefined;

  #entries = new Map<string, Inode>();
  #durableEntries = new Map<string, Inode>();
  #changes: DirectoryChange[] = [];
  #faults: { fault: PlannedFault; callNumber: number }[] = [];
  #generation = 0;
  #locked = false;
  #writes = 0;
  #traceHash = 0;

  get traceHash(): number {
    return this.#traceHash;
  }

  /** How many processes have died on it: what a door of one of them goes by (process-disk.ts). */
  get generation(): number {
    return this.#generation;
  }

  // --- the door ---

  open(path: string, { create }: { readonly create: boolean }): StorageFile {
    this.#call("open", path, 0, 0);
    let inode = this.#entries.get(path);
    if (inode === undefined) {
      if (!create) throw new StorageError("missing", `open ${path}: ENOENT`);
      inode = { cache: empty, size: 0, durable: empty, durableSize: 0, dirty: new Map(), unreadable: [] };
      this.#change(path, { directory: parentOf(path), removes: undefined, adds: { path, inode } });
    }
    return new SimulatedFile(this, path, inode, this.#generation);
  }

  exists(path: string): boolean {
    return this.#entries.has(path);
  }

  list(directory: string): string[] {
    const names: string[] = [];
    for (const path of this.#entries.keys()) {
      if (parentOf(path) === directory) names.push(path.slice(directory === "" ? 0 : directory.length + 1));
    }
    return names.sort();
  }

  makeDirectory(): void {
    // Directories always exist and survive.
  }

  rename(from: string, to: string): void {
    this.#call("rename", `${from}>${to}`, 0, 0);
    const inode = this.#entries.get(from);
    if (inode === undefined) throw new StorageError("missing", `rename ${from}: ENOENT`);
    this.#change(from, { directory: parentOf(to), removes: from, adds: { path: to, inode } });
  }

  unlink(path: string): void {
    this.#call("unlink", path, 0, 0);
    if (!this.#entries.has(path)) throw new StorageError("missing", `unlink ${path}: ENOENT`);
    this.#change(path, { directory: parentOf(path), removes: path, adds: undefined });
  }

  syncDirectory(directory: string): Promise<void> {
    const covered = new Set(this.#changes.filter((change) => concerns(change, directory)));
    return this.#later(() => {
      this.#call("syncDirectory", directory, 0, 0);
      for (const change of covered) applyChange(this.#durableEntries, change);
      this.#changes = this.#changes.filter((change) => !covered.has(change));
    });
  }

  lock(): void {
    if (this.#locked) throw new StorageError("locked", "data directory is locked: this process holds it already");
    this.#locked = true;
  }

  unlock(): void {
    this.#locked = false;
  }

  totalBytes(): number {
    return this.capacityBytes;
  }

  freeBytes(): number {
    return this.capacityBytes - this.usedBytes;
  }

  writtenBytes = 0;

  // --- what a test does to it ---

  get usedBytes(): number {
    let bytes = 0;
    for (const { size } of this.#entries.values()) bytes += size;
    return bytes;
  }

  /** The process dies; what it wrote stays in the page cache. Open files and pending syncs of before are dead. */
  kill(): void {
    this.#generation++;
    this.#locked = false;
    this.#faults = [];
  }

  /** The power goes. */
  crash(randomness: Randomness): void {
    this.kill();
    // From "nothing unsynced survives" over a coin per sector to "all of it does".
    const keeping = [0, randomness.fraction(), randomness.fraction(), 1][randomIndex(randomness, 4)]!;
    const inodes = new Set(this.#durableEntries.values());
    for (const change of this.#changes) if (change.adds !== undefined) inodes.add(change.adds.inode);
    for (const inode of inodes) loseUnsynced(inode, randomness, keeping);
    const inOrder = randomness.fraction() < 0.5;
    let appliedCount = inOrder ? randomIndex(randomness, this.#changes.length + 1) : 0;
    for (const change of this.#changes) {
      if (inOrder ? appliedCount-- > 0 : randomness.fraction() < keeping) applyChange(this.#durableEntries, change);
    }
    this.#changes = [];
    this.#entries = new Map(this.#durableEntries);
  }

  fail(fault: PlannedFault): void {
    this.#faults.push({ fault, callNumber: this.calls[fault.call] + fault.at });
  }

  heal(): void {
    this.#faults = [];
  }

  paths(): string[] {
    return [...this.#entries.keys()].sort();
  }

  sizeOf(path: string): number {
    return this.#at(path).size;
  }

  /** Changes bytes where they lie, as damage at rest does: in the page cache and on the disk. */
  alter(path: string, change: (bytes: Buffer) => void): void {
    const inode = this.#at(path);
    change(inode.cache.subarray(0, inode.size));
    inode.durable = Buffer.from(inode.cache.subarray(0, inode.size));
    inode.durableSize = inode.size;
    inode.dirty.clear();
  }

  resize(path: string, size: number): void {
    const inode = this.#at(path);
    resizeInode(inode, size);
    inode.durable = Buffer.from(inode.cache.subarray(0, size));
    inode.durableSize = size;
    inode.dirty.clear();
  }

  remove(path: string): void {
    this.#at(path);
    this.#entries.delete(path);
    this.#durableEntries.delete(path);
  }

  swap(a: string, b: string): void {
    const [first, second] = [this.#at(a), this.#at(b)];
    for (const map of [this.#entries, this.#durableEntries]) map.set(a, second).set(b, first);
  }

  /** Reads that touch the range fail with EIO. */
  makeUnreadable(path: string, from: number, to: number): void {
    this.#at(path).unreadable.push({ from, to });
  }

  contents(path: string): Buffer {
    const inode = this.#at(path);
    return Buffer.from(inode.cache.subarray(0, inode.size));
  }

  /** A second disk with what this one shows now, all of it durable. */
  copy(): SimulatedDisk {
    const disk = new SimulatedDisk();
    for (const [path, { cache, size }] of this.#entries) {
      const bytes = Buffer.from(cache.subarray(0, size));
      const inode = {
        cache: bytes,
        size,
        durable: Buffer.from(bytes),
        durableSize: size,
        dirty: new Map<number, number>(),
        unreadable: [],
      };
      disk.#entries.set(path, inode);
      disk.#durableEntries.set(path, inode);
    }
    return disk;
  }

  // --- for the files ---

  assertAlive(generation: number): void {
    if (generation !== this.#generation) throw new StorageError("io", "the process of this file is dead");
  }

  writeTo(inode: Inode, path: string, bytes: Uint8Array, start: number, end: number, position: number): number {
    const short = this.#call("write", path, position, crc32(asBuffer(bytes), start, end));
    let count = end - start;
    if (short !== undefined) count = Math.min(count, short);
    const growth = Math.max(0, position + count - inode.size);
    const free = growth === 0 ? 0 : this.freeBytes();
    if (growth > free) {
      count = Math.max(0, count - (growth - Math.max(0, free)));
      if (count === 0) throw new StorageError("full", `write ${path} at ${position}: ENOSPC`);
    }
    if (position + count > inode.size) resizeInode(inode, position + count);
    asBuffer(bytes).copy(inode.cache, position, start, start + count);
    this.#writes++;
    this.writtenBytes += count;
    for (let s = Math.floor(position / sectorBytes); s * sectorBytes < position + count; s++) {
      inode.dirty.set(s, this.#writes);
    }
    return count;
  }

  readFrom(inode: Inode, path: string, into: Uint8Array, start: number, end: number, position: number): number {
    this.#call("read", path, position, end - start);
    const count = Math.min(end - start, inode.size - position);
    if (count <= 0) return 0;
    for (const { from, to } of inode.unreadable) {
      if (from < position + count && position < to) throw new StorageError("io", `read ${path} at ${position}: EIO`);
    }
    inode.cache.copy(into, start, position, position + count);
    return count;
  }

  readLater(read: () => number): Promise<number> {
    return this.#later(read, this.readDelayMs?.());
  }

  syncInode(inode: Inode, path: string): Promise<void> {
    const size = inode.size;
    const covered = new Map(inode.dirty);
    // Only what is dirty: a copy of the whole file for each sync would be most of what a simulation does.
    const image = copyOfSectors(inode, covered);
    return this.#later(() => {
      try {
        this.#call("sync", path, size, covered.size);
      } catch (error) {
        // Clean, in the page cache, and not on the disk: what ext4 and XFS make of a failed writeback.
        clearCovered(inode, covered);
        throw error;
      }
      if (inode.durableSize < size) resizeDurable(inode, size);
      let at = 0;
      for (const sector of covered.keys()) {
        putSector(image, at, size - sector * sectorBytes, inode, sector);
        at += sectorBytes;
      }
      if (inode.durableSize !== size) resizeDurable(inode, size);
      clearCovered(inode, covered);
    });
  }

  truncateInode(inode: Inode, path: string, size: number): void {
    this.#call("truncate", path, size, 0);
    if (size === inode.size) return;
    for (const sector of inode.dirty.keys()) if (sector * sectorBytes >= size) inode.dirty.delete(sector);
    resizeInode(inode, size);
  }

  // --- inside ---

  /** Counts the call and fails it when planned. Returns the count of a planned short write. */
  #call(call: DiskCall, path: string, a: number, b: number): number | undefined {
    const number = ++this.calls[call];
    this.#trace(call.length * 7 + path.length);
    for (let i = 0; i < path.length; i++) this.#trace(path.charCodeAt(i));
    this.#trace(a);
    this.#trace(b);
    for (const { fault, callNumber } of this.#faults) {
      if (fault.call !== call || number < callNumber || (number > callNumber && fault.sticky !== true)) continue;
      if (fault.shortBytes !== undefined) return fault.shortBytes;
      throw new StorageError(fault.kind, `${call} ${path}: planned fault (${fault.kind}) at call ${number}`);
    }
    return undefined;
  }

  #trace(value: number): void {
    this.#traceHash = (Math.imul(this.#traceHash ^ value, 0x01000193) + 0x9e3779b9) >>> 0;
  }

  /** Does `work` when the sync is due. A dead process hears nothing, and its sync may not have happened. */
  #later<T>(work: () => T, delayMs = this.syncDelayMs?.()): Promise<T> {
    const generation = this.#generation;
    return new Promise((resolve, reject) => {
      const run = () => {
        if (generation !== this.#generation) return;
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      };
      if (delayMs === undefined || this.clock === undefined) run();
      else this.clock.after(delayMs, run);
    });
  }

  #change(path: string, change: DirectoryChange): void {
    if (!this.#entries.has(path) && change.removes !== undefined) throw new Error(`no entry ${path}`);
    applyChange(this.#entries, change);
    this.#changes.push(change);
  }

  #at(path: string): Inode {
    const inode = this.#entries.get(path);
    if (inode === undefined) throw new Error(`simulated disk: no file ${path}`);
    return inode;
  }
}

class SimulatedFile implements StorageFile {
  readonly path: string;
  readonly #disk: SimulatedDisk;
  readonly #inode: Inode;
  readonly #generation: number;
  #closed = false;

  constructor(disk: SimulatedDisk, path: string, inode: Inode, generation: number) {
    this.#disk = disk;
    this.path = path;
    this.#inode = inode;
    this.#generation = generation;
  }

  write(bytes: Uint8Array, start: number, end: number, position: number): number {
    this.#assertUsable();
    return this.#disk.writeTo(this.#inode, this.path, bytes, start, end, position);
  }

  read(into: Uint8Array, start: number, end: number, position: number): number {
    this.#assertUsable();
    return this.#disk.readFrom(this.#inode, this.path, into, start, end, position);
  }

  readCold(into: Uint8Array, start: number, end: number, position: number): Promise<number> {
    this.#assertUsable();
    // A descriptor that was closed meanwhile may be another file's by then: the log must not let that happen.
    return this.#disk.readLater(() => this.read(into, start, end, position));
  }

  sync(): Promise<void> {
    this.#assertUsable();
    return this.#disk.syncInode(this.#inode, this.path);
  }

  sizeBytes(): number {
    this.#assertUsable();
    return this.#inode.size;
  }

  truncate(sizeBytes: number): void {
    this.#assertUsable();
    this.#disk.truncateInode(this.#inode, this.path, sizeBytes);
  }

  close(): void {
    this.#closed = true;
  }

  #assertUsable(): void {
    if (this.#closed) throw new StorageError("io", `${this.path}: EBADF, the file is closed`);
    this.#disk.assertAlive(this.#generation);
  }
}

const empty = Buffer.alloc(0);

function parentOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "";
}

function concerns({ directory, removes }: DirectoryChange, synced: string): boolean {
  return directory === synced || (removes !== undefined && parentOf(removes) === synced);
}

function applyChange(entries: Map<string, Inode>, { removes, adds }: DirectoryChange): void {
  if (removes !== undefined) entries.delete(removes);
  if (adds !== undefined) entries.set(adds.path, adds.inode);
}

function resizeInode(inode: Inode, size: number): void {
  if (size > inode.cache.length) {
    const larger = Buffer.alloc(Math.max(size, inode.cache.length * 2));
    inode.cache.copy(larger, 0, 0, inode.size);
    inode.cache = larger;
  } else if (size < inode.size) {
    inode.cache.fill(0, size, inode.size);
  }
  inode.size = size;
}

function resizeDurable(inode: Inode, size: number): void {
  if (size > inode.durable.length) {
    const larger = Buffer.alloc(Math.max(size, inode.durable.length * 2));
    inode.durable.copy(larger, 0, 0, inode.durableSize);
    inode.durable = larger;
  } else if (size < inode.durableSize) {
    inode.durable.fill(0, size, inode.durableSize);
  }
  inode.durableSize = size;
}

/** What the sectors hold now, one behind the other. */
function copyOfSectors({ cache }: Inode, sectors: ReadonlyMap<number, number>): Buffer {
  const image = Buffer.allocUnsafe(sectors.size * sectorBytes);
  let at = 0;
  for (const sector of sectors.keys()) {
    cache.copy(image, at, sector * sectorBytes, (sector + 1) * sectorBytes);
    at += sectorBytes;
  }
  return image;
}

/** Puts one sector, which lies in `image` from `at` on, on the disk; the file ends `bytesLeft` bytes behind its beginning. */
function putSector(image: Buffer, at: number, bytesLeft: number, inode: Inode, sector: number): void {
  const count = Math.min(sectorBytes, bytesLeft);
  if (count <= 0) return;
  const from = sector * sectorBytes;
  if (from + count > inode.durableSize) resizeDurable(inode, from + count);
  image.copy(inode.durable, from, at, at + count);
}

function clearCovered(inode: Inode, covered: ReadonlyMap<number, number>): void {
  for (const [sector, write] of covered) if (inode.dirty.get(sector) === write) inode.dirty.delete(sector);
}

function loseUnsynced(inode: Inode, randomness: Randomness, keeping: number): void {
  const before = inode.durableSize;
  for (const sector of inode.dirty.keys()) {
    const from = sector * sectorBytes;
    if (randomness.fraction() < keeping) putSector(inode.cache, from, inode.size - from, inode, sector);
  }
  if (inode.size !== before) {
    const between = Math.min(before, inode.size) + randomIndex(randomness, Math.abs(inode.size - before) + 1);
    resizeDurable(inode, [before, inode.size, between][randomIndex(randomness, 3)]!);
  }
  inode.dirty.clear();
  inode.cache = Buffer.from(inode.durable.subarray(0, inode.durableSize));
  inode.size = inode.durableSize;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
