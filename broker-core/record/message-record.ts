import { readShortText, readUint53, shortTextBytes, shortTextEnd, writeShortText, writeUint53 } from "./fixed-bytes.ts";
import { mirrorPlaceBytes, placeOffset, placeQueueId, placeTopicId, writeMirrorPlace } from "./mirror-place.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * Message: a fixed head, two short texts, and the client's own bytes, unparsed.
 *
 *     0  u32 topic id
 *     4  u16 queue id
 *     6  u16 flags         SendPart: where in a send of several messages it stands; `isMirroredFlag`: it has a copy
 *     8  u53 queue offset
 *     16 u53 store ms (wall clock)
 *     24 u32 tag hash      0: no tag
 *     28 u32 group hash    0: no message group
 *     32 u32 tag start     where in the client's bytes the value lies, so that a filter compares the real
 *     36 u16 tag length    tag without parsing, and a look-up finds the id
 *     38 u16 id length
 *     40 u32 id start
 *     44 u32 group start
 *     48 u16 group length
 *     50 u16 0
 *     52 text lane mark
 *     .. text born host
 *     .. where its copy stands (mirror-place.ts), if it has one. The copy is an index entry that points here: stored with the
 *        message, or not at all
 *     .. client's message, to the end of the record
 */
export const messageFixedBytes = 52;

/**
 * A send of several messages is stored all or not at all: its records follow each other, each but the last says that more
 * follow, each but the first that it goes on. What a crash has left of one without its last record was never there.
 */
export const SendPart = { MoreFollow: 1, GoesOn: 2 } as const;
const sendPartMask = SendPart.MoreFollow | SendPart.GoesOn;
const isMirroredFlag = 4;

/** What the broker reads of a message once, when it is stored; ranges lie within the client's bytes. */
export interface MessageFacts {
  tagHash: number;
  tagStart: number;
  tagLength: number;
  groupHash: number;
  groupStart: number;
  groupLength: number;
  idStart: number;
  idLength: number;
  /** apache.rocketmq.v2.MessageType, 0 when not given. */
  messageType: number;
  /** Of a send of several messages: `SendPart` bits; else 0. */
  sendPart: number;
  /** Of a PRIORITY message, 0 or more; higher goes first. */
  priority: number;
  /** A delivery timestamp is set. */
  isTimed: boolean;
  /** That, in whole milliseconds, rounded up; 0: none. */
  deliveryMs: number;
  /** What a transactional message asks to be left alone for, in milliseconds; 0: nothing. */
  recoveryMs: number;
  hasLiteTopic: boolean;
  /** Topic id of the copy; 0: there is none. */
  mirrorTopicId: number;
  mirrorQueueId: number;
  mirrorOffset: number;
}

export function messageRecordBytes(
  laneMark: string,
  bornHost: string,
  message: Uint8Array,
  isMirrored = false,
): number {
  const head = messageFixedBytes + (isMirrored ? mirrorPlaceBytes : 0);
  return head + shortTextBytes(laneMark) + shortTextBytes(bornHost) + message.length;
}

export function writeMessageRecord(
  into: Buffer,
  at: number,
  topicId: number,
  queueId: number,
  offset: number,
  storeMs: number,
  facts: MessageFacts,
  laneMark: string,
  bornHost: string,
  message: Uint8Array,
): void {
  into.writeUInt32LE(topicId, at);
  into.writeUInt16LE(queueId, at + 4);
  into.writeUInt16LE(facts.sendPart | (facts.mirrorTopicId === 0 ? 0 : isMirroredFlag), at + 6);
  writeUint53(into, at + 8, offset);
  writeUint53(into, at + 16, storeMs);
  into.writeUInt32LE(facts.tagHash, at + 24);
  into.writeUInt32LE(facts.groupHash, at + 28);
  into.writeUInt32LE(facts.tagStart, at + 32);
  into.writeUInt16LE(facts.tagLength, at + 36);
  into.writeUInt16LE(facts.idLength, at + 38);
  into.writeUInt32LE(facts.idStart, at + 40);
  into.writeUInt32LE(facts.groupStart, at + 44);
  into.writeUInt16LE(facts.groupLength, at + 48);
  into.writeUInt16LE(0, at + 50);
  let to = writeShortText(into, at + messageFixedBytes, laneMark);
  to = writeShortText(into, to, bornHost);
  if (facts.mirrorTopicId !== 0) {
    writeMirrorPlace(into, to, facts.mirrorTopicId, facts.mirrorQueueId, facts.mirrorOffset);
    to += mirrorPlaceBytes;
  }
  into.set(message, to);
}

export function expectMessageRecord(start: number, end: number): void {
  expectBytes("message", start, end, messageFixedBytes + 2);
}

export const messageTopicId = (from: Buffer, start: number): number => from.readUInt32LE(start);
export const messageQueueId = (from: Buffer, start: number): number => from.readUInt16LE(start + 4);
export const messageSendPart = (from: Buffer, start: number): number => from.readUInt16LE(start + 6) & sendPartMask;
/** Whether the message has a copy in another topic, whose place the functions below tell. */
export const messageIsMirrored = (from: Buffer, start: number): boolean =>
  (from.readUInt16LE(start + 6) & isMirroredFlag) !== 0;
const mirrorAt = (from: Buffer, start: number): number =>
  shortTextEnd(from, shortTextEnd(from, start + messageFixedBytes));
export const mirrorTopicId = (from: Buffer, start: number): number => placeTopicId(from, mirrorAt(from, start));
export const mirrorQueueId = (from: Buffer, start: number): number => placeQueueId(from, mirrorAt(from, start));
export const mirrorOffset = (from: Buffer, start: number): number => placeOffset(from, mirrorAt(from, start));
export const messageOffset = (from: Buffer, start: number): number => readUint53(from, start + 8);
export const messageStoreMs = (from: Buffer, start: number): number => readUint53(from, start + 16);
export const messageTagHash = (from: Buffer, start: number): number => from.readUInt32LE(start + 24);
export const messageGroupHash = (from: Buffer, start: number): number => from.readUInt32LE(start + 28);
export const messageLaneMark = (from: Buffer, start: number): string => readShortText(from, start + messageFixedBytes);
export const messageBornHost = (from: Buffer, start: number): string =>
  readShortText(from, shortTextEnd(from, start + messageFixedBytes));
/** Offset of the client's first byte. */
export const messageBodyStart = (from: Buffer, start: number): number =>
  mirrorAt(from, start) + (messageIsMirrored(from, start) ? mirrorPlaceBytes : 0);

/** Whether the record's tag is exactly these bytes. */
export function messageTagEquals(from: Buffer, start: number, tag: Uint8Array): boolean {
  if (from.readUInt16LE(start + 36) !== tag.length) return false;
  const at = messageBodyStart(from, start) + from.readUInt32LE(start + 32);
  for (let i = 0; i < tag.length; i++) {
    if (from[at + i] !== tag[i]) return false;
  }
  return true;
}

/** The client's message id. */
export function messageId(from: Buffer, start: number): string {
  const at = messageBodyStart(from, start) + from.readUInt32LE(start + 40);
  return from.toString("utf8", at, at + from.readUInt16LE(start + 38));
}
