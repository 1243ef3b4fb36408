import { baseLane } from "../../proto/lane/lane-rule.ts";
import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import type { ConsumerGroup } from "../topic/consumer-group.ts";
import type { Topic } from "../topic/topic.ts";
import type { GroupLockTable } from "./group-locks.ts";
import { LaneCursor } from "./lane-cursor.ts";
import { type LeaseTable, none } from "./lease-table.ts";
import type { ReadyHeap } from "./ready-heap.ts";
import type { SubscriptionLanes } from "./subscription-lanes.ts";

/**
 * A group that reads a topic, while it is in use: its position in each queue, and what it has in hand, of the base lane; and its
 * other lanes, where a lane rule names some. With nothing in hand, nobody waiting and no lanes it may be put away between two calls
 * (subscription-table.ts); whoever asks again gets another object.
 */
export class Subscription extends LaneCursor {
  /** Number in the table; used again after the topic is dropped. */
  readonly slot: number;
  readonly group: ConsumerGroup;
  readonly topic: Topic;
  /** Rows in the table of message groups. */
  lockCount = 0;
  /** Messages that the scan has passed by because one of their message group was out, or because they are of another lane. */
  skipped = 0;
  /** Redriven messages that wait for their message group to be unlocked. */
  queued = 0;
  deadLetters = 0;
  /** Lanes beside the base lane; undefined where no lane rule ever named one, or all are gone. */
  lanes: SubscriptionLanes | undefined = undefined;

  constructor(
    slot: number,
    group: ConsumerGroup,
    topic: Topic,
    cursors: number[],
    leases: LeaseTable,
    locks: GroupLockTable,
  ) {
    super(baseLane, 0, cursors, leases, locks);
    this.slot = slot;
    this.group = group;
    this.topic = topic;
  }

  /** Nothing is lost when only positions and counts are kept. */
  get isIdle(): boolean {
    const hasNothing = this.inFlight === 0 && this.ready.count === 0 && this.lockCount === 0;
    return hasNothing && this.waitHead === none && !this.isScanning && this.lanes === undefined;
  }

  /** The topic got more queues; the group reads them from their beginning. */
  widen(): void {
    while (this.cursors.length < this.topic.queues.length) this.cursors.push(0);
    this.lanes?.widen();
  }

  /** A lane by its number. */
  laneAt(laneNumber: number): LaneCursor {
    return laneNumber === 0 || this.lanes === undefined ? this : this.lanes.at(laneNumber);
  }

  /**
   * The lane whose messages a consumer of lane `name` gets: the base lane's, where the group has no such lane (L8), or lanes are
   * suspended. A lane that its rule takes back is no matter of lanes but of what consumes there: that gets nothing either way.
   */
  laneFor(name: string): LaneCursor {
    const lane = this.lanes?.byName(name);
    return lane === undefined || (this.lanes!.areOff && !lane.isWithdrawn) ? this : lane;
  }

  /** The lane that owns the message of an index entry. */
  ownerOf(queues: ConsumeQueueTable, queueId: number, offset: number): LaneCursor {
    if (this.lanes === undefined) return this;
    return this.lanes.owner(queues.lane(queues.entry(this.topic.queues[queueId]!, offset)), queueId, offset);
  }

  /** The heap that a message group of which none is out lies in. `owner`: its column in the table of message groups. */
  turnHeap(owner: number): ReadyHeap {
    if (this.lanes === undefined) return this.unlocked;
    return owner === unplaced ? this.lanes.unplaced : this.laneAt(owner).unlocked;
  }

  /** Another filter counts for what a lane's consumers are given, and with base's for lanes that are spilled. */
  filterChanged(lane: LaneCursor): void {
    lane.takeBack();
    if (lane !== this || this.lanes === undefined) return;
    for (const other of this.lanes.all()) if (other.isSpilled) other.takeBack();
  }

  /** Messages in flight of all lanes. */
  get inFlightOfAll(): number {
    let count = this.inFlight;
    if (this.lanes === undefined) return count;
    for (const lane of this.lanes.all()) count += lane.inFlight;
    return count;
  }

  /** Parked receives of all lanes. */
  get waitCountOfAll(): number {
    let count = this.waitCount;
    if (this.lanes === undefined) return count;
    for (const lane of this.lanes.all()) count += lane.waitCount;
    return count;
  }

  /** Somebody waits, in whatever lane. */
  get isWaitedFor(): boolean {
    if (this.waitHead !== none) return true;
    if (this.lanes === undefined) return false;
    for (const lane of this.lanes.all()) if (lane.waitHead !== none) return true;
    return false;
  }

  /** Redeliveries of all lanes. */
  get readyOfAll(): number {
    let count = this.ready.count;
    if (this.lanes === undefined) return count;
    for (const lane of this.lanes.all()) count += lane.ready.count;
    return count;
  }

  /** Message groups with messages that the scan has passed by, and of which none is out now. */
  get unlockedCount(): number {
    let count = this.unlocked.count;
    if (this.lanes === undefined) return count;
    count += this.lanes.unplaced.count;
    for (const lane of this.lanes.all()) count += lane.unlocked.count;
    return count;
  }

  /**
   * Messages that could be handed out now: redeliveries, the next of each message group whose turn it is, and what the group
   * has not looked at yet.
   */
  readyCount(queues: ConsumeQueueTable): number {
    let count = this.readyOfAll + this.unlockedCount;
    for (let i = 0; i < this.cursors.length; i++) {
      if (this.lanes !== undefined) count += this.lanes.countAhead(queues, i, Number.POSITIVE_INFINITY);
      else count += Math.max(0, queues.visibleEnd(this.topic.queues[i]!) - this.cursors[i]!);
    }
    return count;
  }

  /** Messages that wait for an earlier one of their message group. */
  get blockedCount(): number {
    return this.skipped - this.unlockedCount + this.queued;
  }

  /** Whether a message of a message group may go out that waited for its turn. */
  get hasTurn(): boolean {
    return this.unlockedCount > 0 || (this.topic.isOrdered && this.readyOfAll > 0);
  }
}

/** Of a message group in the table: which lane its next message is of is not known yet. */
export const unplaced = 0xffff;
