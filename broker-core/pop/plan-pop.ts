import { EntryFlag } from "../consume-queue/index-entry.ts";
import { entryMatches } from "../filter/entry-filter.ts";
import { isSameFilter, type MessageFilter } from "../filter/message-filter.ts";
import { isPriorityTopic } from "../topic/topic.ts";
import { HeapWalk } from "./heap-walk.ts";
import type { LaneCursor } from "./lane-cursor.ts";
import { none } from "./lease-table.ts";
import { orderHash } from "./order-hash.ts";
import { batchMax, keptMax, type PopPlan, type PopView } from "./pop-plan.ts";
import type { Subscription } from "./subscription.ts";
import type { SubscriptionLanes } from "./subscription-lanes.ts";

/** A batch that has something goes on its way when it has met so many messages of locked groups. */
const blockedWithBatchMax = 2_048;
/** Messages kept for consumers of their own lane in all of a lane. */
const keptInLaneMax = 20_000;
/** Rows of message groups of one subscription: with so many of them the scan stops until some are settled. */
const lockRowsMax = 1_000_000;
/** Entries of other lanes that a scan passes before it writes down how far it has looked. */
const unwrittenMax = 4_096;
/** Attempts are stored in 16 bits; a group without a limit counts no further. */
const attemptMax = 65_535;

const walk = new HeapWalk();

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
  turn.awaited = isStandIn ? awaitedOf(lanes, lane, filter) : undefined;
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

/** Of a lane that nobody will consume in again, or has not yet, those who stand in decide alone. */
function awaitedOf(
  lanes: SubscriptionLanes | undefined,
  { lane }: LaneCursor,
  filter: MessageFilter,
): MessageFilter | undefined {
  const own = lanes?.byName(lane);
  if (own?.wanted === undefined || own.isClosing || own.isWithdrawn) return undefined;
  return isSameFilter(own.wanted.filter, filter) ? undefined : own.wanted.filter;
}

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
      if (!passesBack(plan, slot, entry)) plan.mismatched.push(slot);
      continue;
    }
    if (plan.count > 0 && plan.bytes + queues.bytes(entry) > bytesMax) return false;
    plan.add(queueId, leases.offset[slot]!, Math.min(attempt + 1, attemptMax), queues.bytes(entry), 0);
  }
  if (walk.isCut) plan.isUnfinished = true;
  return true;
}

/**
 * Settles a message that does not match, where it came back and would block its message group for ever, or nobody will ever come that
 * wants it, or it was never handed out, only kept for consumers of its lane, who do not want it. False: it stays.
 */
function passesBack(plan: PopPlan, slot: number, entry: number): boolean {
  const { view, lane, isStandIn, lanes, awaited } = plan.turn;
  const { leases, locks } = view;
  const isClosing = lane.laneNumber !== 0 && lanes?.byName(lane.lane)?.isClosing === true;
  const isKept = lane.laneNumber !== 0 && leases.generation[slot] === 0;
  if (isKept && awaited !== undefined && matches(view, awaited, entry, plan)) return false;
  if (isStandIn && !isClosing && !isKept) return false;
  const row = leases.lock[slot]!;
  if (row === none && !isClosing && !isKept) return false;
  plan.pass(leases.queueId[slot]!, leases.offset[slot]!, 1);
  if (row !== none && locks.skippedCount[row] === 0 && locks.queuedHead[row] === none) locks.freedBy[row] = plan.number;
  return true;
}

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
  const { view, subscription, lane, lanes, filter, awaited, bytesMax } = plan.turn;
  const { queues, locks } = view;
  const queueId = locks.queueId[row]!;
  const groupHash = locks.groupHash[row]!;
  const queue = subscription.topic.queues[queueId]!;
  const end = subscription.cursors[queueId]!;
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
    if (awaited !== undefined && matches(view, awaited, entry, plan)) {
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
  const { view, subscription, lane, lanes, filter, awaited, room, bytesMax } = plan.turn;
  const { queues } = view;
  const { isOrdered } = subscription.topic;
  const queue = subscription.topic.queues[queueId]!;
  const begin = lane.cursors[queueId]!;
  const end = queues.visibleEnd(queue);
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
    } else if (awaited === undefined || !matches(view, awaited, entry, plan)) isOwn = true;
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
