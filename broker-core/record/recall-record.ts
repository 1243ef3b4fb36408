import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Recall: the producer took a timed message back before it was due.
 *
 *     0  u53 timed number
 *     8  u32 topic id
 *     12 u32 0
 *     16 f64 recalled at (wall ms)
 *     24 u53 log position of the record that holds the message
 */
export const recallRecordBytes = 32;

export function writeRecallRecord(
  into: Buffer,
  at: number,
  number: number,
  topicId: number,
  wallMs: number,
  messagePosition: number,
): void {
  writeUint53(into, at, number);
  into.writeUInt32LE(topicId, at + 8);
  into.writeUInt32LE(0, at + 12);
  into.writeDoubleLE(wallMs, at + 16);
  writeUint53(into, at + 24, messagePosition);
}

export function expectRecallRecord(start: number, end: number): void {
  expectBytes("recall", start, end, recallRecordBytes);
}

export const recallNumber = (from: Buffer, start: number): number => readUint53(from, start);
export const recallTopicId = (from: Buffer, start: number): number => from.readUInt32LE(start + 8);
export const recallWallMs = (from: Buffer, start: number): number => from.readDoubleLE(start + 16);
export const recallMessagePosition = (from: Buffer, start: number): number => readUint53(from, start + 24);
