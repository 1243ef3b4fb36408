import { readShortText, shortTextBytes, writeShortText } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * LaneSpilled, LaneResumed and LaneClosed: something becomes of a lane of a group in a topic (L3).
 *
 *     0  u32 topic id
 *     4  u32 group id
 *     8  f64 wall ms
 *     16 text lane
 */
export interface LaneEvent {
  readonly topicId: number;
  readonly groupId: number;
  readonly wallMs: number;
  readonly lane: string;
}

const fixedBytes = 16;

export function laneEventBytes(event: LaneEvent): number {
  return fixedBytes + shortTextBytes(event.lane);
}

export function writeLaneEvent(event: LaneEvent, into: Buffer, at: number): void {
  into.writeUInt32LE(event.topicId, at);
  into.writeUInt32LE(event.groupId, at + 4);
  into.writeDoubleLE(event.wallMs, at + 8);
  writeShortText(into, at + fixedBytes, event.lane);
}

export function readLaneEvent(from: Buffer, start: number, end: number): LaneEvent {
  expectBytes("lane-event", start, end, fixedBytes + 1);
  return {
    topicId: from.readUInt32LE(start),
    groupId: from.readUInt32LE(start + 4),
    wallMs: from.readDoubleLE(start + 8),
    lane: readShortText(from, start + fixedBytes),
  };
}
