import { StorageError } from "../storage/storage.ts";
import type { Segment } from "./segment.ts";

/** Descriptors kept open for reading beside those in use for writing; the rest are opened again when read. */
const openFilesMax = 64;

/** The live segments in order of position. */
export class SegmentList {
  readonly #segments: Segment[];
  /** In order of opening; the oldest gives way. */
  readonly #opened: Segment[] = [];

  constructor(segments: readonly Segment[]) {
    this.#segments = [...segments];
  }

  get all(): readonly Segment[] {
    return this.#segments;
  }

  add(segment: Segment): void {
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
    if (!segment.isOpen) this.#makeRoom(segment);
    return segment;
  }

  closeAll(): void {
    for (const segment of this.#segments) segment.close();
  }

  #makeRoom(segment: Segment): void {
    this.#opened.push(segment);
    const current = this.#segments.at(-1);
    if (this.#opened.length > openFilesMax && this.#opened[0] !== current) this.#opened.shift()?.close();
  }
}
