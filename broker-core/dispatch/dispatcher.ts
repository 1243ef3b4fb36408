import { ChangeKind } from "../broker-port.ts";
import { RecordType } from "../commit-log/log.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import { attemptKey } from "../pop/attempt-key.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import * as ack from "../record/ack-record.ts";
import { readBrokerDrain } from "../record/broker-drain-record.ts";
import { changeReadBlank, readChangeRecord } from "../record/change-record.ts";
import { readCursorOpened } from "../record/cursor-record.ts";
import { readCursorReset } from "../record/cursor-reset-record.ts";
import { type DeadLetterRecord, deadLetterMessageStart, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { readShortText } from "../record/fixed-bytes.ts";
import { readGroupDropped, readGroupRecord } from "../record/group-record.ts";
import { readLaneEvent } from "../record/lane-event-record.ts";
import { readLaneRuleRecord } from "../record/lane-rule-record.ts";
import { readLanesSwitched } from "../record/lanes-switched-record.ts";
import { readLogTrimmed } from "../record/log-trimmed-record.ts";
import { readOrderKept } from "../record/order-kept-record.ts";
import * as pop from "../record/pop-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { readRedriveRecord } from "../record/redrive-record.ts";
import { deadLetterGroup } from "../topic/consumer-group.ts";
import { deadLetterTopicName, groupOfDeadLetterTopic } from "../topic/topic.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { DamageRepair } from "./damage-repair.ts";
import { dropGroup } from "./group-dropping.ts";
import { GroupOrder } from "./group-order.ts";
import { LaneFollower } from "./lane-follower.ts";
import { LeaseFollower } from "./lease-follower.ts";
import { LeaseRepair } from "./lease-repair.ts";
import { LogTrimmer } from "./log-trimmer.ts";
import { isTrimmed } from "./log-trimming.ts";
import { OrderRepair } from "./order-repair.ts";
import { QueueFollower } from "./queue-follower.ts";
import { UnseenFollower } from "./unseen-follower.ts";

/**
 * Follows the log into the tables: the single way in which records change state, live and in replay (B11). It decides
 * nothing and trusts the log's checksums; a record that does not fit the state is a bug or a foreign log and ends the
 * process, because going on would reset somebody's position (planted-bug list, no. 24). Unless something before it is lost, and
 * whoever wrote it did not know (replay-damage.ts): then it is a consequence, and is made to fit.
 */
export class Dispatcher {
  readonly #tables: BrokerTables;
  readonly #unseen: UnseenFollower;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;
  readonly #trimmer: LogTrimmer;
  readonly #lanes: LaneFollower;
  readonly #pop = pop.popReadBlank();
  readonly #change = changeReadBlank();
  readonly #queues: QueueFollower;
  /** For records after a lost part of the log. */
  readonly #names: DamageRepair;
  readonly #repair: LeaseRepair;
  readonly #orderRepair: OrderRepair;

  constructor(tables: BrokerTables) {
    this.#tables = tables;
    this.#unseen = new UnseenFollower(
      tables,
      (release, position, bytes, start, end) => this.#queues.released(release, position, bytes, start, end),
      (topicId, bytes, start, end) => this.#queues.topicOfMessage(topicId, bytes, start, end),
    );
    const order = (this.#order = new GroupOrder(tables));
    const leases = (this.#leases = new LeaseFollower(tables, order));
    this.#lanes = new LaneFollower(tables, (subscription) => this.#repair.laneMissed(subscription));
    this.#queues = new QueueFollower(tables, order, leases, this.#lanes, (topic) => this.#unseen.topicDropped(topic));
    this.#names = this.#queues.names;
    this.#repair = new LeaseRepair(tables, order, leases);
    this.#orderRepair = new OrderRepair(tables, order, leases, this.#queues, this.#repair);
    this.#trimmer = new LogTrimmer(tables, order, leases, this.#orderRepair);
  }

  /** What stood at these log positions is lost; records that follow may not go with the state, and are made to. */
  lost(from: number, to: number): void {
    this.#tables.damage.lost(from, to);
    this.#queues.isolate();
    this.#unseen.isolate();
    this.#trimmer.isolate();
  }

  /** Whoever writes what follows knows what was lost until now: records have to go with the state again. */
  known(): void {
    const { damage } = this.#tables;
    if (!damage.isOpen) return;
    this.#queues.judgeAll();
    this.#unseen.judgeAll();
    if (this.#tables.isPartial) {
      this.#tables.isPartial = false;
      this.#orderRepair.doubtAll();
      this.#order.endPartial();
    }
    this.#lanes.known();
    damage.close(this.#tables.groups.nextId);
  }

  /** Applies the record with body `bytes[start, end)` that lies at `position`. */
  apply(type: RecordType, position: number, bytes: Buffer, start: number, end: number): void {
    this.#names.position = position;
    if (type !== RecordType.Message) this.#queues.interrupt();
    this.#unseen.interrupt(type);
    switch (type) {
      case RecordType.Message:
        this.#queues.message(position, bytes, start, end);
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
        this.#queues.topic(position, bytes, start, end);
        break;
      case RecordType.TopicDropped:
        this.#queues.topicDropped(bytes, start, end);
        break;
      case RecordType.GroupOpened:
      case RecordType.GroupChanged:
        this.#tables.groups.put(readGroupRecord(bytes, start, end), position);
        break;
      case RecordType.GroupDropped:
        dropGroup(this.#tables, this.#order, this.#leases, readGroupDropped(bytes, start, end));
        break;
      case RecordType.LaneRule:
        this.#lanes.rule(position, readLaneRuleRecord(bytes, start, end), this.#names);
        break;
      case RecordType.LaneSpilled:
      case RecordType.LaneResumed:
      case RecordType.LaneClosed:
        this.#lanes.event(type, readLaneEvent(bytes, start, end));
        break;
      case RecordType.LanesSwitched:
        this.#lanes.switched(readLanesSwitched(bytes, start, end));
        break;
      case RecordType.BrokerDrain:
        this.#tables.drain = readBrokerDrain(bytes, start, end);
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

  #cursorOpened(bytes: Buffer, start: number, end: number): void {
    const { subscriptions, groups, damage } = this.#tables;
    const opened = readCursorOpened(bytes, start, end);
    if (damage.isOpen) {
      this.#names.group(opened.groupId, opened.groupName);
      const topic = this.#names.topic(opened.topicId, opened.topicName);
      if (topic === undefined) return;
      for (const [queueId, offset] of opened.offsets.entries()) this.#queues.reach(topic, queueId, offset, false);
    }
    const group = groups.byId(opened.groupId);
    if (group === undefined) throw new RecordFault(`a cursor of the unknown group ${opened.groupId}`);
    const topic = this.#queues.topicById(opened.topicId);
    if (topic === undefined || (damage.isOpen && topic.subscriptions.get(group.id) !== undefined)) return;
    const subscription = subscriptions.add(group, topic);
    for (let i = 0; i < subscription.cursors.length; i++) {
      this.#moveCursor(subscription, subscription, i, opened.offsets[i] ?? 0);
      damage.follow(subscription.slot, i);
    }
    this.#lanes.opened(subscription);
  }

  #cursorReset(bytes: Buffer, start: number, end: number): void {
    const { damage } = this.#tables;
    const reset = readCursorReset(bytes, start, end);
    const subscription = this.#subscriptionOf(reset.groupId, reset.topicId);
    if (subscription === undefined) return;
    for (const { queueId, offset } of damage.isOpen ? reset.queues : []) {
      this.#queues.reach(subscription.topic, queueId, offset, false);
    }
    this.#reset(subscription, new Map(reset.queues.map(({ queueId, offset }) => [queueId, offset])));
  }

  #reset(subscription: Subscription, offsets: ReadonlyMap<number, number>): void {
    const { leases, damage } = this.#tables;
    for (const [queueId, offset] of offsets) {
      this.#moveCursor(subscription, subscription, queueId, offset);
      this.#lanes.reset(subscription, queueId);
      this.#order.dropped(subscription, queueId);
      damage.follow(subscription.slot, queueId);
      for (const lane of subscription.lanes?.all() ?? []) damage.follow(subscription.slot, queueId, lane.laneNumber);
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
    if (subscription === undefined) return;
    const { queueId, offset } = redrive;
    if (isTrimmed(this.#tables, subscription, queueId, offset)) return;
    if (this.#tables.damage.isOpen) {
      if (!this.#queues.reach(subscription.topic, queueId, offset + 1, false)) return;
      const again = this.#repair.redriven(subscription, queueId, offset);
      if (again !== none) this.#leases.revive(again, subscription);
      return;
    }
    const slot = leases.find(subscription.slot, queueId, offset);
    if (slot === none || leases.state[slot] !== LeaseState.Dead) {
      const what = `${subscription.topic.name}/${queueId} at ${offset}, no dead letter of ${subscription.group.name}`;
      throw new RecordFault(`a redrive of ${what}`);
    }
    this.#leases.revive(slot, subscription);
  }

  #popped(bytes: Buffer, start: number, end: number): void {
    const read = this.#pop;
    pop.readPopRecord(bytes, start, end, read);
    const subscription = this.#subscriptionOf(read.groupId, read.topicId);
    if (subscription === undefined) return;
    const { isOpen } = this.#tables.damage;
    const owner = read.ownerAt < 0 ? subscription : this.#lanes.named(subscription, readShortText(bytes, read.ownerAt));
    if (isOpen) this.#beforePop(subscription, owner, bytes);
    if (read.deliveryCount > 0) this.#delivered(subscription, owner, bytes);
    for (let i = 0, at = read.keptAt; i < read.keptCount; i++, at += pop.popKeptBytes) {
      this.#kept(subscription, pop.popEntryQueueId(bytes, at), pop.popEntryOffset(bytes, at));
    }
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
      if (isOpen) {
        if (subscription.topic.queues[queueId] === undefined) continue;
        this.#repair.cursorMoved(subscription, owner, queueId, end);
        this.#moveCursor(subscription, owner, queueId, end);
        continue;
      }
      // Without a lock, a delivery and other lanes nothing can have been passed by.
      const mayPass = subscription.lockCount + read.deliveryCount > 0 || subscription.lanes !== undefined;
      if (subscription.topic.isOrdered && mayPass) this.#order.cursorMoved(subscription, owner, queueId, end);
      this.#moveCursor(subscription, owner, queueId, end);
    }
    if (isOpen) this.#afterPop(subscription, owner, bytes);
  }

  /** After damage: what was handed out lies below the group's position, whatever hand-outs are missing. */
  #afterPop(subscription: Subscription, owner: LaneCursor, bytes: Buffer): void {
    const read = this.#pop;
    const last = new Map<number, number>();
    for (let i = 0, at = read.deliveriesAt; i < read.deliveryCount; i++, at += pop.popDeliveryBytes) {
      const queueId = pop.popEntryQueueId(bytes, at);
      last.set(queueId, Math.max(last.get(queueId) ?? 0, pop.popEntryOffset(bytes, at)));
    }
    for (const [queueId, offset] of last) this.#repair.raiseThrough(subscription, owner, queueId, offset);
  }

  /** After damage: the offsets that a hand-out speaks of were given out, and where a position falls, a reset is lost. */
  #beforePop(subscription: Subscription, owner: LaneCursor, bytes: Buffer): void {
    const read = this.#pop;
    const { damage, nextGeneration } = this.#tables;
    const { topic } = subscription;
    if (read.deliveryCount > 0) {
      damage.sawLeases(pop.popDeliveryGeneration(bytes, read.deliveriesAt), nextGeneration);
    }
    const first = new Map<number, number>();
    for (let i = 0, at = read.deliveriesAt; i < read.deliveryCount; i++, at += pop.popDeliveryBytes) {
      const queueId = pop.popEntryQueueId(bytes, at);
      const offset = pop.popEntryOffset(bytes, at);
      this.#queues.reach(topic, queueId, offset + 1, false);
      first.set(queueId, Math.min(first.get(queueId) ?? offset, offset));
    }
    for (let i = 0, at = read.passesAt; i < read.passCount; i++, at += pop.popPassBytes) {
      this.#queues.reach(topic, pop.popEntryQueueId(bytes, at), pop.popEntryOffset(bytes, at) + 1, false);
    }
    for (let i = 0, at = read.cursorsAt; i < read.cursorCount; i++, at += pop.popCursorBytes) {
      const queueId = pop.popEntryQueueId(bytes, at);
      const end = pop.popEntryOffset(bytes, at);
      if (!this.#queues.reach(topic, queueId, end, false) || end >= owner.cursors[queueId]!) continue;
      damage.note(`a reset of group ${subscription.group.name} in ${topic.name}`);
      this.#reset(subscription, new Map([[queueId, Math.min(first.get(queueId) ?? end, end)]]));
    }
  }

  /** A record from before the log began where it does may put a position where nothing is left. */
  #moveCursor({ topic }: Subscription, { cursors }: LaneCursor, queueId: number, offset: number): void {
    const queue = topic.queues[queueId];
    if (queue !== undefined) cursors[queueId] = Math.max(offset, this.#tables.queues.beginOffset(queue));
  }

  /** A message waits for a consumer of its own lane, with no attempt made. */
  #kept(subscription: Subscription, queueId: number, offset: number): void {
    if (isTrimmed(this.#tables, subscription, queueId, offset)) return;
    if (this.#tables.leases.find(subscription.slot, queueId, offset) !== none) return;
    if (this.#tables.damage.isOpen && !this.#queues.reach(subscription.topic, queueId, offset + 1, false)) return;
    this.#leases.bringBack(subscription, queueId, offset);
  }

  #delivered(subscription: Subscription, owner: LaneCursor, bytes: Buffer): void {
    const read = this.#pop;
    const clientId = readShortText(bytes, read.clientAt);
    const key = attemptKey(read.groupId, read.topicId, clientId, readShortText(bytes, read.attemptAt));
    const lane = readShortText(bytes, read.laneAt);
    const { isOrdered } = subscription.topic;
    const { leases, damage, isPartial } = this.#tables;
    for (let i = 0, at = read.deliveriesAt; i < read.deliveryCount; i++, at += pop.popDeliveryBytes) {
      const queueId = pop.popEntryQueueId(bytes, at);
      const offset = pop.popEntryOffset(bytes, at);
      this.#leases.countGeneration(pop.popDeliveryGeneration(bytes, at));
      if (isTrimmed(this.#tables, subscription, queueId, offset)) continue;
      let slot: number;
      if (damage.isOpen) {
        if (subscription.topic.queues[queueId] === undefined) continue;
        slot = this.#repair.handedOut(subscription, owner, queueId, offset);
        if (slot === none) continue;
      } else slot = leases.find(subscription.slot, queueId, offset);
      if (slot === none) {
        slot = this.#leases.add(subscription, queueId, offset, owner);
        if (isOrdered) this.#order.handedOut(subscription, slot, queueId, offset);
      }
      if (isOrdered && isPartial) this.#order.outWhilePartial(subscription, queueId, offset);
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
      leases.handedOut(slot, read.monotonicMs);
      this.#leases.hold(slot, clientId, lane);
      leases.linkAttempt(slot, key);
    }
  }

  /** A message that was out is settled without an ack; or so many that waited behind it. */
  #passed(subscription: Subscription, queueId: number, offset: number, count: number): void {
    if (isTrimmed(this.#tables, subscription, queueId, offset)) return;
    const { leases, damage } = this.#tables;
    if (damage.isOpen && subscription.topic.queues[queueId] === undefined) return;
    const slot = leases.find(subscription.slot, queueId, offset);
    if (slot !== none) this.#forget(subscription, queueId, offset, "a pass");
    else if (damage.isOpen) this.#repair.passed(subscription, queueId, offset);
    else this.#order.passed(subscription, queueId, offset, count);
  }

  /** The group is done with a message. `what` says so. */
  #forget(subscription: Subscription, queueId: number, offset: number, what: string): void {
    const slot = this.#held(subscription, queueId, offset, what);
    if (slot !== none) this.#leases.forget(slot, subscription);
  }

  /** Row of a message that the group holds. `none`: by all that is known it does not, after damage; otherwise that is a fault. */
  #held(subscription: Subscription, queueId: number, offset: number, what: string): number {
    const { damage } = this.#tables;
    if (!damage.isOpen) return this.#leases.known(subscription, queueId, offset, what);
    const isThere = this.#queues.reach(subscription.topic, queueId, offset + 1, false);
    const slot = isThere ? this.#repair.held(subscription, queueId, offset, what !== "a change") : none;
    if (slot !== none && this.#tables.isPartial) this.#order.outWhilePartial(subscription, queueId, offset);
    if (slot === none) damage.note(`${what} of a message that is settled or lost`);
    return slot;
  }

  #acked(bytes: Buffer, start: number, end: number): void {
    ack.expectAckRecord(bytes, start, end);
    const subscription = this.#subscriptionOf(ack.ackGroupId(bytes, start), ack.ackTopicId(bytes, start));
    if (subscription === undefined) return;
    const count = ack.ackCount(bytes, start);
    for (let i = 0, at = start + ack.ackFixedBytes; i < count; i++, at += ack.ackEntryBytes) {
      const queueId = ack.ackQueueId(bytes, at);
      const offset = ack.ackOffset(bytes, at);
      if (isTrimmed(this.#tables, subscription, queueId, offset)) continue;
      this.#forget(subscription, queueId, offset, "an ack");
    }
  }

  #changed(bytes: Buffer, start: number, end: number): void {
    const read = this.#change;
    readChangeRecord(bytes, start, end, read);
    const subscription = this.#subscriptionOf(read.groupId, read.topicId);
    if (subscription === undefined) return;
    const { damage, nextGeneration } = this.#tables;
    if (damage.isOpen && read.generation >= nextGeneration) damage.sawLeases(read.generation, nextGeneration);
    this.#leases.countGeneration(read.generation);
    if (isTrimmed(this.#tables, subscription, read.queueId, read.offset)) return;
    const slot = this.#held(subscription, read.queueId, read.offset, "a change");
    if (slot === none) return;
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
    if (this.#tables.damage.isOpen) {
      this.#names.topic(dead.topicId, dead.originTopic);
      const deadTopic = this.#tables.topics.byId(dead.deadTopicId);
      this.#names.group(dead.groupId, deadTopic === undefined ? "" : groupOfDeadLetterTopic(deadTopic.name));
    }
    const subscription = this.#subscriptionOf(dead.groupId, dead.topicId);
    if (subscription === undefined) return;
    if (this.#tables.damage.isOpen) this.#diesAfterDamage(subscription, dead);
    else if (!isTrimmed(this.#tables, subscription, dead.queueId, dead.offset)) {
      this.#leases.die(this.#leases.known(subscription, dead.queueId, dead.offset, "a dead letter"), subscription);
    }
    const deadTopic = this.#queues.topicById(dead.deadTopicId);
    if (deadTopic === undefined) return;
    const carries = deadLetterMessageStart(bytes, start) >= 0;
    if (!carries && this.#queues.isGone(dead.messagePosition)) {
      this.#queues.indexLost(deadTopic, dead.deadQueueId, dead.deadOffset);
      return;
    }
    this.#queues.index(
      deadTopic,
      dead.deadQueueId,
      dead.deadOffset,
      position,
      dead.messageBytes,
      dead.tagHash,
      dead.groupHash,
      0,
      EntryFlag.DeadLetter,
    );
  }

  #diesAfterDamage(subscription: Subscription, dead: DeadLetterRecord): void {
    const { queueId, offset } = dead;
    this.#names.topic(dead.deadTopicId, deadLetterTopicName(deadLetterGroup(subscription.group)));
    if (isTrimmed(this.#tables, subscription, queueId, offset)) return;
    if (!this.#queues.reach(subscription.topic, queueId, offset + 1, false)) return;
    const slot = this.#repair.dies(subscription, queueId, offset);
    if (slot === none) return;
    // Late acks and a redrive know the dead letter by the number of its lease.
    this.#tables.leases.generation[slot] = dead.generation;
    this.#leases.die(slot, subscription);
  }

  #subscriptionOf(groupId: number, topicId: number): Subscription | undefined {
    if (this.#tables.damage.isOpen) return this.#names.subscription(groupId, topicId);
    const subscription = this.#tables.subscription(groupId, topicId);
    if (subscription === undefined) {
      throw new RecordFault(`a record of group ${groupId} on topic ${topicId}, which it never opened`);
    }
    return subscription;
  }
}
