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
}

const fixedBytes = 44;

/** Longer lists of delays are cut: the last entry repeats anyway. */
export const delayCountMax = 64;

export function groupRecordBytes(group: GroupRecord): number {
  return fixedBytes + shortTextBytes(group.name) + 1 + 8 * Math.min(group.delaysMs.length, delayCountMax);
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
  };
}
