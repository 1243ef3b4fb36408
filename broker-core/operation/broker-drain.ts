import { z } from "zod";
import type { Now, Operated } from "../broker-port.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { unconsumedBelow } from "../dispatch/log-trimming.ts";
import { isDeadLetterTopic } from "../topic/topic.ts";
import { type Operation, operation } from "./operations.ts";

/** Groups that are named in one answer. */
const namedMax = 10;
const patienceMsMax = 30 * 24 * 3_600_000;

/**
 * `broker.drain { drain, patienceMs?, groupSpread? }`: the broker takes no new messages from now on, or takes them again; said again as it
 * is, it only tells how far it has got. `patienceMs`: so long message groups with messages here may have new ones. `groupSpread`: the
 * number of the spread by which message groups leave; they come back by a later one.
 */
export function brokerDrain(tables: BrokerTables, journal: Journal): Operation {
  const parameters = z.strictObject({
    drain: z.boolean(),
    patienceMs: z.number().min(0).max(patienceMsMax).default(0),
    groupSpread: z.int().min(0).default(0),
  });
  return operation("broker.drain", parameters, ({ drain, patienceMs, groupSpread: said }, now: Now): Operated => {
    const { drain: known, topics } = tables;
    let position = journal.lastPosition;
    const groupSpread = Math.max(known.groupSpread, said);
    if (
      known.isDraining !== drain ||
      (drain && (known.patienceMs !== patienceMs || known.groupSpread !== groupSpread))
    ) {
      // Topics that come later have no message groups that left.
      const wallMs = known.isDraining && drain ? known.wallMs : now.wallMs;
      position = journal.brokerDrain({ isDraining: drain, leaveBelow: topics.nextId, wallMs, patienceMs, groupSpread });
    }
    return { ok: true, result: { isDraining: drain, ...(drain ? remaining(tables) : {}) }, position };
  });
}

/** What is left to be consumed, and what would go with the broker though nobody waits for it. */
function remaining(tables: BrokerTables) {
  const { topics, queues, subscriptions, waiting, transactions } = tables;
  const unconsumed = unconsumedBelow(tables, Number.MAX_SAFE_INTEGER).sort((a, b) => b.messages - a.messages);
  let deadLetters = 0;
  for (const subscription of subscriptions.all()) deadLetters += subscription.deadLetters;
  let unread = 0;
  for (const topic of topics.all()) {
    if ([...topic.subscriptions.values()].length > 0 || isDeadLetterTopic(topic.name)) continue;
    for (const queue of topic.queues) unread += queues.endOffset(queue) - queues.beginOffset(queue);
  }
  topics.putAwayIdle(Number.NEGATIVE_INFINITY);
  return {
    unconsumed: unconsumed.reduce((sum, { messages }) => sum + messages, 0),
    behind: unconsumed.slice(0, namedMax),
    delayed: sum(waiting.counts),
    openTransactions: sum(transactions.counts),
    deadLetters,
    unread,
  };
}

function sum(counts: Iterable<readonly [number, number]>): number {
  let total = 0;
  for (const [, count] of counts) total += count;
  return total;
}
