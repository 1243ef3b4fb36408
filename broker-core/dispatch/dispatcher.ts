import { ChangeKind } from "../broker-port.ts";
import { RecordType } from "../commit-log/log.ts";
import { EntryFlag } from "../consume-queue/consume-queue-table.ts";
import { attemptKey } from "../pop/attempt-key.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import * as ack from "../record/ack-record.ts";
import { changeReadBlank, readChangeRecord } from "../record/change-record.ts";
import { readCursorOpened } from "../record/cursor-record.ts";
import { readCursorReset } from "../record/cursor-reset-record.ts";
import { readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { readShortText } from "../record/fixed-bytes.ts";
import { readGroupRecord } from "../record/group-record.ts";
import { readLogTrimmed } from "../record/log-trimmed-record.ts";
import * as message from "../record/message-record.ts";
import { readOrderKept } from "../record/order-kept-record.ts";
import * as pop from "../record/pop-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { readRedriveRecord } from "../record/redrive-record.ts";
import type { ReleaseRecord } from "../record/release-record.ts";
import { readTopicDropped, readTopicRecord } from "../record/topic-record.ts";
import type { Topic } from "../topic/topic.ts";
import type { BrokerTables } from "./broker-tables.ts";
import { GroupOrder } from "./group-order.ts";
import { LeaseFollower } from "./lease-follower.ts";
import { LogTrimmer } from "./log-trimmer.ts";
import { isTrimmed } from "./log-trimming.ts";
import { type SendPartEntry, SendParts } from "./send-parts.ts";
import { UnseenFollower } from "./unseen-follower.ts";

/**
 * Follows the log into the tables: the single way in which records change state, live and in replay (B11). It decides
 * nothing and trusts the log's checksums; a record that does not fit the state is a bug or a foreign log and ends the
 * process, because going on would reset somebody's position (planted-bug list, no. 24).
 */
export class Dispatcher {
  readonly #tables: BrokerTables;
  readonly #unseen: UnseenFollower;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;
  readonly #trimmer: LogTrimmer;
  readonly #pop = pop.popReadBlank();
  readonly #change = changeReadBlank();
  readonly #sendParts = new SendParts();

  constructor(tables: BrokerTables) {
    this.#tables = tables;
    this.#unseen = new UnseenFollower(tables, (release, position) => this.#released(release, position));
    this.#order = new GroupOrder(tables);
    this.#leases = new LeaseFollower(tables, this.#order);
    this.#trimmer = new LogTrimmer(tables, this.#order, this.#leases);
  }

  /** Applies the record with body `bytes[start, end)` that lies at `position`. */
  apply(type: RecordType, position: number, bytes: Buffer, start: number, end: number): void {
    if (type !== RecordType.Message) this.#sendParts.forget();
    this.#unseen.interrupt(type);
    switch (type) {
      case RecordType.Message:
        this.#message(position, bytes, start, end);
        break;
      case RecordType.Pop:
        this.#popped(bytes, start, end);
        break;
      case RecordType.Ack:
        this.#acked(bytes, start, end);
        break;
      case RecordType.Change:
        this.#changed(bytes, start, end);
        break;
      case RecordType.DeadLetter:
        this.#deadLetter(position, bytes, start, end);
        break;
      case RecordType.CursorOpened:
        this.#cursorOpened(bytes, start, end);
        break;
      case RecordType.CursorReset:
        this.#cursorReset(bytes, start, end);
        break;
      case RecordType.Redrive:
        this.#redriven(bytes, start, end);
        break;
      case RecordType.TopicOpened:
      case RecordType.TopicChanged:
        this.#topic(position, bytes, start, end);
        break;
      case RecordType.TopicDropped:
        this.#topicDropped(bytes, start, end);
        break;
      case RecordType.GroupOpened:
      case RecordType.GroupChanged:
        this.#tables.groups.put(readGroupRecord(bytes, start, end), position);
        break;
      case RecordType.OrderKept:
        this.#trimmer.orderKept(readOrderKept(bytes, start, end));
        break;
      case RecordType.LogTrimmed:
        this.#trimmer.trimmed(readLogTrimmed(bytes, start, end));
        break;
      default:
        if (this.#unseen.apply(type, position, bytes, start, end)) break;
        throw new RecordFault(`record type ${type} at log position ${position} is of a newer version of popmesh`);
    }
  }

  #topic(position: number, bytes: Buffer, start: number, end: number): void {
    const { topics, queues } = this.#tables;
    const record = readTopicRecord(bytes, start, end);
    let topic = topics.byId(record.topicId);
    if (topic === undefined) {
      topic = topics.add(record.topicId, record.name, record.incarnation, record.messageTypes, position);
      topic.groupQueueCount = record.queueCount;
    }
    topic.incarnation = record.incarnation;
    topic.messageTypes = record.messageTypes;
    topic.openedPosition = position;
    while (topic.queues.length < record.queueCount) topics.addQueue(topic, queues.add(topic.id, topic.queues.length));
    for (const subscription of topic.subscriptions.values()) subscription.widen();
  }

  #topicDropped(bytes: Buffer, start: number, end: number): void {
    const { topics, queues, subscriptions, leases, undurable } = this.#tables;
    const topic = this.#topicById(readTopicDropped(bytes, start, end));
    for (const subscription of topic.subscriptions.values()) this.#order.dropped(subscription);
    for (let slot = 0; slot < leases.end; slot++) {
      if (leases.state[slot] === LeaseState.Free) continue;
      const subscription = leases.subscription[slot]!;
      if (subscriptions.topicId(subscription) === topic.id) this.#leases.forget(slot, subscriptions.at(subscription)!);
    }
    for (const subscription of [...topic.subscriptions.values()]) subscriptions.remove(subscription);
    this.#unseen.topicDropped(topic);
    for (const queue of topic.queues) {
      undurable.forget(queue);
      queues.remove(queue);
    }
    topics.remove(topic);
  }

  #message(position: number, bytes: Buffer, start: number, end: number): void {
    message.expectMessageRecord(start, end);
    const topic = this.#topicById(message.messageTopicId(bytes, start));
    const queueId = message.messageQueueId(bytes, start);
    const offset = message.messageOffset(bytes, start);
    const messageBytes = end - message.messageBodyStart(bytes, start);
    const tagHash = message.messageTagHash(bytes, start);
    const groupHash = message.messageGroupHash(bytes, start);
    const sendPart = message.messageSendPart(bytes, start);
    if (sendPart === 0) {
      this.#sendParts.forget();
      this.#index(topic, queueId, offset, position, messageBytes, tagHash, groupHash, 0);
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
    );
    if (isWhole) this.#sendParts.take((part) => this.#indexPart(topic, part, position));
  }

  /** All messages of a send become visible with its last one. */
  #indexPart(topic: Topic, part: SendPartEntry, lastPosition: number): void {
    const { queueId, offset, position, messageBytes, tagHash, groupHash } = part;
    this.#index(topic, queueId, offset, position, messageBytes, tagHash, groupHash, 0, lastPosition);
  }

  /** A message that was stored unseen enters its queue. */
  #released({ topicId, queueId, offset, messageBytes, tagHash, groupHash }: ReleaseRecord, position: number): void {
    const topic = this.#topicById(topicId);
    this.#index(topic, queueId, offset, position, messageBytes, tagHash, groupHash, EntryFlag.Reference);
  }

  #index(
    topic: Topic,
    queueId: number,
    offset: number,
    position: number,
    messageBytes: number,
    tagHash: number,
    groupHash: number,
    flags: number,
    /** Visible when this is durable. */
    visibleAfter = position,
  ): void {
    const { queues, undurable } = this.#tables;
    const queue = topic.queues[queueId];
    if (queue === undefined) throw new RecordFault(`topic ${topic.name} has no queue ${queueId}`);
    if (queues.endOffset(queue) !== offset) {
      throw new RecordFault(
        `${topic.name}, queue ${queueId}: offset ${offset} follows ${queues.endOffset(queue) - 1} at log position ${position}`,
      );
    }
    queues.append(queue, position, messageBytes, tagHash, groupHash, 0, flags);
    undurable.push(visibleAfter, queue);
  }

  #cursorOpened(bytes: Buffer, start: number, end: number): void {
    const { subscriptions, groups } = this.#tables;
    const opened = readCursorOpened(bytes, start, end);
    const group = groups.byId(opened.groupId);
    if (group === undefined) throw new RecordFault(`a cursor of the unknown group ${opened.groupId}`);
    const subscription = subscriptions.add(group, this.#topicById(opened.topicId));
    for (let i = 0; i < subscription.cursors.length; i++) this.#moveCursor(subscription, i, opened.offsets[i] ?? 0);
  }

  #cursorReset(bytes: Buffer, start: number, end: number): void {
    const { leases } = this.#tables;
    const reset = readCursorReset(bytes, start, end);
    const subscription = this.#subscriptionOf(reset.groupId, reset.topicId);
    const offsets = new Map(reset.queues.map(({ queueId, offset }) => [queueId, offset]));
    for (const [queueId, offset] of offsets) {
      this.#moveCursor(subscription, queueId, offset);
      this.#order.dropped(subscription, queueId);
    }
    for (let slot = 0; slot < leases.end; slot++) {
      if (leases.state[slot] === LeaseState.Free || leases.subscription[slot] !== subscription.slot) continue;
      const offset = offsets.get(leases.queueId[slot]!);
      if (offset === undefined) continue;
      const isDead = leases.state[slot] === LeaseState.Dead;
      // A dead letter before the new position stays one; one behind it gets another life with all the others.
      if (isDead && leases.offset[slot]! < offset) continue;
      if (isDead) subscription.deadLetters--;
      this.#leases.forget(slot, subscription);
    }
  }

  #redriven(bytes: Buffer, start: number, end: number): void {
    const { leases } = this.#tables;
    const redrive = readRedriveRecord(bytes, start, end);
    const subscription = this.#subscriptionOf(redrive.groupId, redrive.topicId);
    if (isTrimmed(this.#tables, subscription, redrive.queueId, redrive.offset)) return;
    const slot = leases.find(subscription.slot, redrive.queueId, redrive.offset);
    if (slot === none || leases.state[slot] !== LeaseState.Dead) {
      throw new RecordFault(
        `a redrive of ${subscription.topic.name}, queue ${redrive.queueId}, offset ${redrive.offset}, ` +
          `which is no dead letter of group ${subscription.group.name}`,
      );
    }
    this.#leases.revive(slot, subscription);
  }

  #popped(bytes: Buffer, start: number, end: number): void {
    const read = this.#pop;
    pop.readPopRecord(bytes, start, end, read);
    const subscription = this.#subscriptionOf(read.groupId, read.topicId);
    if (read.deliveryCount > 0) this.#delivered(subscription, bytes);
    for (let i = 0, at = read.passesAt; i < read.passCount; i++, at += pop.popPassBytes) {
      this.#passed(
        subscription,
        pop.popEntryQueueId(bytes, at),
        pop.popEntryOffset(bytes, at),
        pop.popPassedCount(bytes, at),
      );
    }
    for (let i = 0, at = read.cursorsAt; i < read.cursorCount; i++, at += pop.popCursorBytes) {
      const queueId = pop.popEntryQueueId(bytes, at);
      const end = pop.popEntryOffset(bytes, at);
      // Without a lock and without a delivery nothing can have been passed by.
      if (subscription.topic.isOrdered && subscription.lockCount + read.deliveryCount > 0) {
        this.#order.cursorMoved(subscription, queueId, end);
      }
      this.#moveCursor(subscription, queueId, end);
    }
  }

  /** A record from before the log began where it does may put a position where nothing is left. */
  #moveCursor({ cursors, topic }: Subscription, queueId: number, offset: number): void {
    const queue = topic.queues[queueId];
    if (queue !== undefined) cursors[queueId] = Math.max(offset, this.#tables.queues.beginOffset(queue));
  }

  #delivered(subscription: Subscription, bytes: Buffer): void {
    const read = this.#pop;
    const clientId = readShortText(bytes, read.clientAt);
    const key = attemptKey(read.groupId, read.topicId, clientId, readShortText(bytes, read.attemptAt));
    const lane = readShortText(bytes, read.laneAt);
    const { isOrdered } = subscription.topic;
    const { leases } = this.#tables;
    for (let i = 0, at = read.deliveriesAt; i < read.deliveryCount; i++, at += pop.popDeliveryBytes) {
      const queueId = pop.popEntryQueueId(bytes, at);
      const offset = pop.popEntryOffset(bytes, at);
      this.#leases.countGeneration(pop.popDeliveryGeneration(bytes, at));
      if (isTrimmed(this.#tables, subscription, queueId, offset)) continue;
      let slot = leases.find(subscription.slot, queueId, offset);
      if (slot === none) {
        slot = this.#leases.add(subscription, queueId, offset);
        if (isOrdered) this.#order.handedOut(subscription, slot, queueId, offset);
      }
      this.#leases.grant(
        slot,
        subscription,
        pop.popDeliveryGeneration(bytes, at),
        read.run,
        pop.popDeliveryAttempt(bytes, at),
        read.boot,
        read.monotonicMs,
        read.wallMs,
        read.invisibleMs,
      );
      leases.isUncounted[slot] = 0;
      leases.copies[slot] = 0;
      this.#leases.hold(slot, clientId, lane);
      leases.linkAttempt(slot, key);
    }
  }

  /** A message that was out is settled without an ack; or so many that waited behind it. */
  #passed(subscription: Subscription, queueId: number, offset: number, count: number): void {
    if (isTrimmed(this.#tables, subscription, queueId, offset)) return;
    const slot = this.#tables.leases.find(subscription.slot, queueId, offset);
    if (slot === none) this.#order.passed(subscription, queueId, offset, count);
    else this.#leases.forget(this.#leases.known(subscription, queueId, offset, "a pass"), subscription);
  }

  #acked(bytes: Buffer, start: number, end: number): void {
    ack.expectAckRecord(bytes, start, end);
    const subscription = this.#subscriptionOf(ack.ackGroupId(bytes, start), ack.ackTopicId(bytes, start));
    const count = ack.ackCount(bytes, start);
    for (let i = 0, at = start + ack.ackFixedBytes; i < count; i++, at += ack.ackEntryBytes) {
      const queueId = ack.ackQueueId(bytes, at);
      const offset = ack.ackOffset(bytes, at);
      if (isTrimmed(this.#tables, subscription, queueId, offset)) continue;
      this.#leases.forget(this.#leases.known(subscription, queueId, offset, "an ack"), subscription);
    }
  }

  #changed(bytes: Buffer, start: number, end: number): void {
    const read = this.#change;
    readChangeRecord(bytes, start, end, read);
    const subscription = this.#subscriptionOf(read.groupId, read.topicId);
    this.#leases.countGeneration(read.generation);
    if (isTrimmed(this.#tables, subscription, read.queueId, read.offset)) return;
    const slot = this.#leases.known(subscription, read.queueId, read.offset, "a change");
    // Only an extension leaves the batch as its receive attempt was given it.
    if (read.kind !== ChangeKind.Extend) {
      this.#tables.leases.unlinkAttempt(slot);
      this.#tables.leases.copies[slot] = 0;
    }
    if (read.kind === ChangeKind.HandBack || read.kind === ChangeKind.Suspend)
      this.#tables.leases.isUncounted[slot] = 1;
    this.#leases.grant(
      slot,
      subscription,
      read.generation,
      read.run,
      read.attempt,
      read.boot,
      read.monotonicMs,
      read.wallMs,
      read.invisibleMs,
    );
  }

  #deadLetter(position: number, bytes: Buffer, start: number, end: number): void {
    const dead = readDeadLetterRecord(bytes, start, end);
    const subscription = this.#subscriptionOf(dead.groupId, dead.topicId);
    if (!isTrimmed(this.#tables, subscription, dead.queueId, dead.offset)) {
      this.#leases.die(this.#leases.known(subscription, dead.queueId, dead.offset, "a dead letter"), subscription);
    }
    this.#index(
      this.#topicById(dead.deadTopicId),
      dead.deadQueueId,
      dead.deadOffset,
      position,
      dead.messageBytes,
      dead.tagHash,
      dead.groupHash,
      EntryFlag.DeadLetter,
    );
  }

  #topicById(id: number): Topic {
    const topic = this.#tables.topics.byId(id);
    if (topic === undefined) throw new RecordFault(`a record of the unknown topic ${id}`);
    return topic;
  }

  #subscriptionOf(groupId: number, topicId: number): Subscription {
    const subscription = this.#tables.subscription(groupId, topicId);
    if (subscription === undefined) {
      throw new RecordFault(`a record of group ${groupId} on topic ${topicId}, which it never opened`);
    }
    return subscription;
  }
}
