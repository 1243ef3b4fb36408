import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { grantedAtBytes } from "./granted-at.ts";
import { messageFixedBytes } from "./message-record.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * HalfMessage: a message of a transaction that is still open. Nobody sees it; its queue and offset come with the Commit.
 *
 *     0  u53 transaction number   unique in the log
 *     8  u32 run                  random number of the run of the broker that gave the number out
 *     12 u32 ms until the producer is asked for the first time
 *     16 stored at (24 bytes, granted-at.ts): both clocks
 *     40 message record; queue id and offset are 0
 */
export const halfFixedBytes = 16 + grantedAtBytes;
/** Where the time goes. */
export const halfStoredAt = 16;

export function writeHalfHead(into: Buffer, at: number, number: number, run: number, firstCheckMs: number): void {
  writeUint53(into, at, number);
  into.writeUInt32LE(run, at + 8);
  into.writeUInt32LE(firstCheckMs, at + 12);
}

export function expectHalfRecord(start: number, end: number): void {
  expectBytes("half message", start, end, halfFixedBytes + messageFixedBytes + 2);
}

export const halfNumber = (from: Buffer, start: number): number => readUint53(from, start);
export const halfRun = (from: Buffer, start: number): number => from.readUInt32LE(start + 8);
export const halfFirstCheckMs = (from: Buffer, start: number): number => from.readUInt32LE(start + 12);
/** Where the message record begins. */
export const halfMessageStart = (start: number): number => start + halfFixedBytes;
