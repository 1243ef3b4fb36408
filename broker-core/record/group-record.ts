import { readShortText, readUint53, shortTextBytes, shortTextEnd, writeShortText, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * GroupOpened and GroupChanged:
 *
 *     0  u32 group id
 *     4  u32 attempts max
 *     8  u32 in flight max
 *     12 u53 generation
 *     20 f64 backoff initial ms
 *     28 f64 backoff max ms
 *     36 f64 backoff multiplier
 *     44 text name
 *     .. u8 count, count x f64 delay ms
 *     .. of an instance of a broadcast group: text that group, text client id, f64 expiry ms; else nothing
 *
 * GroupDropped: u32 group id, which is never used again.
 */
export interface GroupRecord {
  readonly groupId: number;
  readonly name: string;
  readonly generation: number;
  readonly attemptsMax: number;
  readonly inflightMax: number;
  readonly delaysMs: readonly number[];
  readonly initialMs: number;
  readonly maxMs: number;
  readonly multiplier: number;
  readonly broadcast?: BroadcastInstance | undefined;
}

/** One client instance of a broadcast group, which is a group of its own here. */
export interface BroadcastInstance {
  /** "<namespace>/<group>". */
  readonly group: string;
  readonly clientId: string;
  /** The instance is forgotten when its client was gone for so long. */
  readonly expiryMs: number;
}

const fixedBytes = 44;

/** Longer lists of delays are cut: the last entry repeats anyway. */
export const delayCountMax = 64;

export function groupRecordBytes(group: GroupRecord): number {
  const { broadcast } = group;
  const own = broadcast === undefined ? 0 : shortTextBytes(broadcast.group) + shortTextBytes(broadcast.clientId) + 8;
  return fixedBytes + shortTextBytes(group.name) + 1 + 8 * Math.min(group.delaysMs.length, delayCountMax) + own;
}

export function writeGroupRecord(group: GroupRecord, into: Buffer, at: number): void {
  into.writeUInt32LE(group.groupId, at);
  into.writeUInt32LE(group.attemptsMax, at + 4);
  into.writeUInt32LE(group.inflightMax, at + 8);
  writeUint53(into, at + 12, group.generation);
  into.writeDoubleLE(group.initialMs, at + 20);
  into.writeDoubleLE(group.maxMs, at + 28);
  into.writeDoubleLE(group.multiplier, at + 36);
  let to = writeShortText(into, at + 44, group.name);
  const count = Math.min(group.delaysMs.length, delayCountMax);
  into[to++] = count;
  for (let i = 0; i < count; i++, to += 8) into.writeDoubleLE(group.delaysMs[i]!, to);
  if (group.broadcast === undefined) return;
  to = writeShortText(into, to, group.broadcast.group);
  to = writeShortText(into, to, group.broadcast.clientId);
  into.writeDoubleLE(group.broadcast.expiryMs, to);
}

export function readGroupRecord(from: Buffer, start: number, end: number): GroupRecord {
  expectBytes("group", start, end, fixedBytes + 2);
  let at = shortTextEnd(from, start + 44);
  const delaysMs: number[] = new Array(from[at++] ?? 0);
  for (let i = 0; i < delaysMs.length; i++, at += 8) delaysMs[i] = from.readDoubleLE(at);
  return {
    groupId: from.readUInt32LE(start),
    attemptsMax: from.readUInt32LE(start + 4),
    inflightMax: from.readUInt32LE(start + 8),
    generation: readUint53(from, start + 12),
    initialMs: from.readDoubleLE(start + 20),
    maxMs: from.readDoubleLE(start + 28),
    multiplier: from.readDoubleLE(start + 36),
    name: readShortText(from, start + 44),
    delaysMs,
    ...(at < end ? { broadcast: readBroadcast(from, at) } : {}),
  };
}

function readBroadcast(from: Buffer, at: number): BroadcastInstance {
  const clientAt = shortTextEnd(from, at);
  const expiryAt = shortTextEnd(from, clientAt);
  return {
    group: readShortText(from, at),
    clientId: readShortText(from, clientAt),
    expiryMs: from.readDoubleLE(expiryAt),
  };
}

export const groupDroppedBytes = 4;

export function writeGroupDropped(groupId: number, into: Buffer, at: number): void {
  into.writeUInt32LE(groupId, at);
}

export function readGroupDropped(from: Buffer, start: number, end: number): number {
  expectBytes("group-dropped", start, end, groupDroppedBytes);
  return from.readUInt32LE(start);
}
