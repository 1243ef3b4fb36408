import { recordHeaderBytes } from "../commit-log/log-frame.ts";
import type { LogPlaces } from "../commit-log/log-places.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { isPriorityTopic, type Topic } from "../topic/topic.ts";
import type { LaneCursor } from "./lane-cursor.ts";
import { batchMax, scanAheadMax } from "./pop-plan.ts";
import type { Subscription } from "./subscription.ts";

/** What a record has beside the client's message: header, fixed fields, names. */
const aroundMessageBytes = recordHeaderBytes + 512;

/** Messages that a call may look at: a filter looks at more than it takes. */
export function placesCount({ filter, batch }: { readonly filter: string; readonly batch: number }): number {
  const takesAll = filter === "" || filter === "*";
  return takesAll ? Math.min(Math.max(batch, 1), batchMax) : scanAheadMax;
}

/**
 * Where in the log the next receive of a group is going to look: redeliveries first, then new messages of the first queue that
 * has some, as `planPop` goes. A guess for reading ahead, which changes nothing: other receives may come before. Looks at `count`
 * entries at most.
 */
export function nextPlaces(
  { queues, leases }: BrokerTables,
  subscription: Subscription,
  lane: LaneCursor,
  count: number,
  into: LogPlaces,
): void {
  const { topic } = subscription;
  const { ready } = lane;
  if (ready.heapCount > 0) {
    for (let place = 0; place < Math.min(count, ready.heapCount); place++) {
      const slot = ready.at(place);
      const entry = queues.entry(topic.queues[leases.queueId[slot]!]!, leases.offset[slot]!);
      if (!into.add(queues.position(entry), queues.bytes(entry) + aroundMessageBytes)) return;
    }
    return;
  }
  const isByPriority = isPriorityTopic(topic.messageTypes);
  for (let i = 0; i < topic.queues.length; i++) {
    const queueId = isByPriority ? topic.queues.length - 1 - i : (lane.nextQueue + i) % topic.queues.length;
    const begin = lane.scanFrom(queueId);
    if (begin >= queues.visibleEnd(topic.queues[queueId]!)) continue;
    queuePlaces(queues, topic.queues[queueId]!, begin, count, into);
    return;
  }
}

/** The same for a group that is new to the topic and begins with the oldest message there is. */
export function firstPlaces({ queues }: BrokerTables, topic: Topic, count: number, into: LogPlaces): void {
  const queue = topic.queues.find((slot) => queues.beginOffset(slot) < queues.visibleEnd(slot));
  if (queue !== undefined) queuePlaces(queues, queue, queues.beginOffset(queue), count, into);
}

/** The same for one queue from an offset on. */
export function queuePlaces(
  queues: BrokerTables["queues"],
  queue: number,
  from: number,
  count: number,
  into: LogPlaces,
): void {
  const end = Math.min(queues.visibleEnd(queue), from + count);
  for (let offset = Math.max(from, queues.beginOffset(queue)); offset < end; offset++) {
    const entry = queues.entry(queue, offset);
    if (!into.add(queues.position(entry), queues.bytes(entry) + aroundMessageBytes)) return;
  }
}
