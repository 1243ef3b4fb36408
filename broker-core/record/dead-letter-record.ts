import { readShortText, readUint53, shortTextBytes, shortTextEnd, writeShortText, writeUint53 } from "./fixed-bytes.ts";
import { expectBytes } from "./record-fault.ts";

/**
 * DeadLetter: a message leaves its group and enters the group's dead-letter topic; one record does both, so no crash can
 * lose or double it. The body is not copied, the record points at the message's own; where that lies in an old segment, which
 * retention may remove before this record, it carries the message itself.
 *
 *     0  u32 group id
 *     4  u32 origin topic id
 *     8  u16 origin queue id
 *     10 u8  reason
 *     11 u8  flags         bit 0: carries the message; bit 1: names a lane rule
 *     12 u53 origin offset
 *     20 u53 lease generation that ended
 *     28 u32 dead-letter topic id
 *     32 u16 dead-letter queue id
 *     34 u16 attempts
 *     36 u53 dead-letter offset
 *     44 u53 log position of the message
 *     52 f64 dead at (wall ms)
 *     60 f64 first handed out at (wall ms)
 *     68 u32 message bytes
 *     72 u32 tag hash
 *     76 u32 group hash
 *     80 text origin topic, text message id, text last holder, text lane
 *     .. u53 number and text name of the lane rule that put it into its lane, if there was one
 *     .. message record, if carried
 */
export interface DeadLetterRecord {
  readonly groupId: number;
  readonly topicId: number;
  readonly queueId: number;
  readonly reason: number;
  readonly offset: number;
  readonly generation: number;
  readonly deadTopicId: number;
  readonly deadQueueId: number;
  readonly deadOffset: number;
  readonly attempts: number;
  readonly messagePosition: number;
  readonly deadMs: number;
  readonly firstPopMs: number;
  readonly messageBytes: number;
  readonly tagHash: number;
  readonly groupHash: number;
  readonly originTopic: string;
  readonly messageId: string;
  readonly lastHolder: string;
  /** The lane that it was of; of a group without lanes, the one of its last holder. */
  readonly lane: string;
  /** The lane rule that said so; undefined: none was in force. */
  readonly laneRule?: { readonly name: string; readonly number: number } | undefined;
}

export const DeadLetterReason = {
  /** The last allowed attempt ended without an ack. */
  AttemptsExhausted: 1,
  /** A client forwarded it. */
  Forwarded: 2,
} as const;

export function deadLetterReasonText(reason: number): string {
  if (reason === DeadLetterReason.AttemptsExhausted) return "attempts exhausted";
  if (reason === DeadLetterReason.Forwarded) return "forwarded by the consumer";
  return `reason ${reason}`;
}

const fixedBytes = 80;

const carriesMessage = 1;
const namesRule = 2;
const ruleNumberBytes = 8;

/** `messageRecord`: what the record carries; empty when it only points. */
export function deadLetterRecordBytes(dead: DeadLetterRecord, messageRecord: Uint8Array): number {
  return (
    fixedBytes +
    messageRecord.length +
    shortTextBytes(dead.originTopic) +
    shortTextBytes(dead.messageId) +
    shortTextBytes(dead.lastHolder) +
    shortTextBytes(dead.lane) +
    (dead.laneRule === undefined ? 0 : ruleNumberBytes + shortTextBytes(dead.laneRule.name))
  );
}

export function writeDeadLetterRecord(
  dead: DeadLetterRecord,
  messageRecord: Uint8Array,
  into: Buffer,
  at: number,
): void {
  into.writeUInt32LE(dead.groupId, at);
  into.writeUInt32LE(dead.topicId, at + 4);
  into.writeUInt16LE(dead.queueId, at + 8);
  into[at + 10] = dead.reason;
  const { laneRule } = dead;
  into[at + 11] = (messageRecord.length > 0 ? carriesMessage : 0) | (laneRule === undefined ? 0 : namesRule);
  writeUint53(into, at + 12, dead.offset);
  writeUint53(into, at + 20, dead.generation);
  into.writeUInt32LE(dead.deadTopicId, at + 28);
  into.writeUInt16LE(dead.deadQueueId, at + 32);
  into.writeUInt16LE(dead.attempts, at + 34);
  writeUint53(into, at + 36, dead.deadOffset);
  writeUint53(into, at + 44, dead.messagePosition);
  into.writeDoubleLE(dead.deadMs, at + 52);
  into.writeDoubleLE(dead.firstPopMs, at + 60);
  into.writeUInt32LE(dead.messageBytes, at + 68);
  into.writeUInt32LE(dead.tagHash, at + 72);
  into.writeUInt32LE(dead.groupHash, at + 76);
  let to = writeShortText(into, at + fixedBytes, dead.originTopic);
  to = writeShortText(into, to, dead.messageId);
  to = writeShortText(into, to, dead.lastHolder);
  to = writeShortText(into, to, dead.lane);
  if (laneRule !== undefined) {
    writeUint53(into, to, laneRule.number);
    to = writeShortText(into, to + ruleNumberBytes, laneRule.name);
  }
  into.set(messageRecord, to);
}

export function readDeadLetterRecord(from: Buffer, start: number, end: number): DeadLetterRecord {
  expectBytes("dead-letter", start, end, fixedBytes + 4);
  const idAt = shortTextEnd(from, start + fixedBytes);
  const holderAt = shortTextEnd(from, idAt);
  const laneAt = shortTextEnd(from, holderAt);
  return {
    groupId: from.readUInt32LE(start),
    topicId: from.readUInt32LE(start + 4),
    queueId: from.readUInt16LE(start + 8),
    reason: from[start + 10] ?? 0,
    offset: readUint53(from, start + 12),
    generation: readUint53(from, start + 20),
    deadTopicId: from.readUInt32LE(start + 28),
    deadQueueId: from.readUInt16LE(start + 32),
    attempts: from.readUInt16LE(start + 34),
    deadOffset: readUint53(from, start + 36),
    messagePosition: readUint53(from, start + 44),
    deadMs: from.readDoubleLE(start + 52),
    firstPopMs: from.readDoubleLE(start + 60),
    messageBytes: from.readUInt32LE(start + 68),
    tagHash: from.readUInt32LE(start + 72),
    groupHash: from.readUInt32LE(start + 76),
    originTopic: readShortText(from, start + fixedBytes),
    messageId: readShortText(from, idAt),
    lastHolder: readShortText(from, holderAt),
    lane: readShortText(from, laneAt),
    ...(doesNameRule(from, start) ? { laneRule: readLaneRule(from, shortTextEnd(from, laneAt)) } : {}),
  };
}

const doesNameRule = (from: Buffer, start: number): boolean => ((from[start + 11] ?? 0) & namesRule) !== 0;

function readLaneRule(from: Buffer, at: number): { readonly name: string; readonly number: number } {
  return { name: readShortText(from, at + ruleNumberBytes), number: readUint53(from, at) };
}

/** Where the message record of a dead letter begins that carries one; -1: it points at its message. */
export function deadLetterMessageStart(from: Buffer, start: number): number {
  if (((from[start + 11] ?? 0) & carriesMessage) === 0) return -1;
  let at = start + fixedBytes;
  for (let texts = 0; texts < 4; texts++) at = shortTextEnd(from, at);
  return doesNameRule(from, start) ? shortTextEnd(from, at + ruleNumberBytes) : at;
}

/** Log position of the message that a dead letter is about. */
export const deadLetterMessagePosition = (from: Buffer, start: number): number => readUint53(from, start + 44);
