import { z } from "zod";
import { type LaneOutcomeFigures, type Now, noPosition } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { LaneCursor } from "../pop/lane-cursor.ts";
import { LeaseState } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type Operation, operation } from "./operations.ts";
import { storeMsAt } from "./stored-message.ts";

/** Entries of one queue that the look for a lane's oldest message passes; they are others' and may be many. */
const lookedAtMax = 65_536;

const shape = z.strictObject({ topic: z.string().optional(), group: z.string().optional() });

/**
 * `lane.outcomes { topic?, group? }`: for each group in each topic where a lane rule names lanes, what became of what each lane's
 * consumers were handed, and how old the oldest message is that the lane owns and is not done with. Counts only grow within one
 * `run`, a number that each start of a broker draws; a lane that goes and comes back begins at 0.
 */
export function laneOutcomes(tables: BrokerTables, log: LogReader, run: number): Operation {
  return operation("lane.outcomes", shape, (wanted, now) => ({
    ok: true,
    result: { run, items: laneOutcomeFigures(tables, log, now, wanted) },
    position: noPosition,
  }));
}

function laneOutcomeFigures(
  tables: BrokerTables,
  log: LogReader,
  now: Now,
  wanted: z.infer<typeof shape>,
): LaneOutcomeFigures[] {
  const items: LaneOutcomeFigures[] = [];
  for (const subscription of tables.subscriptions.laned) {
    const { topic, group, lanes } = subscription;
    if (lanes === undefined || (wanted.topic ?? topic.name) !== topic.name) continue;
    if ((wanted.group ?? group.name) !== group.name) continue;
    const held = oldestHeld(tables, subscription);
    for (const lane of [subscription, ...lanes.all()]) {
      const position = Math.min(
        held.get(lane.laneNumber) ?? Number.POSITIVE_INFINITY,
        oldestAhead(tables, subscription, lane),
      );
      const storeMs = position === Number.POSITIVE_INFINITY ? undefined : storeMsAt(log, position);
      items.push({
        topic: topic.name,
        group: group.name,
        lane: lane.lane,
        isSpilled: lanes.byName(lane.lane)?.isSpilled ?? false,
        inFlight: lane.inFlight,
        lagMs: storeMs === undefined ? 0 : Math.max(0, Math.floor(now.wallMs) - storeMs),
        ...lanes.outcomes.counts(lane.laneNumber),
      });
    }
  }
  return items;
}

/** Log position of the oldest message that is in hand or back, by number of the lane that owns it. */
function oldestHeld({ leases }: BrokerTables, { slot: subscription, inFlightOfAll, readyOfAll, queued }: Subscription) {
  const oldest = new Map<number, number>();
  if (inFlightOfAll + readyOfAll + queued === 0) return oldest;
  for (let slot = 0; slot < leases.end; slot++) {
    const state = leases.state[slot];
    if (leases.subscription[slot] !== subscription || state === LeaseState.Free || state === LeaseState.Dead) continue;
    const owner = leases.owner[slot]!;
    oldest.set(owner, Math.min(oldest.get(owner) ?? Number.POSITIVE_INFINITY, leases.position[slot]!));
  }
  return oldest;
}

/** The same of what a lane owns and has not been handed yet. */
function oldestAhead({ queues, locks }: BrokerTables, subscription: Subscription, lane: LaneCursor): number {
  let oldest = Number.POSITIVE_INFINITY;
  for (const [queueId, queue] of subscription.topic.queues.entries()) {
    const begin = Math.max(lane.scanFrom(queueId), queues.beginOffset(queue));
    const end = Math.min(queues.visibleEnd(queue), begin + lookedAtMax);
    for (let offset = begin; offset < end; offset++) {
      if (subscription.ownerOf(queues, queueId, offset) !== lane) continue;
      oldest = Math.min(oldest, queues.position(queues.entry(queue, offset)));
      break;
    }
  }
  // Of a message group whose turn it is, what was passed by begins here, or shortly after.
  if (lane.unlocked.heapCount > 0) oldest = Math.min(oldest, locks.position[lane.unlocked.at(0)]!);
  return oldest;
}
