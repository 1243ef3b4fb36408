import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { answered, type Now, type ReceiveCall, type ReceiveSink } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { LogPlaces } from "../commit-log/log-places.ts";
import type { Burier } from "../dead-letter/burier.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { disagreement, FilterAgreement } from "../filter/filter-agreement.ts";
import { MessageFilters } from "../filter/message-filter.ts";
import type { LaneKeeper } from "../lane/lane-keeper.ts";
import { isLiteParent } from "../lite/lite-name.ts";
import { cutText } from "../record/fixed-bytes.ts";
import type { Topic } from "../topic/topic.ts";
import { CursorOpening, type GroupStart } from "./cursor-opening.ts";
import type { LaneCursor } from "./lane-cursor.ts";
import { none } from "./lease-table.ts";
import { firstPlaces, nextPlaces, placesCount } from "./next-places.ts";
import { batchMax } from "./pop-plan.ts";
import { Popper } from "./popper.ts";
import { laneBytesMax, type ReceiptSealer } from "./receipt.ts";
import { invisibleMsMax } from "./settler.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionLane } from "./subscription-lanes.ts";
import { TimerWheel } from "./timer-wheel.ts";
import { type PopRequest, WaiterTable } from "./waiter-table.ts";

/** Receives of topics whose messages lie in their lite topics. */
export interface LiteReceives {
  receive(parent: Topic, groupId: number, request: PopRequest, waitMs: number, now: Now): number;
  cancel(handle: number): boolean;
}

export interface ReceiverOptions {
  /** Messages in flight per (group, topic) where the group's policy says nothing. */
  readonly inFlightMaxDefault: number;
  readonly groupStart: GroupStart;
}

/** Bytes of messages in one answer; a frame holds 16 MiB. */
export const answerBytesMax = 8 * 1024 * 1024;
/** A longer wait is cut: the sidecar's own limit is 20 s. */
const waitMsMax = 120_000;
/** Parked receives of one broker. */
const waitersMax = 100_000;
/** A receive that does not wait looks through so many slices of a filtered backlog before it answers "nothing". */
const slicesWithoutWait = 4;

/** Hands messages out: at once, or to calls that wait, first come first served. */
export class Receiver {
  readonly #tables: BrokerTables;
  readonly #sink: ReceiveSink;
  readonly #filters = new MessageFilters();
  readonly #opening: CursorOpening;
  readonly #popper: Popper;
  readonly #waiters = new WaiterTable();
  #lite: LiteReceives | undefined;
  /** Ends of the waits, by waiter. */
  readonly #waitTimers: TimerWheel;
  /** Subscriptions whose scan ended at its budget with calls waiting. */
  #scanning: { readonly subscription: Subscription; readonly lane: LaneCursor }[] = [];
  #keeper: LaneKeeper | undefined;

  constructor(
    tables: BrokerTables,
    log: LogReader,
    journal: Journal,
    burier: Burier,
    sealer: ReceiptSealer,
    sink: ReceiveSink,
    options: ReceiverOptions,
    wake: (subscription: Subscription) => void,
  ) {
    this.#tables = tables;
    this.#sink = sink;
    this.#opening = new CursorOpening(tables, journal, options.groupStart);
    this.#popper = new Popper(tables, log, journal, burier, sealer, options.inFlightMaxDefault, wake);
    this.#waitTimers = new TimerWheel(tables.clock.startMonotonicMs);
  }

  /** Who serves the receives of LITE topics; told once, before the first receive. */
  set lite(lite: LiteReceives) {
    this.#lite = lite;
  }

  /** Who is told that lanes are consumed in; told once, before the first receive. */
  set keeper(keeper: LaneKeeper) {
    this.#keeper = keeper;
  }

  receive(call: ReceiveCall, ticket: number, now: Now): number {
    const topic = this.#tables.topics.byId(call.topicId);
    if (topic === undefined) {
      return this.#refuse(ticket, Code.TopicNotFound, `topic ${call.topicId} is not open; open it again`);
    }
    const group = this.#tables.groups.byId(call.groupId);
    if (group === undefined) {
      return this.#refuse(ticket, Code.ConsumerGroupNotFound, `group ${call.groupId} is not open; open it again`);
    }
    if (!(call.invisibleMs >= 1 && call.invisibleMs <= invisibleMsMax)) {
      const range = `the invisible duration is 1 to ${invisibleMsMax} ms; this one is ${call.invisibleMs}`;
      return this.#refuse(ticket, Code.IllegalInvisibleTime, range);
    }
    if (Buffer.byteLength(call.lane) > laneBytesMax) {
      return this.#refuse(ticket, Code.BadRequest, `the lane's name exceeds ${laneBytesMax} bytes`);
    }
    const filter = this.#filters.filter(group.namespace, call.filterType, call.filter);
    if ("ok" in filter) return this.#refuse(ticket, filter.code, filter.message);
    const request: PopRequest = {
      ticket,
      batch: Math.min(Math.max(call.batch, 1), batchMax),
      invisibleMs: Math.floor(call.invisibleMs),
      bytesMax: Math.min(call.bytesMax || answerBytesMax, answerBytesMax),
      filter,
      clientId: cutText(call.clientId),
      attemptId: cutText(call.attemptId),
      lane: call.lane,
    };
    try {
      if (isLiteParent(topic.messageTypes)) return this.#lite!.receive(topic, call.groupId, request, call.waitMs, now);
      return this.#serveNewcomer(topic, call, request, now);
    } catch (error) {
      // The log takes no hand-outs: without a record there is no lease (requirement 8).
      if (error instanceof MeshError) return this.#refuse(ticket, error.code, error.message);
      throw error;
    }
  }

  /** Where a receive would look now. */
  places(call: ReceiveCall, into: LogPlaces): void {
    const topic = this.#tables.topics.byId(call.topicId);
    if (topic === undefined) return;
    const subscription = topic.subscriptions.get(call.groupId);
    if (subscription !== undefined) {
      nextPlaces(this.#tables, subscription, subscription.laneFor(call.lane), placesCount(call), into);
    } else if (this.#opening.readsFromBeginning(topic, call.groupId))
      firstPlaces(this.#tables, topic, placesCount(call), into);
  }

  cancel(handle: number): boolean {
    if (handle < answered) return this.#lite!.cancel(handle);
    const slot = this.#waiters.slotOf(handle);
    if (slot === none) return false;
    this.#unpark(slot);
    return true;
  }

  /** Something of this subscription became visible, or may be handed out again: its waiting calls get it. */
  serve(subscription: Subscription, now: Now): void {
    this.#serveLane(subscription, subscription, now);
    if (subscription.lanes === undefined) return;
    for (const lane of subscription.lanes.all()) this.#serveLane(subscription, lane, now);
  }

  #serveLane(subscription: Subscription, lane: LaneCursor, now: Now): void {
    if (lane.waitHead === none) return;
    while (lane.waitHead !== none) {
      const slot = lane.waitHead;
      const request = this.#waiters.request(slot);
      // The oldest call has looked at all that is visible, or at one slice of it: then the next turn goes on.
      if (!this.#popper.tryFill(subscription, lane, request, now)) break;
      this.#unpark(slot, now);
      this.#answer(subscription, request.ticket);
    }
    this.#goOnIfUnfinished(subscription, lane);
  }

  /** As `serve`, for a caller that cannot refuse: a log that takes nothing leaves the calls parked. */
  serveWaiting(subscription: Subscription, now: Now): void {
    if (!subscription.isWaitedFor) return;
    try {
      this.serve(subscription, now);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
    }
  }

  /** Goes on with unfinished scans, then ends the waits whose time has come. */
  advance(now: Now): void {
    const scanning = this.#scanning;
    this.#scanning = [];
    for (const { subscription, lane } of scanning) {
      lane.isScanning = false;
      this.serveWaiting(subscription, now);
    }
    for (
      let slot = this.#waitTimers.takeDue(now.monotonicMs);
      slot >= 0;
      slot = this.#waitTimers.takeDue(now.monotonicMs)
    ) {
      const { ticket, lane } = this.#waiters.request(slot);
      const subscription = this.#waiters.subscription(slot);
      this.#leave(slot, now);
      this.#answerEmpty(ticket, lane, subscription);
    }
  }

  /** Ends the waits of a lane that is about to go, or (`only`) those of base that are for a lane which is there now. */
  release(waitingIn: LaneCursor, now: Now, only?: string): boolean {
    let isAny = false;
    for (let slot = waitingIn.waitHead; slot !== none; ) {
      const next = this.#waiters.next(slot);
      const { ticket, lane } = this.#waiters.request(slot);
      if (only === undefined || only === lane) {
        const subscription = this.#waiters.subscription(slot);
        this.#unpark(slot, now);
        this.#answerEmpty(ticket, lane, subscription);
        isAny = true;
      }
      slot = next;
    }
    return isAny;
  }

  nextTimerMs(): number {
    return this.#scanning.length > 0 ? Number.NEGATIVE_INFINITY : this.#waitTimers.nextMs();
  }

  /** The topic is about to be dropped: its waiting calls are refused. */
  dropTopic(topic: Topic): void {
    for (const subscription of topic.subscriptions.values()) {
      for (const lane of [subscription, ...(subscription.lanes?.all() ?? [])]) this.#refuseWaiting(lane, topic);
    }
    this.#scanning = this.#scanning.filter(({ subscription }) => subscription.topic.id !== topic.id);
  }

  #refuseWaiting(lane: LaneCursor, topic: Topic): void {
    while (lane.waitHead !== none) {
      const slot = lane.waitHead;
      const { ticket } = this.#waiters.request(slot);
      this.#unpark(slot);
      this.#sink.receiveRefused(ticket, Code.TopicNotFound, `topic ${topic.name} was deleted; fetch its route again`);
    }
  }

  inFlightMax(subscription: Subscription): number {
    return this.#popper.inFlightMax(subscription);
  }

  #serveNewcomer(topic: Topic, call: ReceiveCall, request: PopRequest, now: Now): number {
    const subscription = this.open(topic, call.groupId, now);
    const lane = subscription.laneFor(request.lane);
    if (lane !== subscription) this.#keeper?.saw(subscription, lane as SubscriptionLane, now);
    const objection = this.#agree(subscription, lane, request, now);
    if (objection !== undefined) return this.#refuse(request.ticket, Code.IllegalFilterExpression, objection);
    if (lane !== subscription) this.#keeper?.reads(subscription, lane as SubscriptionLane, call, request.filter, now);
    for (let slice = 0; slice < slicesWithoutWait; slice++) {
      if (this.#popper.tryFill(subscription, lane, request, now)) {
        this.#goOnIfUnfinished(subscription, lane);
        this.#answer(subscription, request.ticket);
        return answered;
      }
      if (!this.#popper.isUnfinished || call.waitMs > 0) break;
    }
    if (this.#popper.isAtLimit) {
      const limit = this.inFlightMax(subscription);
      const text = `group ${subscription.group.name} has ${limit} messages of ${topic.name} in flight, its limit`;
      return this.#refuse(request.ticket, Code.TooManyRequests, `${text}: acknowledge some, or raise its inflight max`);
    }
    if (!(call.waitMs > 0)) {
      this.#answerEmpty(request.ticket, request.lane, subscription);
      return answered;
    }
    if (this.#waiters.count >= waitersMax) {
      return this.#refuse(request.ticket, Code.TooManyRequests, `polling full: ${waitersMax} receives wait already`);
    }
    const slot = this.#waiters.add(subscription, lane, request);
    this.#waitTimers.set(slot, now.monotonicMs + Math.min(call.waitMs, waitMsMax));
    this.#goOnIfUnfinished(subscription, lane);
    return this.#waiters.handle(slot);
  }

  /** Answers a call with what the subscription has for it; false: nothing now, and the call is still to be answered. */
  tryAnswer(subscription: Subscription, request: PopRequest, now: Now): boolean {
    if (!this.#popper.tryFill(subscription, subscription, request, now)) return false;
    this.#goOnIfUnfinished(subscription, subscription);
    this.#answer(subscription, request.ticket);
    return true;
  }

  /** The wait of a call is over. */
  answerNothing({ ticket, lane }: PopRequest): void {
    this.#answerEmpty(ticket, lane, undefined);
  }

  /** Makes a group known to a topic that it has not read yet, as a receive does. */
  open(topic: Topic, groupId: number, now: Now): Subscription {
    return topic.subscriptions.get(groupId) ?? this.#opening.open(topic, groupId, now);
  }

  /**
   * Holds the filter of a receive against the one in force for its group and topic. Undefined: it is in force now. Otherwise
   * why not: somebody else who is alive uses another one. All parked receives of a subscription have the filter in force.
   */
  #agree(subscription: Subscription, lane: LaneCursor, request: PopRequest, now: Now): string | undefined {
    const { monotonicMs } = now;
    const { filter, clientId } = request;
    const { agreement } = lane;
    if (agreement === undefined) {
      lane.agreement = new FilterAgreement(filter, clientId, monotonicMs);
      subscription.filterChanged(lane);
      return undefined;
    }
    if (agreement.isInForce(filter)) {
      agreement.saw(clientId, monotonicMs);
      return undefined;
    }
    const waiting = this.#otherWaiting(lane, clientId);
    const keeper = agreement.keeper(clientId, monotonicMs);
    if (waiting !== undefined || keeper !== undefined) {
      return disagreement(
        lane === subscription ? subscription.group.name : `${subscription.group.name}, lane ${lane.lane},`,
        subscription.topic.name,
        agreement.filter,
        filter,
        waiting ?? keeper?.clientId ?? "",
        waiting !== undefined,
        monotonicMs - (keeper?.seenMs ?? monotonicMs),
      );
    }
    // The client has changed its mind: what it still waits for by its old filter must not pass what the new one wants.
    this.release(lane, now);
    agreement.replace(filter, clientId, monotonicMs);
    subscription.filterChanged(lane);
    return undefined;
  }

  /** Another client with a parked receive. */
  #otherWaiting({ waitHead }: LaneCursor, clientId: string): string | undefined {
    for (let slot = waitHead; slot !== none; slot = this.#waiters.next(slot)) {
      const other = this.#waiters.request(slot).clientId;
      if (other !== clientId) return other;
    }
    return undefined;
  }

  /** There may be more for the calls that wait: the next turn looks. */
  #goOnIfUnfinished(subscription: Subscription, lane: LaneCursor): void {
    if (!this.#popper.isUnfinished || lane.waitHead === none || lane.isScanning) return;
    lane.isScanning = true;
    this.#scanning.push({ subscription, lane });
  }

  /** `now`: its lane was consumed in until now. */
  #unpark(slot: number, now?: Now): void {
    this.#waitTimers.cancel(slot);
    this.#leave(slot, now);
  }

  #leave(slot: number, now: Now | undefined): void {
    const lane = this.#waiters.lane(slot);
    this.#waiters.remove(slot);
    if (lane.laneNumber === 0) return;
    if (now === undefined) this.#keeper?.left(lane as SubscriptionLane);
    else this.#keeper?.seen(lane as SubscriptionLane, now);
  }

  /** `subscription`: whose beginning it rests on; none where a client of a LITE topic has told before what it reads. */
  #answerEmpty(ticket: number, lane: string, subscription: Subscription | undefined): void {
    const { handOut } = this.#popper;
    const position = subscription === undefined ? -1 : this.#opening.undurablePosition(subscription);
    handOut.begin(undefined, position, 0, lane);
    handOut.mustBeDurable = position >= 0;
    this.#sink.receiveAnswered(ticket, handOut);
  }

  /** With what the hand-out holds. */
  #answer(subscription: Subscription, ticket: number): void {
    const { handOut } = this.#popper;
    if (this.#opening.undurablePosition(subscription) >= 0) handOut.mustBeDurable = true;
    this.#sink.receiveAnswered(ticket, handOut);
  }

  /** Everything below is on disk. */
  onDurable(durablePosition: number): void {
    this.#opening.onDurable(durablePosition);
  }

  #refuse(ticket: number, code: Code, message: string): number {
    this.#sink.receiveRefused(ticket, code, message);
    return answered;
  }
}
