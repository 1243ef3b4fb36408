import { EntryFlag } from "../consume-queue/index-entry.ts";
import { outcomeOf } from "../lane/message-lane.ts";
import { LeaseState } from "../pop/lease-table.ts";
import type { GroupSpreadRecord } from "../record/group-spread-record.ts";
import * as message from "../record/message-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { type ReleaseRecord, releaseCarriesMessage, releaseMessageStart } from "../record/release-record.ts";
import { readTopicDropped, readTopicRecord } from "../record/topic-record.ts";
import type { Topic } from "../topic/topic.ts";
import type { TopicView } from "../topic/topic-view.ts";
import type { BrokerTables } from "./broker-tables.ts";
import { DamageRepair } from "./damage-repair.ts";
import type { GroupOrder } from "./group-order.ts";
import type { LaneFollower } from "./lane-follower.ts";
import type { LeaseFollower } from "./lease-follower.ts";
import { type SendPartEntry, SendParts } from "./send-parts.ts";

/** Follows the records of topics, and of messages into the queues. Part of the dispatcher. */
export class QueueFollower {
  readonly #tables: BrokerTables;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;
  readonly #onDrop: (topic: Topic) => void;
  readonly #sendParts = new SendParts();
  /** For records after a lost part of the log. */
  readonly names: DamageRepair;

  /** `onDrop` forgets what else there is of a topic that goes. */
  constructor(
    tables: BrokerTables,
    order: GroupOrder,
    leases: LeaseFollower,
    lanes: LaneFollower,
    onDrop: (topic: Topic) => void,
  ) {
    this.#tables = tables;
    this.#order = order;
    this.#leases = leases;
    this.#onDrop = onDrop;
    this.names = new DamageRepair(
      tables,
      (topic) => this.drop(topic),
      (subscription) => lanes.opened(subscription),
    );
  }

  /** Another record than that of a message comes: a send of several that has not ended never was. */
  interrupt(): void {
    this.#sendParts.forget();
  }

  /** A part of the log is lost. */
  isolate(): void {
    this.#sendParts.isolate();
  }

  /** What was lost until now can be told from nothing that follows. */
  judgeAll(): void {
    this.#sendParts.judgeAll((part) => this.#indexPart(part, part.position));
  }

  topic(position: number, bytes: Buffer, start: number, end: number): void {
    const { topics, queues, damage } = this.#tables;
    const record = readTopicRecord(bytes, start, end);
    let topic = topics.byId(record.topicId);
    if (topic === undefined) {
      if (damage.isOpen && !this.names.makeWay(record.topicId, record.name)) return;
      topic = topics.add(record.topicId, record.name, record.incarnation, record.messageTypes, position);
      topic.groupQueueCount = record.queueCount;
    }
    if (topic.groupQueueCount === 0) topic.groupQueueCount = record.queueCount;
    topic.incarnation = record.incarnation;
    topic.messageTypes = record.messageTypes;
    topic.openedPosition = position;
    while (topic.queues.length < record.queueCount) topics.addQueue(topic, queues.add(topic.id, topic.queues.length));
    for (const subscription of topic.subscriptions.values()) subscription.widen();
  }

  groupSpread({ topicId, number }: GroupSpreadRecord): void {
    if (this.topicById(topicId) !== undefined) this.#tables.groupSpreads.set(topicId, number);
  }

  topicDropped(bytes: Buffer, start: number, end: number): void {
    const topic = this.topicById(readTopicDropped(bytes, start, end));
    if (topic !== undefined) this.drop(topic);
  }

  drop(topic: Topic): void {
    const { topics, queues, subscriptions, leases, undurable } = this.#tables;
    for (const subscription of topic.subscriptions.values()) this.#order.dropped(subscription);
    for (let slot = 0; slot < leases.end; slot++) {
      if (leases.state[slot] === LeaseState.Free) continue;
      const subscription = leases.subscription[slot]!;
      if (subscriptions.topicId(subscription) === topic.id) this.#leases.forget(slot, subscriptions.at(subscription)!);
    }
    for (const subscription of [...topic.subscriptions.values()]) subscriptions.remove(subscription);
    this.#onDrop(topic);
    for (const queue of topic.queues) {
      undurable.forget(queue);
      queues.remove(queue);
    }
    topics.remove(topic);
    this.#tables.groupSpreads.delete(topic.id);
    this.#tables.damage.forgetTopic(topic.id);
  }

  message(position: number, bytes: Buffer, start: number, end: number): void {
    message.expectMessageRecord(start, end);
    const topicId = message.messageTopicId(bytes, start);
    const { topics, damage } = this.#tables;
    // Most topics are put away, and stay so.
    const topic = damage.isOpen ? this.topicOfMessage(topicId, bytes, start, end) : topics.lend(topicId);
    if (topic === undefined) {
      if (damage.isOpen) return;
      throw unknownTopic(topicId);
    }
    const queueId = message.messageQueueId(bytes, start);
    const offset = message.messageOffset(bytes, start);
    const messageBytes = end - message.messageBodyStart(bytes, start);
    const tagHash = message.messageTagHash(bytes, start);
    const groupHash = message.messageGroupHash(bytes, start);
    const sendPart = message.messageSendPart(bytes, start);
    const isMirrored = message.messageIsMirrored(bytes, start);
    const mirrorTopicId = isMirrored ? message.mirrorTopicId(bytes, start) : 0;
    const mirrorQueueId = isMirrored ? message.mirrorQueueId(bytes, start) : 0;
    const mirrorOffset = isMirrored ? message.mirrorOffset(bytes, start) : 0;
    const { laneRules } = topic;
    const lane = laneRules === undefined ? 0 : outcomeOf(laneRules, laneRules.current, bytes, start, end);
    if (sendPart === 0) {
      this.#sendParts.forget();
      this.index(topic, queueId, offset, position, messageBytes, tagHash, groupHash, lane, 0);
      if (isMirrored) {
        const { Mirror } = EntryFlag;
        this.#mirror(mirrorTopicId, mirrorQueueId, mirrorOffset, position, messageBytes, tagHash, groupHash, Mirror);
      }
      return;
    }
    const isWhole = this.#sendParts.add(
      sendPart,
      position,
      topic.id,
      queueId,
      offset,
      messageBytes,
      tagHash,
      groupHash,
      lane,
      mirrorTopicId,
      mirrorQueueId,
      mirrorOffset,
      this.#tables.damage.isOpen,
    );
    if (isWhole) this.#sendParts.take((part) => this.#indexPart(part, position));
  }

  /** All messages of a send become visible with its last one. */
  #indexPart(part: SendPartEntry, lastPosition: number): void {
    const { topicId, queueId, offset, position, messageBytes, tagHash, groupHash, lane } = part;
    const topic = this.topicById(topicId);
    if (topic === undefined) return;
    this.index(topic, queueId, offset, position, messageBytes, tagHash, groupHash, lane, 0, lastPosition);
    const { mirrorTopicId: id, mirrorQueueId, mirrorOffset } = part;
    if (id === 0) return;
    const { Mirror } = EntryFlag;
    this.#mirror(id, mirrorQueueId, mirrorOffset, position, messageBytes, tagHash, groupHash, Mirror, lastPosition);
  }

  /** The copy of a message, which the record that makes that visible holds a place for, enters its queue. Copies are of the base lane. */
  #mirror(
    topicId: number,
    queueId: number,
    offset: number,
    position: number,
    messageBytes: number,
    tagHash: number,
    groupHash: number,
    flags: number,
    visibleAfter = position,
  ): void {
    const topic = this.#tables.topics.byId(topicId);
    // Its topic was deleted between the parts of a send, or is lost.
    if (topic === undefined) return;
    this.index(topic, queueId, offset, position, messageBytes, tagHash, groupHash, 0, flags, visibleAfter);
  }

  /** A message that was stored unseen enters its queue. */
  released(release: ReleaseRecord, position: number, bytes: Buffer, start: number, end: number): void {
    const { topicId, queueId, offset, messageBytes, tagHash, groupHash, messagePosition } = release;
    const carries = releaseCarriesMessage(bytes, start);
    const topic = carries
      ? this.topicOfMessage(topicId, bytes, releaseMessageStart(bytes, start), end)
      : this.topicById(topicId);
    if (topic === undefined) return;
    const { mirror } = release;
    if (!carries && this.isGone(messagePosition)) {
      this.indexLost(topic, queueId, offset);
      const shadow = mirror && this.#tables.topics.byId(mirror.topicId);
      if (shadow !== undefined) this.indexLost(shadow, mirror!.queueId, mirror!.offset);
      return;
    }
    const { laneRules } = topic;
    const { Reference, Mirror } = EntryFlag;
    const lane = laneRules === undefined ? 0 : laneRules.numberOf(laneRules.current, release.laneKey);
    this.index(topic, queueId, offset, position, messageBytes, tagHash, groupHash, lane, Reference);
    if (mirror === undefined) return;
    const { topicId: shadowId, queueId: copyQueueId, offset: copyOffset } = mirror;
    this.#mirror(shadowId, copyQueueId, copyOffset, position, messageBytes, tagHash, groupHash, Reference | Mirror);
  }

  /** Whether the message that a record points at is lost. */
  isGone(position: number): boolean {
    return this.#tables.damage.isOpen && this.#tables.damage.covers(position);
  }

  /** An offset was given out to a message that is lost. */
  indexLost(topic: Topic, queueId: number, offset: number): void {
    this.reach(topic, queueId, offset, true);
    this.names.reach(topic, queueId, offset + 1);
  }

  /** After damage: a record says that the offsets of a queue below `offset` were given out; `isNext`: and this one is next. */
  reach(topic: Topic, queueId: number, offset: number, isNext: boolean): boolean {
    const each = (part: SendPartEntry): void => this.#indexPart(part, part.position);
    this.#sendParts.judge(topic.id, queueId, isNext ? offset : offset - 1, isNext, each);
    return this.names.reach(topic, queueId, offset);
  }

  index(
    topic: TopicView,
    queueId: number,
    offset: number,
    position: number,
    messageBytes: number,
    tagHash: number,
    groupHash: number,
    /** Number of the outcome of the lane rules. */
    lane: number,
    flags: number,
    /** Visible when this is durable. */
    visibleAfter = position,
  ): void {
    const { queues, undurable, damage } = this.#tables;
    if (damage.isOpen) this.reach(this.#tables.topics.byId(topic.id)!, queueId, offset, true);
    const queue = topic.queues[queueId];
    if (queue === undefined) throw new RecordFault(`topic ${topic.name} has no queue ${queueId}`);
    if (queues.endOffset(queue) !== offset) {
      if (damage.isOpen) {
        damage.note(`a message for offset ${offset} of queue ${queueId} of ${topic.name}, which has one`);
        return;
      }
      throw new RecordFault(
        `${topic.name}, queue ${queueId}: offset ${offset} follows ${queues.endOffset(queue) - 1} at log position ${position}`,
      );
    }
    queues.append(queue, position, messageBytes, tagHash, groupHash, lane, flags);
    undurable.push(visibleAfter, queue);
  }

  /** Undefined: the topic is lost, after damage; otherwise that is a fault. */
  topicById(id: number): Topic | undefined {
    const { topics, damage } = this.#tables;
    const topic = topics.byId(id);
    if (topic !== undefined) return topic;
    if (!damage.isOpen) throw unknownTopic(id);
    damage.note("records about a topic that is lost with all of its messages");
    return undefined;
  }

  /** The same for a message record at `bytes[start, end)`, which names its topic. */
  topicOfMessage(id: number, bytes: Buffer, start: number, end: number): Topic | undefined {
    if (!this.#tables.damage.isOpen) return this.topicById(id);
    return this.names.topicOfMessage(id, bytes, start, end);
  }
}

function unknownTopic(id: number): RecordFault {
  return new RecordFault(`a record of the unknown topic ${id}`);
}
