import { z } from "zod";
import { noPosition } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { filterText } from "../filter/filter-agreement.ts";
import { LeaseState } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type Operation, operation } from "./operations.ts";
import { storeMsAt } from "./stored-message.ts";

/**
 * `group.describe { group }`: how far the group is in each topic it reads here. Lag is told in messages, split into what is
 * ready, what is blocked behind an earlier message of its message group, and what is in flight; and by the age of the oldest
 * message that the group is not done with. `delayed` waits for its time and is in no queue yet, so it is no lag. `filter` is
 * what clients that receive now agree on, null when nobody has received for a while. Of a broadcast group each `instance` (client
 * id) has its own row per topic.
 */
export function describeGroup(
  tables: BrokerTables,
  log: LogReader,
  inFlightMax: (subscription: Subscription) => number,
): Operation {
  return operation("group.describe", z.strictObject({ group: z.string() }), ({ group: name }, now) => {
    const oldest = oldestLeases(tables);
    const topics = [...tables.subscriptions.all()]
      .filter(({ group }) => group.name === name || group.policy.broadcast?.group === name)
      .map((subscription) => {
        const oldestStoreMs = oldestUnconsumed(tables, log, subscription, oldest.get(subscription));
        return {
          topic: subscription.topic.name,
          instance: subscription.group.policy.broadcast?.clientId ?? null,
          ready: subscription.readyCount(tables.queues),
          blocked: subscription.blockedCount,
          inFlight: subscription.inFlight,
          inFlightMax: inFlightMax(subscription),
          deadLetters: subscription.deadLetters,
          delayed: tables.waiting.countOf(subscription.topic.id),
          filter: filterInForce(subscription, now.monotonicMs),
          waitingReceives: subscription.waitCount,
          oldestStoreMs: oldestStoreMs ?? null,
          lagMs: oldestStoreMs === undefined ? 0 : Math.max(0, Math.floor(now.wallMs) - oldestStoreMs),
          queues: subscription.topic.queues.map((queue, queueId) => ({
            queueId,
            position: subscription.cursors[queueId] ?? 0,
            end: tables.queues.visibleEnd(queue),
          })),
        };
      });
    const isKnown = [...tables.groups.all()].some(
      (group) => group.name === name || group.policy.broadcast?.group === name,
    );
    return { ok: true, result: { group: name, isKnown, topics }, position: noPosition };
  });
}

function filterInForce({ agreement }: Subscription, nowMs: number): string | null {
  return agreement === undefined || agreement.isOver(nowMs) ? null : filterText(agreement.filter);
}

/** Log position of the oldest message that each subscription holds or has back from a lease. */
function oldestLeases({ leases, subscriptions }: BrokerTables): Map<Subscription, number> {
  const oldest = new Map<Subscription, number>();
  for (let slot = 0; slot < leases.end; slot++) {
    if (leases.state[slot] === LeaseState.Free || leases.state[slot] === LeaseState.Dead) continue;
    const subscription = subscriptions.at(leases.subscription[slot]!)!;
    const position = leases.position[slot]!;
    if (position < (oldest.get(subscription) ?? Number.POSITIVE_INFINITY)) oldest.set(subscription, position);
  }
  return oldest;
}

/** When the oldest message was stored that the group is not done with; undefined when there is none. */
function oldestUnconsumed(
  { queues, locks }: BrokerTables,
  log: LogReader,
  subscription: Subscription,
  leasePosition: number | undefined,
): number | undefined {
  let position = leasePosition ?? Number.POSITIVE_INFINITY;
  subscription.topic.queues.forEach((queue, queueId) => {
    const cursor = subscription.cursors[queueId] ?? 0;
    if (cursor < queues.visibleEnd(queue)) {
      position = Math.min(position, queues.position(queues.entry(queue, cursor)));
    }
  });
  // Of a message group whose turn it is, nothing is out: what it left behind begins here, or shortly after.
  const { unlocked } = subscription;
  if (unlocked.count > 0) position = Math.min(position, locks.position[unlocked.at(0)]!);
  return position === Number.POSITIVE_INFINITY ? undefined : storeMsAt(log, position);
}
