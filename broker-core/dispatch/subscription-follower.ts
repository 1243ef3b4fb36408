import type { LaneCursor } from "../pop/lane-cursor.ts";
import { LeaseState } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import { readCursorOpened } from "../record/cursor-record.ts";
import { readCursorReset } from "../record/cursor-reset-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { GroupOrder } from "./group-order.ts";
import type { LaneFollower } from "./lane-follower.ts";
import type { LeaseFollower } from "./lease-follower.ts";
import type { QueueFollower } from "./queue-follower.ts";

/** Follows the records of where groups stand in topics. Part of the dispatcher. */
export class SubscriptionFollower {
  readonly #tables: BrokerTables;
  readonly #queues: QueueFollower;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;
  readonly #lanes: LaneFollower;

  constructor(
    tables: BrokerTables,
    queues: QueueFollower,
    order: GroupOrder,
    leases: LeaseFollower,
    lanes: LaneFollower,
  ) {
    this.#tables = tables;
    this.#queues = queues;
    this.#order = order;
    this.#leases = leases;
    this.#lanes = lanes;
  }

  /** A group reads a topic for the first time. */
  opened(bytes: Buffer, start: number, end: number): void {
    const { subscriptions, groups, damage } = this.#tables;
    const opened = readCursorOpened(bytes, start, end);
    if (damage.isOpen) {
      this.#queues.names.group(opened.groupId, opened.groupName);
      const topic = this.#queues.names.topic(opened.topicId, opened.topicName);
      if (topic === undefined) return;
      for (const [queueId, offset] of opened.offsets.entries()) this.#queues.reach(topic, queueId, offset, false);
    }
    const group = groups.byId(opened.groupId);
    if (group === undefined) throw new RecordFault(`a cursor of the unknown group ${opened.groupId}`);
    const topic = this.#queues.topicById(opened.topicId);
    if (topic === undefined || (damage.isOpen && topic.subscriptions.get(group.id) !== undefined)) return;
    const subscription = subscriptions.add(group, topic);
    for (let i = 0; i < subscription.cursors.length; i++) {
      this.moveCursor(subscription, subscription, i, opened.offsets[i] ?? 0);
      damage.follow(subscription.slot, i);
    }
    this.#lanes.opened(subscription);
  }

  /** A group is set to other offsets. */
  reset(bytes: Buffer, start: number, end: number): void {
    const { damage } = this.#tables;
    const reset = readCursorReset(bytes, start, end);
    const subscription = this.find(reset.groupId, reset.topicId);
    if (subscription === undefined) return;
    for (const { queueId, offset } of damage.isOpen ? reset.queues : []) {
      this.#queues.reach(subscription.topic, queueId, offset, false);
    }
    this.goTo(subscription, new Map(reset.queues.map(({ queueId, offset }) => [queueId, offset])));
  }

  /** The group goes on at `offsets`, by queue. Of what it holds in those queues, only dead letters before the new offset stay. */
  goTo(subscription: Subscription, offsets: ReadonlyMap<number, number>): void {
    const { leases, damage } = this.#tables;
    for (const [queueId, offset] of offsets) {
      this.moveCursor(subscription, subscription, queueId, offset);
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

  /** A record from before the log began where it does may put a position where nothing is left. */
  moveCursor({ topic }: Subscription, { cursors }: LaneCursor, queueId: number, offset: number): void {
    const queue = topic.queues[queueId];
    if (queue !== undefined) cursors[queueId] = Math.max(offset, this.#tables.queues.beginOffset(queue));
  }

  /** Of a record. Undefined: the topic is lost, after damage; otherwise that is a fault. */
  find(groupId: number, topicId: number): Subscription | undefined {
    if (this.#tables.damage.isOpen) return this.#queues.names.subscription(groupId, topicId);
    const subscription = this.#tables.subscription(groupId, topicId);
    if (subscription === undefined) {
      throw new RecordFault(`a record of group ${groupId} on topic ${topicId}, which it never opened`);
    }
    return subscription;
  }
}
