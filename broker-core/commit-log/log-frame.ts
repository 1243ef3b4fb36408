import { crc32 } from "./crc32.ts";
import { LogFormatError } from "./log-format-error.ts";

/**
 * The bytes of the log (docs/log-format.md): batch headers and record headers, big-endian. Every header proves itself with a
 * CRC of its own, its own position and the epoch of the file it was written into, so that stale, misdirected and damaged
 * bytes are told from real ones wherever a reader begins.
 */
export const logFormatVersion = 1;

/** What a segment's first life is called: no two files ever share it, even when they hold the same positions. */
export interface Epoch {
  /** How many segment files the log had made when it made this one, from 1. A later file rules where two overlap. */
  readonly ordinal: number;
  /** 32 random bits; they seed the CRC of record headers, so that no message body can pose as a record. */
  readonly nonce: number;
}

/** The three magics share their first three bytes: one search finds each of them. */
export const magicPrefix = Buffer.from([0xf1, 0x50, 0x4d]);
const batchMagic = 0xf1504d62;
const recordMagic = 0xf1504d72;

export const batchHeaderBytes = 56;
export const recordHeaderBytes = 28;

const two32 = 0x1_0000_0000;

/** One write to the log. `recordCount` 0 is a skip: nothing but `length` bytes that no reader looks at. */
export interface BatchHeader {
  position: number;
  /** Bytes of the whole frame with this header. */
  length: number;
  recordCount: number;
  /** Number of the first record, counted over the log's life; tells how many a damaged range has swallowed. */
  firstSequence: number;
  /** Everything below was on disk when this batch was written. */
  durableUpTo: number;
}

export function encodeBatchHeader(into: Buffer, at: number, header: Readonly<BatchHeader>, epoch: Epoch): void {
  into.writeUInt32BE(batchMagic, at);
  into.writeUInt32BE(logFormatVersion << 16, at + 4);
  into.writeUInt32BE(epoch.ordinal, at + 8);
  into.writeUInt32BE(epoch.nonce, at + 12);
  writeUint53(into, header.position, at + 16);
  into.writeUInt32BE(header.length, at + 24);
  into.writeUInt32BE(header.recordCount, at + 28);
  writeUint53(into, header.firstSequence, at + 32);
  writeUint53(into, header.durableUpTo, at + 40);
  into.writeUInt32BE(0, at + 48);
  into.writeUInt32BE(crc32(into, at, at + 52), at + 52);
}

/**
 * Reads a batch header that must stand at log position `position`; false when the bytes are none. Fills `header`. Throws
 * `LogFormatError` for one of this very file that a newer release wrote: it is no damage, and must not be taken for it.
 */
export function decodeBatchHeader(
  bytes: Buffer,
  at: number,
  position: number,
  epoch: Epoch,
  header: BatchHeader,
): boolean {
  const found = batchEpoch(bytes, at, position);
  if (found === undefined || found.ordinal !== epoch.ordinal || found.nonce !== epoch.nonce) return false;
  const version = bytes.readUInt16BE(at + 4);
  if (version !== logFormatVersion) {
    const where = `log position ${position}`;
    throw new LogFormatError(`the batch at ${where} has format ${version}; this release knows ${logFormatVersion}`);
  }
  header.position = position;
  header.length = bytes.readUInt32BE(at + 24);
  header.recordCount = bytes.readUInt32BE(at + 28);
  header.firstSequence = readUint53(bytes, at + 32);
  header.durableUpTo = readUint53(bytes, at + 40);
  return header.length >= batchHeaderBytes;
}

/** The epoch that an intact batch header at `position` names: how a file is identified whose own header is lost. */
export function batchEpoch(bytes: Buffer, at: number, position: number): Epoch | undefined {
  if (at + batchHeaderBytes > bytes.length || bytes.readUInt32BE(at) !== batchMagic) return undefined;
  if (readUint53(bytes, at + 16) !== position) return undefined;
  if (bytes.readUInt32BE(at + 52) !== crc32(bytes, at, at + 52)) return undefined;
  return { ordinal: bytes.readUInt32BE(at + 8), nonce: bytes.readUInt32BE(at + 12) };
}

/** Closes a record whose `length` body bytes stand already behind its header at `at`. */
export function encodeRecordHeader(
  into: Buffer,
  at: number,
  type: number,
  length: number,
  position: number,
  nonce: number,
): void {
  const bodyAt = at + recordHeaderBytes;
  into.writeUInt32BE(recordMagic, at);
  into.writeUInt32BE(length, at + 4);
  writeUint53(into, position, at + 8);
  into.writeUInt32BE(type << 16, at + 16);
  into.writeUInt32BE(crc32(into, bodyAt, bodyAt + length), at + 20);
  into.writeUInt32BE(crc32(into, at, at + 24, nonce), at + 24);
}

/** True when the header of the record at log position `position` stands intact at `at`; its body is another question. */
export function isRecordHeader(bytes: Buffer, at: number, position: number, nonce: number): boolean {
  return (
    at + recordHeaderBytes <= bytes.length &&
    bytes.readUInt32BE(at) === recordMagic &&
    readUint53(bytes, at + 8) === position &&
    bytes.readUInt32BE(at + 24) === crc32(bytes, at, at + 24, nonce)
  );
}

export function recordLength(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at + 4);
}

export function recordType(bytes: Buffer, at: number): number {
  return bytes.readUInt16BE(at + 16);
}

/** Checks the body behind an intact header; the whole record must be in `bytes`. */
export function isBodyIntact(bytes: Buffer, at: number): boolean {
  const bodyAt = at + recordHeaderBytes;
  return bytes.readUInt32BE(at + 20) === crc32(bytes, bodyAt, bodyAt + recordLength(bytes, at));
}

/** Whole numbers below 2^53 in 8 bytes. */
export function writeUint53(into: Buffer, value: number, at: number): void {
  into.writeUInt32BE(Math.floor(value / two32), at);
  into.writeUInt32BE(value >>> 0, at + 4);
}

export function readUint53(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * two32 + bytes.readUInt32BE(at + 4);
}
