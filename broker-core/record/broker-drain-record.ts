import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * BrokerDrain: from here on the broker is drained (it takes no new messages), or is not any more.
 *
 *     0  u8  1: it is drained; 0: not any more
 *     1  u32 message groups leave the topics with ids below
 *     5  f64 wall ms
 *     13 f64 patience ms: so long message groups that still have messages here may have new ones
 *     21 u53 number of the spread of message groups by which they leave
 */
export interface BrokerDrainRecord {
  readonly isDraining: boolean;
  readonly leaveBelow: number;
  readonly wallMs: number;
  readonly patienceMs: number;
  readonly groupSpread: number;
}

export const brokerDrainBytes = 29;

export function writeBrokerDrain(record: BrokerDrainRecord, into: Buffer, at: number): void {
  into[at] = record.isDraining ? 1 : 0;
  into.writeUInt32LE(record.leaveBelow, at + 1);
  into.writeDoubleLE(record.wallMs, at + 5);
  into.writeDoubleLE(record.patienceMs, at + 13);
  writeUint53(into, at + 21, record.groupSpread);
}

export function readBrokerDrain(from: Buffer, start: number, end: number): BrokerDrainRecord {
  expectBytes("broker-drain", start, end, brokerDrainBytes);
  return {
    isDraining: from[start] === 1,
    leaveBelow: from.readUInt32LE(start + 1),
    wallMs: from.readDoubleLE(start + 5),
    patienceMs: from.readDoubleLE(start + 13),
    groupSpread: readUint53(from, start + 21),
  };
}
