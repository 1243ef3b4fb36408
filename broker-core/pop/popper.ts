import type { Now } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { Burier } from "../dead-letter/burier.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { DeadLetterReason } from "../record/dead-letter-record.ts";
import { attemptKey } from "./attempt-key.ts";
import { LeasedHandOut } from "./hand-out.ts";
import type { LaneCursor } from "./lane-cursor.ts";
import { LeaseState, none } from "./lease-table.ts";
import { planPop } from "./plan-pop.ts";
import { PopPlan, type PopView } from "./pop-plan.ts";
import type { ReceiptSealer } from "./receipt.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionLanes } from "./subscription-lanes.ts";
import type { PopRequest } from "./waiter-table.ts";

/**
 * Fills a hand-out for one call: with what the same attempt was already given, or by a pop that is decided, written down and
 * applied. Knows nothing of calls that wait.
 */
export class Popper {
  /** What the last `tryFill` found; read before the next one. */
  readonly handOut: LeasedHandOut;
  readonly #tables: BrokerTables;
  readonly #journal: Journal;
  readonly #burier: Burier;
  readonly #inFlightMaxDefault: number;
  readonly #wake: (subscription: Subscription) => void;
  readonly #view: PopView;
  readonly #plan = new PopPlan();

  /** `wake` is told of a subscription in which somebody of another lane may have a turn now. */
  constructor(
    tables: BrokerTables,
    log: LogReader,
    journal: Journal,
    burier: Burier,
    sealer: ReceiptSealer,
    inFlightMaxDefault: number,
    wake: (subscription: Subscription) => void,
  ) {
    this.#tables = tables;
    this.#journal = journal;
    this.#burier = burier;
    this.#inFlightMaxDefault = inFlightMaxDefault;
    this.#wake = wake;
    this.#view = { queues: tables.queues, leases: tables.leases, locks: tables.locks, log };
    this.handOut = new LeasedHandOut(tables, log, sealer);
  }

  /** The last `tryFill` has not looked at all there is: another one may find more. */
  get isUnfinished(): boolean {
    return this.#plan.isUnfinished;
  }

  /** The last `tryFill` found nothing because the group has as much in flight as it may. */
  get isAtLimit(): boolean {
    return this.#plan.isAtLimit;
  }

  inFlightMax(subscription: Subscription): number {
    return subscription.group.policy.inflightMax || this.#inFlightMaxDefault;
  }

  /** Fills `handOut` for a call that consumes in `lane`. False: there is nothing for it now. Throws `MeshError`: the log takes nothing. */
  tryFill(subscription: Subscription, lane: LaneCursor, request: PopRequest, now: Now): boolean {
    if (this.#repeat(subscription, request, now)) return true;
    const { lanes } = subscription;
    if (lanes === undefined || lane !== subscription || lanes.spilledCount === 0) {
      return this.#pop(subscription, lane, false, request, now);
    }
    return this.#popInTurn(subscription, lanes, request, now);
  }

  /** Base consumers take turns between what is theirs and the lanes that are spilled (L4). */
  #popInTurn(subscription: Subscription, lanes: SubscriptionLanes, request: PopRequest, now: Now): boolean {
    const open: LaneCursor[] = [subscription];
    for (const lane of lanes.all()) if (lane.isSpilled) open.push(lane);
    let isUnfinished = false;
    let isAtLimit = true;
    for (let tried = 0; tried < open.length; tried++) {
      const lane = open[(lanes.turn + tried) % open.length]!;
      const isFound = this.#pop(subscription, lane, lane !== subscription, request, now);
      // Where order is kept, base's scan finds what is next for the others: they are looked at again.
      isUnfinished ||= this.#plan.isUnfinished || (this.#plan.hasPlaced && tried > 0);
      isAtLimit &&= this.#plan.isAtLimit;
      if (!isFound) continue;
      lanes.turn = (lanes.turn + tried + 1) % open.length;
      this.#plan.isUnfinished = isUnfinished;
      return true;
    }
    this.#plan.isUnfinished = isUnfinished;
    this.#plan.isAtLimit = isAtLimit;
    return false;
  }

  /**
   * The same attempt gets the same batch and leases while they last, without a record and without a count (requirement 7).
   * An empty answer left no lease, so it does not use the right up.
   */
  #repeat(subscription: Subscription, request: PopRequest, now: Now): boolean {
    const { leases, holders } = this.#tables;
    const key = attemptKey(subscription.group.id, subscription.topic.id, request.clientId, request.attemptId);
    if (key === 0) return false;
    const { handOut } = this;
    handOut.begin(subscription, this.#journal.lastPosition, 0, request.lane);
    for (let slot = leases.firstOfAttempt(key); slot !== none && !handOut.isFull; slot = leases.nextOfAttempt(slot)) {
      if (leases.state[slot] !== LeaseState.InFlight || leases.endMs[slot]! <= now.monotonicMs) continue;
      if (leases.subscription[slot] !== subscription.slot) continue;
      if (holders.text(leases.holder[slot]!) !== request.clientId) continue;
      handOut.add(slot);
      if (leases.copies[slot]! < 255) leases.copies[slot]!++;
      handOut.invisibleMs = leases.invisibleMs[slot]!;
    }
    if (handOut.count === 0) return false;
    this.#plan.clear();
    handOut.sort();
    return true;
  }

  /** `isStandIn`: for a consumer of the base lane, of a lane that is spilled. */
  #pop(subscription: Subscription, lane: LaneCursor, isStandIn: boolean, request: PopRequest, now: Now): boolean {
    const plan = this.#plan;
    this.#planPop(subscription, lane, isStandIn, request);
    while (plan.exhausted.length > 0) {
      for (const slot of plan.exhausted) {
        this.#burier.bury(subscription, slot, DeadLetterReason.AttemptsExhausted, now);
      }
      this.#planPop(subscription, lane, isStandIn, request);
    }
    // Somebody of another lane may have a turn now.
    if (plan.hasPlaced) this.#wake(subscription);
    if (plan.count + plan.cursorCount + plan.passCount + plan.keptCount === 0) return false;
    const position = this.#journal.pop(subscription, lane, request, plan, now);
    // What was passed may have unlocked a message group.
    if (plan.passCount > 0) plan.isUnfinished = true;
    lane.nextQueue = (lane.nextQueue + 1) % subscription.topic.queues.length;
    if (plan.count === 0) return false;
    this.handOut.begin(subscription, position, request.invisibleMs, request.lane);
    for (let i = 0; i < plan.count; i++) {
      this.handOut.add(this.#tables.leases.find(subscription.slot, plan.queueIds[i]!, plan.offsets[i]!));
    }
    return true;
  }

  #planPop(
    subscription: Subscription,
    lane: LaneCursor,
    isStandIn: boolean,
    { filter, batch, bytesMax }: PopRequest,
  ): void {
    const inFlightMax = this.inFlightMax(subscription);
    planPop(this.#view, subscription, lane, isStandIn, filter, batch, bytesMax, inFlightMax, this.#plan);
    // However many there are, they do not stand before those that match.
    for (const slot of this.#plan.mismatched) lane.ready.setAside(slot);
    for (const row of this.#plan.unwanted) lane.unlocked.setAside(row);
  }
}
