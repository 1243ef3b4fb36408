import type { LogReader } from "../commit-log/log.ts";
import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import type { ReadCount } from "../filter/entry-filter.ts";
import type { MessageFilter } from "../filter/message-filter.ts";
import type { GroupLockTable } from "./group-locks.ts";
import type { LaneCursor } from "./lane-cursor.ts";
import type { LeaseTable } from "./lease-table.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionLanes } from "./subscription-lanes.ts";

/** Messages of one hand-out. */
export const batchMax = 32;
/** Index entries looked at in one go, 0.3 ms; a scan that needs more goes on at the next turn (requirement 10). */
export const scanEntriesMax = 8_192;
/** Of those, how many may be read from the log, 0.4 ms: for tags to compare the real one, for SQL92 all of them. */
export const scanReadsMax = 128;
/** Bytes of messages read from the log in one go: one message may go beyond. */
export const scanReadBytesMax = 1024 * 1024;
/** Messages of a filtered scan that are read ahead: some turns of it. */
export const scanAheadMax = 4 * scanReadsMax;
/** Messages kept for their own lane's consumers by one pop. */
export const keptMax = 256;

/** What a plan reads. */
export interface PopView {
  readonly queues: ConsumeQueueTable;
  readonly leases: LeaseTable;
  readonly locks: GroupLockTable;
  readonly log: LogReader;
}

/** What the plan at hand is made of. */
class Turn {
  view!: PopView;
  subscription!: Subscription;
  lane!: LaneCursor;
  isStandIn = false;
  lanes: SubscriptionLanes | undefined = undefined;
  filter!: MessageFilter;
  /** What the lane's own consumers want, who may come back, where others stand in for them. Undefined: nothing beside `filter`. */
  awaited: MessageFilter | undefined = undefined;
  /** Messages that fit. */
  room = 0;
  bytesMax = 0;
}

/** What a pop decides: filled by `planPop`, written as a record, forgotten. Reused; nothing is allocated per pop. */
export class PopPlan implements ReadCount {
  readonly turn = new Turn();
  /** Tells plans apart; see `GroupLockTable.freedBy`. */
  number = 0;
  /** Deliveries. */
  count = 0;
  readonly queueIds = new Uint16Array(batchMax);
  readonly offsets = new Float64Array(batchMax);
  readonly attempts = new Uint16Array(batchMax);
  /** Hash of the message group that a first hand-out will lock; 0: none, or locked already. */
  readonly locking = new Uint32Array(batchMax);
  /** Queues in which the group has looked further, and to where. */
  cursorCount = 0;
  cursorQueueIds = new Uint16Array(16);
  cursorOffsets = new Float64Array(16);
  /** Messages that had been put aside and do not match the filter: see `pop-record.ts`. */
  passCount = 0;
  passQueueIds = new Uint16Array(16);
  passOffsets = new Float64Array(16);
  passedCounts = new Uint32Array(16);
  /** Redeliveries whose attempts are used up: to be dead-lettered instead. Only after a policy was tightened. */
  readonly exhausted: number[] = [];
  /** Redeliveries that do not match the filter: not to be looked at again until another one is in force. */
  readonly mismatched: number[] = [];
  /** Messages that wait for a consumer of their own lane: see `pop-record.ts`. */
  keptCount = 0;
  readonly keptQueueIds = new Uint16Array(keptMax);
  readonly keptOffsets = new Float64Array(keptMax);
  /** Message groups whose next message does not match the filter of who stands in for their lane. As `mismatched`. */
  readonly unwanted: number[] = [];
  /** Message groups that the scan leaves to another lane: their hashes, by queue. */
  readonly left = new Set<number>();
  /** A message group was found to be another lane's turn. */
  hasPlaced = false;
  /** The budget ended the scan before it had seen everything. */
  isUnfinished = false;
  /** The group has as much in flight as it may. */
  isAtLimit = false;

  bytes = 0;
  scans = 0;
  reads = 0;
  readBytes = 0;
  /** Messages of locked groups that the scan met. */
  blocked = 0;

  clear(): void {
    this.number = (this.number + 1) >>> 0 || 1;
    this.count = 0;
    this.cursorCount = 0;
    this.passCount = 0;
    this.exhausted.length = 0;
    this.mismatched.length = 0;
    this.keptCount = 0;
    this.unwanted.length = 0;
    this.hasPlaced = false;
    if (this.left.size > 0) this.left.clear();
    this.isUnfinished = false;
    this.isAtLimit = false;
    this.bytes = 0;
    this.scans = 0;
    this.reads = 0;
    this.readBytes = 0;
    this.blocked = 0;
  }

  keep(queueId: number, offset: number): void {
    this.keptQueueIds[this.keptCount] = queueId;
    this.keptOffsets[this.keptCount++] = offset;
  }

  /** The budget is used up. */
  get isScanOver(): boolean {
    return this.scans >= scanEntriesMax || this.reads >= scanReadsMax || this.readBytes >= scanReadBytesMax;
  }

  add(queueId: number, offset: number, attempt: number, bytes: number, locking: number): void {
    this.queueIds[this.count] = queueId;
    this.offsets[this.count] = offset;
    this.attempts[this.count] = attempt;
    this.locking[this.count] = locking;
    this.count++;
    this.bytes += bytes;
  }

  moveCursor(queueId: number, offset: number): void {
    if (this.cursorCount === this.cursorQueueIds.length) {
      const length = this.cursorCount * 2;
      const queueIds = new Uint16Array(length);
      const offsets = new Float64Array(length);
      queueIds.set(this.cursorQueueIds);
      offsets.set(this.cursorOffsets);
      this.cursorQueueIds = queueIds;
      this.cursorOffsets = offsets;
    }
    this.cursorQueueIds[this.cursorCount] = queueId;
    this.cursorOffsets[this.cursorCount++] = offset;
  }

  /** `count` messages of one message group are settled without a delivery, the last of them at `offset`. */
  pass(queueId: number, offset: number, count: number): void {
    if (this.passCount === this.passQueueIds.length) {
      const length = this.passCount * 2;
      const queueIds = new Uint16Array(length);
      const offsets = new Float64Array(length);
      const counts = new Uint32Array(length);
      queueIds.set(this.passQueueIds);
      offsets.set(this.passOffsets);
      counts.set(this.passedCounts);
      this.passQueueIds = queueIds;
      this.passOffsets = offsets;
      this.passedCounts = counts;
    }
    this.passQueueIds[this.passCount] = queueId;
    this.passOffsets[this.passCount] = offset;
    this.passedCounts[this.passCount++] = count;
  }
}
