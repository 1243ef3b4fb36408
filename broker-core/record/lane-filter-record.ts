import { readShortText, shortTextBytes, shortTextEnd, writeShortText } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * LaneFilter: from here on the consumers of a lane read a topic with this filter. What of the lane's messages base consumers with another one
 * do not want, while they stand in, is kept where this one wants it, and settled where it does not.
 *
 *     0  u32 topic id
 *     4  u32 group id
 *     8  f64 wall ms
 *     16 u8  type of the expression: FilterType of the v2 API
 *     17 u16 bytes of the expression
 *     19 text lane
 *     .. expression, as the client sent it
 */
export interface LaneFilterRecord {
  readonly topicId: number;
  readonly groupId: number;
  readonly wallMs: number;
  readonly lane: string;
  readonly filterType: number;
  readonly expression: string;
}

const fixedBytes = 19;

export function laneFilterBytes({ lane, expression }: LaneFilterRecord): number {
  return fixedBytes + shortTextBytes(lane) + Buffer.byteLength(expression);
}

export function writeLaneFilter(record: LaneFilterRecord, into: Buffer, at: number): void {
  into.writeUInt32LE(record.topicId, at);
  into.writeUInt32LE(record.groupId, at + 4);
  into.writeDoubleLE(record.wallMs, at + 8);
  into.writeUInt8(record.filterType, at + 16);
  into.writeUInt16LE(Buffer.byteLength(record.expression), at + 17);
  into.write(record.expression, writeShortText(into, at + fixedBytes, record.lane));
}

export function readLaneFilter(from: Buffer, start: number, end: number): LaneFilterRecord {
  expectBytes("lane-filter", start, end, fixedBytes + 1);
  const expressionAt = shortTextEnd(from, start + fixedBytes);
  return {
    topicId: from.readUInt32LE(start),
    groupId: from.readUInt32LE(start + 4),
    wallMs: from.readDoubleLE(start + 8),
    filterType: from.readUInt8(start + 16),
    lane: readShortText(from, start + fixedBytes),
    expression: from.toString("utf8", expressionAt, expressionAt + from.readUInt16LE(start + 17)),
  };
}
