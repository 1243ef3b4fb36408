import type { LaneFigures, SubscriptionFigures } from "../broker-port.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Subscription } from "../pop/subscription.ts";
import type { SubscriptionLanes } from "../pop/subscription-lanes.ts";

/** One entry per group and topic, all lanes together. */
export function subscriptionFigures(
  { subscriptions, queues }: BrokerTables,
  inFlightMax: (subscription: Subscription) => number,
): SubscriptionFigures[] {
  return Array.from(subscriptions.all(), (subscription) => ({
    group: subscription.group.name,
    topic: subscription.topic.name,
    ready: subscription.readyCount(queues),
    blocked: subscription.blockedCount,
    inFlight: subscription.inFlightOfAll,
    inFlightMax: inFlightMax(subscription),
    deadLetters: subscription.deadLetters,
    waiting: subscription.waitCountOfAll,
    ...(subscription.lanes === undefined ? {} : { lanes: laneFigures(subscription.lanes) }),
  }));
}

function laneFigures(lanes: SubscriptionLanes): LaneFigures[] {
  return Array.from(lanes.all(), ({ lane, inFlight, isSpilled, isClosing }) => ({
    lane,
    inFlight,
    isSpilled,
    isClosing,
  }));
}
