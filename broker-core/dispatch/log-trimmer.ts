import { LeaseState } from "../pop/lease-table.ts";
import type { LogTrimmedRecord } from "../record/log-trimmed-record.ts";
import type { OrderKept } from "../record/order-kept-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { Topic } from "../topic/topic.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { GroupOrder } from "./group-order.ts";
import type { LeaseFollower } from "./lease-follower.ts";
import { orderAfterTrim } from "./log-trimming.ts";
import type { OrderRepair } from "./order-repair.ts";

/**
 * What it means for the tables that the log begins at a later position. Part of the dispatcher.
 *
 * The state at that position with single messages left out (`writeBaseImage`), followed by the records behind it, gives the same
 * tables as those who were there all the time have: what records say of messages below is passed over there (`isTrimmed`), and
 * dropped here. Only the order of message groups cannot be followed without the messages below; the records OrderKept say what
 * it is, and both take it from them.
 */
export class LogTrimmer {
  readonly #tables: BrokerTables;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;
  readonly #repair: OrderRepair;
  #kept: OrderKept[] = [];

  constructor(tables: BrokerTables, order: GroupOrder, leases: LeaseFollower, repair: OrderRepair) {
    this.#tables = tables;
    this.#order = order;
    this.#leases = leases;
    this.#repair = repair;
  }

  orderKept(kept: OrderKept): void {
    this.#kept.push(kept);
  }

  /** A part of the log is lost: OrderKept records before it may not be all there were. */
  isolate(): void {
    this.#kept = [];
  }

  trimmed({ begin, orderCount }: LogTrimmedRecord): void {
    const { topics, queues, subscriptions, leases, laneRules, damage, isPartial } = this.#tables;
    this.#tables.isPartial = false;
    // A process may have died between these records; then more than belong to this one have gathered.
    const isWhole = this.#kept.length >= orderCount;
    if (!isWhole && !damage.isOpen)
      throw new RecordFault(`${orderCount} records of the order of message groups are missing`);
    const kept = isWhole ? this.#kept.slice(this.#kept.length - orderCount) : orderAfterTrim(this.#tables, begin);
    this.#kept = [];
    this.#tables.logBegin = begin;
    this.#order.clear();
    for (let slot = 0; slot < leases.end; slot++) {
      if (leases.state[slot] === LeaseState.Free || leases.position[slot]! >= begin) continue;
      const subscription = subscriptions.at(leases.subscription[slot]!)!;
      if (leases.state[slot] === LeaseState.Dead) subscription.deadLetters--;
      this.#leases.forget(slot, subscription);
    }
    // Queues and positions that are not in use are put right when they are asked for: there may be a million.
    queues.trimBelow(begin);
    for (const subscription of subscriptions.inUse()) {
      const { topic, cursors, lanes } = subscription;
      this.#raise(cursors, topic);
      for (const lane of lanes?.all() ?? []) {
        this.#raise(lane.cursors, topic);
        this.#raise(lane.starts, topic);
      }
    }
    laneRules.trim(begin);
    if (damage.isOpen) {
      this.#repair.restore(kept);
      if (isWhole) this.#repair.settleUnlocked();
      else if (isPartial) this.#repair.doubtAll();
      else this.#repair.lockAll();
    } else for (const order of kept) this.#restore(order);
    this.#order.endPartial();
    topics.putAwayIdle(Number.NEGATIVE_INFINITY);
  }

  /** Positions lie where something is left. */
  #raise(offsets: number[], topic: Topic): void {
    const { queues } = this.#tables;
    for (let queueId = 0; queueId < offsets.length; queueId++) {
      offsets[queueId] = Math.max(offsets[queueId]!, queues.beginOffset(topic.queues[queueId]!));
    }
  }

  #restore({ groupId, topicId, rows }: OrderKept): void {
    const subscription = this.#tables.subscription(groupId, topicId);
    if (subscription === undefined) {
      throw new RecordFault(
        `the order of message groups for group ${groupId} on topic ${topicId}, which it never opened`,
      );
    }
    for (const row of rows) this.#order.restore(subscription, row);
  }
}
