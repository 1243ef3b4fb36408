import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import { orderHash } from "../pop/order-hash.ts";
import type { Subscription } from "../pop/subscription.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { Doubts } from "./doubts.ts";
import type { GroupOrder } from "./group-order.ts";
import type { LeaseFollower } from "./lease-follower.ts";

/**
 * Follows hand-outs, acks and all else that concerns single messages of a group while records before them are lost
 * (replay-damage.ts). Two rules decide everything:
 *
 * - what a record says happened: an ack of a message proves that it was handed out, and, in a message group, that all before it
 *   are settled;
 * - what no record says did not happen: a message that may have been handed out and was not seen to be settled comes back.
 *
 * So an ack that is left is never undone, and no message is lost; one whose ack is lost comes once more.
 */
export class LeaseRepair {
  readonly #tables: BrokerTables;
  readonly #order: GroupOrder;
  readonly #leases: LeaseFollower;

  constructor(tables: BrokerTables, order: GroupOrder, leases: LeaseFollower) {
    this.#tables = tables;
    this.#order = order;
    this.#leases = leases;
  }

  /**
   * Row of a message that, by a record, the group holds, or held until then (`isSettled`); `none`: the group is done with it by all that
   * is known, and the record says nothing new. The offset is below the end of its queue.
   */
  held(subscription: Subscription, queueId: number, offset: number, isSettled: boolean): number {
    const { leases } = this.#tables;
    if (this.#isLost(subscription, queueId, offset)) {
      // Who only changes its lease has it out: what was passed by since may wait for it.
      if (isSettled) this.#doubts.at(subscription.slot, queueId)?.lostOut.delete(offset);
      else this.#lostIsOut(subscription, queueId, offset);
      return none;
    }
    let slot = leases.find(subscription.slot, queueId, offset);
    if (slot === none && offset >= this.#positionFor(subscription, queueId, offset)) {
      slot = this.#handOutThrough(subscription, queueId, offset);
    }
    if (slot === none && this.#waits(subscription, queueId, offset))
      slot = this.#handOut(subscription, queueId, offset);
    if (slot === none) return none;
    this.#doubts.at(subscription.slot, queueId)?.redriven.delete(offset);
    if (leases.state[slot] === LeaseState.Dead) this.#leases.revive(slot, subscription);
    this.#takeTurn(subscription, slot);
    return slot;
  }

  /**
   * Row of a message that a record hands out, before the lease is granted. `none`: the message is lost. With `held`, and the row of
   * a message that was never handed out before is added.
   */
  handedOut(subscription: Subscription, owner: LaneCursor, queueId: number, offset: number): number {
    const { leases } = this.#tables;
    if (this.#isLost(subscription, queueId, offset)) {
      this.#lostIsOut(subscription, queueId, offset);
      return none;
    }
    const slot = leases.find(subscription.slot, queueId, offset);
    this.#doubts.at(subscription.slot, queueId)?.redriven.delete(offset);
    if (owner !== subscription.ownerOf(this.#tables.queues, queueId, offset)) {
      this.#doubts.of(subscription.slot, queueId).ofUnknownRule.add(offset);
    }
    if (slot === none) {
      // At the position or above, `cursorMoved` comes to it.
      if (offset >= owner.cursors[queueId]!) return this.#leases.add(subscription, queueId, offset, owner);
      return this.#handOut(subscription, queueId, offset);
    }
    if (leases.state[slot] === LeaseState.Dead) this.#leases.revive(slot, subscription);
    this.#takeTurn(subscription, slot);
    return slot;
  }

  /**
   * The position of a lane (`scanner`) in a queue is about to rise to `end`; what the record hands out has its row. What lies between and was not
   * handed out did not match the filter or waits for its message group, unless hand-outs may be missing (`isMissing`: are).
   */
  cursorMoved(subscription: Subscription, scanner: LaneCursor, queueId: number, end: number, isMissing = false): void {
    const { damage, isPartial } = this.#tables;
    const { isOrdered } = subscription.topic;
    // Who says that hand-outs are missing knows of no more than up to `end`: the doubt about what follows stays.
    const isLostOut = isOrdered && (this.#doubts.at(subscription.slot, queueId)?.lostOut.size ?? 0) > 0;
    const inDoubt =
      isMissing ||
      damage.isInDoubt(subscription.slot, queueId, isOrdered, scanner.laneNumber) ||
      isLostOut ||
      this.#doubts.isRuleLost(subscription.slot);
    if (!inDoubt && scanner === subscription) this.#notePassed(subscription, queueId, end);
    if (!isOrdered || isPartial) {
      if (inDoubt) this.#bringBackBelow(subscription, scanner, queueId, end);
      return;
    }
    const mayPass = subscription.lockCount > 0 || subscription.inFlightOfAll > 0 || subscription.lanes !== undefined;
    if (inDoubt || mayPass) this.#followOrder(subscription, scanner, queueId, end, inDoubt);
  }

  /** A message was handed out again that lies at the group's position or above: the first hand-out is missing. */
  raiseThrough(subscription: Subscription, owner: LaneCursor, queueId: number, offset: number): void {
    if (offset < owner.cursors[queueId]!) return;
    this.#tables.damage.missedHandOut();
    this.cursorMoved(subscription, owner, queueId, offset + 1, true);
    this.#raise(owner, queueId, offset + 1);
  }

  /** `count` messages of a message group, the last of them at `offset`, were settled without a hand-out. */
  passed(subscription: Subscription, queueId: number, offset: number): void {
    if (this.#tables.isPartial || this.#isLost(subscription, queueId, offset)) return;
    const owner = subscription.ownerOf(this.#tables.queues, queueId, offset);
    if (offset >= owner.cursors[queueId]!) this.cursorMoved(subscription, owner, queueId, offset + 1, true);
    this.#raise(owner, queueId, offset + 1);
    this.#settleThrough(subscription, queueId, offset);
  }

  /** The group has this message, and nobody holds it but, unless `isBack`, perhaps a client. */
  comesBack(subscription: Subscription, queueId: number, offset: number, isBack: boolean): void {
    const { leases } = this.#tables;
    if (this.#isLost(subscription, queueId, offset)) return;
    let slot = leases.find(subscription.slot, queueId, offset);
    if (slot !== none && leases.state[slot] === LeaseState.Dead) this.#leases.revive(slot, subscription);
    if (slot !== none && isBack && leases.state[slot] === LeaseState.InFlight) {
      this.#leases.forget(slot, subscription);
      slot = none;
    }
    if (slot !== none) return;
    if (offset >= this.#positionFor(subscription, queueId, offset)) this.#handOutThrough(subscription, queueId, offset);
    else this.#leases.bringBack(subscription, queueId, offset);
  }

  /** A message died in its group. The row is there, whatever is missing. */
  dies(subscription: Subscription, queueId: number, offset: number): number {
    const slot = this.held(subscription, queueId, offset, true);
    if (slot !== none || this.#isLost(subscription, queueId, offset)) return slot;
    return this.#leases.bringBack(subscription, queueId, offset);
  }

  /** A dead letter is redriven; `none`: it is back already, or lost. */
  redriven(subscription: Subscription, queueId: number, offset: number): number {
    const { leases } = this.#tables;
    if (this.#isLost(subscription, queueId, offset)) return none;
    const known = leases.find(subscription.slot, queueId, offset);
    if (known !== none && leases.state[known] !== LeaseState.Dead) return none;
    this.#doubts.of(subscription.slot, queueId).redriven.add(offset);
    if (known !== none) return known;
    if (offset >= this.#positionFor(subscription, queueId, offset)) {
      this.#handOutThrough(subscription, queueId, offset);
      return none;
    }
    const slot = this.#waits(subscription, queueId, offset)
      ? this.#handOut(subscription, queueId, offset)
      : this.#leases.bringBack(subscription, queueId, offset);
    this.#leases.die(slot, subscription);
    return slot;
  }

  /**
   * A record speaks of a lane of a subscription that no rule names: that rule is lost, and what was passed by since may be of that lane.
   * It comes back in the base lane.
   */
  laneMissed(subscription: Subscription): void {
    const { leases } = this.#tables;
    this.#doubts.ruleLost(subscription.slot);
    const passed = [...this.#doubts.queuesOf(subscription.slot)].flatMap(([queueId, doubt]) =>
      doubt.takePassed().map((offset) => ({ queueId, offset })),
    );
    for (const { queueId, offset } of passed) {
      if (leases.find(subscription.slot, queueId, offset) !== none) continue;
      if (this.#isLost(subscription, queueId, offset)) continue;
      const row = this.#rowOf(subscription, queueId, offset);
      const slot = this.#leases.bringBack(subscription, queueId, offset);
      if (row === none && this.#groupHash(subscription, queueId, offset) !== 0) {
        this.#lockFor(subscription, slot, queueId, offset);
      }
    }
  }

  /** What the base lane is about to pass by, for whatever reason. */
  #notePassed(subscription: Subscription, queueId: number, end: number): void {
    const { leases, queues } = this.#tables;
    const doubt = this.#doubts.of(subscription.slot, queueId);
    for (let offset = this.#from(subscription, subscription, queueId); offset < end; offset++) {
      if (leases.find(subscription.slot, queueId, offset) !== none) continue;
      const isBase = subscription.ownerOf(queues, queueId, offset) === subscription;
      // In a message group that is locked it is counted, and waits.
      if (isBase && this.#rowOf(subscription, queueId, offset) === none) doubt.notePassed(offset);
    }
  }

  get #doubts(): Doubts {
    return this.#tables.damage.doubts;
  }

  #lostIsOut(subscription: Subscription, queueId: number, offset: number): void {
    // Also where the topic is not known to be ordered yet: the first message with a message group may be lost.
    this.#doubts.of(subscription.slot, queueId).lostOut.add(offset);
  }

  /** Everything of a message group up to a message is settled: by hand-outs and acks, or by records that are lost. */
  #settleThrough(subscription: Subscription, queueId: number, offset: number): void {
    const { locks, leases } = this.#tables;
    const redriven: number[] = [];
    for (let row = this.#rowOf(subscription, queueId, offset); row !== none; ) {
      const holder = locks.holder[row]!;
      if (holder === none || leases.offset[holder]! > offset) {
        this.#settleSkipped(subscription, row, offset);
        break;
      }
      redriven.push(...this.#settled(subscription, holder));
      row = this.#rowOf(subscription, queueId, offset);
    }
    this.#redrive(subscription, queueId, redriven);
  }

  /** The group went on behind a message that it had: it is done with it. Those that were redriven meanwhile are to come again. */
  #settled(subscription: Subscription, slot: number): number[] {
    const { leases } = this.#tables;
    const offset = leases.offset[slot]!;
    const isRedriven = this.#doubts.at(subscription.slot, leases.queueId[slot]!)?.redriven.has(offset) === true;
    this.#leases.forget(slot, subscription);
    return isRedriven ? [offset] : [];
  }

  /** They get the lock of their message group, or wait for it. */
  #redrive(subscription: Subscription, queueId: number, offsets: readonly number[]): void {
    for (const offset of offsets) {
      const slot = this.#leases.bringBack(subscription, queueId, offset);
      this.#leases.die(slot, subscription);
      this.#leases.revive(slot, subscription);
    }
  }

  /** Of the messages that wait in a message group, those up to `offset` are settled. */
  #settleSkipped(subscription: Subscription, row: number, offset: number): void {
    const { locks } = this.#tables;
    const count = this.#skippedThrough(subscription, row, offset);
    if (count === 0) return;
    const isUnlocked = locks.holder[row] === none;
    if (isUnlocked) subscription.turnHeap(locks.owner[row]!).remove(row);
    locks.settle(row, offset, count);
    subscription.skipped -= count;
    if (isUnlocked) this.#order.nextTurn(subscription, row);
  }

  #skippedThrough(subscription: Subscription, row: number, through: number): number {
    const { queues, locks } = this.#tables;
    const queueId = locks.queueId[row]!;
    const queue = subscription.topic.queues[queueId]!;
    const end = Math.min(through + 1, subscription.cursors[queueId]!);
    let count = 0;
    if (locks.skippedCount[row] === 0) return 0;
    for (let offset = Math.max(locks.skippedFrom[row]!, queues.beginOffset(queue)); offset < end; offset++) {
      if (orderHash(queues, subscription, queues.entry(queue, offset), offset) === locks.groupHash[row]) count++;
    }
    return Math.min(count, locks.skippedCount[row]!);
  }

  /**
   * The first hand-out of a message below the group's position. In a message group it takes its turn: whoever held the lock is
   * settled, and so are those that waited before it.
   */
  #handOut(subscription: Subscription, queueId: number, offset: number): number {
    const owner = subscription.ownerOf(this.#tables.queues, queueId, offset);
    const slot = this.#leases.add(subscription, queueId, offset, owner);
    if (this.#rowHash(subscription, queueId, offset) !== 0) this.#lockFor(subscription, slot, queueId, offset);
    return slot;
  }

  /** A message is out, or back and first in turn: it has the lock of its message group. */
  #lockFor(subscription: Subscription, slot: number, queueId: number, offset: number): void {
    const { locks } = this.#tables;
    const groupHash = this.#rowHash(subscription, queueId, offset);
    const redriven: number[] = [];
    let row = locks.find(subscription.slot, queueId, groupHash);
    while (row !== none && locks.holder[row] !== none && locks.holder[row] !== slot) {
      redriven.push(...this.#settled(subscription, locks.holder[row]!));
      row = locks.find(subscription.slot, queueId, groupHash);
    }
    if (row === none || locks.holder[row] !== slot) this.#lock(subscription, row, slot, queueId, offset, groupHash);
    this.#redrive(subscription, queueId, redriven);
  }

  /** `row` is that of the message group, which nobody holds; `none`: it has none. */
  #lock(
    subscription: Subscription,
    row: number,
    slot: number,
    queueId: number,
    offset: number,
    groupHash: number,
  ): void {
    const { locks, leases } = this.#tables;
    if (row === none) {
      row = locks.add(subscription.slot, queueId, groupHash);
      subscription.lockCount++;
    } else {
      subscription.turnHeap(locks.owner[row]!).remove(row);
      const count = this.#skippedThrough(subscription, row, offset);
      if (count > 0) locks.settle(row, offset, count);
      subscription.skipped -= count;
    }
    locks.holder[row] = slot;
    leases.lock[slot] = row;
  }

  /** The message was handed out by a record that is lost, and so, perhaps, were those between the position and it. */
  #handOutThrough(subscription: Subscription, queueId: number, offset: number): number {
    const slot = this.#leases.bringBack(subscription, queueId, offset);
    this.raiseThrough(subscription, subscription.laneAt(this.#tables.leases.owner[slot]!), queueId, offset);
    return slot;
  }

  /** How far the lane has looked that the message is of. */
  #positionFor(subscription: Subscription, queueId: number, offset: number): number {
    return subscription.ownerOf(this.#tables.queues, queueId, offset).cursors[queueId]!;
  }

  /** Where a lane has looked to. What lay before the queue's beginning went with the beginning of the log, whatever the position says. */
  #from({ topic }: Subscription, { cursors }: LaneCursor, queueId: number): number {
    return Math.max(cursors[queueId]!, this.#tables.queues.beginOffset(topic.queues[queueId]!));
  }

  #raise({ cursors }: LaneCursor, queueId: number, end: number): void {
    cursors[queueId] = Math.max(cursors[queueId]!, end);
  }

  #bringBackBelow(subscription: Subscription, owner: LaneCursor, queueId: number, end: number): void {
    const { leases, queues } = this.#tables;
    const ofUnknownRule = this.#doubts.at(subscription.slot, queueId)?.ofUnknownRule;
    for (let offset = this.#from(subscription, owner, queueId); offset < end; offset++) {
      if (leases.find(subscription.slot, queueId, offset) !== none) continue;
      if (subscription.ownerOf(queues, queueId, offset) !== owner) continue;
      if (ofUnknownRule?.has(offset)) continue;
      // Its hand-out may be lost as well, or came before anybody knew its topic; and what keeps order may not be known to.
      if (this.#isLost(subscription, queueId, offset)) this.#lostIsOut(subscription, queueId, offset);
      else this.#leases.bringBack(subscription, queueId, offset);
    }
  }

  /** As `GroupOrder.cursorMoved`; where hand-outs may be missing, what nobody holds comes back in its turn. */
  #followOrder(
    subscription: Subscription,
    scanner: LaneCursor,
    queueId: number,
    end: number,
    isAllInDoubt: boolean,
  ): void {
    const { locks, leases, queues } = this.#tables;
    const begin = this.#from(subscription, subscription, queueId);
    const ofUnknownRule = this.#doubts.at(subscription.slot, queueId)?.ofUnknownRule;
    // The youngest message that is out, by message group: those before it are settled.
    const outAt = new Map<number, number>();
    for (let offset = begin; offset < end; offset++) {
      if (leases.find(subscription.slot, queueId, offset) === none) continue;
      outAt.set(this.#groupHash(subscription, queueId, offset), offset);
    }
    for (let offset = begin; offset < end; offset++) {
      const groupHash = this.#groupHash(subscription, queueId, offset);
      let slot = leases.find(subscription.slot, queueId, offset);
      // What is of another lane waits for that, and comes back in it.
      const inDoubt = isAllInDoubt || subscription.ownerOf(queues, queueId, offset) !== scanner;
      const looseRow = groupHash === 0 ? this.#rowOf(subscription, queueId, offset) : none;
      if (slot === none && looseRow !== none) {
        // Without a message group, and counted with others that wait for a lane.
        locks.skip(looseRow, offset);
        subscription.skipped++;
        continue;
      }
      if (groupHash === 0) {
        if (!inDoubt || slot !== none || ofUnknownRule?.has(offset)) continue;
        // A lost message whose hand-out may be lost as well: what follows may have been passed by because of it.
        if (this.#isLost(subscription, queueId, offset)) this.#lostIsOut(subscription, queueId, offset);
        else this.#leases.bringBack(subscription, queueId, offset);
        continue;
      }
      const row = locks.find(subscription.slot, queueId, groupHash);
      if (slot !== none) {
        // A log of an early version may hold hand-outs of several messages of one group: the first has the lock.
        const holder = row === none ? none : locks.holder[row]!;
        if (holder === none || leases.offset[holder]! < begin) this.#lockFor(subscription, slot, queueId, offset);
        continue;
      }
      if ((outAt.get(groupHash) ?? -1) > offset) continue;
      if (ofUnknownRule?.has(offset)) continue;
      if (row !== none) {
        locks.skip(row, offset);
        subscription.skipped++;
      } else if (inDoubt) {
        slot = this.#leases.bringBack(subscription, queueId, offset);
        this.#lockFor(subscription, slot, queueId, offset);
      }
    }
  }

  /** A redriven message that waited for its message group has got its turn: who was out is settled. */
  #takeTurn(subscription: Subscription, slot: number): void {
    const { leases, locks } = this.#tables;
    const queueId = leases.queueId[slot]!;
    const redriven: number[] = [];
    while (leases.state[slot] === LeaseState.Queued) {
      const row = this.#rowOf(subscription, queueId, leases.offset[slot]!);
      // Whoever is settled hands the lock on.
      redriven.push(...this.#settled(subscription, locks.holder[row]!));
    }
    this.#redrive(subscription, queueId, redriven);
  }

  /**
   * Whether the message was passed by because an earlier one of its message group was out, and is not settled. While the order is not
   * known every message of a group may have been: a record that says it was out is the only word of it.
   */
  #waits(subscription: Subscription, queueId: number, offset: number): boolean {
    const { topic } = subscription;
    if (!topic.isOrdered) return false;
    const { locks, queues, isPartial } = this.#tables;
    if (isPartial) {
      const isOfGroup = queues.groupHash(queues.entry(topic.queues[queueId]!, offset)) !== 0;
      return isOfGroup && !this.#order.isPastWhilePartial(subscription, queueId, offset);
    }
    const row = this.#rowOf(subscription, queueId, offset);
    return row !== none && locks.skippedCount[row]! > 0 && offset >= locks.skippedFrom[row]!;
  }

  #isLost({ topic }: Subscription, queueId: number, offset: number): boolean {
    const { queues } = this.#tables;
    return (queues.flags(queues.entry(topic.queues[queueId]!, offset)) & EntryFlag.Lost) !== 0;
  }

  /** Of the row in which a message waits, or by which it is locked; 0: there is none that counts. */
  #rowHash(subscription: Subscription, queueId: number, offset: number): number {
    const { topic } = subscription;
    if (!topic.isOrdered || this.#tables.isPartial) return 0;
    const { queues } = this.#tables;
    return orderHash(queues, subscription, queues.entry(topic.queues[queueId]!, offset), offset);
  }

  /** Of its message group; 0: it has none that counts. */
  #groupHash({ topic }: Subscription, queueId: number, offset: number): number {
    if (!topic.isOrdered || this.#tables.isPartial) return 0;
    const { queues } = this.#tables;
    return queues.groupHash(queues.entry(topic.queues[queueId]!, offset));
  }

  #rowOf(subscription: Subscription, queueId: number, offset: number): number {
    const groupHash = this.#rowHash(subscription, queueId, offset);
    return groupHash === 0 ? none : this.#tables.locks.find(subscription.slot, queueId, groupHash);
  }
}
