import { type Storage, StorageError, type StorageFile } from "../../broker-core/storage/storage.ts";
import type { SimulatedDisk } from "./simulated-disk.ts";

/**
 * A simulated disk as one process sees it. When that process has died, by `kill` or `crash` of the disk, every call throws: work
 * that a dead process still has in its queue of promises must not reach the disk of the next one.
 */
export class ProcessDisk implements Storage {
  readonly #disk: SimulatedDisk;
  readonly #generation: number;

  /** The door of the process that begins now. */
  constructor(disk: SimulatedDisk) {
    this.#disk = disk;
    this.#generation = disk.generation;
  }

  get #alive(): SimulatedDisk {
    if (this.#generation !== this.#disk.generation) throw new StorageError("io", "the process of this disk is dead");
    return this.#disk;
  }

  open(path: string, options: { readonly create: boolean }): StorageFile {
    return this.#alive.open(path, options);
  }

  exists(path: string): boolean {
    return this.#alive.exists(path);
  }

  list(directory: string): string[] {
    return this.#alive.list(directory);
  }

  makeDirectory(): void {
    this.#alive.makeDirectory();
  }

  rename(from: string, to: string): void {
    this.#alive.rename(from, to);
  }

  unlink(path: string): void {
    this.#alive.unlink(path);
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.#alive.syncDirectory(directory);
  }

  lock(): void {
    this.#alive.lock();
  }

  unlock(): void {
    this.#alive.unlock();
  }

  freeBytes(): number {
    return this.#alive.freeBytes();
  }

  totalBytes(): number {
    return this.#alive.totalBytes();
  }

  get writtenBytes(): number {
    return this.#disk.writtenBytes;
  }
}
