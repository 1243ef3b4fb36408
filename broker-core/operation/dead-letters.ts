import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { noPosition, type Operated } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import { RecordType } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { LeaseState, none } from "../pop/lease-table.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type DeadLetterRecord, deadLetterReasonText, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { deadLetterTopicName } from "../topic/topic.ts";
import { type Operation, operation } from "./operations.ts";
import { messageViewAt } from "./stored-message.ts";

/** Dead letters looked at by one call: each is a read of the log. Whoever wants more goes on at `next`. */
const examinedMax = 2_000;
/** Of those, given back or redriven by one call. */
const countMax = 500;

/** Which dead letters are meant; what is left out does not matter. */
const filter = z.strictObject({
  /** Qualified name of the topic they died in. */
  topic: z.string().optional(),
  reason: z.enum(["attempts-exhausted", "forwarded"]).optional(),
  /** Died at or after, and before; wall clock, milliseconds since 1970. */
  sinceMs: z.number().optional(),
  untilMs: z.number().optional(),
  messageIds: z.array(z.string()).max(countMax).optional(),
});

const range = filter.extend({
  group: z.string(),
  /** Offset in the dead-letter queue. */
  from: z.number().int().min(0).default(0),
  count: z.number().int().min(1).max(countMax).default(100),
});
type Range = z.infer<typeof range>;

const reasonNumber = { "attempts-exhausted": 1, forwarded: 2 } as const;

/**
 * What has become of a dead letter. "dead": it waits here; "redriven": it went back to its group (and may have died again, as a
 * later entry); "gone": its topic was deleted.
 */
type DeadLetterState = "dead" | "redriven" | "gone";

interface Entry {
  readonly offset: number;
  readonly position: number;
  readonly record: DeadLetterRecord;
  readonly state: DeadLetterState;
  /** Where it can be redriven to. */
  readonly subscription: Subscription | undefined;
}

/** `dlq.list`, `dlq.show` and `dlq.redrive`. */
export function deadLetterOperations(
  tables: BrokerTables,
  log: LogReader,
  journal: Journal,
  onRedriven: (subscription: Subscription) => void,
): Operation[] {
  return [
    operation("dlq.list", range, (order): Operated => {
      const { entries, next } = select(tables, log, order);
      return { ok: true, result: { group: order.group, items: entries.map(view), next }, position: noPosition };
    }),
    operation("dlq.show", z.strictObject({ group: z.string(), messageId: z.string() }), (order): Operated => {
      let from = 0;
      for (;;) {
        const wanted = { ...order, messageIds: [order.messageId], from, count: 1 };
        const { entries, next } = select(tables, log, wanted);
        const [entry] = entries;
        if (entry !== undefined) {
          const message = messageViewAt(log, entry.position) ?? null;
          return { ok: true, result: { ...view(entry), message }, position: noPosition };
        }
        if (next === null) break;
        from = next;
      }
      const message = `no message "${order.messageId}" lies in the dead-letter queue of ${order.group} on this broker`;
      return { ok: false, code: Code.MessageNotFound, message };
    }),
    operation("dlq.redrive", range.extend({ dryRun: z.boolean().default(false) }), (order, now): Operated => {
      const { entries, next } = select(tables, log, order, (entry) => entry.state === "dead");
      let position = noPosition;
      for (const { record, subscription } of order.dryRun ? [] : entries) {
        const { groupId, topicId, queueId, offset } = record;
        position = journal.redrive({ groupId, topicId, queueId, offset, wallMs: now.wallMs });
        onRedriven(subscription!);
      }
      const messageIds = entries.map(({ record }) => record.messageId);
      return { ok: true, result: { group: order.group, dryRun: order.dryRun, messageIds, next }, position };
    }),
  ];
}

/** The dead letters that an order means, and where to go on; `next` is null at the end of the queue. */
function select(
  tables: BrokerTables,
  log: LogReader,
  order: Range,
  isWanted: (entry: Entry) => boolean = () => true,
): { readonly entries: Entry[]; readonly next: number | null } {
  const { queues, topics } = tables;
  const [queue] = topics.byName(deadLetterTopicName(order.group))?.queues ?? [];
  const entries: Entry[] = [];
  if (queue === undefined) return { entries, next: null };
  const end = queues.visibleEnd(queue);
  let offset = Math.max(order.from, queues.beginOffset(queue));
  for (let examined = 0; offset < end; offset++, examined++) {
    if (examined === examinedMax || entries.length === order.count) return { entries, next: offset };
    const place = queues.entry(queue, offset);
    if ((queues.flags(place) & EntryFlag.Lost) !== 0) continue;
    const entry = readEntry(tables, log, queues.position(place), offset);
    if (entry !== undefined && isMeant(order, entry.record) && isWanted(entry)) entries.push(entry);
  }
  return { entries, next: null };
}

/** Undefined for a message that somebody sent to the dead-letter topic, and for damaged bytes. */
function readEntry(tables: BrokerTables, log: LogReader, position: number, offset: number): Entry | undefined {
  try {
    const { type, body } = log.read(position);
    if (type !== RecordType.DeadLetter) return undefined;
    const record = readDeadLetterRecord(body, 0, body.length);
    const subscription = tables.subscription(record.groupId, record.topicId);
    return { offset, position, record, state: stateOf(tables, subscription, record), subscription };
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

function stateOf(
  { leases }: BrokerTables,
  subscription: Subscription | undefined,
  { queueId, offset, generation }: DeadLetterRecord,
): DeadLetterState {
  if (subscription === undefined) return "gone";
  const slot = leases.find(subscription.slot, queueId, offset);
  if (slot !== none && leases.state[slot] === LeaseState.Dead && leases.generation[slot] === generation) return "dead";
  // Acknowledged after a redrive, or forgotten by a reset: either way the group has been given it anew.
  return "redriven";
}

function isMeant(order: Range, record: DeadLetterRecord): boolean {
  return (
    (order.topic === undefined || record.originTopic === order.topic) &&
    (order.reason === undefined || record.reason === reasonNumber[order.reason]) &&
    (order.sinceMs === undefined || record.deadMs >= order.sinceMs) &&
    (order.untilMs === undefined || record.deadMs < order.untilMs) &&
    (order.messageIds === undefined || order.messageIds.includes(record.messageId))
  );
}

function view({ offset, record, state }: Entry): object {
  return {
    offset,
    state,
    messageId: record.messageId,
    topic: record.originTopic,
    queueId: record.queueId,
    queueOffset: record.offset,
    reason: deadLetterReasonText(record.reason),
    attempts: record.attempts,
    lastHolder: record.lastHolder,
    lane: record.lane,
    laneRule: record.laneRule ?? null,
    firstHandedOutMs: record.firstPopMs,
    deadMs: record.deadMs,
  };
}
