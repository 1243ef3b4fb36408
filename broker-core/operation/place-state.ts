import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import { orderHash } from "../pop/order-hash.ts";
import type { Subscription } from "../pop/subscription.ts";

/** What a group has done with a message until now. */
export interface PlaceState {
  /**
   * "done": acknowledged, or passed by the group's filter; "ahead": the cursor of the lane whose it is has not reached it; "waits for its
   * turn": an earlier message of its message group is out, or comes first; "back": out once, to be handed out again.
   */
  readonly state: "done" | "ahead" | "waits for its turn" | "in flight" | "back" | "dead";
  readonly attempt?: number;
  /** Who has it, or had it last. */
  readonly holder?: string;
  /** Of the holder. */
  readonly lane?: string;
  /** Left of the holder's time. */
  readonly leftMs?: number;
}

/** How the message at an offset stands in a group; of one that its queue no longer holds, "done". The same whoever asks. */
export function placeState(
  tables: BrokerTables,
  subscription: Subscription,
  queueId: number,
  offset: number,
  monotonicMs: number,
): PlaceState {
  const { leases, holders, lanes } = tables;
  const slot = leases.find(subscription.slot, queueId, offset);
  if (slot === none) return { state: withoutLease(tables, subscription, queueId, offset) };
  const attempt = leases.attempt[slot]!;
  const holder = holders.text(leases.holder[slot]!);
  switch (leases.state[slot]) {
    case LeaseState.InFlight: {
      const leftMs = Math.max(0, Math.round(leases.endMs[slot]! - monotonicMs));
      return { state: "in flight", attempt, holder, lane: lanes.text(leases.lane[slot]!), leftMs };
    }
    case LeaseState.Dead:
      return { state: "dead", attempt };
    case LeaseState.Queued:
      return { state: "waits for its turn", attempt, holder };
    default:
      return { state: "back", attempt, holder };
  }
}

function withoutLease(
  { queues, locks }: BrokerTables,
  subscription: Subscription,
  queueId: number,
  offset: number,
): PlaceState["state"] {
  const queue = subscription.topic.queues[queueId];
  if (queue === undefined || offset < queues.beginOffset(queue)) return "done";
  // Lanes are cursors of their own: that of base may be far beyond, or far behind.
  if (offset >= (subscription.ownerOf(queues, queueId, offset).cursors[queueId] ?? 0)) return "ahead";
  if (!subscription.topic.isOrdered) return "done";
  const hash = orderHash(queues, subscription, queues.entry(queue, offset), offset);
  const row = hash === 0 ? none : locks.find(subscription.slot, queueId, hash);
  const isPassedBy = row !== none && locks.skippedCount[row]! > 0 && offset >= locks.skippedFrom[row]!;
  return isPassedBy ? "waits for its turn" : "done";
}
