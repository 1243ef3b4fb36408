import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * LogTrimmed: from here on the log begins at a later position. Index entries, leases and dead letters of messages below are
 * dropped; offsets stay what they were.
 *
 *     0  u53 begin      log position
 *     8  f64 wall ms
 *     16 u8  reason
 *     17 u32 how many OrderKept records right before belong to it
 */
export interface LogTrimmedRecord {
  readonly begin: number;
  readonly wallMs: number;
  readonly reason: TrimReason;
  readonly orderCount: number;
}

export const TrimReason = {
  /** Older than the retention age. */
  Age: 1,
  /** The log is larger than it may be. */
  Size: 2,
  /** The disk fills. */
  Disk: 3,
} as const;
export type TrimReason = (typeof TrimReason)[keyof typeof TrimReason];

export const logTrimmedBytes = 21;

export function writeLogTrimmed(record: LogTrimmedRecord, into: Buffer, at: number): void {
  writeUint53(into, at, record.begin);
  into.writeDoubleLE(record.wallMs, at + 8);
  into[at + 16] = record.reason;
  into.writeUInt32LE(record.orderCount, at + 17);
}

export function readLogTrimmed(from: Buffer, start: number, end: number): LogTrimmedRecord {
  expectBytes("log-trimmed", start, end, logTrimmedBytes);
  return {
    begin: readUint53(from, start),
    wallMs: from.readDoubleLE(start + 8),
    reason: from[start + 16] as TrimReason,
    orderCount: from.readUInt32LE(start + 17),
  };
}
