import { LeaseState } from "../pop/lease-table.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { BrokerTables } from "./broker-tables.ts";
import type { GroupOrder } from "./group-order.ts";
import type { LeaseFollower } from "./lease-follower.ts";

/** A group goes, with its positions and everything that it has in hand. Part of the dispatcher. */
export function dropGroup(tables: BrokerTables, order: GroupOrder, leases: LeaseFollower, groupId: number): void {
  const { groups, subscriptions, damage } = tables;
  const group = groups.byId(groupId);
  if (group === undefined) {
    if (damage.isOpen) return;
    throw new RecordFault(`the end of the unknown group ${groupId}`);
  }
  for (const subscription of subscriptions.ofGroup(groupId)) {
    order.dropped(subscription);
    for (let slot = 0; slot < tables.leases.end; slot++) {
      if (tables.leases.state[slot] === LeaseState.Free || tables.leases.subscription[slot] !== subscription.slot)
        continue;
      leases.forget(slot, subscription);
    }
    subscriptions.remove(subscription);
  }
  groups.remove(group);
}
