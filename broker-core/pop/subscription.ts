import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import type { FilterAgreement } from "../filter/filter-agreement.ts";
import type { ConsumerGroup } from "../topic/consumer-group.ts";
import type { Topic } from "../topic/topic.ts";
import { type LeaseTable, none } from "./lease-table.ts";
import { ReadyHeap } from "./ready-heap.ts";

/** A group that reads a topic: its position in each queue, and what it has in hand. */
export class Subscription {
  /** Number in the table; used again after the topic is dropped. */
  readonly slot: number;
  readonly group: ConsumerGroup;
  readonly topic: Topic;
  /** Next offset never looked at, by queue id. */
  cursors: Float64Array;
  readonly ready: ReadyHeap;
  inFlight = 0;
  deadLetters = 0;

  // Hints of this run, not part of the derived state.
  /** Where the next pop begins, so that no queue starves. */
  nextQueue = 0;
  /** Parked receives, first come first served. */
  waitHead = none;
  waitTail = none;
  waitCount = 0;
  /** The filter in force and who uses it; undefined until somebody receives. */
  agreement: FilterAgreement | undefined = undefined;
  /** A scan ended at its budget: it goes on at the next `advance`. */
  isScanning = false;

  constructor(slot: number, group: ConsumerGroup, topic: Topic, leases: LeaseTable) {
    this.slot = slot;
    this.group = group;
    this.topic = topic;
    this.cursors = new Float64Array(topic.queues.length);
    this.ready = new ReadyHeap(leases);
  }

  /** The topic got more queues; the group reads them from their beginning. */
  widen(): void {
    if (this.cursors.length === this.topic.queues.length) return;
    const wider = new Float64Array(this.topic.queues.length);
    wider.set(this.cursors);
    this.cursors = wider;
  }

  /** Messages that could be handed out now. */
  readyCount(queues: ConsumeQueueTable): number {
    let count = this.ready.count;
    for (let i = 0; i < this.cursors.length; i++) {
      count += Math.max(0, queues.visibleEnd(this.topic.queues[i]!) - this.cursors[i]!);
    }
    return count;
  }
}

/** Subscriptions by slot. */
export class SubscriptionTable {
  readonly #slots: (Subscription | undefined)[] = [];
  readonly #free: number[] = [];

  add(group: ConsumerGroup, topic: Topic, leases: LeaseTable): Subscription {
    const slot = this.#free.pop() ?? this.#slots.length;
    const subscription = new Subscription(slot, group, topic, leases);
    this.#slots[slot] = subscription;
    topic.subscriptions.set(group.id, subscription);
    return subscription;
  }

  at(slot: number): Subscription | undefined {
    return this.#slots[slot];
  }

  remove(subscription: Subscription): void {
    this.#slots[subscription.slot] = undefined;
    this.#free.push(subscription.slot);
    subscription.topic.subscriptions.delete(subscription.group.id);
  }

  *all(): Generator<Subscription> {
    for (const subscription of this.#slots) {
      if (subscription !== undefined) yield subscription;
    }
  }
}
