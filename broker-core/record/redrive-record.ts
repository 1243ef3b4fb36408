import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Redrive: a dead letter goes back to the group it died in, and to no other; its attempts count anew.
 *
 *     0  u32 group id
 *     4  u32 origin topic id
 *     8  u16 origin queue id
 *     10 u16 0
 *     12 u53 origin offset
 *     20 f64 wall ms
 */
export interface RedriveRecord {
  readonly groupId: number;
  readonly topicId: number;
  readonly queueId: number;
  readonly offset: number;
  readonly wallMs: number;
}

export const redriveRecordBytes = 28;

export function writeRedriveRecord(redrive: RedriveRecord, into: Buffer, at: number): void {
  into.writeUInt32LE(redrive.groupId, at);
  into.writeUInt32LE(redrive.topicId, at + 4);
  into.writeUInt16LE(redrive.queueId, at + 8);
  into.writeUInt16LE(0, at + 10);
  writeUint53(into, at + 12, redrive.offset);
  into.writeDoubleLE(redrive.wallMs, at + 20);
}

export function readRedriveRecord(from: Buffer, start: number, end: number): RedriveRecord {
  expectBytes("redrive", start, end, redriveRecordBytes);
  return {
    groupId: from.readUInt32LE(start),
    topicId: from.readUInt32LE(start + 4),
    queueId: from.readUInt16LE(start + 8),
    offset: readUint53(from, start + 12),
    wallMs: from.readDoubleLE(start + 20),
  };
}
