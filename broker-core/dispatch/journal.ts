import type { ChangeKind, Now, Refused } from "../broker-port.ts";
import { type LogWriter, RecordType } from "../commit-log/log.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import type { PopPlan } from "../pop/pop-plan.ts";
import type { Subscription } from "../pop/subscription.ts";
import type { PopRequest } from "../pop/waiter-table.ts";
import { ackEntryBytes, ackFixedBytes, writeAckEntry, writeAckHead } from "../record/ack-record.ts";
import { type BrokerDrainRecord, brokerDrainBytes, writeBrokerDrain } from "../record/broker-drain-record.ts";
import { changeGrantedAt, changeRecordBytes, writeChangeRecord } from "../record/change-record.ts";
import { type CursorOpened, cursorOpenedBytes, writeCursorOpened } from "../record/cursor-record.ts";
import { type CursorReset, cursorResetBytes, writeCursorReset } from "../record/cursor-reset-record.ts";
import { type DeadLetterRecord, deadLetterRecordBytes, writeDeadLetterRecord } from "../record/dead-letter-record.ts";
import { writeGrantedAt } from "../record/granted-at.ts";
import {
  type GroupRecord,
  groupDroppedBytes,
  groupRecordBytes,
  writeGroupDropped,
  writeGroupRecord,
} from "../record/group-record.ts";
import { type GroupSpreadRecord, groupSpreadBytes, writeGroupSpread } from "../record/group-spread-record.ts";
import { type LaneEvent, laneEventBytes, writeLaneEvent } from "../record/lane-event-record.ts";
import { type LaneFilterRecord, laneFilterBytes, writeLaneFilter } from "../record/lane-filter-record.ts";
import { type LaneRuleRecord, laneRuleRecordBytes, writeLaneRuleRecord } from "../record/lane-rule-record.ts";
import { type LanesSwitched, lanesSwitchedBytes, writeLanesSwitched } from "../record/lanes-switched-record.ts";
import { type LogTrimmedRecord, logTrimmedBytes, writeLogTrimmed } from "../record/log-trimmed-record.ts";
import { type MessageFacts, messageRecordBytes, writeMessageRecord } from "../record/message-record.ts";
import { type OrderKept, orderKeptBytes, writeOrderKept } from "../record/order-kept-record.ts";
import {
  popGrantedAt,
  popRecordBytes,
  writePopCursor,
  writePopDelivery,
  writePopHead,
  writePopKept,
  writePopOwner,
  writePopPass,
} from "../record/pop-record.ts";
import { type RedriveRecord, redriveRecordBytes, writeRedriveRecord } from "../record/redrive-record.ts";
import {
  type TopicRecord,
  topicDroppedBytes,
  topicRecordBytes,
  writeTopicDropped,
  writeTopicRecord,
} from "../record/topic-record.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { Dispatcher } from "./dispatcher.ts";

export type LaneEventType =
  | typeof RecordType.LaneSpilled
  | typeof RecordType.LaneResumed
  | typeof RecordType.LaneClosed;

/**
 * Writes decisions down: each function appends one record and applies it at once, from the very bytes that went into the
 * log, so live and replayed state cannot differ (B11). A record that the log refuses (`MeshError`) changes nothing.
 *
 * Hot records are written by functions made once, which read what to write from fields: no closure per record.
 */
export class Journal {
  readonly #log: LogWriter;
  readonly #tables: BrokerTables;
  readonly #dispatcher: Dispatcher;
  /** Random number of this run of the broker; see `LeaseTable.run`. */
  readonly run: number;
  /** Position of the last record of this run; -1: none yet. */
  lastPosition = -1;

  constructor(log: LogWriter, tables: BrokerTables, dispatcher: Dispatcher, run: number) {
    this.run = run;
    this.#log = log;
    this.#tables = tables;
    this.#dispatcher = dispatcher;
  }

  get takesMessages(): boolean {
    return this.#log.takesMessages;
  }

  /** Why not. */
  refusal(): Refused {
    const { code, message } = this.#log.refusal();
    return { ok: false, code, message };
  }

  get takesReleases(): boolean {
    return this.#log.takesReleases;
  }

  /** For the parts that lay out their own records (`timed/`, `transaction/`); as the functions below. */
  append(type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number {
    return this.#commit(type, length, fill);
  }

  // Hot records.

  #topicId = 0;
  #groupId = 0;
  #queueId = 0;
  #offset = 0;
  #generation = 0;
  #kind = 0;
  #invisibleMs = 0;
  #attempt = 0;
  #changedRun = 0;
  #monotonicMs = 0;
  #wallMs = 0;
  #facts: MessageFacts | undefined;
  #message: Uint8Array = new Uint8Array(0);
  #laneMark = "";
  #bornHost = "";
  #plan: PopPlan | undefined;
  #request: PopRequest | undefined;
  #owner = "";

  message(
    topicId: number,
    queueId: number,
    offset: number,
    storeMs: number,
    facts: MessageFacts,
    laneMark: string,
    bornHost: string,
    message: Uint8Array,
  ): number {
    this.#topicId = topicId;
    this.#queueId = queueId;
    this.#offset = offset;
    this.#wallMs = storeMs;
    this.#facts = facts;
    this.#laneMark = laneMark;
    this.#bornHost = bornHost;
    this.#message = message;
    const length = messageRecordBytes(laneMark, bornHost, message, facts.mirrorTopicId !== 0);
    return this.#commit(RecordType.Message, length, this.#fillMessage);
  }

  readonly #fillMessage = (into: Buffer, at: number): void => {
    writeMessageRecord(
      into,
      at,
      this.#topicId,
      this.#queueId,
      this.#offset,
      this.#wallMs,
      this.#facts!,
      this.#laneMark,
      this.#bornHost,
      this.#message,
    );
  };

  /** `owner`: the lane whose messages are handed out. */
  pop(subscription: Subscription, owner: LaneCursor, request: PopRequest, plan: PopPlan, now: Now): number {
    this.#owner = owner.laneNumber === 0 ? "" : owner.lane;
    this.#groupId = subscription.group.id;
    this.#topicId = subscription.topic.id;
    this.#request = request;
    this.#plan = plan;
    this.#setNow(now);
    this.#generation = this.#tables.nextGeneration;
    const length = popRecordBytes(
      request.clientId,
      request.attemptId,
      request.lane,
      plan.cursorCount,
      plan.count,
      plan.passCount,
      this.#owner,
      plan.keptCount,
    );
    const position = this.#commit(RecordType.Pop, length, this.#fillPop);
    const { lanes } = subscription;
    if (lanes !== undefined) lanes.outcomes.delivered(lanes.consumerLane(request.lane), plan.count);
    return position;
  }

  readonly #fillPop = (into: Buffer, start: number): void => {
    const request = this.#request!;
    const plan = this.#plan!;
    let at = writePopHead(
      into,
      start,
      this.#groupId,
      this.#topicId,
      request.invisibleMs,
      plan.cursorCount,
      plan.count,
      plan.passCount,
      this.run,
      request.clientId,
      request.attemptId,
      request.lane,
    );
    this.#writeGranted(into, start + popGrantedAt);
    for (let i = 0; i < plan.cursorCount; i++) {
      at = writePopCursor(into, at, plan.cursorQueueIds[i]!, plan.cursorOffsets[i]!);
    }
    for (let i = 0; i < plan.count; i++) {
      at = writePopDelivery(into, at, plan.queueIds[i]!, plan.offsets[i]!, this.#generation + i, plan.attempts[i]!);
    }
    for (let i = 0; i < plan.passCount; i++) {
      at = writePopPass(into, at, plan.passQueueIds[i]!, plan.passOffsets[i]!, plan.passedCounts[i]!);
    }
    if (this.#owner === "") return;
    at = writePopOwner(into, at, this.#owner, plan.keptCount);
    for (let i = 0; i < plan.keptCount; i++) at = writePopKept(into, at, plan.keptQueueIds[i]!, plan.keptOffsets[i]!);
  };

  ack(groupId: number, topicId: number, queueId: number, offset: number, generation: number, now: Now): number {
    this.#groupId = groupId;
    this.#topicId = topicId;
    this.#queueId = queueId;
    this.#offset = offset;
    this.#generation = generation;
    this.#setNow(now);
    return this.#commit(RecordType.Ack, ackFixedBytes + ackEntryBytes, this.#fillAck);
  }

  readonly #fillAck = (into: Buffer, at: number): void => {
    writeAckHead(into, at, this.#groupId, this.#topicId, this.#wallMs);
    writeAckEntry(into, at + ackFixedBytes, this.#queueId, this.#offset, this.#generation);
  };

  change(
    groupId: number,
    topicId: number,
    queueId: number,
    offset: number,
    kind: ChangeKind,
    generation: number,
    run: number,
    attempt: number,
    invisibleMs: number,
    now: Now,
  ): number {
    this.#groupId = groupId;
    this.#topicId = topicId;
    this.#queueId = queueId;
    this.#offset = offset;
    this.#kind = kind;
    this.#generation = generation;
    this.#changedRun = run;
    this.#attempt = attempt;
    this.#invisibleMs = invisibleMs;
    this.#setNow(now);
    return this.#commit(RecordType.Change, changeRecordBytes, this.#fillChange);
  }

  readonly #fillChange = (into: Buffer, at: number): void => {
    writeChangeRecord(
      into,
      at,
      this.#groupId,
      this.#topicId,
      this.#queueId,
      this.#kind,
      this.#offset,
      this.#generation,
      this.#invisibleMs,
      this.#attempt,
      this.#changedRun,
    );
    this.#writeGranted(into, at + changeGrantedAt);
  };

  // Rare records.

  /** `messageRecord`: what the record carries; empty when it only points at the message. */
  deadLetter(record: DeadLetterRecord, messageRecord: Uint8Array): number {
    return this.#commit(RecordType.DeadLetter, deadLetterRecordBytes(record, messageRecord), (into, at) =>
      writeDeadLetterRecord(record, messageRecord, into, at),
    );
  }

  topic(type: typeof RecordType.TopicOpened | typeof RecordType.TopicChanged, record: TopicRecord): number {
    return this.#commit(type, topicRecordBytes(record), (into, at) => writeTopicRecord(record, into, at));
  }

  topicDropped(topicId: number): number {
    return this.#commit(RecordType.TopicDropped, topicDroppedBytes, (into, at) => writeTopicDropped(topicId, into, at));
  }

  group(type: typeof RecordType.GroupOpened | typeof RecordType.GroupChanged, record: GroupRecord): number {
    return this.#commit(type, groupRecordBytes(record), (into, at) => writeGroupRecord(record, into, at));
  }

  groupDropped(groupId: number): number {
    return this.#commit(RecordType.GroupDropped, groupDroppedBytes, (into, at) => writeGroupDropped(groupId, into, at));
  }

  cursorOpened(record: CursorOpened): number {
    return this.#commit(RecordType.CursorOpened, cursorOpenedBytes(record), (into, at) =>
      writeCursorOpened(record, into, at),
    );
  }

  cursorReset(record: CursorReset): number {
    return this.#commit(RecordType.CursorReset, cursorResetBytes(record), (into, at) =>
      writeCursorReset(record, into, at),
    );
  }

  redrive(record: RedriveRecord): number {
    return this.#commit(RecordType.Redrive, redriveRecordBytes, (into, at) => writeRedriveRecord(record, into, at));
  }

  laneRule(record: LaneRuleRecord): number {
    return this.#commit(RecordType.LaneRule, laneRuleRecordBytes(record), (into, at) =>
      writeLaneRuleRecord(record, into, at),
    );
  }

  laneEvent(type: LaneEventType, event: LaneEvent): number {
    return this.#commit(type, laneEventBytes(event), (into, at) => writeLaneEvent(event, into, at));
  }

  laneFilter(record: LaneFilterRecord): number {
    return this.#commit(RecordType.LaneFilter, laneFilterBytes(record), (into, at) =>
      writeLaneFilter(record, into, at),
    );
  }

  lanesSwitched(record: LanesSwitched): number {
    const length = lanesSwitchedBytes(record);
    return this.#commit(RecordType.LanesSwitched, length, (into, at) => writeLanesSwitched(record, into, at));
  }

  brokerDrain(record: BrokerDrainRecord): number {
    return this.#commit(RecordType.BrokerDrain, brokerDrainBytes, (into, at) => writeBrokerDrain(record, into, at));
  }

  groupSpread(record: GroupSpreadRecord): number {
    return this.#commit(RecordType.GroupSpread, groupSpreadBytes, (into, at) => writeGroupSpread(record, into, at));
  }

  logTrimmed(record: LogTrimmedRecord): number {
    return this.#commit(RecordType.LogTrimmed, logTrimmedBytes, (into, at) => writeLogTrimmed(record, into, at));
  }

  orderKept(record: OrderKept): number {
    return this.#commit(RecordType.OrderKept, orderKeptBytes(record), (into, at) => writeOrderKept(record, into, at));
  }

  #fill: (into: Buffer, at: number) => void = () => {};
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;

  readonly #fillAndKeep = (into: Buffer, at: number): void => {
    this.#fill(into, at);
    this.#bytes = into;
    this.#start = at;
  };

  #commit(type: RecordType, length: number, fill: (into: Buffer, at: number) => void): number {
    this.#fill = fill;
    const position = this.#log.append(type, length, this.#fillAndKeep);
    this.#dispatcher.apply(type, position, this.#bytes, this.#start, this.#start + length);
    this.#tables.appliedPosition = this.#log.endPosition;
    this.lastPosition = position;
    return position;
  }

  #setNow(now: Now): void {
    this.#monotonicMs = now.monotonicMs;
    this.#wallMs = now.wallMs;
  }

  #writeGranted(into: Buffer, at: number): void {
    writeGrantedAt(into, at, this.#monotonicMs, this.#wallMs, this.#tables.clock.boot);
  }
}
