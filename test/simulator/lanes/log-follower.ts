import { type LogRecord, RecordType } from "../../../broker-core/commit-log/log.ts";
import { readLaneRule } from "../../../broker-core/lane/lane-rule-shape.ts";
import * as ack from "../../../broker-core/record/ack-record.ts";
import { readCursorOpened } from "../../../broker-core/record/cursor-record.ts";
import { readDeadLetterRecord } from "../../../broker-core/record/dead-letter-record.ts";
import { readShortText } from "../../../broker-core/record/fixed-bytes.ts";
import { readGroupRecord } from "../../../broker-core/record/group-record.ts";
import { halfMessageStart } from "../../../broker-core/record/half-message-record.ts";
import { readLaneEvent } from "../../../broker-core/record/lane-event-record.ts";
import { readLaneRuleRecord } from "../../../broker-core/record/lane-rule-record.ts";
import * as message from "../../../broker-core/record/message-record.ts";
import * as pop from "../../../broker-core/record/pop-record.ts";
import { readReleaseRecord } from "../../../broker-core/record/release-record.ts";
import { timedMessageStart } from "../../../broker-core/record/timed-record.ts";
import { readTopicRecord } from "../../../broker-core/record/topic-record.ts";
import type { LaneJudge } from "./lane-judge.ts";
import type { ScheduledRule } from "./lane-schedule.ts";

const laneEvents = new Map<RecordType, "spilled" | "resumed" | "closed">([
  [RecordType.LaneSpilled, "spilled"],
  [RecordType.LaneResumed, "resumed"],
  [RecordType.LaneClosed, "closed"],
]);

/** What a log is about; names are "<namespace>/<name>", in the order of the judge. */
export interface FollowedNames {
  readonly topics: readonly string[];
  readonly groups: readonly string[];
  /** The number of a message whose record begins at `start` and ends with the record that is `bytes`; -1: it is none of ours. */
  readonly numberOf: (bytes: Buffer, start: number) => number;
}

/** Reads the log of a broker as it becomes durable, and tells the judge what it says. */
export class LogFollower {
  readonly #log: { record(index: number): LogRecord | undefined };
  readonly #judge: LaneJudge;
  readonly #names: FollowedNames;
  #next = 0;
  /** By id: index in `topicNames`, or in `groupNames`. */
  readonly #topics = new Map<number, number>();
  readonly #groups = new Map<number, number>();
  /** Messages that wait unseen, by the position of their record. */
  readonly #unseen = new Map<number, number>();
  readonly #read = pop.popReadBlank();
  /** Where messages lie that were handed out last, for whoever asks what became of them. */
  lastPlace:
    | { readonly topic: number; readonly queueId: number; readonly offset: number; readonly group: number }
    | undefined;

  constructor(log: { record(index: number): LogRecord | undefined }, judge: LaneJudge, names: FollowedNames) {
    this.#log = log;
    this.#judge = judge;
    this.#names = names;
  }

  /** Everything below `end`. */
  follow(end: number): void {
    for (let record = this.#log.record(this.#next); record !== undefined && record.position < end; ) {
      this.#take(record);
      record = this.#log.record(++this.#next);
    }
    this.#judge.followed(end);
  }

  #take({ type, position, body }: LogRecord): void {
    const judge = this.#judge;
    switch (type) {
      case RecordType.TopicOpened:
      case RecordType.TopicChanged: {
        const { topicId, name, queueCount } = readTopicRecord(body, 0, body.length);
        const topic = this.#names.topics.indexOf(name);
        if (topic < 0) break;
        this.#topics.set(topicId, topic);
        judge.topicOpened(topic, queueCount);
        break;
      }
      case RecordType.GroupOpened: {
        const { groupId, name } = readGroupRecord(body, 0, body.length);
        const group = this.#names.groups.indexOf(name);
        if (group >= 0) this.#groups.set(groupId, group);
        break;
      }
      case RecordType.Message: {
        const topic = this.#topics.get(message.messageTopicId(body, 0));
        if (topic === undefined) break;
        const number = this.#names.numberOf(body, 0);
        judge.stored(number, topic, message.messageQueueId(body, 0), message.messageOffset(body, 0));
        break;
      }
      case RecordType.TimedMessage:
        this.#unseen.set(position, this.#names.numberOf(body, timedMessageStart(0)));
        break;
      case RecordType.HalfMessage:
        this.#unseen.set(position, this.#names.numberOf(body, halfMessageStart(0)));
        break;
      case RecordType.Due:
      case RecordType.Commit: {
        const { topicId, queueId, offset, messagePosition } = readReleaseRecord(body, 0, body.length);
        const [topic, number] = [this.#topics.get(topicId), this.#unseen.get(messagePosition)];
        if (topic !== undefined && number !== undefined) judge.stored(number, topic, queueId, offset);
        break;
      }
      case RecordType.LaneRule: {
        const { topicId, group, number, rule } = readLaneRuleRecord(body, 0, body.length);
        const topic = this.#topics.get(topicId);
        const read = rule === "" ? undefined : (readLaneRule(rule) as unknown as ScheduledRule);
        if (topic !== undefined) judge.ruled(topic, this.#names.groups.indexOf(group), number, read);
        break;
      }
      case RecordType.CursorOpened: {
        const { topicId, groupId } = readCursorOpened(body, 0, body.length);
        const [topic, group] = [this.#topics.get(topicId), this.#groups.get(groupId)];
        if (topic !== undefined && group !== undefined) judge.groupCame(topic, group);
        break;
      }
      case RecordType.LaneSpilled:
      case RecordType.LaneResumed:
      case RecordType.LaneClosed: {
        const { topicId, groupId, lane } = readLaneEvent(body, 0, body.length);
        const [topic, group] = [this.#topics.get(topicId), this.#groups.get(groupId)];
        if (topic !== undefined && group !== undefined)
          judge.laneChanged(laneEvents.get(type)!, topic, group, lane, position);
        break;
      }
      case RecordType.Pop:
        this.#popped(body, position);
        break;
      case RecordType.Ack: {
        const [topic, group] = [this.#topics.get(ack.ackTopicId(body, 0)), this.#groups.get(ack.ackGroupId(body, 0))];
        if (topic === undefined || group === undefined) break;
        for (let i = ack.ackCount(body, 0), at = ack.ackFixedBytes; i > 0; i--, at += ack.ackEntryBytes)
          judge.ackLogged(topic, group, ack.ackQueueId(body, at), ack.ackOffset(body, at));
        break;
      }
      case RecordType.DeadLetter: {
        const { topicId, groupId, queueId, offset } = readDeadLetterRecord(body, 0, body.length);
        const [topic, group] = [this.#topics.get(topicId), this.#groups.get(groupId)];
        if (topic !== undefined && group !== undefined) judge.deathLogged(topic, group, queueId, offset);
        break;
      }
      default:
    }
  }

  #popped(body: Buffer, position: number): void {
    const read = this.#read;
    pop.readPopRecord(body, 0, body.length, read);
    const [topic, group] = [this.#topics.get(read.topicId), this.#groups.get(read.groupId)];
    if (topic === undefined || group === undefined || read.deliveryCount === 0) return;
    const owner = read.ownerAt < 0 ? "base" : readShortText(body, read.ownerAt);
    const places: [number, number][] = [];
    for (let i = 0, at = read.deliveriesAt; i < read.deliveryCount; i++, at += pop.popDeliveryBytes)
      places.push([pop.popEntryQueueId(body, at), pop.popEntryOffset(body, at)]);
    this.#judge.popped(topic, group, readShortText(body, read.laneAt), owner, places, position);
    this.lastPlace = { topic, group, queueId: places[0]![0], offset: places[0]![1] };
  }
}
