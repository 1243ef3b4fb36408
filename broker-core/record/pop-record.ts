import { readUint53, shortTextBytes, shortTextEnd, writeShortText, writeUint53 } from "./fixed-bytes.ts";
import { grantedAtBytes } from "./granted-at.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Pop: one hand-out to one consumer. It also carries how far the group has looked in each queue it read; with no deliveries
 * it says only that (everything up to there does not match the group's filter, or waits for an earlier message of its message
 * group). Passes settle messages without a delivery: what was put aside, and does not match the filter now that its turn has
 * come.
 *
 *     0  u32 group id
 *     4  u32 topic id
 *     8  granted at (granted-at.ts)
 *     32 u32 invisible ms
 *     36 u16 pass count
 *     38 u16 cursor count
 *     40 u16 delivery count
 *     42 u32 run that granted the leases (lease-table.ts)
 *     46 text client id, text attempt id, text lane
 *     .. cursors:    u16 queue id, u53 next offset
 *     .. deliveries: u16 queue id, u53 offset, u53 lease generation, u16 attempt
 *     .. passes:     u16 queue id, u53 offset, u32 count: so many messages of the message group of the one at this offset, it
 *                    being the last; or that one alone, when it was handed out before
 *     .. of a lane other than base only: text lane whose positions it moves and whose messages these are, u16 count,
 *        kept: u16 queue id, u53 offset: a message that waits for a consumer of that lane, as a redelivery without an attempt
 */
export const popFixedBytes = 46;
export const popCursorBytes = 10;
export const popDeliveryBytes = 20;
export const popPassBytes = 14;
export const popKeptBytes = 10;

export function popRecordBytes(
  clientId: string,
  attemptId: string,
  lane: string,
  cursorCount: number,
  deliveryCount: number,
  passCount: number,
  owner = "",
  keptCount = 0,
): number {
  return (
    popFixedBytes +
    (owner === "" ? 0 : shortTextBytes(owner) + 2 + keptCount * popKeptBytes) +
    shortTextBytes(clientId) +
    shortTextBytes(attemptId) +
    shortTextBytes(lane) +
    cursorCount * popCursorBytes +
    deliveryCount * popDeliveryBytes +
    passCount * popPassBytes
  );
}

/** Writes everything but the granted-at triple and the three lists; returns the offset of the first cursor. */
export function writePopHead(
  into: Buffer,
  at: number,
  groupId: number,
  topicId: number,
  invisibleMs: number,
  cursorCount: number,
  deliveryCount: number,
  passCount: number,
  run: number,
  clientId: string,
  attemptId: string,
  lane: string,
): number {
  into.writeUInt32LE(groupId, at);
  into.writeUInt32LE(topicId, at + 4);
  into.writeUInt32LE(invisibleMs, at + 32);
  into.writeUInt16LE(passCount, at + 36);
  into.writeUInt16LE(cursorCount, at + 38);
  into.writeUInt16LE(deliveryCount, at + 40);
  into.writeUInt32LE(run, at + 42);
  let to = writeShortText(into, at + popFixedBytes, clientId);
  to = writeShortText(into, to, attemptId);
  return writeShortText(into, to, lane);
}

/** Offset at which the granted-at triple is to be written. */
export const popGrantedAt = 8;

export function writePopCursor(into: Buffer, at: number, queueId: number, nextOffset: number): number {
  into.writeUInt16LE(queueId, at);
  writeUint53(into, at + 2, nextOffset);
  return at + popCursorBytes;
}

export function writePopDelivery(
  into: Buffer,
  at: number,
  queueId: number,
  offset: number,
  generation: number,
  attempt: number,
): number {
  into.writeUInt16LE(queueId, at);
  writeUint53(into, at + 2, offset);
  writeUint53(into, at + 10, generation);
  into.writeUInt16LE(attempt, at + 18);
  return at + popDeliveryBytes;
}

export function writePopPass(into: Buffer, at: number, queueId: number, offset: number, count: number): number {
  into.writeUInt16LE(queueId, at);
  writeUint53(into, at + 2, offset);
  into.writeUInt32LE(count, at + 10);
  return at + popPassBytes;
}

/** Whose messages these are; returns the offset of the first that is kept. */
export function writePopOwner(into: Buffer, at: number, owner: string, keptCount: number): number {
  const to = writeShortText(into, at, owner);
  into.writeUInt16LE(keptCount, to);
  return to + 2;
}

export function writePopKept(into: Buffer, at: number, queueId: number, offset: number): number {
  into.writeUInt16LE(queueId, at);
  writeUint53(into, at + 2, offset);
  return at + popKeptBytes;
}

export interface PopRead {
  groupId: number;
  topicId: number;
  monotonicMs: number;
  wallMs: number;
  boot: number;
  invisibleMs: number;
  cursorCount: number;
  deliveryCount: number;
  passCount: number;
  run: number;
  /** Offsets of the three texts and of the three lists. */
  clientAt: number;
  attemptAt: number;
  laneAt: number;
  cursorsAt: number;
  deliveriesAt: number;
  passesAt: number;
  /** Offset of the text that names the lane whose messages these are; -1: base. */
  ownerAt: number;
  keptCount: number;
  keptAt: number;
}

export const popReadBlank = (): PopRead => ({
  groupId: 0,
  topicId: 0,
  monotonicMs: 0,
  wallMs: 0,
  boot: 0,
  invisibleMs: 0,
  cursorCount: 0,
  deliveryCount: 0,
  passCount: 0,
  run: 0,
  clientAt: 0,
  attemptAt: 0,
  laneAt: 0,
  cursorsAt: 0,
  deliveriesAt: 0,
  passesAt: 0,
  ownerAt: -1,
  keptCount: 0,
  keptAt: 0,
});

export function readPopRecord(from: Buffer, start: number, end: number, into: PopRead): void {
  expectBytes("pop", start, end, popFixedBytes + 3);
  into.groupId = from.readUInt32LE(start);
  into.topicId = from.readUInt32LE(start + 4);
  into.monotonicMs = from.readDoubleLE(start + 8);
  into.wallMs = from.readDoubleLE(start + 16);
  into.boot = from.readDoubleLE(start + 8 + grantedAtBytes - 8);
  into.invisibleMs = from.readUInt32LE(start + 32);
  into.cursorCount = from.readUInt16LE(start + 38);
  into.passCount = from.readUInt16LE(start + 36);
  into.deliveryCount = from.readUInt16LE(start + 40);
  into.run = from.readUInt32LE(start + 42);
  into.clientAt = start + popFixedBytes;
  into.attemptAt = shortTextEnd(from, into.clientAt);
  into.laneAt = shortTextEnd(from, into.attemptAt);
  into.cursorsAt = shortTextEnd(from, into.laneAt);
  into.deliveriesAt = into.cursorsAt + into.cursorCount * popCursorBytes;
  into.passesAt = into.deliveriesAt + into.deliveryCount * popDeliveryBytes;
  const ownerAt = into.passesAt + into.passCount * popPassBytes;
  expectBytes("pop", start, end, ownerAt - start);
  into.ownerAt = -1;
  into.keptCount = 0;
  if (ownerAt >= end) return;
  into.ownerAt = ownerAt;
  into.keptAt = shortTextEnd(from, ownerAt) + 2;
  into.keptCount = from.readUInt16LE(into.keptAt - 2);
  expectBytes("pop", start, end, into.keptAt + into.keptCount * popKeptBytes - start);
}

export const popEntryQueueId = (from: Buffer, at: number): number => from.readUInt16LE(at);
/** Next offset of a cursor, offset of a delivery or pass. */
export const popEntryOffset = (from: Buffer, at: number): number => readUint53(from, at + 2);
export const popDeliveryGeneration = (from: Buffer, at: number): number => readUint53(from, at + 10);
export const popDeliveryAttempt = (from: Buffer, at: number): number => from.readUInt16LE(at + 18);
export const popPassedCount = (from: Buffer, at: number): number => from.readUInt32LE(at + 10);
