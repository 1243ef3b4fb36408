import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Ack: messages that a group has done with.
 *
 *     0  u32 group id
 *     4  u32 topic id
 *     8  f64 wall ms
 *     16 u16 count
 *     18 count x (u16 queue id, u53 offset, u53 lease generation)
 */
export const ackFixedBytes = 18;
export const ackEntryBytes = 18;

export function writeAckHead(into: Buffer, at: number, groupId: number, topicId: number, wallMs: number): void {
  into.writeUInt32LE(groupId, at);
  into.writeUInt32LE(topicId, at + 4);
  into.writeDoubleLE(wallMs, at + 8);
  into.writeUInt16LE(1, at + 16);
}

export function writeAckEntry(into: Buffer, at: number, queueId: number, offset: number, generation: number): void {
  into.writeUInt16LE(queueId, at);
  writeUint53(into, at + 2, offset);
  writeUint53(into, at + 10, generation);
}

export function expectAckRecord(from: Buffer, start: number, end: number): void {
  expectBytes("ack", start, end, ackFixedBytes);
  expectBytes("ack", start, end, ackFixedBytes + ackCount(from, start) * ackEntryBytes);
}

export const ackGroupId = (from: Buffer, start: number): number => from.readUInt32LE(start);
export const ackTopicId = (from: Buffer, start: number): number => from.readUInt32LE(start + 4);
export const ackCount = (from: Buffer, start: number): number => from.readUInt16LE(start + 16);
export const ackQueueId = (from: Buffer, at: number): number => from.readUInt16LE(at);
export const ackOffset = (from: Buffer, at: number): number => readUint53(from, at + 2);
export const ackGeneration = (from: Buffer, at: number): number => readUint53(from, at + 10);
