import type { Counter } from "../../proto/runtime/metric.ts";
import { StorageError } from "../storage/storage.ts";
import { LogTrimmedError } from "./log.ts";
import { recordHeaderBytes } from "./log-frame.ts";
import type { LogPlaces } from "./log-places.ts";
import type { Segment } from "./segment.ts";
import type { SegmentList } from "./segment-list.ts";
import type { TailRing } from "./tail-ring.ts";

/** What one read of the disk brings: a hundred messages of 1 KiB, and 0.1 ms of a disk that needs no moving parts. */
export const readAheadBlockBytes = 128 * 1024;
/** With the block size, 8 MiB for all slow consumers together, however many there are. */
const blocksMax = 64;

interface Block {
  readonly bytes: Buffer;
  /** Positions that it holds; empty while it is being filled. */
  from: number;
  to: number;
  number: number;
  isLoading: boolean;
}

/**
 * Old parts of the log, read from the disk off the event loop before somebody reads records there (decisions/cold-reads.md).
 * A bounded number of blocks, the one filled longest ago given up first. It changes nothing about what a read gives: what is
 * not here, or does not prove itself here, is read from the file.
 */
export class ReadAhead {
  readonly #segments: SegmentList;
  readonly #ring: TailRing;
  readonly #written: () => number;
  readonly #readBytes: Counter;
  readonly #blocks: Block[] = [];
  readonly #byNumber = new Map<number, Block>();
  #next = 0;
  #isStopped = false;
  #loads = 0;
  #whenIdle: (() => void) | undefined;

  /** `written`: everything below is in the files and never changes. */
  constructor(segments: SegmentList, ring: TailRing, written: () => number, readBytes: Counter) {
    this.#segments = segments;
    this.#ring = ring;
    this.#written = written;
    this.#readBytes = readBytes;
  }

  /** Old enough not to be in memory anyway. */
  isCold(position: number): boolean {
    return position < this.#ring.begin;
  }

  /** Whether all places can be read without the disk. */
  isAtHand(places: LogPlaces): boolean {
    for (let i = 0; i < places.count; i++) if (this.#firstMissing(places, i) >= 0) return false;
    return true;
  }

  /** Reads what is missing; `done` is called once, when that is over, in vain or not. Never throws. */
  fetch(places: LogPlaces, done: () => void): void {
    const wanted: number[] = [];
    for (let i = 0; i < places.count; i++) {
      const end = endOf(places, i);
      for (let at = this.#firstMissing(places, i); at >= 0 && at < end; at = blockEnd(at)) wanted.push(at);
    }
    this.#loadNext(wanted.reverse(), done);
  }

  /** Whole records of a block: bytes and where the position stands in them; undefined when they are not here. */
  find(position: number): { readonly bytes: Buffer; readonly at: number; readonly end: number } | undefined {
    const block = this.#byNumber.get(Math.floor(position / readAheadBlockBytes));
    if (block === undefined || position < block.from || position + recordHeaderBytes > block.to) return undefined;
    return { bytes: block.bytes, at: position - block.from, end: block.to - block.from };
  }

  /** Nothing is read any more. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Resolves when no file is in use; for after `stop`. */
  idle(): Promise<void> {
    if (this.#loads === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#whenIdle = resolve));
  }

  /** First byte of a place that no block holds; -1 when there is none. */
  #firstMissing(places: LogPlaces, i: number): number {
    const end = endOf(places, i);
    for (let at = places.positions[i]!; at < end && this.isCold(at); at = blockEnd(at)) {
      const block = this.#byNumber.get(Math.floor(at / readAheadBlockBytes));
      if (block === undefined || at < block.from || at >= block.to) return at;
    }
    return -1;
  }

  #loadNext(wanted: number[], done: () => void): void {
    while (!this.#isStopped) {
      const at = wanted.pop();
      if (at === undefined) break;
      const number = Math.floor(at / readAheadBlockBytes);
      const known = this.#byNumber.get(number);
      if (known !== undefined && at >= known.from && at < known.to) continue;
      const block = this.#takeBlock();
      if (block === undefined) continue;
      void this.#load(block, number, at).then(() => this.#loadNext(wanted, done));
      return;
    }
    done();
  }

  /** Fills a block from its beginning, or from that of the segment of `at` when what lies before is gone. */
  async #load(block: Block, number: number, at: number): Promise<void> {
    const begin = number * readAheadBlockBytes;
    const end = Math.min(begin + readAheadBlockBytes, this.#written());
    const from = this.#segmentAt(begin) === undefined ? Math.max(begin, this.#segmentAt(at)?.base ?? at) : begin;
    let to = from;
    block.isLoading = true;
    this.#loads++;
    try {
      // A block may reach over the end of a segment.
      for (let isWhole = true; isWhole && to < end && !this.#isStopped; ) {
        const segment = this.#segmentAt(to);
        if (segment === undefined) break;
        const upTo = Math.min(segment.end, end);
        segment.hold();
        try {
          const count = await segment.file.readCold(block.bytes, to - from, upTo - from, segment.offsetOf(to));
          isWhole = count === upTo - to;
          to += count;
        } finally {
          segment.release();
        }
      }
    } catch (error) {
      // Whoever reads the record reads the file and says what is wrong with it.
      if (!(error instanceof StorageError)) throw error;
    }
    block.isLoading = false;
    this.#loads--;
    if (this.#loads === 0) this.#whenIdle?.();
    this.#readBytes.add(to - from);
    // Another block of this number: of a second read at the same time, or of when the log was shorter.
    const other = this.#byNumber.get(number);
    if (other !== undefined) this.#forget(other);
    block.from = from;
    block.to = to;
    block.number = number;
    this.#byNumber.set(number, block);
  }

  /** Undefined where nothing can be read: trimmed, lost, or no descriptor is left. */
  #segmentAt(position: number): Segment | undefined {
    try {
      return this.#segments.at(position);
    } catch (error) {
      if (error instanceof LogTrimmedError || error instanceof StorageError) return undefined;
      throw error;
    }
  }

  /** A block that holds nothing; undefined when all are being filled. */
  #takeBlock(): Block | undefined {
    if (this.#blocks.length < blocksMax) {
      const bytes = Buffer.allocUnsafeSlow(readAheadBlockBytes);
      const block = { bytes, from: 0, to: 0, number: -1, isLoading: false };
      this.#blocks.push(block);
      return block;
    }
    for (let tried = 0; tried < blocksMax; tried++) {
      const block = this.#blocks[this.#next]!;
      this.#next = (this.#next + 1) % blocksMax;
      if (block.isLoading) continue;
      this.#forget(block);
      return block;
    }
    return undefined;
  }

  #forget(block: Block): void {
    if (this.#byNumber.get(block.number) === block) this.#byNumber.delete(block.number);
    block.number = -1;
    block.to = block.from;
  }
}

function endOf(places: LogPlaces, i: number): number {
  return places.positions[i]! + places.lengths[i]!;
}

function blockEnd(position: number): number {
  return (Math.floor(position / readAheadBlockBytes) + 1) * readAheadBlockBytes;
}
