import { StorageError } from "../storage/storage.ts";
import { LogTrimmedError } from "./log.ts";
import type { Segment } from "./segment.ts";

/** Descriptors kept open for reading beside those in use for writing; the rest are opened again when read. */
const openFilesMax = 64;

/** The files in use and right before it are never taken out of the log: what is written now may point at them. */
export const youngestKept = 2;

/** The live segments in order of position. */
export class SegmentList {
  readonly #segments: Segment[];
  /** Opened for reading alone, in order of opening; the oldest gives way. */
  #opened: Segment[] = [];
  #begin: number;

  /** `begin`: nothing below is there by right; what is missing above is lost. */
  constructor(segments: readonly Segment[], begin: number) {
    this.#segments = [...segments];
    this.#begin = begin;
  }

  get all(): readonly Segment[] {
    return this.#segments;
  }

  /** The first position that can be read, unless it is lost. */
  get begin(): number {
    return this.#begin;
  }

  /** Takes out the oldest segments that lie wholly below `position`. From now on no read finds them. */
  removeBelow(position: number): Segment[] {
    const removableMax = Math.max(0, this.#segments.length - youngestKept);
    let count = 0;
    while (count < removableMax && this.#segments[count]!.end <= position) count++;
    if (count === 0) return [];
    const removed = this.#segments.splice(0, count);
    this.#begin = Math.max(this.#begin, removed.at(-1)!.end);
    this.#opened = this.#opened.filter((segment) => !removed.includes(segment));
    return removed;
  }

  /** The log rolls: the file before is from now on open for reading alone. */
  add(segment: Segment): void {
    const before = this.#segments.at(-1);
    if (before?.isOpen) this.#opened.push(before);
    this.#segments.push(segment);
  }

  /** The segment that answers for a position. Throws `LogTrimmedError` below `begin`, `StorageError` when none does. */
  at(position: number): Segment {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#segments[middle]!.base <= position) low = middle + 1;
      else high = middle;
    }
    if (position < this.#begin) throw new LogTrimmedError(position, this.#begin);
    const segment = this.#segments[low - 1];
    if (segment === undefined || position >= segment.end) {
      throw new StorageError("io", `log position ${position} is in no segment: its file is lost (see damage.json)`);
    }
    if (!segment.isOpen) this.#open(segment);
    return segment;
  }

  closeAll(): void {
    for (const segment of this.#segments) segment.close();
  }

  #open(segment: Segment): void {
    if (this.#opened.length >= openFilesMax) this.#closeOldest(this.#opened.length + 1 - openFilesMax);
    try {
      segment.open();
    } catch (error) {
      if (!(error instanceof StorageError) || error.kind !== "descriptors") throw error;
      this.#closeOldest(this.#opened.length);
      segment.open();
    }
    this.#opened.push(segment);
  }

  /** A file that somebody reads stays open. */
  #closeOldest(count: number): void {
    let left = count;
    this.#opened = this.#opened.filter((segment) => {
      if (left === 0 || segment.isHeld) return true;
      left--;
      segment.close();
      return false;
    });
  }
}
