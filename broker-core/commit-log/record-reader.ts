import { StorageError } from "../storage/storage.ts";
import type { LogReader, LogRecord, RecordType } from "./log.ts";
import { isBodyIntact, isRecordHeader, recordHeaderBytes, recordLength, recordType } from "./log-frame.ts";
import type { ReadAhead } from "./read-ahead.ts";
import type { Segment } from "./segment.ts";
import type { SegmentList } from "./segment-list.ts";
import type { TailRing } from "./tail-ring.ts";

/** Buffers up to this size stay for the next read. */
const keptBufferBytes = 1024 * 1024;

/** Reads single records: from memory while they are young, else from the page cache or the disk. */
export class RecordReader implements LogReader {
  readonly #segments: SegmentList;
  readonly #ring: TailRing;
  readonly #readAhead: ReadAhead;
  readonly #onDamage: (path: string, from: number, to: number) => void;
  #buffer: Buffer = Buffer.allocUnsafeSlow(16 * 1024);

  constructor(
    segments: SegmentList,
    ring: TailRing,
    readAhead: ReadAhead,
    onDamage: (path: string, from: number, to: number) => void,
  ) {
    this.#segments = segments;
    this.#ring = ring;
    this.#readAhead = readAhead;
    this.#onDamage = onDamage;
  }

  read(position: number): LogRecord {
    const segment = this.#segments.at(position);
    const { nonce } = segment.epoch;
    return (
      this.#readFromRing(position, nonce) ??
      this.#readFromBlock(position, nonce) ??
      this.#readFromFile(position, segment)
    );
  }

  /** Memory of this process: position and header are checked, the body's CRC is not. */
  #readFromRing(position: number, nonce: number): LogRecord | undefined {
    const at = this.#ring.indexOf(position, recordHeaderBytes);
    if (at < 0) return undefined;
    const bytes = this.#ring.bytes;
    if (!isRecordHeader(bytes, at, position, nonce)) throw notARecord(position);
    const length = recordLength(bytes, at);
    if (this.#ring.indexOf(position, recordHeaderBytes + length) < 0) return undefined;
    return recordAt(bytes, at, position, length);
  }

  /** Undefined also for a record that does not lie wholly in one block, or does not prove itself: the file decides. */
  #readFromBlock(position: number, nonce: number): LogRecord | undefined {
    const found = this.#readAhead.find(position);
    if (found === undefined) return undefined;
    const { bytes, at, end } = found;
    if (!isRecordHeader(bytes, at, position, nonce)) return undefined;
    const length = recordLength(bytes, at);
    if (at + recordHeaderBytes + length > end || !isBodyIntact(bytes, at)) return undefined;
    return recordAt(bytes, at, position, length);
  }

  #readFromFile(position: number, segment: Segment): LogRecord {
    let bytes = this.#buffer;
    let got = segment.read(bytes, 0, bytes.length, position);
    if (got < recordHeaderBytes || !isRecordHeader(bytes, 0, position, segment.epoch.nonce)) {
      throw this.#damaged(segment, position, position + recordHeaderBytes);
    }
    const length = recordLength(bytes, 0);
    const total = recordHeaderBytes + length;
    if (total > bytes.length) {
      bytes = Buffer.allocUnsafeSlow(total);
      if (total <= keptBufferBytes) this.#buffer = bytes;
      got = segment.read(bytes, 0, total, position);
    }
    if (got < total || !isBodyIntact(bytes, 0)) throw this.#damaged(segment, position, position + total);
    return recordAt(bytes, 0, position, length);
  }

  #damaged({ path }: Segment, from: number, to: number): StorageError {
    this.#onDamage(path, from, to);
    return new StorageError("io", `${path}: the record at log positions [${from}, ${to}) is damaged`);
  }
}

function recordAt(bytes: Buffer, at: number, position: number, length: number): LogRecord {
  const bodyAt = at + recordHeaderBytes;
  return {
    position,
    type: recordType(bytes, at) as RecordType,
    body: bytes.subarray(bodyAt, bodyAt + length),
    nextPosition: position + recordHeaderBytes + length,
  };
}

function notARecord(position: number): RangeError {
  return new RangeError(`no record begins at log position ${position}`);
}
