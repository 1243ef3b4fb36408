import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";

/**
 * Where the consume queues keep the entries that do not fit into their memory: blocks one after the other, found by address.
 * A cache of the log: what is lost is read from the log again. `index-files.ts` implements it over the storage door,
 * `memory-index-pages.ts` in memory.
 */
export interface IndexPages {
  /** Address of the next block. Addresses rise, and none is used for two blocks. */
  next(length: number): number;
  /**
   * Appends the block `bytes[0, length)` at the address that `next(length)` gave. `newestPosition`: log position of its
   * newest entry. Never fails: what the disk refuses stays in memory.
   */
  append(bytes: Buffer, length: number, newestPosition: number): void;
  /** False when the file was given up by `dropBelow` or for want of blocks that are needed. */
  has(address: number): boolean;
  /** Reads up to `length` bytes at an address; returns the count, fewer only at the end of a file. Throws `IndexDamage`. */
  read(address: number, into: Buffer, length: number): number;
  /** The block is needed no more. */
  drop(address: number, length: number): void;
  /** Nothing below a log position is needed any more. */
  dropBelow(position: number): void;
  /** What was read at an address is not the block that was written there. The caller is about to throw the result. */
  damage(address: number, what: string): IndexDamage;
  /** Forgets everything: the entries come from the log. */
  clear(): void;
  /** Names for a state image what there is now. */
  writeTo(into: ImageWriter): void;
  /** Takes what an image names, and that only; false when it is not there any more. */
  readFrom(from: ImageReader): boolean;
}

/**
 * Bytes of the index are damaged. Nobody can say which message is next, so the process must end; the next start reads the
 * entries from the log.
 */
export class IndexDamage extends Error {
  override readonly name = "IndexDamage";
}
