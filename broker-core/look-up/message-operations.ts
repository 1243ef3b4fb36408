import { z } from "zod";
import { Code } from "../../proto/code.ts";
import { type Now, noPosition, type Operated } from "../broker-port.ts";
import { type LogReader, RecordType } from "../commit-log/log.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { offsetAtTime } from "../operation/group-reset.ts";
import { type ExplainedPlace, explainPlace } from "../operation/lane-explain.ts";
import { type Operation, operation } from "../operation/operations.ts";
import { type MessageView, messageIdAt, messageViewAt, storeMsAt } from "../operation/stored-message.ts";
import { idKey, messageKeyKey, placeKey, targetKey } from "./index-key.ts";
import {
  copyOf,
  copyView,
  endedPosition,
  inShadow,
  isWaiting,
  type MessageCopy,
  mayBeCopiedTo,
  release,
  topicName,
} from "./message-copy.ts";
import { eventOf, type MessageEvent } from "./message-event.ts";
import type { RecordFinder } from "./record-finder.ts";

/** Copies of one id: more is no message, it is a program that gives every message the same id. */
const copiesMax = 16;
const findCountMax = 200;
/** Times that a message is looked for which seems to be none: what a crash cut off stays so, what was on its way comes. */
const looksMax = 3;

const find = z.strictObject({
  topic: z.string(),
  /** One of the message's keys. Left out: all messages of the time. */
  key: z.string().optional(),
  tag: z.string().optional(),
  /** Stored at or after, and before; wall clock, milliseconds since 1970. */
  sinceMs: z.number().optional(),
  untilMs: z.number().optional(),
  count: z.number().int().min(1).max(findCountMax).default(50),
  /** Where the last page ended. */
  from: z.strictObject({ queueId: z.number().int(), offset: z.number().int() }).optional(),
});
type Find = z.infer<typeof find>;

const byId = z.strictObject({
  id: z.string().min(1),
  topic: z.string().optional(),
  /** Copies in topics of other namespaces do not exist for whoever asks. */
  namespace: z.string().optional(),
});
type ById = z.infer<typeof byId>;

/** Looks at so many messages by time in one call; whoever wants more goes on at `next`. */
const examinedMax = 5_000;

/**
 * `message.get`, `message.find`, `message.trace` and `message.explain`, which is a trace with why the message is whose (L12). They read the log between the calls that serve messages; what they say of
 * groups is true at the moment they end.
 */
export function messageOperations(
  tables: BrokerTables,
  log: LogReader,
  finder: RecordFinder,
  monotonicMs: () => number,
): Operation[] {
  /** By id: what `tell` says of each copy of the message that this broker has. */
  const aboutOne = (method: string, tell: (copy: MessageCopy) => object | Promise<object>): Operation =>
    operation(method, byId, (order) =>
      finder.session(async (): Promise<Operated> => {
        const copies = await copiesOf(tables, log, finder, order);
        if (copies.length === 0) return absent(order.id);
        const items: object[] = [];
        for (const copy of copies) items.push(await tell(copy));
        return { ok: true, result: { id: order.id, items }, position: noPosition };
      }),
    );
  return [
    aboutOne("message.get", (copy) => copyView(tables, log, copy, monotonicMs())),
    aboutOne("message.trace", async (copy) => {
      const events = await eventsOf(tables, finder, copy);
      return { ...copyView(tables, log, copy, monotonicMs()), events: [...birth(tables, copy), ...events] };
    }),
    aboutOne("message.explain", async (copy) => {
      const events = await eventsOf(tables, finder, copy);
      const explained = explainCopy(tables, log, copy, monotonicMs());
      const view = copyView(tables, log, copy, monotonicMs());
      return { ...view, ...explained, events: [...birth(tables, copy), ...events] };
    }),
    operation("message.find", find, (order, now) =>
      finder.session(async (): Promise<Operated> => {
        const topic = tables.topics.byName(order.topic);
        if (topic === undefined) {
          return { ok: false, code: Code.TopicNotFound, message: `this broker holds no topic "${order.topic}"` };
        }
        const result =
          order.key === undefined
            ? byTime(tables, log, order, now)
            : await byKey(tables, log, finder, order, order.key, topic.id);
        return { ok: true, result, position: noPosition };
      }),
    ),
  ];
}

/** Nothing is explained of a message that is in no queue, or in none any more. */
function explainCopy(tables: BrokerTables, log: LogReader, copy: MessageCopy, monotonicMs: number): ExplainedPlace {
  const topic = tables.topics.byId(copy.topicId);
  const queue = topic?.queues[copy.queueId];
  const { queues } = tables;
  const isThere =
    topic !== undefined &&
    queue !== undefined &&
    copy.standing === "visible" &&
    copy.offset >= queues.beginOffset(queue) &&
    copy.offset < queues.visibleEnd(queue);
  if (!isThere) return { laneMark: messageViewAt(log, copy.position)?.laneMark ?? null, groups: [] };
  return explainPlace(tables, log, topic, copy.queueId, copy.offset, monotonicMs);
}

function absent(id: string): Operated {
  const message = `this broker holds no message "${id}"; it was never stored here, or retention has taken it`;
  return { ok: false, code: Code.MessageNotFound, message };
}

/**
 * A message whose waiting ends in this very moment is in no table any more, and the record that ends it is not written yet: then it is
 * looked for again.
 */
async function copiesOf(
  tables: BrokerTables,
  log: LogReader,
  finder: RecordFinder,
  order: ById,
): Promise<MessageCopy[]> {
  for (let look = 1; ; look++) {
    const { copies, isUnsettled } = await lookFor(tables, log, finder, order);
    if (!isUnsettled || look === looksMax) return copies;
    await finder.pause();
  }
}

async function lookFor(
  tables: BrokerTables,
  log: LogReader,
  finder: RecordFinder,
  { id, topic, namespace }: ById,
): Promise<{ readonly copies: MessageCopy[]; readonly isUnsettled: boolean }> {
  const copies: MessageCopy[] = [];
  const isAsked = ({ topicId }: MessageCopy): boolean => topic === undefined || topicName(tables, topicId) === topic;
  await finder.each([idKey(Buffer.from(id))], 0, (record) => {
    if (messageIdAt(log, record.position) !== id) return true;
    const copy = copyOf(log, log.read(record.position), copies);
    const isMeant =
      copy !== undefined &&
      wasStored(tables, copy) &&
      (isAsked(copy) || (topic !== undefined && mayBeCopiedTo(tables, copy, topic))) &&
      (namespace === undefined || topicName(tables, copy.topicId).startsWith(`${namespace}/`));
    if (isMeant) copies.push(copy);
    return copies.length < copiesMax;
  });
  const settled = await ended(tables, finder, copies);
  const all = settled.flatMap((copy) => {
    const there = inShadow(tables, copy);
    return there === undefined ? [copy] : [copy, there];
  });
  return { copies: all.filter(isAsked), isUnsettled: settled.length < copies.length };
}

/** What became of the copies that were stored unseen; without those that never were. */
async function ended(tables: BrokerTables, finder: RecordFinder, copies: MessageCopy[]): Promise<MessageCopy[]> {
  const byHolder = new Map<number, MessageCopy>();
  for (const copy of copies) {
    if (copy.standing !== "waiting") continue;
    for (const position of copy.holders) byHolder.set(position, copy);
  }
  if (byHolder.size === 0) return copies;
  const holders = [...byHolder.keys()];
  await finder.each(holders.map(targetKey), Math.min(...holders), (record) => {
    const copy = byHolder.get(endedPosition(record));
    if (copy?.standing === "waiting") release(copy, record);
    return true;
  });
  return copies.filter((copy) => copy.standing !== "waiting" || isWaiting(tables, copy));
}

/** False for a message of a send of several that a crash cut off: its place is another's. */
function wasStored({ topics, queues }: BrokerTables, copy: MessageCopy): boolean {
  const queue = copy.standing === "visible" ? topics.byId(copy.topicId)?.queues[copy.queueId] : undefined;
  if (queue === undefined || copy.offset < queues.beginOffset(queue)) return true;
  return copy.offset < queues.endOffset(queue) && queues.position(queues.entry(queue, copy.offset)) === copy.position;
}

/** Everything that happened to a copy after it became visible, group by group in the order of the log. */
async function eventsOf(tables: BrokerTables, finder: RecordFinder, copy: MessageCopy): Promise<MessageEvent[]> {
  const events: MessageEvent[] = [];
  if (copy.standing !== "visible") return events;
  await finder.each([placeKey(copy.topicId, copy.queueId, copy.offset)], copy.position, (record) => {
    const event = eventOf(tables, record, copy);
    if (event !== undefined) events.push(event);
    return true;
  });
  return events;
}

/** How it came into being, as events without a group. */
function birth(tables: BrokerTables, copy: MessageCopy): object[] {
  const { releasedBy, storedMs, position } = copy;
  const own = `queue ${copy.queueId} of ${topicName(tables, copy.topicId)} at offset ${copy.offset}`;
  const { mirrorOf: origin } = copy;
  const queue = origin === undefined ? own : `${own}, as a copy of ${topicName(tables, origin.topicId)}`;
  if (releasedBy === undefined) {
    const event = copy.standing === "waiting" ? "stored, not visible yet" : `stored in ${queue}`;
    return [{ atMs: storedMs, event, position }];
  }
  return [
    { atMs: storedMs, event: "stored, not visible yet", position },
    { atMs: releasedBy.atMs, event: releaseText(releasedBy.type, queue), position: releasedBy.position },
  ];
}

function releaseText(type: RecordType, queue: string): string {
  switch (type) {
    case RecordType.Commit:
      return `its transaction was committed: visible in ${queue}`;
    case RecordType.Rollback:
      return "its transaction was rolled back";
    case RecordType.Recall:
      return "its producer took it back before its time";
    default:
      return `its time came: visible in ${queue}`;
  }
}

async function byKey(
  tables: BrokerTables,
  log: LogReader,
  finder: RecordFinder,
  order: Find,
  key: string,
  topicId: number,
): Promise<object> {
  const copies: MessageCopy[] = [];
  const messages = new Map<MessageCopy, MessageView>();
  let hasMore = false;
  await finder.each([messageKeyKey(Buffer.from(key))], 0, (record) => {
    const copy = copyOf(log, record, copies);
    if (copy === undefined || !wasStored(tables, copy) || !isInTime(order, copy.storedMs)) return true;
    if (copy.topicId !== topicId && !mayBeCopiedTo(tables, copy, order.topic)) return true;
    const message = messageViewAt(log, record.position);
    if (message === undefined || !message.keys.includes(key)) return true;
    if (order.tag !== undefined && message.tag !== order.tag) return true;
    hasMore = copies.length === order.count;
    if (hasMore) return false;
    copies.push(copy);
    messages.set(copy, message);
    return true;
  });
  const items = (await ended(tables, finder, copies)).flatMap((copy) => {
    const there = copy.topicId === topicId ? copy : inShadow(tables, copy);
    if (there?.topicId !== topicId) return [];
    return [{ ...copyLine(tables, there), ...messages.get(copy), storedMs: copy.storedMs }];
  });
  return { topic: order.topic, items, next: null, hasMore };
}

/** The messages of a time, queue by queue in order of offset. */
function byTime(tables: BrokerTables, log: LogReader, order: Find, now: Now): object {
  const { queues } = tables;
  const topic = tables.topics.byName(order.topic)!;
  const items: object[] = [];
  let examined = 0;
  for (let queueId = order.from?.queueId ?? 0; queueId < topic.queues.length; queueId++) {
    const queue = topic.queues[queueId]!;
    const end = offsetAtTime(queues, log, queue, order.untilMs ?? now.wallMs + 1);
    const begin = offsetAtTime(queues, log, queue, order.sinceMs ?? 0);
    const resumeAt = order.from?.queueId === queueId ? order.from.offset : begin;
    for (let offset = Math.max(begin, resumeAt); offset < end; offset++) {
      if (items.length === order.count || examined++ === examinedMax) {
        return { topic: order.topic, items, next: { queueId, offset }, hasMore: true };
      }
      const entry = queues.entry(queue, offset);
      if ((queues.flags(entry) & EntryFlag.Lost) !== 0) continue;
      const position = queues.position(entry);
      const message = messageViewAt(log, position);
      if (message === undefined || (order.tag !== undefined && message.tag !== order.tag)) continue;
      const storedMs = storeMsAt(log, position) ?? message.storedMs;
      items.push({ topic: order.topic, standing: "visible", queueId, offset, position, ...message, storedMs });
    }
  }
  return { topic: order.topic, items, next: null, hasMore: false };
}

function isInTime({ sinceMs = Number.NEGATIVE_INFINITY, untilMs = Number.POSITIVE_INFINITY }: Find, ms: number) {
  return ms >= sinceMs && ms < untilMs;
}

function copyLine(tables: BrokerTables, copy: MessageCopy): object {
  const { standing, queueId, offset, position } = copy;
  return {
    ...{ topic: topicName(tables, copy.topicId), standing, position },
    queueId: queueId < 0 ? null : queueId,
    offset: offset < 0 ? null : offset,
  };
}
