import type { Now } from "../broker-port.ts";
import { freeRow } from "../pop/group-locks.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import { looseHash } from "../pop/order-hash.ts";
import type { Subscription } from "../pop/subscription.ts";
import type { TrimReason } from "../record/log-trimmed-record.ts";
import { type KeptRow, noHolder, type OrderKept } from "../record/order-kept-record.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { Journal } from "./journal.ts";

/** Rows of message groups in one record: about a megabyte. */
const rowsPerRecord = 32_768;

/** Writes down that the log begins at `begin`, and the order of message groups from then on; returns the record's position. */
export function trimLog(tables: BrokerTables, journal: Journal, begin: number, reason: TrimReason, now: Now): number {
  const kept = orderAfterTrim(tables, begin);
  for (const order of kept) journal.orderKept(order);
  return journal.logTrimmed({ begin, wallMs: now.wallMs, reason, orderCount: kept.length });
}

/** The message groups that are locked or have messages waiting, with everything below `begin` left out. */
export function orderAfterTrim(tables: BrokerTables, begin: number): OrderKept[] {
  const { subscriptions, locks } = tables;
  const bySubscription = new Map<number, KeptRow[]>();
  const goneCounts = countSkippedBelow(tables, begin);
  for (let row = 0; row < locks.end; row++) {
    if (locks.subscription[row] === freeRow) continue;
    const kept = keptRow(tables, row, begin, goneCounts.get(row) ?? 0);
    if (kept === undefined) continue;
    const rows = bySubscription.get(locks.subscription[row]!);
    if (rows === undefined) bySubscription.set(locks.subscription[row]!, [kept]);
    else rows.push(kept);
  }
  return [...bySubscription].flatMap(([slot, rows]) => {
    const { group, topic } = subscriptions.at(slot)!;
    const parts: OrderKept[] = [];
    for (let at = 0; at < rows.length; at += rowsPerRecord) {
      parts.push({ groupId: group.id, topicId: topic.id, rows: rows.slice(at, at + rowsPerRecord) });
    }
    return parts;
  });
}

/** Undefined: nothing of the message group is left. */
function keptRow(tables: BrokerTables, row: number, begin: number, goneCount: number): KeptRow | undefined {
  const { subscriptions, queues, locks, leases } = tables;
  const queueId = locks.queueId[row]!;
  const queue = subscriptions.at(locks.subscription[row]!)!.topic.queues[queueId]!;
  const isLeft = (slot: number): boolean => slot !== none && leases.position[slot]! >= begin;
  const queued: number[] = [];
  for (let slot = locks.queuedHead[row]!; slot !== none; slot = leases.nextQueued[slot]!) {
    if (isLeft(slot)) queued.push(leases.offset[slot]!);
  }
  const holder = locks.holder[row]!;
  // As when it is settled: a redriven message that waited is next.
  const holderOffset = isLeft(holder) ? leases.offset[holder]! : (queued.shift() ?? noHolder);
  const skippedCount = locks.skippedCount[row]! - goneCount;
  if (holderOffset === noHolder && skippedCount === 0) return undefined;
  const skippedFrom = skippedCount === 0 ? 0 : Math.max(locks.skippedFrom[row]!, queues.firstAtOrAbove(queue, begin));
  return { queueId, groupHash: locks.groupHash[row]!, holderOffset, skippedCount, skippedFrom, queued };
}

/**
 * How many of the messages that each row has passed by lie below a log position; rows without any are left out. From
 * `skippedFrom` on all messages of the group that the scan has seen were passed by (group-locks.ts).
 */
function countSkippedBelow({ subscriptions, queues, locks }: BrokerTables, position: number): Map<number, number> {
  // By queue and message group, so that a queue is looked through once for all.
  const rowsByQueue = new Map<number, Map<number, number[]>>();
  for (let row = 0; row < locks.end; row++) {
    if (locks.subscription[row] === freeRow || locks.skippedCount[row] === 0) continue;
    const queue = subscriptions.at(locks.subscription[row]!)!.topic.queues[locks.queueId[row]!]!;
    if (locks.skippedFrom[row]! >= queues.firstAtOrAbove(queue, position)) continue;
    let byGroup = rowsByQueue.get(queue);
    if (byGroup === undefined) rowsByQueue.set(queue, (byGroup = new Map()));
    const rows = byGroup.get(locks.groupHash[row]!);
    if (rows === undefined) byGroup.set(locks.groupHash[row]!, [row]);
    else rows.push(row);
  }
  const counts = new Map<number, number>();
  for (const [queue, byGroup] of rowsByQueue) {
    const end = queues.firstAtOrAbove(queue, position);
    for (let offset = queues.beginOffset(queue); offset < end; offset++) {
      const entry = queues.entry(queue, offset);
      // Without a message group it may wait in a row of its own kind; whose subscription has no lanes has no such rows.
      for (const row of byGroup.get(queues.groupHash(entry) || looseHash(offset)) ?? []) {
        const count = counts.get(row) ?? 0;
        // What lies behind the scan's position was not passed by yet.
        if (offset >= locks.skippedFrom[row]! && count < locks.skippedCount[row]!) counts.set(row, count + 1);
      }
    }
  }
  return counts;
}

/** Whether retention has removed the message: records that were written before it did may still speak of it. */
export function isTrimmed({ queues }: BrokerTables, { topic }: Subscription, queueId: number, offset: number): boolean {
  const queue = topic.queues[queueId];
  return queue !== undefined && offset < queues.beginOffset(queue);
}

/** Messages of a topic that a group is not done with. */
export interface Unconsumed {
  readonly group: string;
  readonly topic: string;
  readonly messages: number;
}

/** What groups would lose if the log began at `position`. Groups with nothing to lose are left out. */
export function unconsumedBelow(tables: BrokerTables, position: number): Unconsumed[] {
  const { topics, queues, subscriptions, leases } = tables;
  const bySlot = new Map<number, number>();
  const add = (slot: number, count: number): void => {
    if (count > 0) bySlot.set(slot, (bySlot.get(slot) ?? 0) + count);
  };
  queues.forEachBelow(position, (queue, newBegin) => {
    const queueId = queues.queueId(queue);
    for (const subscription of topics.byId(queues.topicId(queue))!.subscriptions.values()) {
      if (subscription.lanes !== undefined) {
        add(subscription.slot, subscription.lanes.countAhead(queues, queueId, newBegin));
        continue;
      }
      add(subscription.slot, newBegin - Math.max(subscription.cursors[queueId]!, queues.beginOffset(queue)));
    }
  });
  for (let slot = 0; slot < leases.end; slot++) {
    const state = leases.state[slot];
    if (state === LeaseState.Free || state === LeaseState.Dead) continue;
    if (leases.position[slot]! < position) add(leases.subscription[slot]!, 1);
  }
  for (const [row, count] of countSkippedBelow(tables, position)) add(tables.locks.subscription[row]!, count);
  const found = Array.from(bySlot, ([slot, messages]) => {
    const { group, topic } = subscriptions.at(slot)!;
    return { group: group.name, topic: topic.name, messages };
  });
  topics.putAwayIdle(Number.NEGATIVE_INFINITY);
  return found;
}
