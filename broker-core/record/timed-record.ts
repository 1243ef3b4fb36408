import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { messageFixedBytes } from "./message-record.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * TimedMessage: a message that waits for its time. Nobody sees it; its queue and offset come with the Due record
 * (release-record.ts).
 *
 *     0  u53 timed number   unique in the log, rising
 *     8  u53 due at (wall ms)
 *     16 message record; queue id and offset are 0
 */
export const timedFixedBytes = 16;

export function writeTimedHead(into: Buffer, at: number, number: number, dueMs: number): void {
  writeUint53(into, at, number);
  writeUint53(into, at + 8, dueMs);
}

export function expectTimedRecord(start: number, end: number): void {
  expectBytes("timed message", start, end, timedFixedBytes + messageFixedBytes + 2);
}

export const timedNumber = (from: Buffer, start: number): number => readUint53(from, start);
export const timedDueMs = (from: Buffer, start: number): number => readUint53(from, start + 8);
/** Where the message record begins. */
export const timedMessageStart = (start: number): number => start + timedFixedBytes;
