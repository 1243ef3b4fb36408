import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import type { ImageExtent, ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { RowChunks, rowMask, rowShift } from "../dispatch/row-chunks.ts";
import { clientAliveMs, FilterAgreement } from "../filter/filter-agreement.ts";
import { everything } from "../filter/message-filter.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { ConsumerGroup, GroupTable } from "../topic/consumer-group.ts";
import type { Topic } from "../topic/topic.ts";
import type { SubscriptionSource, TopicTable } from "../topic/topic-table.ts";
import type { GroupLockTable } from "./group-locks.ts";
import { type LeaseTable, none } from "./lease-table.ts";
import { Subscription } from "./subscription.ts";
import { SubscriptionLanes } from "./subscription-lanes.ts";
import { SubscriptionsByGroup } from "./subscriptions-by-group.ts";
import { TextTable } from "./text-table.ts";

const words = 5;
const doubleWords = words;
const halfWords = 2 * words;
// Of a row, in halves: topic id (0: the slot is free), group id, next in the list of the topic, dead letters, queue that the next
// pop begins with, client that agreed last on reading everything (0: none); in doubles: position, time of that client.
const topicIdAt = 0;
const groupIdAt = 1;
const nextAt = 2;
const deadLettersAt = 3;
const nextQueueAt = 4;
const clientAt = 5;
const cursorAt = 3;
const seenAt = 4;

/** Fewer agreements of idle subscriptions than this are not worth a look. */
const sweepMin = 1_024;

/**
 * Subscriptions by slot, and by group and topic: a row of 40 bytes for each, in a list per topic. `Subscription` objects are
 * made for those in use; `TopicTable.putAwayIdle` puts them away again.
 */
export class SubscriptionTable implements SubscriptionSource {
  readonly #topics: TopicTable;
  readonly #groups: GroupTable;
  readonly #leases: LeaseTable;
  readonly #locks: GroupLockTable;
  readonly #queues: Pick<ConsumeQueueTable, "beginOffset">;
  readonly #rows = new RowChunks(words);
  readonly #doubles = this.#rows.doubles;
  readonly #halves = this.#rows.halves;
  #end = 0;
  readonly #free: number[] = [];
  /** Positions in topics of several queues, by slot. Shared with the object. */
  readonly #wide = new Map<number, number[]>();
  /** Those with lanes beside the base lane; they stay in use. */
  readonly laned = new Set<Subscription>();
  /** Rises when rules or groups come or go that lanes depend on. A hint of the run. */
  laneChanges = 0;
  /** In use, by slot. */
  readonly #inUse = new Map<number, Subscription>();
  /** Of idle subscriptions: who agreed on reading everything, where it is one client. */
  readonly #clients = new TextTable();
  /** Of idle subscriptions: the other agreements. */
  readonly #agreements = new Map<number, FilterAgreement>();
  #sweepAt = sweepMin;
  #sweptMs = 0;

  constructor(
    topics: TopicTable,
    groups: GroupTable,
    leases: LeaseTable,
    locks: GroupLockTable,
    queues: Pick<ConsumeQueueTable, "beginOffset">,
  ) {
    this.#queues = queues;
    this.#topics = topics;
    this.#groups = groups;
    this.#leases = leases;
    this.#locks = locks;
    topics.subscriptions = this;
  }

  get count(): number {
    return this.#end - this.#free.length;
  }

  /** Subscriptions for which there is an object. */
  get inUseCount(): number {
    return this.#inUse.size;
  }

  /** Agreements on filters that are kept for idle subscriptions and are objects. */
  get agreementCount(): number {
    return this.#agreements.size;
  }

  /** All positions are 0. */
  add(group: ConsumerGroup, topic: Topic): Subscription {
    const slot = this.#free.pop() ?? this.#end++;
    this.#rows.clear(slot);
    this.#set(slot, topicIdAt, topic.id);
    this.#set(slot, groupIdAt, group.id);
    this.#set(slot, nextAt, nobody);
    // At the end of the list, which is nearly always empty: the order is that in which the groups came.
    const first = this.#topics.firstSubscription(topic.row);
    if (first === none) this.#topics.setFirstSubscription(topic.row, slot);
    else {
      let last = first;
      for (let next = first; next !== none; next = this.#next(next)) last = next;
      this.#set(last, nextAt, slot);
    }
    return this.#take(slot, topic);
  }

  at(slot: number): Subscription | undefined {
    const known = this.#inUse.get(slot);
    if (known !== undefined) return known;
    const topic = slot < this.#end ? this.#topics.byId(this.topicId(slot)) : undefined;
    return topic === undefined ? undefined : this.#take(slot, topic);
  }

  find(topic: Topic, groupId: number): Subscription | undefined {
    for (let slot = this.#topics.firstSubscription(topic.row); slot !== none; slot = this.#next(slot)) {
      if (this.#get(slot, groupIdAt) === groupId) return this.#inUse.get(slot) ?? this.#take(slot, topic);
    }
    return undefined;
  }

  *ofTopic(topic: Topic): Generator<Subscription> {
    for (let slot = this.#topics.firstSubscription(topic.row); slot !== none; ) {
      const next = this.#next(slot);
      yield* this.#lend(slot, topic);
      slot = next;
    }
  }

  /** In the order of topics. One that was idle may be used until the next is asked for. */
  *all(): Generator<Subscription> {
    for (const topic of this.#topics.all()) yield* this.ofTopic(topic);
  }

  /** Of one group, by slot. */
  ofGroup(groupId: number): Subscription[] {
    const found: Subscription[] = [];
    for (let slot = 0; slot < this.#end; slot++) {
      if (this.topicId(slot) !== 0 && this.#get(slot, groupIdAt) === groupId) found.push(this.at(slot)!);
    }
    return found;
  }

  /** Those that somebody waits on or holds messages of are among them. */
  inUse(): Iterable<Subscription> {
    return this.#inUse.values();
  }

  /** Id of the topic that a subscription reads, without making an object of it. */
  topicId(slot: number): number {
    return this.#get(slot, topicIdAt);
  }

  /** The subscription must be idle but for its positions: its topic is gone. */
  remove(subscription: Subscription): void {
    const { slot, topic, group } = subscription;
    topic.subscriptionsInUse?.delete(group.id);
    this.#inUse.delete(slot);
    this.laned.delete(subscription);
    this.#wide.delete(slot);
    let before = none;
    for (let at = this.#topics.firstSubscription(topic.row); at !== slot; at = this.#next(at)) before = at;
    if (before === none) this.#topics.setFirstSubscription(topic.row, this.#next(slot));
    else this.#set(before, nextAt, this.#get(slot, nextAt));
    this.#forgetAgreement(slot);
    this.#set(slot, topicIdAt, 0);
    this.#free.push(slot);
  }

  putAway(topic: Topic): boolean {
    const inUse = topic.subscriptionsInUse;
    if (inUse === undefined) return false;
    for (const subscription of inUse.values()) {
      if (!subscription.isIdle) continue;
      this.#putAway(subscription);
      this.#inUse.delete(subscription.slot);
      inUse.delete(subscription.group.id);
    }
    if (inUse.size > 0) return true;
    topic.subscriptionsInUse = undefined;
    return false;
  }

  /** Forgets agreements of idle subscriptions that nobody alive keeps: when they have doubled, or the last look is long past. */
  sweep(nowMs: number): void {
    const isDue = this.#agreements.size >= this.#sweepAt || nowMs - this.#sweptMs >= clientAliveMs;
    if (!isDue || this.#agreements.size < sweepMin) return;
    this.#sweptMs = nowMs;
    for (const [slot, agreement] of this.#agreements) {
      if (agreement.isOver(nowMs)) this.#agreements.delete(slot);
    }
    this.#sweepAt = Math.max(sweepMin, 2 * this.#agreements.size);
  }

  /** At least so many bytes has the image. */
  get imageBytes(): number {
    return this.#rows.imageBytes(this.#end);
  }

  /** For a state image: what of a subscription is no lease. */
  writeTo(into: ImageWriter): void {
    for (const subscription of this.#inUse.values()) this.#keep(subscription);
    into.u32(this.#end);
    this.#rows.writeTo(into, this.#end);
    into.u32(this.#wide.size);
    for (const [slot, cursors] of this.#wide) {
      into.u32(slot);
      into.u16(cursors.length);
      for (const cursor of cursors) into.f64(cursor);
    }
    into.u32(this.laned.size);
    for (const { slot, lanes } of [...this.laned].sort((a, b) => a.slot - b.slot)) {
      into.u32(slot);
      lanes!.writeTo(into);
    }
  }

  /** Fills an empty table. */
  readFrom(from: ImageReader, extent: ImageExtent): void {
    this.#end = from.u32();
    this.#rows.readFrom(from, this.#end);
    for (let left = from.u32(); left > 0; left--) {
      const slot = from.u32();
      const cursors: number[] = [];
      for (let i = from.u16(); i > 0; i--) cursors.push(from.f64());
      this.#wide.set(slot, cursors);
    }
    for (let slot = this.#end - 1; slot >= 0; slot--) {
      if (this.topicId(slot) === 0) this.#free.push(slot);
      // Clients are of the run that wrote the image.
      this.#set(slot, clientAt, 0);
      if (extent !== "whole") this.#set(slot, deadLettersAt, 0);
    }
    for (let left = from.hasLanes ? from.u32() : 0; left > 0; left--) this.#readLanes(this.at(from.u32()), from);
  }

  #readLanes(subscription: Subscription | undefined, from: ImageReader): void {
    const rules = subscription?.topic.laneRules;
    if (subscription === undefined || rules === undefined) throw new RecordFault("lanes of nobody");
    subscription.lanes = SubscriptionLanes.readFrom(from, subscription, rules, this.#leases, this.#locks);
    this.laned.add(subscription);
  }

  *#lend(slot: number, topic: Topic): Generator<Subscription> {
    const known = this.#inUse.get(slot);
    if (known !== undefined) {
      yield known;
      return;
    }
    const subscription = this.#take(slot, topic);
    try {
      yield subscription;
    } finally {
      if (subscription.isIdle && this.#inUse.get(slot) === subscription) {
        this.#putAway(subscription);
        this.#inUse.delete(slot);
        topic.subscriptionsInUse?.delete(subscription.group.id);
      }
    }
  }

  #take(slot: number, topic: Topic): Subscription {
    const groupId = this.#get(slot, groupIdAt);
    const group = this.#groups.byId(groupId);
    if (group === undefined) throw new Error(`subscription ${slot} is of the unknown group ${groupId}`);
    const cursors = this.#wide.get(slot) ?? [
      this.#doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + cursorAt]!,
    ];
    // The log may begin behind the position by now, or did so in the base image (log-trimmer.ts). A topic that is made again
    // after damage has no queues at first.
    for (let queueId = 0; queueId < Math.min(cursors.length, topic.queues.length); queueId++) {
      const begin = this.#queues.beginOffset(topic.queues[queueId]!);
      if (cursors[queueId]! < begin) cursors[queueId] = begin;
    }
    const subscription = new Subscription(slot, group, topic, cursors, this.#leases, this.#locks);
    subscription.widen();
    subscription.deadLetters = this.#get(slot, deadLettersAt);
    subscription.nextQueue = this.#get(slot, nextQueueAt);
    subscription.agreement = this.#agreementOf(slot);
    this.#forgetAgreement(slot);
    this.#inUse.set(slot, subscription);
    topic.subscriptionsInUse ??= new SubscriptionsByGroup();
    topic.subscriptionsInUse.add(subscription);
    return subscription;
  }

  /** Writes down what the row holds. */
  #keep({ slot, cursors, deadLetters, nextQueue }: Subscription): void {
    this.#set(slot, deadLettersAt, deadLetters);
    this.#set(slot, nextQueueAt, nextQueue);
    if (cursors.length > 1) this.#wide.set(slot, cursors);
    else this.#doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + cursorAt] = cursors[0]!;
  }

  #putAway(subscription: Subscription): void {
    this.#keep(subscription);
    const { slot, agreement } = subscription;
    if (agreement === undefined) return;
    const client = agreement.filter.isAll ? agreement.onlyClient : undefined;
    if (client === undefined) this.#agreements.set(slot, agreement);
    else {
      this.#set(slot, clientAt, this.#clients.acquire(client.clientId) + 1);
      this.#doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + seenAt] = client.seenMs;
    }
  }

  #agreementOf(slot: number): FilterAgreement | undefined {
    const client = this.#get(slot, clientAt);
    if (client === 0) return this.#agreements.get(slot);
    const seenMs = this.#doubles[slot >>> rowShift]![(slot & rowMask) * doubleWords + seenAt]!;
    return new FilterAgreement(everything, this.#clients.text(client - 1), seenMs);
  }

  #forgetAgreement(slot: number): void {
    this.#agreements.delete(slot);
    const client = this.#get(slot, clientAt);
    if (client > 0) this.#clients.release(client - 1);
    this.#set(slot, clientAt, 0);
  }

  #next(slot: number): number {
    const next = this.#get(slot, nextAt);
    return next === nobody ? none : next;
  }

  #get(slot: number, field: number): number {
    return this.#halves[slot >>> rowShift]![(slot & rowMask) * halfWords + field]!;
  }

  #set(slot: number, field: number, value: number): void {
    this.#halves[slot >>> rowShift]![(slot & rowMask) * halfWords + field] = value;
  }
}

/** `none` as the row has it. */
const nobody = 0xffff_ffff;
