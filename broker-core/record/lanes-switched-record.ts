import { readShortText, shortTextBytes, writeShortText } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * LanesSwitched: an operator suspends all lanes of this broker, or lets them go on (docs/lane-rules.md, "The kill switch").
 *
 *     0  u8  1: off
 *     1  f64 wall ms
 *     9  text who asked
 */
export interface LanesSwitched {
  readonly isOff: boolean;
  readonly wallMs: number;
  readonly by: string;
}

const fixedBytes = 9;

export function lanesSwitchedBytes({ by }: LanesSwitched): number {
  return fixedBytes + shortTextBytes(by);
}

export function writeLanesSwitched({ isOff, wallMs, by }: LanesSwitched, into: Buffer, at: number): void {
  into.writeUInt8(isOff ? 1 : 0, at);
  into.writeDoubleLE(wallMs, at + 1);
  writeShortText(into, at + fixedBytes, by);
}

export function readLanesSwitched(from: Buffer, start: number, end: number): LanesSwitched {
  expectBytes("lanes-switched", start, end, fixedBytes + 1);
  return {
    isOff: from.readUInt8(start) === 1,
    wallMs: from.readDoubleLE(start + 1),
    by: readShortText(from, start + fixedBytes),
  };
}
