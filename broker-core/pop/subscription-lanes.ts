import { baseLane, type WhenEmpty, whenEmptyDefault } from "../../proto/lane/lane-rule.ts";
import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { type SentFilter, sentFilter } from "../filter/message-filter.ts";
import { LaneOutcomes } from "../lane/lane-outcomes.ts";
import type { TopicLaneRules } from "../lane/topic-lane-rules.ts";
import type { GroupLockTable } from "./group-locks.ts";
import { LaneCursor } from "./lane-cursor.ts";
import type { LeaseTable } from "./lease-table.ts";
import { ReadyHeap } from "./ready-heap.ts";
import type { Subscription } from "./subscription.ts";

/** Entries that a count looks at, in one queue; from those it estimates the others. */
const countedMax = 65_536;

/** In an image, instead of the type of a filter. */
const noFilter = 255;

/** A lane of a group in a topic, beside the base lane. */
export class SubscriptionLane extends LaneCursor {
  /** By queue id: messages before are not this lane's, whatever their entry says. */
  readonly starts: number[];
  /** By queue id, when no rule names the lane any more: nothing from there on is this lane's. */
  ends: number[] | undefined = undefined;
  /** Nobody consumes in the lane: base consumers are given its messages too. */
  isSpilled = false;
  /** What its consumers want, the last ones there were; undefined: there were none yet. */
  wanted: SentFilter | undefined = undefined;
  /** As the rule says that is in force. */
  whenEmpty: WhenEmpty = whenEmptyDefault;
  /**
   * When a receive in this lane last began or ended its wait, on the monotonic clock. A hint of the run (lane-keeper.ts).
   */
  seenMs = Number.NEGATIVE_INFINITY;
  /** A receive was taken out of the lane since the last look at it. As above. */
  wasLeft = false;
  /** A sidecar says that a consumer of the lane is there, busy perhaps. As above. */
  isPresent = false;

  constructor(
    lane: string,
    laneNumber: number,
    starts: number[],
    cursors: number[],
    leases: LeaseTable,
    locks: GroupLockTable,
  ) {
    super(lane, laneNumber, cursors, leases, locks);
    this.starts = starts;
  }

  /** No rule names the lane any more. */
  get isClosing(): boolean {
    return this.ends !== undefined;
  }
}

/** The lanes of a group in a topic beside the base lane, and which message is whose. */
export class SubscriptionLanes {
  readonly #subscription: Subscription;
  readonly #rules: TopicLaneRules;
  readonly #leases: LeaseTable;
  readonly #locks: GroupLockTable;
  /** By number; the base lane has 0. */
  readonly #byNumber: (SubscriptionLane | undefined)[] = [undefined];
  readonly #byName = new Map<string, SubscriptionLane>();
  /** Asked for with every ack. */
  #all: readonly SubscriptionLane[] = [];
  /** By number of the outcome: number of the lane + 1; 0: not looked up yet. */
  #owners: Uint16Array = new Uint16Array(64);
  #ownersOf = 0;
  /** Message groups of which none is out, and whose next message may be of any lane. */
  readonly unplaced: ReadyHeap;
  /** Lanes that are spilled. */
  spilledCount = 0;
  /** Lanes that no rule names any more. */
  closingCount = 0;
  /** Which lane base consumers are given something of next. A hint. */
  turn = 0;
  /** What became of hand-outs, by lane of the consumer. Figures of the run. */
  readonly outcomes = new LaneOutcomes();

  constructor(subscription: Subscription, rules: TopicLaneRules, leases: LeaseTable, locks: GroupLockTable) {
    this.#subscription = subscription;
    this.#rules = rules;
    this.#leases = leases;
    this.#locks = locks;
    this.unplaced = new ReadyHeap(locks);
  }

  /** In the order of their numbers; those that there are when it is asked, whatever comes and goes meanwhile. */
  all(): readonly SubscriptionLane[] {
    return this.#all;
  }

  get count(): number {
    return this.#byName.size;
  }

  /** All lanes of the broker are suspended: every consumer is one of base. */
  get areOff(): boolean {
    return this.#rules.lanes.isOff;
  }

  byName(name: string): SubscriptionLane | undefined {
    return this.#byName.get(name);
  }

  /** Number of the lane whose consumers are those of lane `name`: base's, where the group has no such lane (L8). */
  consumerLane(name: string): number {
    return this.#byName.get(name)?.laneNumber ?? 0;
  }

  at(number: number): LaneCursor {
    const lane = number === 0 ? this.#subscription : this.#byNumber[number];
    if (lane === undefined) throw new Error(`${this.#subscription.topic.name}: there is no lane number ${number}`);
    return lane;
  }

  /** A new lane whose messages begin at `starts`; its number is the smallest that is free. */
  add(name: string, starts: number[], cursors = [...starts]): SubscriptionLane {
    let number = 1;
    while (this.#byNumber[number] !== undefined) number++;
    return this.#put(number, name, starts, cursors);
  }

  /** Nothing of the lane may be in hand any more. */
  remove(lane: SubscriptionLane): void {
    this.setSpilled(lane, false);
    this.setEnds(lane, undefined);
    this.#byNumber[lane.laneNumber] = undefined;
    this.#byName.delete(lane.lane);
    this.#listAll();
    this.#forgetOwners();
  }

  setSpilled(lane: SubscriptionLane, isSpilled: boolean): void {
    if (lane.isSpilled !== isSpilled) this.spilledCount += isSpilled ? 1 : -1;
    lane.isSpilled = isSpilled;
  }

  setEnds(lane: SubscriptionLane, ends: number[] | undefined): void {
    if (lane.isClosing !== (ends !== undefined)) this.closingCount += ends === undefined ? -1 : 1;
    lane.ends = ends;
  }

  /** The lane that owns the message of an index entry whose outcome has number `outcome`. */
  owner(outcome: number, queueId: number, offset: number): LaneCursor {
    if (outcome === 0) return this.#subscription;
    if (this.#ownersOf !== this.#rules.changes) this.#forgetOwners();
    const known = outcome < this.#owners.length ? this.#owners[outcome]! : 0;
    const number = (known === 0 ? this.#find(outcome) : known) - 1;
    if (number === 0) return this.#subscription;
    const lane = this.#byNumber[number]!;
    return offset >= (lane.starts[queueId] ?? 0) ? lane : this.#subscription;
  }

  widen(): void {
    const { length } = this.#subscription.topic.queues;
    for (const lane of this.all()) {
      while (lane.cursors.length < length) lane.cursors.push(0);
      while (lane.starts.length < length) lane.starts.push(0);
      while (lane.ends !== undefined && lane.ends.length < length) lane.ends.push(0);
    }
  }

  /** A position was set: nothing is known of what lies behind it. */
  forgetSeen(): void {
    this.#subscription.seenTo = undefined;
    for (const lane of this.all()) lane.seenTo = undefined;
  }

  /** Visible messages of a queue, below an offset, that the lane has not looked at which owns them; `only`: of one lane. */
  countAhead(queues: ConsumeQueueTable, queueId: number, below: number, only?: LaneCursor): number {
    const queue = this.#subscription.topic.queues[queueId]!;
    const end = Math.min(below, queues.visibleEnd(queue));
    let from = this.#subscription.scanFrom(queueId);
    for (const lane of this.all()) from = Math.min(from, lane.scanFrom(queueId));
    if (only !== undefined) from = only.scanFrom(queueId);
    let count = 0;
    let offset = Math.max(from, queues.beginOffset(queue));
    const counted = Math.min(end, offset + countedMax);
    for (; offset < counted; offset++) {
      const owner = this.owner(queues.lane(queues.entry(queue, offset)), queueId, offset);
      if (only === undefined ? offset >= owner.cursors[queueId]! : owner === only) count++;
    }
    if (offset >= end) return count;
    // Behind base's position all are meant, whoever's they are; before it, as many of them as of those that were looked at.
    const whole = only === undefined ? Math.max(0, end - Math.max(offset, this.#subscription.scanFrom(queueId))) : 0;
    return count + whole + Math.round(((end - offset - whole) * count) / countedMax);
  }

  /** For a state image: what of the lanes is no lease. */
  writeTo(into: ImageWriter): void {
    into.u16(this.count);
    for (const lane of this.all()) {
      into.u16(lane.laneNumber);
      into.text(lane.lane);
      const state = (lane.isSpilled ? 1 : 0) | (lane.isClosing ? 2 : 0) | (lane.isWithdrawn ? 8 : 0);
      into.u8(state | (lane.whenEmpty.action === "hold" ? 4 : 0));
      into.f64(lane.whenEmpty.action === "spill" ? lane.whenEmpty.afterMs : 0);
      into.u8(lane.wanted === undefined ? noFilter : lane.wanted.type);
      into.text(lane.wanted?.expression ?? "");
      into.u16(lane.starts.length);
      for (const [queueId, start] of lane.starts.entries()) {
        into.f64(start);
        into.f64(lane.cursors[queueId]!);
        if (lane.ends !== undefined) into.f64(lane.ends[queueId]!);
      }
    }
  }

  static readFrom(
    from: ImageReader,
    subscription: Subscription,
    rules: TopicLaneRules,
    leases: LeaseTable,
    locks: GroupLockTable,
  ): SubscriptionLanes {
    const read = new SubscriptionLanes(subscription, rules, leases, locks);
    for (let left = from.u16(); left > 0; left--) {
      const number = from.u16();
      const name = from.text();
      const flags = from.u8();
      const afterMs = from.f64();
      const filterType = from.u8();
      const expression = from.text();
      const starts: number[] = [];
      const cursors: number[] = [];
      const ends: number[] = [];
      for (let queues = from.u16(); queues > 0; queues--) {
        starts.push(from.f64());
        cursors.push(from.f64());
        if ((flags & 2) !== 0) ends.push(from.f64());
      }
      const lane = read.#put(number, name, starts, cursors);
      lane.whenEmpty = (flags & 4) !== 0 ? { action: "hold" } : { action: "spill", afterMs };
      if (filterType !== noFilter) lane.wanted = sentFilter(filterType, expression);
      read.setSpilled(lane, (flags & 1) !== 0);
      lane.isWithdrawn = (flags & 8) !== 0;
      if ((flags & 2) !== 0) read.setEnds(lane, ends);
    }
    return read;
  }

  #put(number: number, name: string, starts: number[], cursors: number[]): SubscriptionLane {
    const { isOrdered } = this.#subscription.topic;
    const own = isOrdered ? this.#subscription.cursors : cursors;
    const lane = new SubscriptionLane(name, number, starts, own, this.#leases, this.#locks);
    this.#byNumber[number] = lane;
    this.#byName.set(name, lane);
    this.#listAll();
    this.outcomes.begin(number);
    this.#forgetOwners();
    return lane;
  }

  #listAll(): void {
    this.#all = this.#byNumber.filter((lane) => lane !== undefined);
  }

  #find(outcome: number): number {
    const found = this.#rules.outcome(outcome);
    const name = found === undefined ? baseLane : found.set.laneOf(found.key, this.#subscription.group.name);
    const number = this.#byName.get(name)?.laneNumber ?? 0;
    if (outcome >= this.#owners.length) {
      const wider = new Uint16Array(Math.max(outcome + 1, this.#owners.length * 2));
      wider.set(this.#owners);
      this.#owners = wider;
    }
    this.#owners[outcome] = number + 1;
    return number + 1;
  }

  #forgetOwners(): void {
    this.#owners.fill(0);
    this.#ownersOf = this.#rules.changes;
  }
}
