import type { ImageReader, ImageWriter } from "../dispatch/image-bytes.ts";
import { widened } from "../dispatch/widened.ts";
import type { ConsumerGroup, GroupTable } from "../topic/consumer-group.ts";
import type { Topic } from "../topic/topic.ts";
import type { SubscriptionSource, TopicTable } from "../topic/topic-table.ts";
import type { GroupLockTable } from "./group-locks.ts";
import { type LeaseTable, none } from "./lease-table.ts";
import { Subscription } from "./subscription.ts";

/**
 * Subscriptions by slot, and by group and topic: a row of 26 bytes for each, in a list per topic. `Subscription` objects are
 * made for those in use; `TopicTable.putAwayIdle` puts them away again.
 */
export class SubscriptionTable implements SubscriptionSource {
  readonly #topics: TopicTable;
  readonly #groups: GroupTable;
  readonly #leases: LeaseTable;
  readonly #locks: GroupLockTable;
  /** By slot. 0: the slot is free. */
  #topicIds = new Uint32Array(64);
  #groupIds = new Uint32Array(64);
  /** The position where the topic has one queue; else the positions are in `#wide`. */
  #cursors = new Float64Array(64);
  #deadLetters = new Uint32Array(64);
  #nextQueues = new Uint16Array(64);
  /** Next in the list of the topic. */
  #next = new Int32Array(64);
  #end = 0;
  readonly #free: number[] = [];
  /** Positions in topics of several queues, by slot. Shared with the object. */
  readonly #wide = new Map<number, number[]>();
  /** In use, by slot. */
  readonly #inUse = new Map<number, Subscription>();

  constructor(topics: TopicTable, groups: GroupTable, leases: LeaseTable, locks: GroupLockTable) {
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

  /** All positions are 0. */
  add(group: ConsumerGroup, topic: Topic): Subscription {
    const slot = this.#free.pop() ?? this.#end++;
    if (slot >= this.#topicIds.length) this.#grow(slot * 2);
    this.#topicIds[slot] = topic.id;
    this.#groupIds[slot] = group.id;
    this.#cursors[slot] = 0;
    this.#deadLetters[slot] = 0;
    this.#nextQueues[slot] = 0;
    // At the end of the list, which is nearly always empty: the order is that in which the groups came.
    this.#next[slot] = none;
    let last = this.#topics.firstSubscription(topic.row);
    if (last === none) this.#topics.setFirstSubscription(topic.row, slot);
    else {
      while (this.#next[last] !== none) last = this.#next[last]!;
      this.#next[last] = slot;
    }
    return this.#take(slot, topic);
  }

  at(slot: number): Subscription | undefined {
    const known = this.#inUse.get(slot);
    if (known !== undefined) return known;
    const topic = slot < this.#end ? this.#topics.byId(this.#topicIds[slot]!) : undefined;
    return topic === undefined ? undefined : this.#take(slot, topic);
  }

  find(topic: Topic, groupId: number): Subscription | undefined {
    for (let slot = this.#topics.firstSubscription(topic.row); slot !== none; slot = this.#next[slot]!) {
      if (this.#groupIds[slot] === groupId) return this.#inUse.get(slot) ?? this.#take(slot, topic);
    }
    return undefined;
  }

  *ofTopic(topic: Topic): Generator<Subscription> {
    for (let slot = this.#topics.firstSubscription(topic.row); slot !== none; ) {
      const next = this.#next[slot]!;
      yield* this.#lend(slot, topic);
      slot = next;
    }
  }

  /** In the order of topics. One that was idle may be used until the next is asked for. */
  *all(): Generator<Subscription> {
    for (const topic of this.#topics.all()) yield* this.ofTopic(topic);
  }

  /** Id of the topic that a subscription reads, without making an object of it. */
  topicId(slot: number): number {
    return this.#topicIds[slot]!;
  }

  /** The subscription must be idle but for its positions: its topic is gone. */
  remove(subscription: Subscription): void {
    const { slot, topic, group } = subscription;
    topic.subscriptions.inUse?.delete(group.id);
    this.#inUse.delete(slot);
    this.#wide.delete(slot);
    let before = none;
    for (let at = this.#topics.firstSubscription(topic.row); at !== slot; at = this.#next[at]!) before = at;
    if (before === none) this.#topics.setFirstSubscription(topic.row, this.#next[slot]!);
    else this.#next[before] = this.#next[slot]!;
    this.#topicIds[slot] = 0;
    this.#free.push(slot);
  }

  putAway(topic: Topic): boolean {
    const { inUse } = topic.subscriptions;
    if (inUse === undefined) return false;
    for (const subscription of inUse.values()) {
      if (!subscription.isIdle) continue;
      this.#keep(subscription);
      this.#inUse.delete(subscription.slot);
      inUse.delete(subscription.group.id);
    }
    if (inUse.size > 0) return true;
    topic.subscriptions.inUse = undefined;
    return false;
  }

  /** For a state image: what of a subscription is no lease. */
  writeTo(into: ImageWriter): void {
    for (const subscription of this.#inUse.values()) this.#keep(subscription);
    into.u32(this.#end);
    for (const column of this.#columns()) into.column(column.subarray(0, this.#end));
    into.u32(this.#wide.size);
    for (const [slot, cursors] of this.#wide) {
      into.u32(slot);
      into.u16(cursors.length);
      for (const cursor of cursors) into.f64(cursor);
    }
  }

  /** Fills an empty table. */
  readFrom(from: ImageReader): void {
    this.#end = from.u32();
    this.#grow(this.#end);
    for (const column of this.#columns()) from.column(column.subarray(0, this.#end));
    for (let left = from.u32(); left > 0; left--) {
      const slot = from.u32();
      const cursors: number[] = [];
      for (let i = from.u16(); i > 0; i--) cursors.push(from.f64());
      this.#wide.set(slot, cursors);
    }
    for (let slot = this.#end - 1; slot >= 0; slot--) if (this.#topicIds[slot] === 0) this.#free.push(slot);
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
        this.#keep(subscription);
        this.#inUse.delete(slot);
        topic.subscriptions.inUse?.delete(subscription.group.id);
      }
    }
  }

  #take(slot: number, topic: Topic): Subscription {
    const group = this.#groups.byId(this.#groupIds[slot]!);
    if (group === undefined) throw new Error(`subscription ${slot} is of the unknown group ${this.#groupIds[slot]}`);
    const cursors = this.#wide.get(slot) ?? [this.#cursors[slot]!];
    const subscription = new Subscription(slot, group, topic, cursors, this.#leases, this.#locks);
    subscription.widen();
    subscription.deadLetters = this.#deadLetters[slot]!;
    subscription.nextQueue = this.#nextQueues[slot]!;
    this.#inUse.set(slot, subscription);
    topic.subscriptions.inUse ??= new Map();
    topic.subscriptions.inUse.set(group.id, subscription);
    return subscription;
  }

  /** Writes down what the row holds. */
  #keep({ slot, cursors, deadLetters, nextQueue }: Subscription): void {
    this.#deadLetters[slot] = deadLetters;
    this.#nextQueues[slot] = nextQueue;
    if (cursors.length === 1) this.#cursors[slot] = cursors[0]!;
    else this.#wide.set(slot, cursors);
  }

  #columns(): (Uint32Array | Float64Array | Uint16Array | Int32Array)[] {
    return [this.#topicIds, this.#groupIds, this.#cursors, this.#deadLetters, this.#nextQueues, this.#next];
  }

  #grow(count: number): void {
    this.#topicIds = widened(this.#topicIds, count);
    this.#groupIds = widened(this.#groupIds, count);
    this.#cursors = widened(this.#cursors, count);
    this.#deadLetters = widened(this.#deadLetters, count);
    this.#nextQueues = widened(this.#nextQueues, count);
    this.#next = widened(this.#next, count);
  }
}
