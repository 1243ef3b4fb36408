import type { LogReader } from "../commit-log/log.ts";
import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import { entryMatches, type ReadCount } from "../filter/entry-filter.ts";
import type { MessageFilter } from "../filter/message-filter.ts";
import { isPriorityTopic } from "../topic/topic.ts";
import type { GroupLockTable } from "./group-locks.ts";
import type { LaneCursor } from "./lane-cursor.ts";
import { type LeaseTable, none } from "./lease-table.ts";
import { orderHash } from "./order-hash.ts";
import type { ReadyHeap } from "./ready-heap.ts";
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
/** Redeliveries, or message groups whose turn it is, looked at in one go; those that do not match the filter count too. */
const heapVisitsMax = 256;
/** A batch that has something goes on its way when it has met so many messages of locked groups. */
const blockedWithBatchMax = 2_048;

/** Messages kept for their own lane's consumers by one pop, and in all of a lane. */
const keptMax = 256;
const keptInLaneMax = 20_000;
/** Rows of message groups of one subscription: with so many of them the scan stops until some are settled. */
export const lockRowsMax = 1_000_000;
/** Entries of other lanes that a scan passes before it writes down how far it has looked. */
const unwrittenMax = 4_096;

/** What the plan at hand is made of. */
class Turn {
  view!: PopView;
  subscription!: Subscription;
  lane!: LaneCursor;
  isStandIn = false;
  lanes: SubscriptionLanes | undefined = undefined;
  filter!: MessageFilter;
  /** Messages that fit. */
  room = 0;
  bytesMax = 0;
}

/** What a pop decides: filled by `planPop`, written as a record, forgotten. Reused; nothing is allocated per pop. */
export class PopPlan implements ReadCount {
  readonly turn = new Turn();
  /** Tells plans apart; see `GroupLockTable.freedBy`. */
  number = 0;
  /** Deliveries. `leases`: slot of the redelivery, or `none` for a first hand-out. */
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

/** What a plan reads. */
export interface PopView {
  readonly queues: ConsumeQueueTable;
  readonly leases: LeaseTable;
  readonly locks: GroupLockTable;
  readonly log: LogReader;
}

/**
 * Decides what one receive gets: redeliveries first, oldest message first; then the next messages of message groups whose turn
 * it is; then new messages, queue by queue from where the last pop left off. Of a message group of a topic that keeps order
 * it takes one message, and none while another is out. All of it is of the lane `lane`. `isStandIn`: it is for a consumer of the
 * base lane, while that lane is spilled. Changes nothing but `plan` and hints.
 */
export function planPop(
  view: PopView,
  subscription: Subscription,
  lane: LaneCursor,
  isStandIn: boolean,
  filter: MessageFilter,
  batch: number,
  bytesMax: number,
  inFlightMax: number,
  plan: PopPlan,
): void {
  plan.clear();
  if (lane.isWithdrawn && !isStandIn) return;
  const room = Math.min(batch, batchMax, inFlightMax - lane.inFlight);
  if (room <= 0) {
    plan.isAtLimit = true;
    return;
  }
  const { lanes } = subscription;
  const { turn } = plan;
  turn.view = view;
  turn.subscription = subscription;
  turn.lane = lane;
  turn.isStandIn = isStandIn;
  turn.lanes = lanes;
  turn.filter = filter;
  turn.room = room;
  turn.bytesMax = bytesMax;
  if (lane.ready.heapCount > 0 && !planRedeliveries(plan)) return;
  if (lanes !== undefined && lanes.unplaced.count > 0) placeGroups(plan, lanes);
  if (lane.unlocked.heapCount > 0 && !planUnlocked(plan)) return;
  const { queues, isOrdered } = subscription.topic;
  // All lanes share the positions there, and the scan for the base lane finds what is next for the spilled one.
  if (isStandIn && isOrdered) return;
  const isByPriority = isPriorityTopic(subscription.topic.messageTypes);
  for (let i = 0; i < queues.length && plan.count < room; i++) {
    const queueId = isByPriority ? queues.length - 1 - i : (lane.nextQueue + i) % queues.length;
    if (!planQueue(plan, queueId)) return;
  }
}

/** Walks a heap from its oldest row without changing it. One walk at a time. */
class HeapWalk {
  /** Places that may hold the next oldest row: each visit takes one and adds at most two. */
  readonly #frontier = new Uint32Array(heapVisitsMax + 1);
  #open = 0;
  #visits = 0;

  begin(heap: ReadyHeap): void {
    this.#frontier[0] = 0;
    this.#open = Math.min(heap.heapCount, 1);
    this.#visits = 0;
  }

  /** The walk has ended before the heap did. */
  get isCut(): boolean {
    return this.#open > 0 && this.#visits > heapVisitsMax;
  }

  /** The next row; `none` at the end, or after `heapVisitsMax`. */
  next(heap: ReadyHeap, position: Float64Array): number {
    if (this.#open === 0 || this.#visits++ === heapVisitsMax) return none;
    const frontier = this.#frontier;
    let oldest = 0;
    for (let i = 1; i < this.#open; i++) {
      if (position[heap.at(frontier[i]!)]! < position[heap.at(frontier[oldest]!)]!) oldest = i;
    }
    const place = frontier[oldest]!;
    frontier[oldest] = frontier[--this.#open]!;
    if (2 * place + 1 < heap.heapCount) frontier[this.#open++] = 2 * place + 1;
    if (2 * place + 2 < heap.heapCount) frontier[this.#open++] = 2 * place + 2;
    return heap.at(place);
  }
}

const walk = new HeapWalk();

/** Messages back from a lease, oldest first. False when the batch has no room for bytes any more or the budget is used up. */
function planRedeliveries(plan: PopPlan): boolean {
  const { view, subscription, lane, filter, room, bytesMax } = plan.turn;
  const { leases, queues } = view;
  const { ready } = lane;
  const { attemptsMax } = subscription.group.policy;
  walk.begin(ready);
  while (plan.count < room) {
    if (plan.isScanOver) {
      plan.isUnfinished = true;
      return false;
    }
    const slot = walk.next(ready, leases.position);
    if (slot === none) break;
    const attempt = leases.attempt[slot]!;
    if (attemptsMax > 0 && attempt >= attemptsMax) {
      plan.exhausted.push(slot);
      continue;
    }
    const queueId = leases.queueId[slot]!;
    const entry = queues.entry(subscription.topic.queues[queueId]!, leases.offset[slot]!);
    if (!matches(view, filter, entry, plan)) {
      if (!passesBack(plan, slot)) plan.mismatched.push(slot);
      continue;
    }
    if (plan.count > 0 && plan.bytes + queues.bytes(entry) > bytesMax) return false;
    plan.add(queueId, leases.offset[slot]!, Math.min(attempt + 1, attemptMax), queues.bytes(entry), 0);
  }
  if (walk.isCut) plan.isUnfinished = true;
  return true;
}

/**
 * Settles a message that came back and does not match any more, where it would block its message group for ever, or nobody will ever
 * come that wants it. False: it stays.
 */
function passesBack(plan: PopPlan, slot: number): boolean {
  const { view, lane, isStandIn, lanes } = plan.turn;
  const { leases, locks } = view;
  const isClosing = lane.laneNumber !== 0 && lanes?.byName(lane.lane)?.isClosing === true;
  if (isStandIn && !isClosing) return false;
  const row = leases.lock[slot]!;
  if (row === none && !isClosing) return false;
  plan.pass(leases.queueId[slot]!, leases.offset[slot]!, 1);
  if (row !== none && locks.skippedCount[row] === 0 && locks.queuedHead[row] === none) locks.freedBy[row] = plan.number;
  return true;
}

/** Attempts are stored in 16 bits; a group without a limit counts no further. */
const attemptMax = 65_535;

/**
 * Of each message group that was unlocked and left messages behind, the next one that matches; the group that has waited
 * longest first. False when the batch or the budget is used up.
 */
function planUnlocked(plan: PopPlan): boolean {
  const { view, lane, room } = plan.turn;
  walk.begin(lane.unlocked);
  while (plan.count < room) {
    const row = walk.next(lane.unlocked, view.locks.position);
    if (row === none) break;
    if (!planGroup(plan, row)) return false;
  }
  return true;
}

/** Looks the messages of one group up, from the first that was passed by. False when the batch or the budget is used up. */
function planGroup(plan: PopPlan, row: number): boolean {
  const { view, subscription, lane, isStandIn, lanes, filter, bytesMax } = plan.turn;
  const { queues, locks } = view;
  const queueId = locks.queueId[row]!;
  const groupHash = locks.groupHash[row]!;
  const queue = subscription.topic.queues[queueId]!;
  const end = subscription.cursors[queueId]!;
  const isKept = isStandIn && lanes?.byName(lane.lane)?.isClosing === false;
  let left = locks.skippedCount[row]!;
  let passed = 0;
  let lastPassed = 0;
  let goesOn = true;
  for (let offset = locks.searchedTo[row]!; left > 0; offset++) {
    if (offset >= end)
      throw new Error(`${subscription.topic.name}, queue ${queueId}: a message group lost ${left} messages`);
    if (plan.isScanOver) {
      plan.isUnfinished = true;
      goesOn = false;
      break;
    }
    plan.scans++;
    const entry = queues.entry(queue, offset);
    if (orderHash(queues, subscription, entry, offset) !== groupHash) {
      if (passed === 0) locks.searchedTo[row] = offset + 1;
      continue;
    }
    // Passed ones were this lane's; the next one may be another's turn.
    if (lanes !== undefined && passed > 0 && lanes.owner(queues.lane(entry), queueId, offset) !== lane) break;
    if (matches(view, filter, entry, plan)) {
      if (plan.count > 0 && plan.bytes + queues.bytes(entry) > bytesMax) goesOn = false;
      else plan.add(queueId, offset, 1, queues.bytes(entry), 0);
      break;
    }
    if (isKept) {
      plan.unwanted.push(row);
      break;
    }
    left--;
    passed++;
    lastPassed = offset;
  }
  if (passed > 0) plan.pass(queueId, lastPassed, passed);
  if (left === 0) locks.freedBy[row] = plan.number;
  return goesOn;
}

/** Looks up which lane the next message of each message group is of whose turn has come, and puts the group into that lane's heap. */
function placeGroups(plan: PopPlan, lanes: SubscriptionLanes): void {
  const { view, subscription, lane } = plan.turn;
  const { queues, locks } = view;
  const { unplaced } = lanes;
  while (unplaced.heapCount > 0) {
    const row = unplaced.at(0);
    const queueId = locks.queueId[row]!;
    const queue = subscription.topic.queues[queueId]!;
    const end = subscription.cursors[queueId]!;
    for (let offset = locks.searchedTo[row]!; ; offset++) {
      if (offset >= end)
        throw new Error(`${subscription.topic.name}, queue ${queueId}: a message group lost its next message`);
      if (plan.isScanOver) {
        plan.isUnfinished = true;
        return;
      }
      plan.scans++;
      const entry = queues.entry(queue, offset);
      locks.searchedTo[row] = offset;
      if (orderHash(queues, subscription, entry, offset) !== locks.groupHash[row]) continue;
      const owner = lanes.owner(queues.lane(entry), queueId, offset);
      unplaced.remove(row);
      locks.owner[row] = owner.laneNumber;
      owner.unlocked.push(row);
      if (owner !== lane) plan.hasPlaced = true;
      break;
    }
  }
}

/** Scans one queue from the lane's position. False when the batch or the budget is used up. */
function planQueue(plan: PopPlan, queueId: number): boolean {
  const { view, subscription, lane, isStandIn, lanes, filter, room, bytesMax } = plan.turn;
  const { queues } = view;
  const { isOrdered } = subscription.topic;
  const queue = subscription.topic.queues[queueId]!;
  const begin = lane.cursors[queueId]!;
  const end = queues.visibleEnd(queue);
  const isKept = isStandIn && lanes?.byName(lane.lane)?.isClosing === false;
  let offset = lanes === undefined ? begin : Math.max(lane.scanFrom(queueId), queues.beginOffset(queue));
  let isOwn = lanes === undefined || isOrdered || lanes.closingCount > 0;
  let goesOn = true;
  while (offset < end && plan.count < room) {
    if (plan.isScanOver) {
      plan.isUnfinished = true;
      goesOn = false;
      break;
    }
    plan.scans++;
    const entry = queues.entry(queue, offset);
    const groupHash = isOrdered ? orderHash(queues, subscription, entry, offset) : 0;
    if (groupHash !== 0 && isLocked(plan, queueId, groupHash)) {
      if (++plan.blocked > blockedWithBatchMax && plan.count > 0) {
        goesOn = false;
        break;
      }
    } else if (lanes !== undefined && lanes.owner(queues.lane(entry), queueId, offset) !== lane) {
      if (isOrdered) {
        if (subscription.lockCount + plan.left.size >= lockRowsMax) break;
        plan.left.add(queueId * 0x1_0000_0000 + groupHash);
        plan.hasPlaced = true;
      }
    } else if (matches(view, filter, entry, plan)) {
      if (plan.count > 0 && plan.bytes + queues.bytes(entry) > bytesMax) {
        goesOn = false;
        break;
      }
      plan.add(queueId, offset, 1, queues.bytes(entry), isOrdered ? queues.groupHash(entry) : 0);
      isOwn = true;
    } else if (!isKept || (queues.flags(entry) & EntryFlag.Lost) !== 0) isOwn = true;
    else {
      if (lane.ready.count + plan.keptCount >= keptInLaneMax) break;
      if (plan.keptCount === keptMax) {
        plan.isUnfinished = true;
        goesOn = false;
        break;
      }
      plan.keep(queueId, offset);
      isOwn = true;
    }
    offset++;
  }
  if (offset <= begin) return goesOn;
  if (isOwn || offset - begin >= unwrittenMax) plan.moveCursor(queueId, offset);
  else (lane.seenTo ??= [])[queueId] = offset;
  return goesOn;
}

/** Whether a message of this group is out or in this batch, or waits behind one: then the next one is passed by. */
function isLocked(plan: PopPlan, queueId: number, groupHash: number): boolean {
  const { view, subscription } = plan.turn;
  for (let i = 0; i < plan.count; i++) {
    if (plan.locking[i] === groupHash && plan.queueIds[i] === queueId) return true;
  }
  if (plan.left.size > 0 && plan.left.has(queueId * 0x1_0000_0000 + groupHash)) return true;
  if (subscription.lockCount === 0) return false;
  const { locks } = view;
  const row = locks.find(subscription.slot, queueId, groupHash);
  return row !== none && locks.freedBy[row] !== plan.number;
}

function matches(view: PopView, filter: MessageFilter, entry: number, plan: PopPlan): boolean {
  if ((view.queues.flags(entry) & EntryFlag.Lost) !== 0) return false;
  return filter.isAll || entryMatches(view.queues, view.log, filter, entry, plan);
}
