import { freeRow } from "../pop/group-locks.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import { orderHash } from "../pop/order-hash.ts";
import { type Subscription, unplaced } from "../pop/subscription.ts";
import { type KeptRow, noHolder } from "../record/order-kept-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { BrokerTables } from "./broker-tables.ts";

const everyQueue = -1;

/**
 * Keeps the locks of message groups as the records say (B7): a hand-out locks, an ack or a dead letter unlocks, and nothing
 * else does: not the end of a lease, not a nack. Part of the dispatcher, for topics that keep order.
 *
 * Between a base image and the LogTrimmed record that goes with it nothing of this is known, and nothing done: that record
 * brings it (log-trimmer.ts).
 *
 * What a hand-out record says is told in the order in which `planPop` decided it: deliveries of what came back or had been
 * passed by, passes, cursors.
 */
export class GroupOrder {
  readonly #tables: BrokerTables;

  constructor(tables: BrokerTables) {
    this.#tables = tables;
  }

  /**
   * While the order is not known: a message is out, or was, so those before it in its message group are settled. Needed when the
   * record that is to bring the order turns out to be lost (order-repair.ts).
   */
  outWhilePartial(subscription: Subscription, queueId: number, offset: number): void {
    const { queues, damage } = this.#tables;
    const groupHash = queues.groupHash(queues.entry(subscription.topic.queues[queueId]!, offset));
    if (groupHash !== 0) damage.doubts.outWhilePartial(subscription.slot, queueId, groupHash, offset);
  }

  /** Whether a message without a lease is settled by what was handed out while the order was not known. */
  isPastWhilePartial(subscription: Subscription, queueId: number, offset: number): boolean {
    const { queues, damage } = this.#tables;
    const groupHash = queues.groupHash(queues.entry(subscription.topic.queues[queueId]!, offset));
    return offset <= damage.doubts.outTo(subscription.slot, queueId, groupHash);
  }

  /** The order is known now. */
  endPartial(): void {
    this.#tables.isPartial = false;
    this.#tables.damage.doubts.endPartial();
  }

  /**
   * A message was handed out for the first time. Below the cursor it is one that had been passed by, and takes its turn; at the
   * cursor or above, `cursorMoved` comes to it.
   */
  handedOut(subscription: Subscription, slot: number, queueId: number, offset: number): void {
    if (offset >= subscription.cursors[queueId]! || this.#tables.isPartial) return;
    const { locks, leases } = this.#tables;
    const row = this.rowOf(subscription, queueId, offset);
    if (row === none || locks.holder[row] !== none || locks.skippedCount[row] === 0) {
      throw new RecordFault(
        `${subscription.topic.name}, queue ${queueId}: a hand-out of offset ${offset} to group ${subscription.group.name}, ` +
          "which has looked further, and whose message group has nothing waiting",
      );
    }
    subscription.turnHeap(locks.owner[row]!).remove(row);
    locks.settle(row, offset, 1);
    subscription.skipped--;
    locks.holder[row] = slot;
    leases.lock[slot] = row;
  }

  /**
   * The group has looked at a queue's messages from its cursor up to `end`, for consumers of the lane `scanner`. Those handed out
   * have a lease by now and lock their message group; those of a locked group were passed by; those of another lane are next in
   * their message group, and wait for a consumer of that lane; the others did not match the filter.
   */
  cursorMoved(subscription: Subscription, scanner: LaneCursor, queueId: number, end: number): void {
    if (this.#tables.isPartial) return;
    const { queues, locks, leases } = this.#tables;
    const queue = subscription.topic.queues[queueId]!;
    const { lanes } = subscription;
    for (let offset = subscription.cursors[queueId]!; offset < end; offset++) {
      const entry = queues.entry(queue, offset);
      const outcome = queues.lane(entry);
      const groupHash = orderHash(queues, subscription, entry, offset);
      if (groupHash === 0) continue;
      const slot = leases.find(subscription.slot, queueId, offset);
      let row = locks.find(subscription.slot, queueId, groupHash);
      if (slot === none) {
        const owner = lanes === undefined ? scanner : lanes.owner(outcome, queueId, offset);
        if (row !== none) locks.skip(row, offset);
        else if (owner === scanner) continue;
        else this.#waitFor(subscription, owner, queueId, groupHash, offset);
        subscription.skipped++;
        continue;
      }
      // Without a message group it is free: only where it waits for another lane it is counted with others.
      if (lanes !== undefined && queues.groupHash(queues.entry(queue, offset)) === 0) continue;
      // A log of an early version may hold hand-outs of several messages of one group: the first has the lock.
      if (row !== none) continue;
      row = locks.add(subscription.slot, queueId, groupHash);
      subscription.lockCount++;
      locks.holder[row] = slot;
      leases.lock[slot] = row;
    }
  }

  /** A message of a lane that nobody of is looking now: it is the next of its message group. */
  #waitFor(subscription: Subscription, owner: LaneCursor, queueId: number, groupHash: number, offset: number): void {
    const { queues, locks } = this.#tables;
    const row = locks.add(subscription.slot, queueId, groupHash);
    subscription.lockCount++;
    locks.skip(row, offset);
    locks.owner[row] = owner.laneNumber;
    locks.position[row] = queues.position(queues.entry(subscription.topic.queues[queueId]!, offset));
    owner.unlocked.push(row);
  }

  /** `count` messages that had been passed by, the last of them at `offset`, do not match the filter. */
  passed(subscription: Subscription, queueId: number, offset: number, count: number): void {
    if (this.#tables.isPartial) return;
    const { locks } = this.#tables;
    const row = this.rowOf(subscription, queueId, offset);
    if (row === none || locks.skippedCount[row]! < count) {
      throw new RecordFault(
        `${subscription.topic.name}, queue ${queueId}: group ${subscription.group.name} passes ${count} messages up to ` +
          `offset ${offset}, and has not so many waiting in that message group`,
      );
    }
    locks.settle(row, offset, count);
    subscription.skipped -= count;
    if (locks.holder[row] !== none) return;
    subscription.turnHeap(locks.owner[row]!).remove(row);
    this.nextTurn(subscription, row);
  }

  /** The group is done with a message: the next of its message group may go out, redriven ones first. */
  released(subscription: Subscription, slot: number): void {
    const { locks, leases } = this.#tables;
    const row = leases.lock[slot]!;
    if (row === none) return;
    leases.lock[slot] = none;
    locks.holder[row] = none;
    const next = locks.queuedHead[row]!;
    if (next === none) {
      this.nextTurn(subscription, row);
      return;
    }
    locks.queuedHead[row] = leases.nextQueued[next]!;
    if (locks.queuedHead[row] === none) locks.queuedTail[row] = none;
    leases.nextQueued[next] = none;
    subscription.queued--;
    locks.holder[row] = next;
    leases.lock[next] = row;
    leases.state[next] = LeaseState.Ready;
    subscription.laneAt(leases.owner[next]!).ready.push(next);
  }

  /**
   * A dead letter goes back to its group. Its message group has gone on without it, so it has no turn to keep, but it goes out
   * alone like any other. False: another message of its group is out, and it waits for that.
   */
  redriven(subscription: Subscription, slot: number): boolean {
    if (!subscription.topic.isOrdered || this.#tables.isPartial) return true;
    const { queues, locks, leases } = this.#tables;
    const queueId = leases.queueId[slot]!;
    const entry = queues.entry(subscription.topic.queues[queueId]!, leases.offset[slot]!);
    const groupHash = queues.groupHash(entry);
    if (groupHash === 0) return true;
    let row = locks.find(subscription.slot, queueId, groupHash);
    if (row !== none && locks.holder[row] !== none) {
      this.enqueue(subscription, row, slot);
      return false;
    }
    if (row === none) {
      row = locks.add(subscription.slot, queueId, groupHash);
      subscription.lockCount++;
    } else subscription.turnHeap(locks.owner[row]!).remove(row);
    locks.holder[row] = slot;
    leases.lock[slot] = row;
    return true;
  }

  /** Oldest message first; they mostly come in that order, because they died in it. */
  enqueue(subscription: Subscription, row: number, slot: number): void {
    const { locks, leases } = this.#tables;
    const tail = locks.queuedTail[row]!;
    let before = none;
    if (tail !== none && leases.offset[tail]! < leases.offset[slot]!) before = tail;
    else {
      for (
        let at = locks.queuedHead[row]!;
        at !== none && leases.offset[at]! < leases.offset[slot]!;
        at = leases.nextQueued[at]!
      ) {
        before = at;
      }
    }
    const next = before === none ? locks.queuedHead[row]! : leases.nextQueued[before]!;
    leases.nextQueued[slot] = next;
    if (before === none) locks.queuedHead[row] = slot;
    else leases.nextQueued[before] = slot;
    if (next === none) locks.queuedTail[row] = slot;
    leases.state[slot] = LeaseState.Queued;
    subscription.queued++;
  }

  /**
   * All that the subscription has in hand in a queue, or in all of them, is about to be forgotten: its position there is set
   * anew, or the topic is gone. What waited is forgotten too, or lies behind the new position; so is what lost records left open.
   */
  dropped(subscription: Subscription, queueId = everyQueue): void {
    const { locks, leases, damage } = this.#tables;
    damage.doubts.forget(subscription.slot, queueId === everyQueue ? undefined : queueId);
    for (let row = 0; row < locks.end && subscription.lockCount > 0; row++) {
      if (locks.subscription[row] !== subscription.slot) continue;
      if (queueId !== everyQueue && locks.queueId[row] !== queueId) continue;
      const holder = locks.holder[row]!;
      if (holder !== none) leases.lock[holder] = none;
      else subscription.turnHeap(locks.owner[row]!).remove(row);
      for (let slot = locks.queuedHead[row]!; slot !== none; ) {
        const next = leases.nextQueued[slot]!;
        leases.nextQueued[slot] = none;
        subscription.queued--;
        slot = next;
      }
      subscription.skipped -= locks.skippedCount[row]!;
      locks.remove(row);
      subscription.lockCount--;
    }
  }

  /** Puts a row back as it was written down; the leases it names are there, and no row of its message group is. */
  restore(subscription: Subscription, kept: KeptRow): void {
    const { queues, locks, leases } = this.#tables;
    const { queueId } = kept;
    const row = locks.add(subscription.slot, queueId, kept.groupHash);
    subscription.lockCount++;
    subscription.skipped += kept.skippedCount;
    locks.skippedCount[row] = kept.skippedCount;
    locks.skippedFrom[row] = kept.skippedFrom;
    locks.searchedTo[row] = kept.skippedFrom;
    for (const offset of kept.queued) {
      const slot = leases.find(subscription.slot, queueId, offset);
      if (slot === none) throw new RecordFault("a message waits for its message group that was not handed out before");
      if (leases.heapAt[slot] !== none) subscription.laneAt(leases.owner[slot]!).ready.remove(slot);
      this.enqueue(subscription, row, slot);
    }
    if (kept.holderOffset !== noHolder) {
      const holder = leases.find(subscription.slot, queueId, kept.holderOffset);
      if (holder === none) throw new RecordFault("a lock of a message group that nobody holds");
      locks.holder[row] = holder;
      leases.lock[holder] = row;
      return;
    }
    const queue = subscription.topic.queues[queueId];
    if (queue === undefined || kept.skippedFrom >= queues.endOffset(queue)) {
      throw new RecordFault("a message group waits behind no message");
    }
    locks.position[row] = queues.position(queues.entry(queue, kept.skippedFrom));
    this.#takesTurn(subscription, row);
  }

  /** Forgets all rows, or those of one subscription; redriven messages that waited are ready, like others that came back. */
  clear(only?: Subscription): void {
    const { subscriptions, locks, leases } = this.#tables;
    for (let row = 0; row < locks.end; row++) {
      if (locks.subscription[row] === freeRow) continue;
      if (only !== undefined && locks.subscription[row] !== only.slot) continue;
      const subscription = subscriptions.at(locks.subscription[row]!)!;
      const holder = locks.holder[row]!;
      if (holder !== none) leases.lock[holder] = none;
      else subscription.turnHeap(locks.owner[row]!).remove(row);
      for (let slot = locks.queuedHead[row]!; slot !== none; ) {
        const next = leases.nextQueued[slot]!;
        leases.nextQueued[slot] = none;
        leases.state[slot] = LeaseState.Ready;
        subscription.laneAt(leases.owner[slot]!).ready.push(slot);
        subscription.queued--;
        slot = next;
      }
      subscription.skipped -= locks.skippedCount[row]!;
      subscription.lockCount--;
      locks.remove(row);
    }
  }

  /** Nobody holds the lock, and the row is in no heap: who waited behind it is next, or the row goes. */
  nextTurn(subscription: Subscription, row: number): void {
    const { queues, locks } = this.#tables;
    if (locks.skippedCount[row] === 0) {
      locks.remove(row);
      subscription.lockCount--;
      return;
    }
    const queue = subscription.topic.queues[locks.queueId[row]!]!;
    locks.position[row] = queues.position(queues.entry(queue, locks.skippedFrom[row]!));
    this.#takesTurn(subscription, row);
  }

  /** Which lane the next message is of is looked up when somebody receives: that may be a long look. */
  #takesTurn(subscription: Subscription, row: number): void {
    const owner = subscription.lanes === undefined ? 0 : unplaced;
    this.#tables.locks.owner[row] = owner;
    subscription.turnHeap(owner).push(row);
  }

  rowOf(subscription: Subscription, queueId: number, offset: number): number {
    const { queues, locks } = this.#tables;
    const queue = subscription.topic.queues[queueId]!;
    return locks.find(subscription.slot, queueId, orderHash(queues, subscription, queues.entry(queue, offset), offset));
  }
}
