import { Code } from "../../proto/code.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { isTrimmed } from "../dispatch/log-trimming.ts";
import { LeaseState, none } from "./lease-table.ts";
import { orderHash } from "./order-hash.ts";
import type { Receipt } from "./receipt.ts";
import type { Subscription } from "./subscription.ts";
import type { SealKind } from "./text-sealer.ts";

/**
 * What a receipt is good for now. "held": its lease is in force, `slot` is its row; "done": the group is done with the
 * message, so an ack is as good as it was the first time; "dead": the message died while this very lease held it; "void": it
 * settles nothing, `message` says why.
 */
export type SettleDecision =
  | { readonly kind: "held"; readonly slot: number }
  | { readonly kind: "done" }
  | { readonly kind: "dead"; readonly message: string }
  | { readonly kind: "void"; readonly message: string };

const done: SettleDecision = { kind: "done" };

/** All of these are answered with INVALID_RECEIPT_HANDLE, on which SDKs stop to repeat the call. */
const reasons = {
  malformed: "the receipt handle is malformed; pass it on exactly as it was received",
  foreign: "the receipt handle is of another broker; send the call to the broker it names",
  forged: "the receipt handle was not issued by this broker; pass it on exactly as it was received",
  otherGroup: "the receipt handle belongs to another consumer group; acknowledge with the group that received it",
  topicGone: "the topic of the receipt handle was deleted",
  neverRead: "the consumer group has not read that topic",
  dead: "the message is in the dead-letter queue of the group; its last allowed attempt had ended",
  replaced: "the receipt handle was replaced by a later one of the same message; use the newest",
  removed: "the message was removed by retention before the group acknowledged it, or long after; see --retention-age",
  expired: "the receipt handle is expired: its invisible duration ended, and the message is or was handed out again",
} as const;

const voids = Object.fromEntries(
  Object.entries(reasons).map(([name, message]) => [name, { kind: "void", message } satisfies SettleDecision]),
) as Readonly<Record<keyof typeof reasons, SettleDecision>>;

const dead: SettleDecision = { kind: "dead", message: reasons.dead };

export const voidReceiptCode = Code.InvalidReceiptHandle;

/**
 * Judges an opened receipt presented by `groupId` at `nowMs` (requirement 1). A lease counts until its end by the clock,
 * not until the timer came round to it.
 */
export function decideSettle(
  tables: BrokerTables,
  groupId: number,
  opened: SealKind,
  receipt: Readonly<Receipt>,
  nowMs: number,
): SettleDecision {
  if (opened !== "ours") return voids[opened];
  if (receipt.groupId !== groupId) return voids.otherGroup;
  const topic = tables.topics.byId(receipt.topicId);
  if (topic === undefined) return voids.topicGone;
  const subscription = topic.subscriptions.get(groupId);
  if (subscription === undefined) return voids.neverRead;
  const { leases } = tables;
  const slot = leases.find(subscription.slot, receipt.queueId, receipt.offset);
  if (slot === none) {
    if (isTrimmed(tables, subscription, receipt.queueId, receipt.offset)) return voids.removed;
    // Below the cursor and not in hand: acked. Above it: the hand-out was lost in a power cut, or the cursor was moved.
    if (receipt.offset >= positionFor(tables, subscription, receipt)) return voids.expired;
    return isPassedBy(tables, subscription, receipt) ? voids.expired : done;
  }
  const isThisLease = leases.generation[slot] === receipt.generation && leases.run[slot] === receipt.run;
  if (leases.state[slot] === LeaseState.Dead) return isThisLease ? dead : voids.dead;
  if (!isThisLease) return voids.replaced;
  if (leases.state[slot] !== LeaseState.InFlight || leases.endMs[slot]! <= nowMs) return voids.expired;
  return { kind: "held", slot };
}

/** How far the lane has looked that the receipt's message is of. */
function positionFor({ queues }: BrokerTables, subscription: Subscription, receipt: Readonly<Receipt>): number {
  const { queueId, offset } = receipt;
  const queue = subscription.topic.queues[queueId];
  // A receipt of a message that a power cut took.
  if (queue === undefined || offset >= queues.endOffset(queue)) return 0;
  return subscription.ownerOf(queues, queueId, offset).cursors[queueId] ?? 0;
}

/** Whether a message below the cursor waits for its turn: its hand-out was lost in a power cut, and it is not acked. */
function isPassedBy({ queues, locks }: BrokerTables, subscription: Subscription, receipt: Readonly<Receipt>): boolean {
  if (subscription.skipped === 0) return false;
  const { queueId, offset } = receipt;
  const groupHash = orderHash(queues, subscription, queues.entry(subscription.topic.queues[queueId]!, offset), offset);
  const row = groupHash === 0 ? none : locks.find(subscription.slot, queueId, groupHash);
  return row !== none && locks.skippedCount[row]! > 0 && offset >= locks.skippedFrom[row]!;
}
