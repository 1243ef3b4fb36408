import type { LogReader } from "../commit-log/log.ts";
import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import { entryMatches, type ReadCount } from "../filter/entry-filter.ts";
import type { MessageFilter } from "../filter/message-filter.ts";
import type { LeaseTable } from "./lease-table.ts";
import type { Subscription } from "./subscription.ts";

/** Messages of one hand-out. */
export const batchMax = 32;
/** Index entries looked at in one go; a scan that needs more goes on at the next turn (requirement 10). */
export const scanEntriesMax = 16_384;
/** Of those, how many may be read from the log: for tags to compare the real one, for SQL92 all of them. */
export const scanReadsMax = 512;
/** Bytes of messages read from the log in one go: one message may go beyond. */
export const scanReadBytesMax = 4 * 1024 * 1024;
/** Redeliveries looked at in one go: more than this many that do not match the filter end the look. */
const redeliveryVisitsMax = 256;

/** What a pop decides: filled by `planPop`, written as a record, forgotten. Reused; nothing is allocated per pop. */
export class PopPlan implements ReadCount {
  /** Deliveries. `leases`: slot of the redelivery, or `none` for a first hand-out. */
  count = 0;
  readonly queueIds = new Uint16Array(batchMax);
  readonly offsets = new Float64Array(batchMax);
  readonly attempts = new Uint16Array(batchMax);
  /** Queues in which the group has looked further, and to where. */
  cursorCount = 0;
  cursorQueueIds = new Uint16Array(16);
  cursorOffsets = new Float64Array(16);
  /** Redeliveries whose attempts are used up: to be dead-lettered instead. Only after a policy was tightened. */
  readonly exhausted: number[] = [];
  /** The budget ended the scan before it had seen everything. */
  isUnfinished = false;
  /** The group has as much in flight as it may. */
  isAtLimit = false;

  bytes = 0;
  scans = 0;
  reads = 0;
  readBytes = 0;

  clear(): void {
    this.count = 0;
    this.cursorCount = 0;
    this.exhausted.length = 0;
    this.isUnfinished = false;
    this.isAtLimit = false;
    this.bytes = 0;
    this.scans = 0;
    this.reads = 0;
    this.readBytes = 0;
  }

  /** The budget is used up. */
  get isScanOver(): boolean {
    return this.scans >= scanEntriesMax || this.reads >= scanReadsMax || this.readBytes >= scanReadBytesMax;
  }

  add(queueId: number, offset: number, attempt: number, bytes: number): void {
    this.queueIds[this.count] = queueId;
    this.offsets[this.count] = offset;
    this.attempts[this.count] = attempt;
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
}

/** What a plan reads. */
export interface PopView {
  readonly queues: ConsumeQueueTable;
  readonly leases: LeaseTable;
  readonly log: LogReader;
}

/**
 * Decides what one receive gets: redeliveries first, oldest message first, then new messages, queue by queue from where the
 * last pop left off. Changes nothing but `plan`.
 */
export function planPop(
  view: PopView,
  subscription: Subscription,
  filter: MessageFilter,
  batch: number,
  bytesMax: number,
  inFlightMax: number,
  plan: PopPlan,
): void {
  plan.clear();
  const room = Math.min(batch, batchMax, inFlightMax - subscription.inFlight);
  if (room <= 0) {
    plan.isAtLimit = true;
    return;
  }
  if (subscription.ready.count > 0 && !planRedeliveries(view, subscription, filter, room, bytesMax, plan)) return;
  const { queues } = subscription.topic;
  for (let i = 0; i < queues.length && plan.count < room; i++) {
    const queueId = (subscription.nextQueue + i) % queues.length;
    if (!planQueue(view, subscription, queueId, filter, room, bytesMax, plan)) return;
  }
}

/** Places of the heap that may hold the next oldest redelivery: each visit takes one and adds at most two. */
const frontier = new Uint32Array(redeliveryVisitsMax + 1);

/** Walks the heap from its oldest entry without changing it. False when the batch has no room for bytes any more. */
function planRedeliveries(
  view: PopView,
  subscription: Subscription,
  filter: MessageFilter,
  room: number,
  bytesMax: number,
  plan: PopPlan,
): boolean {
  const { ready, group } = subscription;
  const { leases, queues } = view;
  const { attemptsMax } = group.policy;
  frontier[0] = 0;
  let open = 1;
  for (let visits = 0; open > 0 && plan.count < room && visits < redeliveryVisitsMax; visits++) {
    let oldest = 0;
    for (let i = 1; i < open; i++) {
      if (leases.position[ready.at(frontier[i]!)]! < leases.position[ready.at(frontier[oldest]!)]!) oldest = i;
    }
    const place = frontier[oldest]!;
    frontier[oldest] = frontier[--open]!;
    if (2 * place + 1 < ready.count) frontier[open++] = 2 * place + 1;
    if (2 * place + 2 < ready.count) frontier[open++] = 2 * place + 2;

    const slot = ready.at(place);
    const attempt = leases.attempt[slot]!;
    if (attemptsMax > 0 && attempt >= attemptsMax) {
      plan.exhausted.push(slot);
      continue;
    }
    const queueId = leases.queueId[slot]!;
    const entry = queues.entry(subscription.topic.queues[queueId]!, leases.offset[slot]!);
    if (!matches(view, filter, entry, plan)) continue;
    if (plan.count > 0 && plan.bytes + queues.bytes(entry) > bytesMax) return false;
    plan.add(queueId, leases.offset[slot]!, Math.min(attempt + 1, attemptMax), queues.bytes(entry));
  }
  return true;
}

/** Attempts are stored in 16 bits; a group without a limit counts no further. */
const attemptMax = 65_535;

/** Scans one queue from the group's cursor. False when the batch or the budget is used up. */
function planQueue(
  view: PopView,
  subscription: Subscription,
  queueId: number,
  filter: MessageFilter,
  room: number,
  bytesMax: number,
  plan: PopPlan,
): boolean {
  const { queues } = view;
  const queue = subscription.topic.queues[queueId]!;
  const begin = subscription.cursors[queueId]!;
  const end = queues.visibleEnd(queue);
  let offset = begin;
  let goesOn = true;
  while (offset < end && plan.count < room) {
    if (plan.isScanOver) {
      plan.isUnfinished = true;
      goesOn = false;
      break;
    }
    plan.scans++;
    const entry = queues.entry(queue, offset);
    if (matches(view, filter, entry, plan)) {
      if (plan.count > 0 && plan.bytes + queues.bytes(entry) > bytesMax) {
        goesOn = false;
        break;
      }
      plan.add(queueId, offset, 1, queues.bytes(entry));
    }
    offset++;
  }
  if (offset > begin) plan.moveCursor(queueId, offset);
  return goesOn;
}

function matches(view: PopView, filter: MessageFilter, entry: number, plan: PopPlan): boolean {
  return filter.isAll || entryMatches(view.queues, view.log, filter, entry, plan);
}
