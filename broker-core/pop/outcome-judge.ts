import type { BrokerTables } from "../dispatch/broker-tables.ts";

/**
 * A hand-out ended without an ack: counted once, for the lane of the consumer that had it. Called where live decisions are made, never
 * in replay. A consumer that wants its message back sooner than its lease would have ended has failed; one that asks for more time has
 * not yet, and its lease tells in the end. A hand-back by the sidecar and a suspension are nobody's failure.
 */
export function judgeFailed({ leases, subscriptions, lanes: names }: BrokerTables, slot: number): void {
  if (leases.isJudged[slot] === 1) return;
  leases.isJudged[slot] = 1;
  const lanes = subscriptions.at(leases.subscription[slot]!)?.lanes;
  lanes?.outcomes.failed(lanes.consumerLane(names.text(leases.lane[slot]!)));
}
