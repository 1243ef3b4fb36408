import { ChangeKind } from "../broker-port.ts";
import { RecordType } from "../commit-log/log.ts";
import { EntryFlag } from "../consume-queue/consume-queue-table.ts";
import { attemptKey } from "../pop/attempt-key.ts";
import { leaseEndMs } from "../pop/lease-clock.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import * as ack from "../record/ack-record.ts";
import { carryKind, carryNumber, expectCarryRecord } from "../record/carry-record.ts";
import { changeReadBlank, readChangeRecord } from "../record/change-record.ts";
import { readCursorOpened } from "../record/cursor-record.ts";
import { readCursorReset } from "../record/cursor-reset-record.ts";
import { readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { readShortText } from "../record/fixed-bytes.ts";
import { readGroupRecord } from "../record/group-record.ts";
import * as message from "../record/message-record.ts";
import * as pop from "../record/pop-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { readRedriveRecord } from "../record/redrive-record.ts";
import { type ReleaseRecord, readReleaseRecord } from "../record/release-record.ts";
import { readTopicDropped, readTopicRecord } from "../record/topic-record.ts";
import type { Topic } from "../topic/topic.ts";
import { TransactionFollower } from "../transaction/transaction-follower.ts";
import type { BrokerTables } from "./broker-tables.ts";
import { GroupOrder } from "./group-order.ts";
import { type SendPartEntry, SendParts } from "./send-parts.ts";

/**
 * Follows the log into the tables: the single way in which records change state, live and in replay (B11). It decides
 * nothing and trusts the log's checksums; a record that does not fit the state is a bug or a foreign log and ends the
 * process, because going on would reset somebody's position (planted-bug list, no. 24).
 */
export class Dispatcher {
  readonly #tables: BrokerTables;
  readonly #transactions: TransactionFollower;
  readonly #order: GroupOrder;
  readonly #pop = pop.popReadBlank();
  readonly #change = changeReadBlank();
  readonly #sendParts = new SendParts();

  constructor(tables: BrokerTables) {
    this.#tables = tables;
    this.#transactions = new TransactionFollower(tables);
    this.#order = new GroupOrder(tables);
  }

  /** Applies the record with body `bytes[start, end)` that lies at `position`. */
  apply(type: RecordType, position: number, bytes: Buffer, start: number, end: number): void {
    if (type !== RecordType.Message) this.#sendParts.forget();
    switch (type) {
      case RecordType.Message:
        this.#message(position, bytes, start, end);
        break;
      case RecordType.HalfMessage:
        this.#transactions.half(position, bytes, start, end);
        break;
      case RecordType.Commit:
        this.#transactions.committed(this.#released(position, bytes, start, end));
        break;
      case RecordType.Rollback:
        this.#transactions.rolledBack(bytes, start, end);
        break;
      case RecordType.CheckBack:
        this.#transactions.checkBack(bytes, start, end);
        break;
      case RecordType.Carry:
        this.#carried(position, bytes, start, end);
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
      default:
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
      if (subscriptions.topicId(subscription) === topic.id) this.#forget(slot, subscriptions.at(subscription)!);
    }
    for (const subscription of [...topic.subscriptions.values()]) subscriptions.remove(subscription);
    this.#transactions.topicDropped(topic);
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
  #released(position: number, bytes: Buffer, start: number, end: number): ReleaseRecord {
    const release = readReleaseRecord(bytes, start, end);
    this.#index(
      this.#topicById(release.topicId),
      release.queueId,
      release.offset,
      position,
      release.messageBytes,
      release.tagHash,
      release.groupHash,
      EntryFlag.Reference,
    );
    return release;
  }

  #carried(position: number, bytes: Buffer, start: number, end: number): void {
    expectCarryRecord(start, end);
    const kind = carryKind(bytes, start);
    if (kind !== RecordType.HalfMessage) throw new RecordFault(`a carry of record type ${kind} at ${position}`);
    this.#transactions.carried(carryNumber(bytes, start), position);
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
    const { cursors } = subscriptions.add(group, this.#topicById(opened.topicId));
    for (let i = 0; i < cursors.length; i++) cursors[i] = opened.offsets[i] ?? 0;
  }

  #cursorReset(bytes: Buffer, start: number, end: number): void {
    const { leases } = this.#tables;
    const reset = readCursorReset(bytes, start, end);
    const subscription = this.#subscriptionOf(reset.groupId, reset.topicId);
    const offsets = new Map(reset.queues.map(({ queueId, offset }) => [queueId, offset]));
    for (const [queueId, offset] of offsets) {
      subscription.cursors[queueId] = offset;
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
      this.#forget(slot, subscription);
    }
  }

  #redriven(bytes: Buffer, start: number, end: number): void {
    const { leases } = this.#tables;
    const redrive = readRedriveRecord(bytes, start, end);
    const subscription = this.#subscriptionOf(redrive.groupId, redrive.topicId);
    const slot = leases.find(subscription.slot, redrive.queueId, redrive.offset);
    if (slot === none || leases.state[slot] !== LeaseState.Dead) {
      throw new RecordFault(
        `a redrive of ${subscription.topic.name}, queue ${redrive.queueId}, offset ${redrive.offset}, ` +
          `which is no dead letter of group ${subscription.group.name}`,
      );
    }
    subscription.deadLetters--;
    leases.attempt[slot] = 0;
    leases.isUncounted[slot] = 0;
    leases.firstPopMs[slot] = 0;
    // Its last lease is over, whatever the clocks say.
    leases.endMs[slot] = 0;
    leases.endWallMs[slot] = 0;
    leases.invisibleMs[slot] = 0;
    leases.isOfEarlierBoot[slot] = 0;
    if (!this.#order.redriven(subscription, slot)) return;
    leases.state[slot] = LeaseState.Ready;
    subscription.ready.push(slot);
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
      subscription.cursors[queueId] = end;
    }
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
      let slot = leases.find(subscription.slot, queueId, offset);
      if (slot === none) {
        slot = this.#addLease(subscription, queueId, offset);
        if (isOrdered) this.#order.handedOut(subscription, slot, queueId, offset);
      }
      this.#grant(
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
      this.#hold(slot, clientId, lane);
      leases.linkAttempt(slot, key);
    }
  }

  /** A message that was out is settled without an ack; or so many that waited behind it. */
  #passed(subscription: Subscription, queueId: number, offset: number, count: number): void {
    const slot = this.#tables.leases.find(subscription.slot, queueId, offset);
    if (slot === none) this.#order.passed(subscription, queueId, offset, count);
    else this.#forget(this.#known(subscription, queueId, offset, "a pass"), subscription);
  }

  /** The row of a message that the group is handed for the first time. */
  #addLease(subscription: Subscription, queueId: number, offset: number): number {
    const { leases, queues } = this.#tables;
    const queue = subscription.topic.queues[queueId];
    if (queue === undefined || offset >= queues.endOffset(queue)) {
      throw new RecordFault(`${subscription.topic.name}, queue ${queueId}: a hand-out of the unknown offset ${offset}`);
    }
    const slot = leases.add(subscription.slot, queueId, offset);
    subscription.inFlight++;
    leases.position[slot] = queues.position(queues.entry(queue, offset));
    leases.firstPopMs[slot] = 0;
    leases.holder[slot] = 0;
    leases.lane[slot] = 0;
    return slot;
  }

  /** A lease begins or gets a new end. */
  #grant(
    slot: number,
    subscription: Subscription,
    generation: number,
    run: number,
    attempt: number,
    boot: number,
    monotonicMs: number,
    wallMs: number,
    invisibleMs: number,
  ): void {
    const tables = this.#tables;
    const { leases } = tables;
    if (leases.state[slot] === LeaseState.Ready) {
      subscription.ready.remove(slot);
      leases.state[slot] = LeaseState.InFlight;
      subscription.inFlight++;
    }
    leases.generation[slot] = generation;
    leases.run[slot] = run;
    leases.attempt[slot] = attempt;
    leases.endMs[slot] = leaseEndMs(tables.clock, boot, monotonicMs, wallMs, invisibleMs);
    leases.endWallMs[slot] = wallMs + invisibleMs;
    leases.isOfEarlierBoot[slot] = boot === tables.clock.boot ? 0 : 1;
    leases.invisibleMs[slot] = invisibleMs;
    if (leases.firstPopMs[slot] === 0) leases.firstPopMs[slot] = wallMs;
    tables.leaseTimers.set(slot, leases.endMs[slot]!);
    tables.nextGeneration = Math.max(tables.nextGeneration, generation + 1);
  }

  #hold(slot: number, clientId: string, lane: string): void {
    const { leases, holders, lanes } = this.#tables;
    const holder = holders.acquire(clientId);
    holders.release(leases.holder[slot]!);
    leases.holder[slot] = holder;
    const laneNumber = lanes.acquire(lane);
    lanes.release(leases.lane[slot]!);
    leases.lane[slot] = laneNumber;
  }

  #acked(bytes: Buffer, start: number, end: number): void {
    ack.expectAckRecord(bytes, start, end);
    const subscription = this.#subscriptionOf(ack.ackGroupId(bytes, start), ack.ackTopicId(bytes, start));
    const count = ack.ackCount(bytes, start);
    for (let i = 0, at = start + ack.ackFixedBytes; i < count; i++, at += ack.ackEntryBytes) {
      this.#forget(
        this.#known(subscription, ack.ackQueueId(bytes, at), ack.ackOffset(bytes, at), "an ack"),
        subscription,
      );
    }
  }

  #changed(bytes: Buffer, start: number, end: number): void {
    const read = this.#change;
    readChangeRecord(bytes, start, end, read);
    const subscription = this.#subscriptionOf(read.groupId, read.topicId);
    const slot = this.#known(subscription, read.queueId, read.offset, "a change");
    // Only an extension leaves the batch as its receive attempt was given it.
    if (read.kind !== ChangeKind.Extend) this.#tables.leases.unlinkAttempt(slot);
    if (read.kind === ChangeKind.HandBack || read.kind === ChangeKind.Suspend)
      this.#tables.leases.isUncounted[slot] = 1;
    this.#grant(
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
    const { leases, holders, lanes } = this.#tables;
    const dead = readDeadLetterRecord(bytes, start, end);
    const subscription = this.#subscriptionOf(dead.groupId, dead.topicId);
    const slot = this.#known(subscription, dead.queueId, dead.offset, "a dead letter");
    this.#takeOut(slot, subscription);
    this.#order.released(subscription, slot);
    leases.unlinkAttempt(slot);
    leases.state[slot] = LeaseState.Dead;
    holders.release(leases.holder[slot]!);
    lanes.release(leases.lane[slot]!);
    leases.holder[slot] = 0;
    leases.lane[slot] = 0;
    subscription.deadLetters++;
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

  /** The group is done with the message, or the topic is gone. */
  #forget(slot: number, subscription: Subscription): void {
    const { leases, holders, lanes } = this.#tables;
    this.#takeOut(slot, subscription);
    this.#order.released(subscription, slot);
    holders.release(leases.holder[slot]!);
    lanes.release(leases.lane[slot]!);
    leases.remove(slot);
  }

  /** Out of the heap, off the timer, out of the counts. */
  #takeOut(slot: number, subscription: Subscription): void {
    const { leases, leaseTimers } = this.#tables;
    if (leases.state[slot] === LeaseState.Ready) subscription.ready.remove(slot);
    else if (leases.state[slot] === LeaseState.InFlight) subscription.inFlight--;
    leaseTimers.cancel(slot);
  }

  #known(subscription: Subscription, queueId: number, offset: number, what: string): number {
    const { leases } = this.#tables;
    const slot = leases.find(subscription.slot, queueId, offset);
    if (slot === none || leases.state[slot] === LeaseState.Dead) {
      throw new RecordFault(
        `${what} for ${subscription.topic.name}, queue ${queueId}, offset ${offset}, ` +
          `which group ${subscription.group.name} does not hold`,
      );
    }
    return slot;
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
