import type { RecordType } from "../commit-log/log.ts";
import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { messageFixedBytes } from "./message-record.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Carry: a message that waits unseen (for its time, or for the end of its transaction) is written again at the end of the
 * log, because the segment that holds it is about to go. Nothing about it changes but the place.
 *
 *     0  u16 what waits    RecordType of the record that stored it: TimedMessage or HalfMessage
 *     2  u53 its number
 *     10 message record
 */
export const carryFixedBytes = 10;

export function carryRecordBytes(messageRecord: Uint8Array): number {
  return carryFixedBytes + messageRecord.length;
}

export function writeCarryRecord(
  kind: RecordType,
  number: number,
  messageRecord: Uint8Array,
  into: Buffer,
  at: number,
): void {
  into.writeUInt16LE(kind, at);
  writeUint53(into, at + 2, number);
  into.set(messageRecord, at + carryFixedBytes);
}

export function expectCarryRecord(start: number, end: number): void {
  expectBytes("carry", start, end, carryFixedBytes + messageFixedBytes + 2);
}

export const carryKind = (from: Buffer, start: number): number => from.readUInt16LE(start);
export const carryNumber = (from: Buffer, start: number): number => readUint53(from, start + 2);
/** Where the message record begins. */
export const carryMessageStart = (start: number): number => start + carryFixedBytes;
