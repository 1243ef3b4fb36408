import { StorageError } from "../storage/storage.ts";
import type { Segment } from "./segment.ts";

/** Descriptors kept open for reading beside those in use for writing; the rest are opened again when read. */
const openFilesMax = 64;

/** The live segments in order of position. */
export class SegmentList {
  readonly #segments: Segment[];
  /** Opened for reading alone, in order of opening; the oldest gives way. */
  readonly #opened: Segment[] = [];

  constructor(segments: readonly Segment[]) {
    this.#segments = [...segments];
  }

  get all(): readonly Segment[] {
    return this.#segments;
  }

  /** The log rolls: the file before is from now on open for reading alone. */
  add(segment: Segment): void {
    const before = this.#segments.at(-1);
    if (before?.isOpen) this.#opened.push(before);
    this.#segments.push(segment);
  }

  /** The segment that answers for a position. Throws `StorageError` when none does. */
  at(position: number): Segment {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#segments[middle]!.base <= position) low = middle + 1;
      else high = middle;
    }
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
    while (this.#opened.length >= openFilesMax) this.#opened.shift()?.close();
    try {
      segment.open();
    } catch (error) {
      if (!(error instanceof StorageError) || error.kind !== "descriptors") throw error;
      for (const other of this.#opened.splice(0)) other.close();
      segment.open();
    }
    this.#opened.push(segment);
  }
}
