import { whenEmptyDefault } from "../../proto/lane/lane-rule.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Now, ReceiveCall } from "../broker-port.ts";
import { RecordType } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal, LaneEventType } from "../dispatch/journal.ts";
import { isSameFilter, type MessageFilter } from "../filter/message-filter.ts";
import { freeRow } from "../pop/group-locks.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import { none } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import type { SubscriptionLane } from "../pop/subscription-lanes.ts";
import type { Topic } from "../topic/topic.ts";

/** Looked at again this soon when the log took nothing. */
const retryMs = 100;
/** While a lane is closing in a topic that keeps order, its message groups are looked through so often: there may be a million. */
export const rowsEveryMs = 20;

/** Receives that wait. */
export interface ParkedReceives {
  /** Ends waits in a lane; `only`: those of consumers of a lane of that name. True: there were some. */
  release(waitingIn: LaneCursor, now: Now, only?: string): boolean;
}

/**
 * Decides when lanes are spilled, resumed and closed (L3, L4), and writes that down. A lane is live while a receive in it waits, or one
 * began or ended less than `afterMs` ago, or, once it is live, while a sidecar says that its consumer is there: by what
 * consumers do, never by what somebody says of them alone (F18). That is a hint of the run: after a start everybody has that
 * time again.
 */
export class LaneKeeper {
  readonly #tables: BrokerTables;
  readonly #journal: Journal;
  readonly #wake: (subscription: Subscription) => void;
  readonly #release: (lane: SubscriptionLane, now: Now) => void;
  #nextMs = Number.POSITIVE_INFINITY;
  #arranged = 0;
  /** Of these, some lane is closing. */
  #closing: Subscription[] = [];
  /** The message groups of a subscription are looked through again at this time. */
  #rowsAtMs = Number.NEGATIVE_INFINITY;
  /** They were to be looked through before that. */
  #areRowsDue = false;

  /** `wake`: somebody may be served now. `release`: ends the waits of a lane that is about to go. */
  constructor(
    tables: BrokerTables,
    journal: Journal,
    wake: (subscription: Subscription) => void,
    release: (lane: SubscriptionLane, now: Now) => void,
  ) {
    this.#tables = tables;
    this.#journal = journal;
    this.#wake = wake;
    this.#release = release;
  }

  /** The broker goes live: whoever consumed before may do so again. */
  begin(now: Now): void {
    for (const { lanes } of this.#tables.subscriptions.laned) {
      for (const lane of lanes?.all() ?? []) lane.seenMs = now.monotonicMs;
    }
    this.#nextMs = Number.NEGATIVE_INFINITY;
  }

  /** Rules of a topic have changed: who waits for a lane that is there now has consumed in it until now, and asks again. */
  ruled(topic: Topic, receives: ParkedReceives, now: Now): void {
    for (const subscription of topic.subscriptions.values()) {
      for (const lane of subscription.lanes?.all() ?? []) {
        if (receives.release(subscription, now, lane.lane)) this.seen(lane, now);
        const isHeld = !lane.isClosing && lane.whenEmpty.action === "hold";
        // Whoever waits in a spilled lane has waited for its being given back.
        const isResumed = !lane.isWithdrawn && (isHeld || lane.waitHead !== none);
        if (isResumed && lane.isSpilled && !subscription.lanes!.areOff)
          this.#event(RecordType.LaneResumed, subscription, lane, now);
      }
      this.#wake(subscription);
    }
  }

  /**
   * All lanes were suspended, or go on: whoever waits asks again, as a consumer of base or of its lane. A lane that its rule holds is its
   * own again at once; the others when somebody consumes in them.
   */
  switched(receives: ParkedReceives, now: Now): void {
    for (const subscription of this.#tables.subscriptions.laned) {
      const { lanes } = subscription;
      for (const lane of lanes?.all() ?? []) {
        if (lanes!.areOff) receives.release(lane, now);
        else {
          if (receives.release(subscription, now, lane.lane)) this.seen(lane, now);
          const isHeld = !lane.isClosing && lane.whenEmpty.action === "hold";
          if (isHeld && lane.isSpilled && !lane.isWithdrawn)
            this.#event(RecordType.LaneResumed, subscription, lane, now);
        }
      }
      this.#wake(subscription);
    }
  }

  /** A receive in a lane begins. Throws `MeshError` when the log does not take that the lane is resumed. */
  saw(subscription: Subscription, lane: SubscriptionLane, now: Now): void {
    this.seen(lane, now);
    if (lane.isSpilled && !lane.isWithdrawn) this.#event(RecordType.LaneResumed, subscription, lane, now);
  }

  /** A receive in a lane has its filter in force. What the lane wants is written down, for those who stand in. Throws as `saw`. */
  reads(
    { topic, group }: Subscription,
    { lane, wanted, isClosing }: SubscriptionLane,
    { filterType, filter: expression }: ReceiveCall,
    filter: MessageFilter,
    now: Now,
  ): void {
    if (isClosing || (wanted !== undefined && isSameFilter(wanted.filter, filter))) return;
    const { wallMs } = now;
    this.#journal.laneFilter({ topicId: topic.id, groupId: group.id, wallMs, lane, filterType, expression });
  }

  /** A receive in a lane was answered, or its wait is over. */
  seen(lane: SubscriptionLane, { monotonicMs }: Now): void {
    lane.seenMs = monotonicMs;
    this.#nextMs = Math.min(this.#nextMs, this.#spillsAt(lane));
  }

  /** A receive in a lane was taken out: its time runs from the next `advance` on. */
  left(lane: SubscriptionLane): void {
    lane.wasLeft = true;
    this.#nextMs = Number.NEGATIVE_INFINITY;
  }

  /** What the sidecar says of its consumers. That they are there keeps a lane live and makes none; that they are gone counts. */
  presence(lane: SubscriptionLane, isThere: boolean, now: Now): void {
    if (isThere && (lane.isPresent || lane.isSpilled)) return;
    lane.isPresent = isThere;
    lane.seenMs = isThere ? now.monotonicMs : Number.NEGATIVE_INFINITY;
    if (!isThere) lane.wasLeft = false;
    this.#nextMs = Number.NEGATIVE_INFINITY;
  }

  advance(now: Now): void {
    this.#rowsAtMs = Number.NEGATIVE_INFINITY;
    this.settle(now);
    if (this.#lookMs() > now.monotonicMs) return;
    this.#arranged = this.#tables.subscriptions.laneChanges;
    this.#closing = [];
    let nextMs = Number.POSITIVE_INFINITY;
    for (const subscription of this.#tables.subscriptions.laned) {
      if (subscription.lanes === undefined) continue;
      if (subscription.lanes.closingCount > 0) this.#closing.push(subscription);
      for (const lane of subscription.lanes.all()) nextMs = Math.min(nextMs, this.#look(subscription, lane, now));
    }
    this.#nextMs = nextMs;
    this.#rowsAtMs = Number.NEGATIVE_INFINITY;
    this.settle(now);
  }

  /** Monotonic time at which `advance` is next needed. */
  nextTimerMs(): number {
    return Math.min(this.#lookMs(), this.#areRowsDue ? this.#rowsAtMs : Number.POSITIVE_INFINITY);
  }

  #lookMs(): number {
    return this.#arranged === this.#tables.subscriptions.laneChanges ? this.#nextMs : Number.NEGATIVE_INFINITY;
  }

  /** Closes lanes of which nothing is left: to be called after whatever may have settled something. */
  settle(now: Now): void {
    if (this.#closing.length === 0) return;
    this.#areRowsDue = false;
    const areRowsLookedAt = now.monotonicMs >= this.#rowsAtMs;
    if (areRowsLookedAt) this.#rowsAtMs = now.monotonicMs + rowsEveryMs;
    this.#closing = this.#closing.filter((subscription) => this.#closeOf(subscription, areRowsLookedAt, now));
  }

  /** True: some lane of the subscription goes on closing. */
  #closeOf(subscription: Subscription, areRowsLookedAt: boolean, now: Now): boolean {
    const { lanes, topic } = subscription;
    // Its topic or group may be gone.
    if (!this.#tables.subscriptions.laned.has(subscription)) return false;
    for (const lane of lanes?.all() ?? []) {
      if (lane.ends === undefined || !this.#isPassed(subscription, lane, lane.ends)) continue;
      if (topic.isOrdered && !areRowsLookedAt) this.#areRowsDue = true;
      else if (!topic.isOrdered || !this.#hasRowsBelow(subscription, lane.ends)) this.#close(subscription, lane, now);
    }
    return lanes !== undefined && lanes.closingCount > 0;
  }

  /** Spills a lane that nobody consumes in; returns when to look again. */
  #look(subscription: Subscription, lane: SubscriptionLane, now: Now): number {
    if (lane.wasLeft) lane.seenMs = now.monotonicMs;
    lane.wasLeft = false;
    if (lane.isSpilled) return Number.POSITIVE_INFINITY;
    if (!lane.isWithdrawn && (lane.isPresent || lane.waitHead !== none)) return Number.POSITIVE_INFINITY;
    const dueMs = lane.isWithdrawn ? Number.NEGATIVE_INFINITY : this.#spillsAt(lane);
    if (dueMs > now.monotonicMs) return dueMs;
    try {
      this.#event(RecordType.LaneSpilled, subscription, lane, now);
      return Number.POSITIVE_INFINITY;
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      return now.monotonicMs + retryMs;
    }
  }

  /** A lane that is closing spills whatever its rule said: nobody has a say in it any more. */
  #spillsAt({ whenEmpty, isClosing, seenMs }: SubscriptionLane): number {
    const policy = isClosing && whenEmpty.action === "hold" ? whenEmptyDefault : whenEmpty;
    return policy.action === "hold" ? Number.POSITIVE_INFINITY : seenMs + Math.max(1, policy.afterMs);
  }

  /** Nothing of the lane is in hand, and its own position and that of the base lane have passed its end. */
  #isPassed(subscription: Subscription, lane: SubscriptionLane, ends: readonly number[]): boolean {
    if (lane.inFlight + lane.ready.count > 0) return false;
    const { queues } = this.#tables;
    for (const [queueId, end] of ends.entries()) {
      const queue = subscription.topic.queues[queueId]!;
      const isPassed = Math.min(lane.cursors[queueId]!, subscription.cursors[queueId]!) >= end;
      // What was not durable when the rule went may still be to come.
      if (!isPassed || queues.visibleEnd(queue) < end) return false;
    }
    return true;
  }

  /** Whether messages wait in message groups that may be of a lane with these ends. */
  #hasRowsBelow(subscription: Subscription, ends: readonly number[]): boolean {
    const { locks } = this.#tables;
    for (let row = 0; row < locks.end; row++) {
      if (locks.subscription[row] === freeRow || locks.subscription[row] !== subscription.slot) continue;
      if (locks.queuedHead[row] !== none) return true;
      if (locks.skippedCount[row]! > 0 && locks.skippedFrom[row]! < ends[locks.queueId[row]!]!) return true;
    }
    return false;
  }

  #close(subscription: Subscription, lane: SubscriptionLane, now: Now): void {
    try {
      this.#release(lane, now);
      this.#event(RecordType.LaneClosed, subscription, lane, now);
    } catch (error) {
      // A log that takes nothing now: it goes on closing.
      if (!(error instanceof MeshError)) throw error;
    }
  }

  #event(type: LaneEventType, subscription: Subscription, { lane }: SubscriptionLane, now: Now): void {
    const { topic, group } = subscription;
    this.#journal.laneEvent(type, { topicId: topic.id, groupId: group.id, wallMs: now.wallMs, lane });
    this.#wake(subscription);
  }
}
