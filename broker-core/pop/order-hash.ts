import type { ConsumeQueueTable } from "../consume-queue/consume-queue-table.ts";
import type { Subscription } from "./subscription.ts";

/**
 * Messages without a message group that wait for another lane are counted in so many rows per queue, as if each of the offsets that
 * are equal by this modulus were one message group: so many of them at once can be out of what has waited.
 */
const looseGroups = 64;

/**
 * By which row of `GroupLockTable` a message waits, where its topic keeps order: that of its message group; without one, where the
 * subscription has lanes, a row that it shares with others. 0: it never waits.
 */
export function orderHash(
  queues: ConsumeQueueTable,
  subscription: Subscription,
  entry: number,
  offset: number,
): number {
  const groupHash = queues.groupHash(entry);
  return groupHash !== 0 || subscription.lanes === undefined ? groupHash : looseHash(offset);
}

/** The row for a message without a message group. */
export function looseHash(offset: number): number {
  return 1 + (offset % looseGroups);
}
