import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { noPosition, type Operated } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { ruleFor } from "../lane/rule-for.ts";
import type { Subscription } from "../pop/subscription.ts";
import { describeLane } from "./describe-group.ts";
import { type Operation, operation } from "./operations.ts";
import { laneMarkAt } from "./stored-message.ts";

/** Index entries of a topic that are looked at for what came lately; each is one read of an index page at worst. */
const recentMax = 1_000;
/** Of those, messages whose marks are read from the log. */
const marksMax = 32;

const shape = z.strictObject({ group: z.string(), topic: z.string().optional() });

/**
 * `lane.group { group, topic? }`: of each topic that the group reads here, its lanes with rule, consumers and backlog, and what came
 * lately: how many of the last messages went to which lane, and which lane marks they carry (L12).
 */
export function laneGroup(
  tables: BrokerTables,
  log: LogReader,
  inFlightMax: (subscription: Subscription) => number,
): Operation {
  return operation("lane.group", shape, ({ group: name, topic: only }, now): Operated => {
    const read = [...tables.subscriptions.all()].filter(
      ({ group, topic }) => group.name === name && (only === undefined || topic.name === only),
    );
    if (read.length === 0) {
      const what = only === undefined ? "any topic" : `topic "${only}"`;
      return { ok: false, code: Code.ConsumerGroupNotFound, message: `group ${name} has not read ${what} here yet` };
    }
    const topics = read.map((subscription) => {
      const { topic, group, lanes } = subscription;
      const set = topic.laneRules?.current;
      const rule = set === undefined ? undefined : ruleFor(set, group);
      return {
        topic: topic.name,
        isOrdered: topic.isOrdered,
        inFlightMax: inFlightMax(subscription),
        rule:
          rule === undefined
            ? null
            : {
                name: rule.name,
                number: rule.number,
                group: rule.group,
                since: set!.position,
                clauses: rule.rule.clauses,
              },
        lanes: [subscription, ...(lanes?.all() ?? [])].map((lane) =>
          describeLane(tables, subscription, lane, now.monotonicMs),
        ),
        recent: recentOf(tables, log, subscription),
      };
    });
    return { ok: true, result: { group: name, topics }, position: noPosition };
  });
}

interface Recent {
  /** Messages looked at: the last ones of each queue. */
  readonly looked: number;
  /** How many of them are whose now. */
  readonly byLane: Readonly<Record<string, number>>;
  /** Lane marks of the last few; "" stands for none. */
  readonly marks: Readonly<Record<string, number>>;
}

function recentOf({ queues }: BrokerTables, log: LogReader, subscription: Subscription): Recent {
  const { topic } = subscription;
  const each = Math.max(1, Math.floor(recentMax / topic.queues.length));
  const marksEach = Math.max(1, Math.floor(marksMax / topic.queues.length));
  const byLane = new Map<string, number>();
  const marks = new Map<string, number>();
  let looked = 0;
  for (const [queueId, queue] of topic.queues.entries()) {
    const end = queues.visibleEnd(queue);
    for (let offset = Math.max(queues.beginOffset(queue), end - each); offset < end; offset++) {
      const { lane } = subscription.ownerOf(queues, queueId, offset);
      byLane.set(lane, (byLane.get(lane) ?? 0) + 1);
      looked++;
      const entry = queues.entry(queue, offset);
      if (offset < end - marksEach || (queues.flags(entry) & EntryFlag.Lost) !== 0) continue;
      const mark = laneMarkAt(log, queues.position(entry));
      if (mark !== undefined) marks.set(mark, (marks.get(mark) ?? 0) + 1);
    }
  }
  return { looked, byLane: Object.fromEntries(byLane), marks: Object.fromEntries(marks) };
}
