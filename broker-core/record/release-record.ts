import { readUint53, writeUint53 } from "./fixed-bytes.ts";
import {
  type MirrorPlace,
  mirrorPlaceBytes,
  placeOffset,
  placeQueueId,
  placeTopicId,
  writeMirrorPlace,
} from "./mirror-place.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Commit and Due: a message that was stored unseen gets its queue and offset. The record points at the one that holds the
 * message; where that lies in an old segment, which retention may remove before this one, it carries the message itself.
 *
 *     0  u32 topic id
 *     4  u16 queue id
 *     6  u8  flags         bit 0: carries the message; bit 1: has a lane key; bit 2: the message has a copy
 *     7  u8  cause         of a commit: TransactionSource; else 0
 *     8  u53 queue offset
 *     16 u53 released at (wall ms): the store time that consumers are told
 *     24 u53 number of the transaction or timer
 *     32 u53 log position of the record that holds the message
 *     40 u32 bytes of the client's message
 *     44 u32 tag hash
 *     48 u32 group hash
 *     52 u16 lane key, if there is one: the lane by each lane rule in force (lane-rule-set.ts). It is written down, because whoever reads
 *        the record does not have the message that it points at
 *     .. where its copy stands (mirror-place.ts), if it has one: it becomes visible with the message, or not at all
 *     .. message record, if carried
 */
export const releaseFixedBytes = 52;

export interface ReleaseRecord {
  readonly topicId: number;
  readonly queueId: number;
  readonly cause: number;
  readonly offset: number;
  readonly releasedMs: number;
  readonly number: number;
  readonly messagePosition: number;
  readonly messageBytes: number;
  readonly tagHash: number;
  readonly groupHash: number;
  /** 0: no lane rule is in force, or the base lane by each. */
  readonly laneKey: number;
  /** Undefined: the message has no copy. */
  readonly mirror: MirrorPlace | undefined;
}

const carriesMessage = 1;
const hasLaneKey = 2;
const isMirrored = 4;
const laneKeyBytes = 2;

/** `messageRecord`: what the release carries; empty when it only points. */
export function releaseRecordBytes(release: ReleaseRecord, messageRecord: Uint8Array): number {
  return headBytes(release) + messageRecord.length;
}

function headBytes({ laneKey, mirror }: ReleaseRecord): number {
  return releaseFixedBytes + (laneKey === 0 ? 0 : laneKeyBytes) + (mirror === undefined ? 0 : mirrorPlaceBytes);
}

export function writeReleaseRecord(release: ReleaseRecord, messageRecord: Uint8Array, into: Buffer, at: number): void {
  into.writeUInt32LE(release.topicId, at);
  into.writeUInt16LE(release.queueId, at + 4);
  const { laneKey, mirror } = release;
  into[at + 6] =
    (messageRecord.length > 0 ? carriesMessage : 0) |
    (laneKey === 0 ? 0 : hasLaneKey) |
    (mirror === undefined ? 0 : isMirrored);
  into[at + 7] = release.cause;
  writeUint53(into, at + 8, release.offset);
  writeUint53(into, at + 16, release.releasedMs);
  writeUint53(into, at + 24, release.number);
  writeUint53(into, at + 32, release.messagePosition);
  into.writeUInt32LE(release.messageBytes, at + 40);
  into.writeUInt32LE(release.tagHash, at + 44);
  into.writeUInt32LE(release.groupHash, at + 48);
  if (laneKey !== 0) into.writeUInt16LE(laneKey, at + releaseFixedBytes);
  const end = at + headBytes(release);
  if (mirror !== undefined)
    writeMirrorPlace(into, end - mirrorPlaceBytes, mirror.topicId, mirror.queueId, mirror.offset);
  into.set(messageRecord, end);
}

export function readReleaseRecord(from: Buffer, start: number, end: number): ReleaseRecord {
  expectBytes("release", start, end, releaseFixedBytes);
  return {
    topicId: releaseTopicId(from, start),
    queueId: releaseQueueId(from, start),
    cause: from[start + 7] ?? 0,
    offset: releaseOffset(from, start),
    releasedMs: releaseMs(from, start),
    number: releaseNumber(from, start),
    messagePosition: releaseMessagePosition(from, start),
    messageBytes: from.readUInt32LE(start + 40),
    tagHash: from.readUInt32LE(start + 44),
    groupHash: from.readUInt32LE(start + 48),
    laneKey: releaseHasLaneKey(from, start) ? from.readUInt16LE(start + releaseFixedBytes) : 0,
    mirror: releaseMirror(from, start),
  };
}

const releaseHasLaneKey = (from: Buffer, start: number): boolean => ((from[start + 6] ?? 0) & hasLaneKey) !== 0;
const mirrorAt = (from: Buffer, start: number): number =>
  start + releaseFixedBytes + (releaseHasLaneKey(from, start) ? laneKeyBytes : 0);
const releaseIsMirrored = (from: Buffer, start: number): boolean => ((from[start + 6] ?? 0) & isMirrored) !== 0;
/** Where the message record of a release begins that carries one. */
export const releaseMessageStart = (from: Buffer, start: number): number =>
  mirrorAt(from, start) + (releaseIsMirrored(from, start) ? mirrorPlaceBytes : 0);

/** Where the copy of the message stands; undefined: it has none. */
export function releaseMirror(from: Buffer, start: number): MirrorPlace | undefined {
  if (!releaseIsMirrored(from, start)) return undefined;
  const at = mirrorAt(from, start);
  return { topicId: placeTopicId(from, at), queueId: placeQueueId(from, at), offset: placeOffset(from, at) };
}

export const releaseTopicId = (from: Buffer, start: number): number => from.readUInt32LE(start);
export const releaseQueueId = (from: Buffer, start: number): number => from.readUInt16LE(start + 4);
export const releaseCarriesMessage = (from: Buffer, start: number): boolean =>
  ((from[start + 6] ?? 0) & carriesMessage) !== 0;
export const releaseOffset = (from: Buffer, start: number): number => readUint53(from, start + 8);
export const releaseMs = (from: Buffer, start: number): number => readUint53(from, start + 16);
export const releaseNumber = (from: Buffer, start: number): number => readUint53(from, start + 24);
export const releaseMessagePosition = (from: Buffer, start: number): number => readUint53(from, start + 32);
