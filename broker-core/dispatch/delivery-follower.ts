import { ChangeKind } from "../broker-port.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import { attemptKey } from "../pop/attempt-key.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import * as ack from "../record/ack-record.ts";
import { changeReadBlank, readChangeRecord } from "../record/change-record.ts";
import { type DeadLetterRecord, deadLetterMessageStart, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { readShortText } from "../record/fixed-bytes.ts";
import * as pop from "../record/pop-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { readRedriveRecord } from "../record/redrive-record.ts";
import { deadLetterGroup } from "../topic/consumer-group.ts";
import { deadLetterTopicName, groupOfDeadLetterTopic } from "../topic/topic.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { GroupOrder } from "./group-order.ts";
import type { LaneFollower } from "./lane-follower.ts";
import type { LeaseFollower } from "./lease-follower.ts";
import type { LeaseRepair } from "./lease-repair.ts";
import { isTrimmed } from "./log-trimming.ts";
import type { QueueFollower } from "./queue-follower.ts";
import type { SubscriptionFollower } from "./subscription-follower.ts";

/** The parts of the dispatcher that hand-outs and what becomes of them concern. */
export interface DeliveryParts {
  readonly queues: QueueFollower;
  readonly subscriptions: SubscriptionFollower;
  readonly order: GroupOrder;
  readonly leases: LeaseFollower;
  readonly lanes: LaneFollower;
  readonly repair: LeaseRepair;
}

/** Follows the records of hand-outs and of what becomes of them: acks, changes, dead letters, redrives. Part of the dispatcher. */
export class DeliveryFollower {
  readonly #tables: BrokerTables;
  readonly #queues: QueueFollower;
  readonly #subscriptions: SubscriptionFollower;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;
  readonly #lanes: LaneFollower;
  /** For records after a lost part of the log. */
  readonly #repair: LeaseRepair;
  readonly #pop = pop.popReadBlank();
  readonly #change = changeReadBlank();

  constructor(tables: BrokerTables, parts: DeliveryParts) {
    this.#tables = tables;
    this.#queues = parts.queues;
    this.#subscriptions = parts.subscriptions;
    this.#order = parts.order;
    this.#leases = parts.leases;
    this.#lanes = parts.lanes;
    this.#repair = parts.repair;
  }

  popped(bytes: Buffer, start: number, end: number): void {
    const read = this.#pop;
    pop.readPopRecord(bytes, start, end, read);
    const subscription = this.#subscriptions.find(read.groupId, read.topicId);
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
        this.#subscriptions.moveCursor(subscription, owner, queueId, end);
        continue;
      }
      // Without a lock, a delivery and other lanes nothing can have been passed by.
      const mayPass = subscription.lockCount + read.deliveryCount > 0 || subscription.lanes !== undefined;
      if (subscription.topic.isOrdered && mayPass) this.#order.cursorMoved(subscription, owner, queueId, end);
      this.#subscriptions.moveCursor(subscription, owner, queueId, end);
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
      this.#subscriptions.goTo(subscription, new Map([[queueId, Math.min(first.get(queueId) ?? end, end)]]));
    }
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

  acked(bytes: Buffer, start: number, end: number): void {
    ack.expectAckRecord(bytes, start, end);
    const subscription = this.#subscriptions.find(ack.ackGroupId(bytes, start), ack.ackTopicId(bytes, start));
    if (subscription === undefined) return;
    const count = ack.ackCount(bytes, start);
    for (let i = 0, at = start + ack.ackFixedBytes; i < count; i++, at += ack.ackEntryBytes) {
      const queueId = ack.ackQueueId(bytes, at);
      const offset = ack.ackOffset(bytes, at);
      if (isTrimmed(this.#tables, subscription, queueId, offset)) continue;
      this.#forget(subscription, queueId, offset, "an ack");
    }
  }

  changed(bytes: Buffer, start: number, end: number): void {
    const read = this.#change;
    readChangeRecord(bytes, start, end, read);
    const subscription = this.#subscriptions.find(read.groupId, read.topicId);
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

  deadLetter(position: number, bytes: Buffer, start: number, end: number): void {
    const dead = readDeadLetterRecord(bytes, start, end);
    if (this.#tables.damage.isOpen) {
      this.#queues.names.topic(dead.topicId, dead.originTopic);
      const deadTopic = this.#tables.topics.byId(dead.deadTopicId);
      this.#queues.names.group(dead.groupId, deadTopic === undefined ? "" : groupOfDeadLetterTopic(deadTopic.name));
    }
    const subscription = this.#subscriptions.find(dead.groupId, dead.topicId);
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
    this.#queues.names.topic(dead.deadTopicId, deadLetterTopicName(deadLetterGroup(subscription.group)));
    if (isTrimmed(this.#tables, subscription, queueId, offset)) return;
    if (!this.#queues.reach(subscription.topic, queueId, offset + 1, false)) return;
    const slot = this.#repair.dies(subscription, queueId, offset);
    if (slot === none) return;
    // Late acks and a redrive know the dead letter by the number of its lease.
    this.#tables.leases.generation[slot] = dead.generation;
    this.#leases.die(slot, subscription);
  }

  redriven(bytes: Buffer, start: number, end: number): void {
    const { leases } = this.#tables;
    const redrive = readRedriveRecord(bytes, start, end);
    const subscription = this.#subscriptions.find(redrive.groupId, redrive.topicId);
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
}
