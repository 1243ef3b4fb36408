import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import type { FilterAgreement } from "../filter/filter-agreement.ts";
import type { ConsumerGroup } from "../topic/consumer-group.ts";
import type { Topic } from "../topic/topic.ts";
import type { GroupLockTable } from "./group-locks.ts";
import { type LeaseTable, none } from "./lease-table.ts";
import { ReadyHeap } from "./ready-heap.ts";

/**
 * A group that reads a topic, while it is in use: its position in each queue, and what it has in hand. With nothing in hand
 * and nobody waiting it may be put away between two calls (subscription-table.ts); whoever asks again gets another object.
 */
export class Subscription {
  /** Number in the table; used again after the topic is dropped. */
  readonly slot: number;
  readonly group: ConsumerGroup;
  readonly topic: Topic;
  /** Next offset never looked at, by queue id. */
  readonly cursors: number[];
  /** Redeliveries. */
  readonly ready: ReadyHeap;
  /** Message groups with messages that the scan has passed by, and of which none is out now. */
  readonly unlocked: ReadyHeap;
  /** Rows in the table of message groups. */
  lockCount = 0;
  /** Messages that the scan has passed by because one of their message group was out. */
  skipped = 0;
  /** Redriven messages that wait for their message group to be unlocked. */
  queued = 0;
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

  constructor(
    slot: number,
    group: ConsumerGroup,
    topic: Topic,
    cursors: number[],
    leases: LeaseTable,
    locks: GroupLockTable,
  ) {
    this.slot = slot;
    this.group = group;
    this.topic = topic;
    this.cursors = cursors;
    this.ready = new ReadyHeap(leases);
    this.unlocked = new ReadyHeap(locks);
  }

  /** Nothing is lost when only positions and counts are kept. */
  get isIdle(): boolean {
    const hasNothing = this.inFlight === 0 && this.ready.count === 0 && this.lockCount === 0;
    return hasNothing && this.waitHead === none && !this.isScanning;
  }

  /** The topic got more queues; the group reads them from their beginning. */
  widen(): void {
    while (this.cursors.length < this.topic.queues.length) this.cursors.push(0);
  }

  /**
   * Messages that could be handed out now: redeliveries, the next of each message group whose turn it is, and what the group
   * has not looked at yet.
   */
  readyCount(queues: ConsumeQueueTable): number {
    let count = this.ready.count + this.unlocked.count;
    for (let i = 0; i < this.cursors.length; i++) {
      count += Math.max(0, queues.visibleEnd(this.topic.queues[i]!) - this.cursors[i]!);
    }
    return count;
  }

  /** Messages that wait for an earlier one of their message group. */
  get blockedCount(): number {
    return this.skipped - this.unlocked.count + this.queued;
  }

  /** Whether a message of a message group may go out that waited for its turn. */
  get hasTurn(): boolean {
    return this.unlocked.count > 0 || (this.topic.isOrdered && this.ready.heapCount > 0);
  }
}
