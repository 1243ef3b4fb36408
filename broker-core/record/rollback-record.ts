import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Rollback: a transaction ends and its message is never seen.
 *
 *     0  u53 transaction number
 *     8  u53 log position of the record that holds the message
 *     16 f64 wall ms
 *     24 u8  reason
 *     25 u8  0
 *     26 u16 times the producer was asked
 */
export const rollbackBytes = 28;

export const RollbackReason = {
  /** The producer said so by itself. */
  Producer: 1,
  /** A producer said so when it was asked. */
  CheckAnswer: 2,
  /** Asked as often as is allowed, and nobody knew. */
  ChecksExhausted: 3,
  /** Open for longer than is allowed; mostly because there was no producer to ask. */
  Age: 4,
} as const;
export type RollbackReason = (typeof RollbackReason)[keyof typeof RollbackReason];

export interface RollbackRecord {
  readonly number: number;
  readonly messagePosition: number;
  readonly wallMs: number;
  readonly reason: RollbackReason;
  readonly checks: number;
}

export function writeRollbackRecord(rollback: RollbackRecord, into: Buffer, at: number): void {
  writeUint53(into, at, rollback.number);
  writeUint53(into, at + 8, rollback.messagePosition);
  into.writeDoubleLE(rollback.wallMs, at + 16);
  into[at + 24] = rollback.reason;
  into[at + 25] = 0;
  into.writeUInt16LE(rollback.checks, at + 26);
}

export function readRollbackRecord(from: Buffer, start: number, end: number): RollbackRecord {
  expectBytes("rollback", start, end, rollbackBytes);
  return {
    number: readUint53(from, start),
    messagePosition: readUint53(from, start + 8),
    wallMs: from.readDoubleLE(start + 16),
    reason: (from[start + 24] ?? 0) as RollbackReason,
    checks: from.readUInt16LE(start + 26),
  };
}
