import { type LogReader, type LogRecord, RecordType } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { placeState } from "../operation/place-state.ts";
import { type MessageView, messageViewAt } from "../operation/stored-message.ts";
import { carryKind, carryNumber } from "../record/carry-record.ts";
import { type CopyOrigin, originText } from "../record/copy-origin.ts";
import { halfNumber } from "../record/half-message-record.ts";
import {
  messageIsMirrored,
  messageOffset,
  messageQueueId,
  messageStoreMs,
  messageTopicId,
  mirrorOffset,
  mirrorQueueId,
  mirrorTopicId,
} from "../record/message-record.ts";
import type { MirrorPlace } from "../record/mirror-place.ts";
import { recallMessagePosition, recallWallMs } from "../record/recall-record.ts";
import { readReleaseRecord, releaseMessagePosition, releaseNumber } from "../record/release-record.ts";
import { readRollbackRecord } from "../record/rollback-record.ts";
import { storedMessageOf } from "../record/stored-message.ts";
import { timedNumber } from "../record/timed-record.ts";

/** Where a stored message is: visible in a queue, waiting unseen for its time or its transaction, or never to be seen. */
export type Standing = "visible" | "waiting" | "rolled back" | "recalled";

/** What was stored unseen: `RecordType` of the record that stored it, and its number. */
interface Unseen {
  readonly kind: number;
  readonly number: number;
}

/** A message as it was stored once. A message that was sent twice is two of these. */
export interface MessageCopy {
  /** Log position of the record that stored it, or of the first that holds it and is still there. */
  readonly position: number;
  readonly topicId: number;
  /** Wall time at which it was stored. */
  readonly storedMs: number;
  /** Of a message that was stored unseen. */
  readonly unseen: Unseen | undefined;
  /** Log positions of all records that hold it: what ends its waiting points at the last one there was. */
  readonly holders: number[];
  standing: Standing;
  /** Its place, once it is visible. */
  queueId: number;
  offset: number;
  /** What made it visible, or ended it: position of that record. */
  releasedBy: LogRecordSummary | undefined;
  /** Where a lane rule has it copied to. */
  mirror: MirrorPlace | undefined;
  /** It is what a lane rule made of a message that stands there. */
  readonly mirrorOf: Omit<CopyOrigin, "copyOffset"> | undefined;
}

/** What of a record is kept beyond the call that read it. */
export interface LogRecordSummary {
  readonly position: number;
  readonly type: RecordType;
  readonly atMs: number;
  readonly reason: number;
}

/**
 * What a record that holds a message says: a copy that was not known yet. Undefined when it says it of one of `known` again, which
 * learns from it: a message that waits unseen is written again when its segment goes, and once more with its release.
 */
export function copyOf(log: LogReader, record: LogRecord, known: readonly MessageCopy[]): MessageCopy | undefined {
  // The message died in a group; it is what it was before.
  if (record.type === RecordType.DeadLetter) return undefined;
  const unseen = unseenOf(record);
  const isRelease = record.type === RecordType.Commit || record.type === RecordType.Due;
  const repeated =
    unseen && known.find((copy) => copy.unseen?.kind === unseen.kind && copy.unseen.number === unseen.number);
  if (repeated !== undefined) {
    repeated.holders.push(record.position);
    if (isRelease) release(repeated, record);
    return undefined;
  }
  const { body, start } = storedMessageOf(log, record);
  const isVisible = record.type === RecordType.Message;
  const copy: MessageCopy = {
    position: record.position,
    topicId: messageTopicId(body, start),
    storedMs: messageStoreMs(body, start),
    unseen,
    holders: [record.position],
    standing: isVisible ? "visible" : "waiting",
    queueId: isVisible ? messageQueueId(body, start) : -1,
    offset: isVisible ? messageOffset(body, start) : -1,
    releasedBy: undefined,
    mirror: isVisible ? mirrorOfMessage(body, start) : undefined,
    mirrorOf: undefined,
  };
  if (isRelease) release(copy, record);
  return copy;
}

function mirrorOfMessage(body: Buffer, start: number): MirrorPlace | undefined {
  if (!messageIsMirrored(body, start)) return undefined;
  return {
    topicId: mirrorTopicId(body, start),
    queueId: mirrorQueueId(body, start),
    offset: mirrorOffset(body, start),
  };
}

/** The message as it stands in the topic that it is copied to; undefined: in none that is there. */
export function inShadow({ topics }: BrokerTables, copy: MessageCopy): MessageCopy | undefined {
  const { mirror, topicId, queueId, offset } = copy;
  if (mirror === undefined || topics.byId(mirror.topicId) === undefined) return undefined;
  return { ...copy, ...mirror, mirror: undefined, mirrorOf: { topicId, queueId, offset } };
}

/** Whether a lane rule has, or had, messages of its topic copied to a topic of this name. */
export function mayBeCopiedTo({ topics }: BrokerTables, { topicId }: MessageCopy, topic: string): boolean {
  return topics.byId(topicId)?.laneRules?.sets.some(({ mirror }) => mirror?.topic === topic) === true;
}

function unseenOf({ type, body }: LogRecord): Unseen | undefined {
  switch (type) {
    case RecordType.TimedMessage:
      return { kind: type, number: timedNumber(body, 0) };
    case RecordType.HalfMessage:
      return { kind: type, number: halfNumber(body, 0) };
    case RecordType.Carry:
      return { kind: carryKind(body, 0), number: carryNumber(body, 0) };
    case RecordType.Due:
      return { kind: RecordType.TimedMessage, number: releaseNumber(body, 0) };
    case RecordType.Commit:
      return { kind: RecordType.HalfMessage, number: releaseNumber(body, 0) };
    default:
      return undefined;
  }
}

/** The position at which a record that ends the waiting of a message points; -1: it ends none. */
export function endedPosition({ type, body }: LogRecord): number {
  switch (type) {
    case RecordType.Recall:
      return recallMessagePosition(body, 0);
    case RecordType.Rollback:
      return readRollbackRecord(body, 0, body.length).messagePosition;
    case RecordType.Commit:
    case RecordType.Due:
      return releaseMessagePosition(body, 0);
    default:
      return -1;
  }
}

/** Whether a message that nothing released still waits: else its send was cut off by a crash, and it never was. */
export function isWaiting({ topics, waiting, transactions }: BrokerTables, { topicId, unseen }: MessageCopy): boolean {
  if (unseen === undefined || topics.byId(topicId) === undefined) return true;
  const table = unseen.kind === RecordType.TimedMessage ? waiting : transactions;
  return table.find(unseen.number) >= 0;
}

/** Applies a release, rollback or recall that points at the copy. */
export function release(copy: MessageCopy, record: LogRecord): void {
  if (record.type === RecordType.Recall) {
    copy.standing = "recalled";
    copy.releasedBy = { position: record.position, type: record.type, atMs: recallWallMs(record.body, 0), reason: 0 };
    return;
  }
  if (record.type === RecordType.Rollback) {
    const { wallMs, reason } = readRollbackRecord(record.body, 0, record.body.length);
    copy.standing = "rolled back";
    copy.releasedBy = { position: record.position, type: record.type, atMs: wallMs, reason };
    return;
  }
  const { queueId, offset, releasedMs, cause, mirror } = readReleaseRecord(record.body, 0, record.body.length);
  copy.standing = "visible";
  copy.mirror = mirror;
  copy.queueId = queueId;
  copy.offset = offset;
  copy.releasedBy = { position: record.position, type: record.type, atMs: releasedMs, reason: cause };
}

/** What each group that reads the topic has done with it. */
function groupStates(tables: BrokerTables, copy: MessageCopy, monotonicMs: number): object[] {
  const subscriptions = tables.topics.byId(copy.topicId)?.subscriptions;
  if (subscriptions === undefined || copy.standing !== "visible") return [];
  return Array.from(subscriptions.values(), (subscription) => ({
    group: subscription.group.name,
    ...placeState(tables, subscription, copy.queueId, copy.offset, monotonicMs),
  }));
}

/** A copy with all that is known of it, as operators see it. */
export function copyView(tables: BrokerTables, log: LogReader, copy: MessageCopy, monotonicMs: number): object {
  const message: MessageView | null = messageViewAt(log, copy.position) ?? null;
  return {
    topic: topicName(tables, copy.topicId),
    standing: copy.standing,
    queueId: copy.queueId < 0 ? null : copy.queueId,
    offset: copy.offset < 0 ? null : copy.offset,
    storedMs: copy.storedMs,
    position: copy.position,
    ...(copy.mirrorOf === undefined
      ? {}
      : { mirrorOf: originText(topicName(tables, copy.mirrorOf.topicId), copy.mirrorOf) }),
    groups: groupStates(tables, copy, monotonicMs),
    message,
  };
}

export function topicName(tables: BrokerTables, topicId: number): string {
  return tables.topics.byId(topicId)?.name ?? `topic ${topicId}, which was deleted`;
}
