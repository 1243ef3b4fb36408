import { z } from "zod";
import type { WhenEmpty } from "../../proto/lane/lane-rule.ts";
import { type Now, noPosition } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { filterText } from "../filter/filter-agreement.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
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
 *
 * `lanes` is empty where no lane rule names one for the group; otherwise the base lane comes first. `isSpilled`: base consumers handle
 * the lane's messages too. `isWithdrawn`: and its own get nothing, the rule takes it back. `isClosing`: no rule names it any more, and it is drained. `holders`: clients that received in it lately.
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
          inFlight: subscription.inFlightOfAll,
          inFlightMax: inFlightMax(subscription),
          deadLetters: subscription.deadLetters,
          delayed: tables.waiting.countOf(subscription.topic.id),
          filter: filterInForce(subscription, now.monotonicMs),
          lanes: describeLanes(tables, subscription, now),
          waitingReceives: subscription.waitCountOfAll,
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

function describeLanes(tables: BrokerTables, subscription: Subscription, now: Now): LaneFacts[] {
  const { lanes } = subscription;
  if (lanes === undefined) return [];
  return [subscription, ...lanes.all()].map((lane) => describeLane(tables, subscription, lane, now.monotonicMs));
}

/** How a lane of a group in a topic stands. */
export interface LaneFacts {
  readonly lane: string;
  readonly ready: number;
  readonly inFlight: number;
  /** Base consumers handle its messages too. */
  readonly isSpilled: boolean;
  /** No rule names it any more. */
  readonly isClosing: boolean;
  /** Its consumers get nothing: the rule takes it back. */
  readonly isWithdrawn: boolean;
  /** All lanes of the broker are suspended. */
  readonly areOff: boolean;
  /** Null: of the base lane. */
  readonly whenEmpty: WhenEmpty | null;
  readonly waitingReceives: number;
  /** Client ids that received in it lately. */
  readonly holders: readonly string[];
  readonly filter: string | null;
  /** Next offset to be looked at, by queue. */
  readonly positions: readonly number[];
}

/** Of one lane; also of the base lane of a group without others. */
export function describeLane(
  { queues }: BrokerTables,
  subscription: Subscription,
  lane: LaneCursor,
  monotonicMs: number,
): LaneFacts {
  const { lanes, topic } = subscription;
  const own = lanes?.byName(lane.lane);
  const ahead = topic.queues.map((queue, queueId) =>
    lanes === undefined
      ? Math.max(0, queues.visibleEnd(queue) - (lane.cursors[queueId] ?? 0))
      : lanes.countAhead(queues, queueId, Number.POSITIVE_INFINITY, lane),
  );
  return {
    lane: lane.lane,
    ready: lane.ready.count + lane.unlocked.count + ahead.reduce((sum, count) => sum + count, 0),
    inFlight: lane.inFlight,
    isSpilled: own?.isSpilled ?? false,
    isClosing: own?.isClosing ?? false,
    isWithdrawn: lane.isWithdrawn,
    areOff: lanes?.areOff ?? false,
    whenEmpty: own?.whenEmpty ?? null,
    waitingReceives: lane.waitCount,
    holders: lane.agreement?.aliveClients(monotonicMs) ?? [],
    filter: filterInForce(lane, monotonicMs),
    positions: [...lane.cursors],
  };
}

function filterInForce({ agreement }: LaneCursor, nowMs: number): string | null {
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
    let cursor = subscription.cursors[queueId] ?? 0;
    for (const lane of subscription.lanes?.all() ?? []) cursor = Math.min(cursor, lane.cursors[queueId]!);
    if (cursor < queues.visibleEnd(queue)) {
      position = Math.min(position, queues.position(queues.entry(queue, cursor)));
    }
  });
  // Of a message group whose turn it is, nothing is out: what it left behind begins here, or shortly after.
  const heaps = [subscription.unlocked, ...(subscription.lanes === undefined ? [] : [subscription.lanes.unplaced])];
  for (const lane of subscription.lanes?.all() ?? []) heaps.push(lane.unlocked);
  for (const unlocked of heaps) {
    if (unlocked.heapCount > 0) position = Math.min(position, locks.position[unlocked.at(0)]!);
  }
  return position === Number.POSITIVE_INFINITY ? undefined : storeMsAt(log, position);
}
