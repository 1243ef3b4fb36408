import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * GroupSpread: the message groups of a topic are spread over other brokers than before, by a route that a sidecar has.
 *
 *     0  u32 topic id
 *     4  u53 number of the spread, as the control plane gave it
 */
export interface GroupSpreadRecord {
  readonly topicId: number;
  readonly number: number;
}

export const groupSpreadBytes = 12;

export function writeGroupSpread(record: GroupSpreadRecord, into: Buffer, at: number): void {
  into.writeUInt32LE(record.topicId, at);
  writeUint53(into, at + 4, record.number);
}

export function readGroupSpread(from: Buffer, start: number, end: number): GroupSpreadRecord {
  expectBytes("group-spread", start, end, groupSpreadBytes);
  return { topicId: from.readUInt32LE(start), number: readUint53(from, start + 4) };
}
