import { type Storage, StorageError } from "../storage/storage.ts";
import {
  type BatchHeader,
  batchEpoch,
  batchHeaderBytes,
  decodeBatchHeader,
  type Epoch,
  isBodyIntact,
  isRecordHeader,
  magicPrefix,
  recordHeaderBytes,
  recordLength,
  recordType,
} from "./log-frame.ts";
import { Segment } from "./segment.ts";

const windowBytes = 1024 * 1024;
/** When a large read fails, the window is read sector by sector, and only the unreadable ones are lost. */
const sectorBytes = 512;

/**
 * What stands at `position`: a batch header (in `batch`), an intact record, a record whose body is damaged, a stretch without
 * any valid header, or the end of the range.
 */
export type ScanItem = "batch" | "record" | "damaged-record" | "bad" | "end";

/**
 * Walks a segment from any frame boundary on. After a bad spot it goes on at the next batch or record header that proves
 * itself by CRC, position and epoch, so that damage never takes more than it covers (B10).
 */
export class LogScanner {
  readonly batch: BatchHeader = { position: 0, length: 0, recordCount: 0, firstSequence: 0, durableUpTo: 0 };
  /** Where the item of the last `next` stands, and what follows it. */
  position: number;
  nextPosition: number;
  /** The last record, valid until the next call. */
  type = 0;
  body: Buffer = Buffer.alloc(0);

  readonly #segment: Segment;
  readonly #headersOnly: boolean;
  #window: Buffer;
  #windowStart = 0;
  #windowEnd = 0;

  /**
   * Scans `[from, segment.end)`. With `headersOnly` it hops from batch to batch and looks at no record. `window` is what it
   * reads into, as much at a time as that holds; 1 MiB of its own by default.
   */
  constructor(segment: Segment, from: number, headersOnly = false, window?: Buffer) {
    this.#segment = segment;
    this.#headersOnly = headersOnly;
    this.position = from;
    this.nextPosition = from;
    this.#windowStart = from;
    this.#windowEnd = from;
    const ownBytes = Math.max(batchHeaderBytes, Math.min(windowBytes, segment.end - from));
    this.#window = window ?? Buffer.allocUnsafeSlow(ownBytes);
  }

  next(): ScanItem {
    this.position = this.nextPosition;
    if (this.position >= this.#segment.end) return "end";
    const item = this.#itemAt(this.position);
    if (item !== undefined) return item;
    this.nextPosition = this.#resynchronise(this.position + 1);
    return "bad";
  }

  /** The bytes of the item of the last `next`: a header, or a whole record. Valid until the next call. */
  itemBytes(): Buffer {
    const at = this.position - this.#windowStart;
    return this.#window.subarray(at, at + this.nextPosition - this.position);
  }

  /** Whether any header of this file's epoch proves itself in the range: something that a scan could take for the log. */
  findsFrames(): boolean {
    const item = this.next();
    return item !== "end" && (item !== "bad" || this.next() !== "end");
  }

  #itemAt(position: number): ScanItem | undefined {
    const { end, epoch } = this.#segment;
    const room = end - position;
    if (room < recordHeaderBytes) return undefined;
    let at = this.#load(position, Math.min(batchHeaderBytes, room));
    if (room >= batchHeaderBytes && decodeBatchHeader(this.#window, at, position, epoch, this.batch)) {
      const skips = this.#headersOnly || this.batch.recordCount === 0;
      this.nextPosition = Math.min(position + (skips ? this.batch.length : batchHeaderBytes), end);
      return "batch";
    }
    if (this.#headersOnly || !isRecordHeader(this.#window, at, position, epoch.nonce)) return undefined;
    const total = recordHeaderBytes + recordLength(this.#window, at);
    if (total > room) return undefined;
    at = this.#load(position, total);
    this.nextPosition = position + total;
    this.type = recordType(this.#window, at);
    this.body = this.#window.subarray(at + recordHeaderBytes, at + total);
    return isBodyIntact(this.#window, at) ? "record" : "damaged-record";
  }

  #resynchronise(from: number): number {
    const { end } = this.#segment;
    let position = from;
    while (position + recordHeaderBytes <= end) {
      const at = this.#load(position, Math.min(windowBytes / 2, end - position));
      const found = this.#window.indexOf(magicPrefix, at);
      if (found < 0 || found >= at + (this.#windowEnd - position)) {
        // The prefix may lie across the border.
        position = Math.max(position + 1, this.#windowEnd - magicPrefix.length + 1);
        continue;
      }
      position += found - at;
      const { nextPosition } = this;
      const item = position < end ? this.#itemAt(position) : undefined;
      this.nextPosition = nextPosition;
      if (item !== undefined) return position;
      position++;
    }
    return end;
  }

  /** Brings `[position, position + count)` into the window and returns its index there. What the file lacks reads as zeros. */
  #load(position: number, count: number): number {
    if (position >= this.#windowStart && position + count <= this.#windowEnd) return position - this.#windowStart;
    if (count > this.#window.length) this.#window = Buffer.allocUnsafeSlow(count);
    const wanted = Math.max(count, Math.min(this.#window.length, this.#segment.end - position));
    readOrZero(this.#segment, this.#window, wanted, position);
    this.#windowStart = position;
    this.#windowEnd = position + wanted;
    return 0;
  }
}

function readOrZero(segment: Segment, into: Buffer, count: number, position: number): void {
  const got = tryRead(segment, into, 0, count, position);
  if (got >= 0) {
    into.fill(0, got, count);
    return;
  }
  for (let at = 0; at < count; ) {
    const end = Math.min(count, at + sectorBytes - (segment.offsetOf(position + at) % sectorBytes));
    into.fill(0, at + Math.max(0, tryRead(segment, into, at, end, position + at)), end);
    at = end;
  }
}

/** -1 when the disk cannot read it. */
function tryRead(segment: Segment, into: Buffer, start: number, end: number, position: number): number {
  try {
    return segment.read(into, start, end, position);
  } catch (error) {
    if (error instanceof StorageError && error.kind === "io") return -1;
    throw error;
  }
}

/** The epoch that the first intact batch header of a file names whose own header is lost; undefined without one. */
export function findEpoch(storage: Storage, path: string, capacityBytes: number, base: number): Epoch | undefined {
  const nameless = new Segment(storage, path, { base, capacityBytes, epoch: { ordinal: 0, nonce: 0 } });
  const bytes = Buffer.alloc(capacityBytes);
  readOrZero(nameless, bytes, capacityBytes, base);
  nameless.close();
  for (let at = bytes.indexOf(magicPrefix); at >= 0; at = bytes.indexOf(magicPrefix, at + 1)) {
    const epoch = batchEpoch(bytes, at, base + at);
    if (epoch !== undefined) return epoch;
  }
  return undefined;
}
