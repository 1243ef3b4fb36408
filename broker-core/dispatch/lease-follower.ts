import type { LaneCursor } from "../pop/lane-cursor.ts";
import { leaseEndMs } from "../pop/lease-clock.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { GroupOrder } from "./group-order.ts";

/** What records do to single leases. Part of the dispatcher. */
export class LeaseFollower {
  readonly #tables: BrokerTables;
  readonly #order: GroupOrder;

  constructor(tables: BrokerTables, order: GroupOrder) {
    this.#tables = tables;
    this.#order = order;
  }

  /** The row of a message of a lane that the group is handed for the first time. */
  add(subscription: Subscription, queueId: number, offset: number, owner: LaneCursor): number {
    const { leases, queues } = this.#tables;
    const queue = subscription.topic.queues[queueId];
    if (queue === undefined || offset >= queues.endOffset(queue)) {
      throw new RecordFault(`${subscription.topic.name}, queue ${queueId}: a hand-out of the unknown offset ${offset}`);
    }
    const slot = leases.add(subscription.slot, queueId, offset);
    leases.owner[slot] = owner.laneNumber;
    owner.inFlight++;
    leases.position[slot] = queues.position(queues.entry(queue, offset));
    leases.firstPopMs[slot] = 0;
    leases.holder[slot] = 0;
    leases.lane[slot] = 0;
    return slot;
  }

  /** A message that may not have been settled and that nobody is known to hold: it comes back as if for the first time. */
  bringBack(subscription: Subscription, queueId: number, offset: number): number {
    const { leases } = this.#tables;
    const owner = subscription.ownerOf(this.#tables.queues, queueId, offset);
    const slot = this.add(subscription, queueId, offset, owner);
    owner.inFlight--;
    leases.generation[slot] = 0;
    leases.run[slot] = 0;
    leases.copies[slot] = 0;
    this.#beginAnew(slot);
    leases.state[slot] = LeaseState.Ready;
    owner.ready.push(slot);
    return slot;
  }

  /** Whoever has the message, it waits now until its message group is unlocked: as a redriven one does. */
  queueUp(slot: number, subscription: Subscription, row: number): void {
    const { leases } = this.#tables;
    this.#takeOut(slot, subscription);
    leases.unlinkAttempt(slot);
    this.hold(slot, "", "");
    this.#beginAnew(slot);
    this.#order.enqueue(subscription, row, slot);
  }

  /** A lease begins or gets a new end. */
  grant(
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
      const owner = subscription.laneAt(leases.owner[slot]!);
      owner.ready.remove(slot);
      leases.state[slot] = LeaseState.InFlight;
      owner.inFlight++;
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
  }

  /** Also of leases that are not here: a number is given once. */
  countGeneration(generation: number): void {
    this.#tables.nextGeneration = Math.max(this.#tables.nextGeneration, generation + 1);
  }

  /** Who holds the lease, and in which lane. */
  hold(slot: number, clientId: string, lane: string): void {
    const { leases, holders, lanes } = this.#tables;
    const holder = holders.acquire(clientId);
    holders.release(leases.holder[slot]!);
    leases.holder[slot] = holder;
    const laneNumber = lanes.acquire(lane);
    lanes.release(leases.lane[slot]!);
    leases.lane[slot] = laneNumber;
  }

  /** A dead letter is redriven: it comes back as if for the first time. */
  revive(slot: number, subscription: Subscription): void {
    const { leases } = this.#tables;
    subscription.deadLetters--;
    // The lane that it died in may be gone.
    const owner = subscription.ownerOf(this.#tables.queues, leases.queueId[slot]!, leases.offset[slot]!);
    leases.owner[slot] = owner.laneNumber;
    this.#beginAnew(slot);
    if (!this.#order.redriven(subscription, slot)) return;
    leases.state[slot] = LeaseState.Ready;
    owner.ready.push(slot);
  }

  /** The lease's message is in the dead-letter queue; the row stays, for late acks and a redrive. */
  die(slot: number, subscription: Subscription): void {
    const { leases, holders, lanes } = this.#tables;
    this.#takeOut(slot, subscription);
    this.#order.released(subscription, slot);
    leases.unlinkAttempt(slot);
    leases.state[slot] = LeaseState.Dead;
    holders.release(leases.holder[slot]!);
    lanes.release(leases.lane[slot]!);
    leases.holder[slot] = 0;
    leases.lane[slot] = 0;
    subscription.deadLetters++;
  }

  /** The group is done with the message, or it is gone. */
  forget(slot: number, subscription: Subscription): void {
    const { leases, holders, lanes } = this.#tables;
    this.#takeOut(slot, subscription);
    this.#order.released(subscription, slot);
    holders.release(leases.holder[slot]!);
    lanes.release(leases.lane[slot]!);
    leases.remove(slot);
  }

  /** Row of a message that the group holds; throws `RecordFault` when it does not. `what`: says so. */
  known(subscription: Subscription, queueId: number, offset: number, what: string): number {
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

  /** Its last lease is over, whatever the clocks say, and its attempts begin again. */
  #beginAnew(slot: number): void {
    const { leases } = this.#tables;
    leases.attempt[slot] = 0;
    leases.clearLease(slot);
  }

  /** Out of the heap, off the timer, out of the counts. */
  #takeOut(slot: number, subscription: Subscription): void {
    const { leases, leaseTimers } = this.#tables;
    if (leases.state[slot] === LeaseState.Ready) subscription.laneAt(leases.owner[slot]!).ready.remove(slot);
    else if (leases.state[slot] === LeaseState.InFlight) subscription.laneAt(leases.owner[slot]!).inFlight--;
    leaseTimers.cancel(slot);
  }
}
