import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { grantedAtBytes } from "./granted-at.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * CheckBack: a producer is asked what became of a transaction.
 *
 *     0  u53 transaction number
 *     8  u16 times it was asked, this one included
 *     10 u16 0
 *     12 u32 ms until it is asked again
 *     16 asked at (24 bytes, granted-at.ts): both clocks
 */
export const checkBackBytes = 16 + grantedAtBytes;
/** Where the time goes. */
export const checkBackAskedAt = 16;

export function writeCheckBack(into: Buffer, at: number, number: number, checks: number, nextCheckMs: number): void {
  writeUint53(into, at, number);
  into.writeUInt16LE(checks, at + 8);
  into.writeUInt16LE(0, at + 10);
  into.writeUInt32LE(nextCheckMs, at + 12);
}

export function expectCheckBack(start: number, end: number): void {
  expectBytes("check-back", start, end, checkBackBytes);
}

export const checkBackNumber = (from: Buffer, start: number): number => readUint53(from, start);
export const checkBackCount = (from: Buffer, start: number): number => from.readUInt16LE(start + 8);
export const checkBackNextMs = (from: Buffer, start: number): number => from.readUInt32LE(start + 12);
