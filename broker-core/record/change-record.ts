import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Change: one lease gets a new end. One record does it, whatever the kind, so there is no moment without a lease.
 *
 *     0  u32 group id
 *     4  u32 topic id
 *     8  u16 queue id
 *     10 u8  kind (ChangeKind of broker-port.ts)
 *     11 u8  0
 *     12 u53 offset
 *     20 u53 lease generation from now on
 *     28 granted at
 *     52 u32 invisible ms
 *     56 u16 attempt from now on
 *     58 u32 run that granted the lease
 */
export const changeRecordBytes = 62;
export const changeGrantedAt = 28;

export interface ChangeRead {
  groupId: number;
  topicId: number;
  queueId: number;
  kind: number;
  offset: number;
  generation: number;
  monotonicMs: number;
  wallMs: number;
  boot: number;
  invisibleMs: number;
  attempt: number;
  run: number;
}

export const changeReadBlank = (): ChangeRead => ({
  groupId: 0,
  topicId: 0,
  queueId: 0,
  kind: 0,
  offset: 0,
  generation: 0,
  monotonicMs: 0,
  wallMs: 0,
  boot: 0,
  invisibleMs: 0,
  attempt: 0,
  run: 0,
});

/** Writes everything but the granted-at triple. */
export function writeChangeRecord(
  into: Buffer,
  at: number,
  groupId: number,
  topicId: number,
  queueId: number,
  kind: number,
  offset: number,
  generation: number,
  invisibleMs: number,
  attempt: number,
  run: number,
): void {
  into.writeUInt32LE(groupId, at);
  into.writeUInt32LE(topicId, at + 4);
  into.writeUInt16LE(queueId, at + 8);
  into[at + 10] = kind;
  into[at + 11] = 0;
  writeUint53(into, at + 12, offset);
  writeUint53(into, at + 20, generation);
  into.writeUInt32LE(invisibleMs, at + 52);
  into.writeUInt16LE(attempt, at + 56);
  into.writeUInt32LE(run, at + 58);
}

export function readChangeRecord(from: Buffer, start: number, end: number, into: ChangeRead): void {
  expectBytes("change", start, end, changeRecordBytes);
  into.groupId = from.readUInt32LE(start);
  into.topicId = from.readUInt32LE(start + 4);
  into.queueId = from.readUInt16LE(start + 8);
  into.kind = from[start + 10] ?? 0;
  into.offset = readUint53(from, start + 12);
  into.generation = readUint53(from, start + 20);
  into.monotonicMs = from.readDoubleLE(start + 28);
  into.wallMs = from.readDoubleLE(start + 36);
  into.boot = from.readDoubleLE(start + 44);
  into.invisibleMs = from.readUInt32LE(start + 52);
  into.attempt = from.readUInt16LE(start + 56);
  into.run = from.readUInt32LE(start + 58);
}
