import { EntryFlag } from "../consume-queue/index-entry.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import { orderHash } from "../pop/order-hash.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type KeptRow, noHolder, type OrderKept } from "../record/order-kept-record.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { GroupOrder } from "./group-order.ts";
import type { LeaseFollower } from "./lease-follower.ts";
import type { LeaseRepair } from "./lease-repair.ts";
import type { QueueFollower } from "./queue-follower.ts";

/**
 * The order of message groups where the log was trimmed and records before that are lost (replay-damage.ts): the OrderKept records
 * say how it was, and what they speak of may be missing here; or they are missing themselves.
 */
export class OrderRepair {
  readonly #tables: BrokerTables;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;
  readonly #queues: QueueFollower;
  readonly #repair: LeaseRepair;

  constructor(
    tables: BrokerTables,
    order: GroupOrder,
    leases: LeaseFollower,
    queues: QueueFollower,
    repair: LeaseRepair,
  ) {
    this.#tables = tables;
    this.#order = order;
    this.#leases = leases;
    this.#queues = queues;
    this.#repair = repair;
  }

  /** Puts rows back, in so far as their messages are there. No row is there yet. */
  restore(kept: readonly OrderKept[]): void {
    for (const { groupId, topicId, rows } of kept) {
      const subscription = this.#queues.names.subscription(groupId, topicId);
      if (subscription === undefined) continue;
      // First what is missing comes back, which may lock: then all is put as it was.
      for (const row of rows) this.#prepare(subscription, row);
      this.#order.clear(subscription);
      for (const row of rows) this.#restoreRow(subscription, row);
    }
  }

  /** What the rows tell is all there is: a message without a lock is settled, by a record that is lost. */
  settleUnlocked(): void {
    this.#forEachUnlocked((subscription, slot) => this.#leases.forget(slot, subscription));
  }

  /** What has no lock gets one, or waits for it, in the order of the queue. */
  lockAll(): void {
    this.#forEachUnlocked((subscription, slot) => this.#lock(subscription, slot));
  }

  /** Nobody knows what waits: whatever was not seen to be settled does, in its turn. */
  doubtAll(): void {
    const { queues, subscriptions, leases } = this.#tables;
    for (const subscription of subscriptions.all()) {
      const { topic, cursors } = subscription;
      if (!topic.isOrdered) continue;
      topic.queues.forEach((queue, queueId) => {
        for (let offset = queues.beginOffset(queue); offset < cursors[queueId]!; offset++) {
          const entry = queues.entry(queue, offset);
          const isMeant = queues.groupHash(entry) !== 0 && (queues.flags(entry) & EntryFlag.Lost) === 0;
          if (!isMeant || leases.find(subscription.slot, queueId, offset) !== none) continue;
          if (this.#order.isPastWhilePartial(subscription, queueId, offset)) continue;
          this.#leases.bringBack(subscription, queueId, offset);
        }
      });
    }
    this.lockAll();
  }

  #prepare(subscription: Subscription, { queueId, holderOffset, skippedCount, skippedFrom, queued }: KeptRow): void {
    const { topic } = subscription;
    if (holderOffset !== noHolder && this.#queues.reach(topic, queueId, holderOffset + 1, false)) {
      this.#repair.comesBack(subscription, queueId, holderOffset, false);
    }
    for (const offset of queued) {
      if (this.#queues.reach(topic, queueId, offset + 1, false))
        this.#repair.comesBack(subscription, queueId, offset, true);
    }
    if (skippedCount > 0) this.#queues.reach(topic, queueId, skippedFrom + 1, false);
  }

  #restoreRow(subscription: Subscription, kept: KeptRow): void {
    const { queues, leases } = this.#tables;
    const { queueId, groupHash } = kept;
    const queue = subscription.topic.queues[queueId];
    if (queue === undefined) return;
    const isThere = (offset: number) => leases.find(subscription.slot, queueId, offset) !== none;
    const queued = kept.queued.filter(isThere);
    const holderOffset =
      kept.holderOffset !== noHolder && isThere(kept.holderOffset) ? kept.holderOffset : (queued.shift() ?? noHolder);
    let skippedCount = 0;
    let skippedFrom = 0;
    const begin = Math.max(kept.skippedFrom, queues.beginOffset(queue));
    for (let offset = begin; kept.skippedCount > 0 && offset < subscription.cursors[queueId]!; offset++) {
      if (orderHash(queues, subscription, queues.entry(queue, offset), offset) !== groupHash) continue;
      if (offset === holderOffset || queued.includes(offset)) continue;
      // Nobody has been handed it: it only came back here because nobody knew.
      if (isThere(offset)) this.#leases.forget(leases.find(subscription.slot, queueId, offset), subscription);
      if (skippedCount++ === 0) skippedFrom = offset;
    }
    if (holderOffset === noHolder && skippedCount === 0) return;
    this.#order.restore(subscription, { queueId, groupHash, holderOffset, skippedCount, skippedFrom, queued });
  }

  #lock(subscription: Subscription, slot: number): void {
    const { locks, leases } = this.#tables;
    const queueId = leases.queueId[slot]!;
    const groupHash = this.#groupHash(subscription, slot);
    let row = locks.find(subscription.slot, queueId, groupHash);
    if (row !== none && locks.holder[row] !== none) {
      this.#leases.queueUp(slot, subscription, row);
      return;
    }
    if (row === none) {
      row = locks.add(subscription.slot, queueId, groupHash);
      subscription.lockCount++;
    } else subscription.turnHeap(locks.owner[row]!).remove(row);
    locks.holder[row] = slot;
    leases.lock[slot] = row;
  }

  /** Oldest message first. */
  #forEachUnlocked(action: (subscription: Subscription, slot: number) => void): void {
    const { subscriptions, leases } = this.#tables;
    const slots: number[] = [];
    for (let slot = 0; slot < leases.end; slot++) {
      const state = leases.state[slot];
      if (state !== LeaseState.InFlight && state !== LeaseState.Ready) continue;
      if (leases.lock[slot] === none) slots.push(slot);
    }
    for (const slot of slots.sort((a, b) => leases.position[a]! - leases.position[b]!)) {
      const subscription = subscriptions.at(leases.subscription[slot]!)!;
      if (this.#groupHash(subscription, slot) !== 0) action(subscription, slot);
    }
  }

  #groupHash({ topic }: Subscription, slot: number): number {
    if (!topic.isOrdered) return 0;
    const { queues, leases } = this.#tables;
    return queues.groupHash(queues.entry(topic.queues[leases.queueId[slot]!]!, leases.offset[slot]!));
  }
}
