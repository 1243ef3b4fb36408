import { readShortText, readUint53, shortTextBytes, shortTextEnd, writeShortText, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * LaneRule: a lane rule of a topic comes into force, or goes.
 *
 *     0  u32 topic id
 *     4  u53 number: the generation that the control plane gave the rule
 *     12 f64 wall ms
 *     20 text group ("": every group), text name of the rule, text topic name
 *     .. the rule, as canonical JSON, to the end of the record; nothing: it is withdrawn
 */
export interface LaneRuleRecord {
  readonly topicId: number;
  readonly number: number;
  readonly wallMs: number;
  readonly group: string;
  readonly name: string;
  readonly topicName: string;
  /** "": withdrawn. */
  readonly rule: string;
}

const fixedBytes = 20;

export function laneRuleRecordBytes(record: LaneRuleRecord): number {
  const names = shortTextBytes(record.group) + shortTextBytes(record.name) + shortTextBytes(record.topicName);
  return fixedBytes + names + Buffer.byteLength(record.rule);
}

export function writeLaneRuleRecord(record: LaneRuleRecord, into: Buffer, at: number): void {
  into.writeUInt32LE(record.topicId, at);
  writeUint53(into, at + 4, record.number);
  into.writeDoubleLE(record.wallMs, at + 12);
  let to = writeShortText(into, at + fixedBytes, record.group);
  to = writeShortText(into, to, record.name);
  to = writeShortText(into, to, record.topicName);
  into.write(record.rule, to);
}

export function readLaneRuleRecord(from: Buffer, start: number, end: number): LaneRuleRecord {
  expectBytes("lane-rule", start, end, fixedBytes + 3);
  const nameAt = shortTextEnd(from, start + fixedBytes);
  const topicAt = shortTextEnd(from, nameAt);
  return {
    topicId: from.readUInt32LE(start),
    number: readUint53(from, start + 4),
    wallMs: from.readDoubleLE(start + 12),
    group: readShortText(from, start + fixedBytes),
    name: readShortText(from, nameAt),
    topicName: readShortText(from, topicAt),
    rule: from.toString("utf8", shortTextEnd(from, topicAt), end),
  };
}
