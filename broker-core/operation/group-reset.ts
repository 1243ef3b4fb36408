import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { type Now, noPosition, type Operated } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import { orderHash } from "../pop/order-hash.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type Operation, operation } from "./operations.ts";
import { storeMsAt } from "./stored-message.ts";

/** Where a group shall go on. `timeMs`: at the first message stored then or later; wall clock, milliseconds since 1970. */
const target = z.union([
  z.literal("earliest"),
  z.literal("latest"),
  z.strictObject({ timeMs: z.number() }),
  z.strictObject({ offset: z.number().int().min(0) }),
]);
type Target = z.infer<typeof target>;

const shape = z.strictObject({
  group: z.string(),
  /** Left out: every topic that the group reads. */
  topic: z.string().optional(),
  /** Left out: every queue of the topic. */
  queue: z.number().int().min(0).optional(),
  to: target,
  dryRun: z.boolean().default(false),
});

/** What a reset does, or would do, to one queue. */
interface QueueReset {
  readonly queueId: number;
  readonly from: number;
  readonly to: number;
  /** Messages that come again: passed already, acknowledged or in hand. */
  readonly again: number;
  /** Messages that the group will not get: not seen yet, or in hand. */
  readonly skipped: number;
}

/**
 * `group.reset { group, topic?, queue?, to, dryRun }`: a group goes on elsewhere. Counts come first: with `dryRun` nothing else
 * does. All queues of a topic move by one record. A group that has never read the topic has no position to move. Of a broadcast
 * group every instance goes on there, each told by its client id.
 */
export function groupReset(
  tables: BrokerTables,
  log: LogReader,
  journal: Journal,
  onReset: (subscription: Subscription) => void,
): Operation {
  return operation("group.reset", shape, (order, now): Operated => {
    const subscriptions = [...tables.subscriptions.all()].filter(
      ({ group, topic }) =>
        (group.name === order.group || group.policy.broadcast?.group === order.group) &&
        (order.topic === undefined || topic.name === order.topic),
    );
    let position = noPosition;
    const topics = subscriptions.map((subscription) => {
      const queues = plan(tables, log, subscription, order.queue, order.to);
      if (!order.dryRun && queues.length > 0) {
        position = reset(journal, subscription, queues, now);
        onReset(subscription);
      }
      const instance = subscription.group.policy.broadcast?.clientId ?? null;
      return { topic: subscription.topic.name, instance, queues };
    });
    if (order.queue !== undefined && topics.some(({ queues }) => queues.length === 0)) {
      return {
        ok: false,
        code: Code.NotFound,
        message: `group.reset: a topic of the group has no queue ${order.queue}`,
      };
    }
    return { ok: true, result: { group: order.group, dryRun: order.dryRun, topics }, position };
  });
}

function reset(journal: Journal, subscription: Subscription, queues: readonly QueueReset[], now: Now): number {
  return journal.cursorReset({
    groupId: subscription.group.id,
    topicId: subscription.topic.id,
    wallMs: now.wallMs,
    queues: queues.map(({ queueId, to }) => ({ queueId, offset: to })),
  });
}

function plan(
  tables: BrokerTables,
  log: LogReader,
  subscription: Subscription,
  onlyQueue: number | undefined,
  to: Target,
): QueueReset[] {
  const { queues } = tables;
  const inHand = offsetsInHand(tables, subscription);
  return subscription.topic.queues.flatMap((queue, queueId) => {
    if (onlyQueue !== undefined && queueId !== onlyQueue) return [];
    const begin = queues.beginOffset(queue);
    const end = queues.visibleEnd(queue);
    const from = subscription.cursors[queueId] ?? 0;
    const { lanes } = subscription;
    const offset = Math.min(Math.max(targetOffset(tables, log, queue, to), begin), end);
    const held = inHand.get(queueId) ?? [];
    const heldBefore = held.filter((at) => at < offset).length;
    const waiting = offsetsWaiting(tables, subscription, queueId);
    const waitingBefore = waiting.filter((at) => at < offset).length;
    if (lanes !== undefined) {
      // Each lane has its own position: what of the others is not looked at yet comes for the first time.
      const aheadBelow = lanes.countAhead(queues, queueId, offset);
      const ahead = lanes.countAhead(queues, queueId, Number.POSITIVE_INFINITY);
      return {
        ...{ queueId, from, to: offset },
        again: end - offset - (ahead - aheadBelow) - (waiting.length - waitingBefore),
        skipped: aheadBelow + heldBefore + waitingBefore,
      };
    }
    return {
      ...{ queueId, from, to: offset },
      again: Math.max(0, from - offset) - (waiting.length - waitingBefore),
      skipped: Math.max(0, offset - Math.max(from, begin)) + heldBefore + waitingBefore,
    };
  });
}

/** Offsets that the group has passed by because an earlier message of their message group was out: it never got them. */
function offsetsWaiting({ queues, locks }: BrokerTables, subscription: Subscription, queueId: number): number[] {
  const offsets: number[] = [];
  if (subscription.skipped === 0) return offsets;
  const queue = subscription.topic.queues[queueId]!;
  for (let offset = queues.beginOffset(queue); offset < subscription.cursors[queueId]!; offset++) {
    const groupHash = orderHash(queues, subscription, queues.entry(queue, offset), offset);
    const row = groupHash === 0 ? none : locks.find(subscription.slot, queueId, groupHash);
    if (row !== none && locks.skippedCount[row]! > 0 && offset >= locks.skippedFrom[row]!) offsets.push(offset);
  }
  return offsets;
}

function targetOffset({ queues }: BrokerTables, log: LogReader, queue: number, to: Target): number {
  if (to === "earliest") return queues.beginOffset(queue);
  if (to === "latest") return queues.visibleEnd(queue);
  if ("offset" in to) return to.offset;
  return offsetAtTime(queues, log, queue, to.timeMs);
}

/**
 * The first offset of a queue whose message was stored at `timeMs` or later, found by bisection: where the broker's wall clock
 * was set back, messages of the time that came twice may lie on either side. A damaged message counts as older.
 */
export function offsetAtTime(queues: BrokerTables["queues"], log: LogReader, queue: number, timeMs: number): number {
  let low = queues.beginOffset(queue);
  let high = queues.visibleEnd(queue);
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const entry = queues.entry(queue, middle);
    const isLost = (queues.flags(entry) & EntryFlag.Lost) !== 0;
    const storeMs = isLost ? undefined : storeMsAt(log, queues.position(entry));
    if (storeMs === undefined || storeMs < timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** By queue id: the offsets that the group holds or has back from a lease. */
function offsetsInHand({ leases }: BrokerTables, subscription: Subscription): Map<number, number[]> {
  const held = new Map<number, number[]>();
  for (let slot = 0; slot < leases.end; slot++) {
    if (leases.state[slot] === LeaseState.Free || leases.state[slot] === LeaseState.Dead) continue;
    if (leases.subscription[slot] !== subscription.slot) continue;
    const queueId = leases.queueId[slot]!;
    const offsets = held.get(queueId);
    if (offsets === undefined) held.set(queueId, [leases.offset[slot]!]);
    else offsets.push(leases.offset[slot]!);
  }
  return held;
}
