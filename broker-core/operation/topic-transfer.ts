import { z } from "zod";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { type Now, noPosition, type Opened, type Operated, type TopicOpening } from "../broker-port.ts";
import { type LogReader, type LogWriter, RecordType } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { messageBytesMax, type Sender } from "../dispatch/sender.ts";
import { messageBodyStart, messageBornHost, messageLaneMark, messageStoreMs } from "../record/message-record.ts";
import { releaseNumber } from "../record/release-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import type { Topic } from "../topic/topic.ts";
import { type Operation, operation } from "./operations.ts";
import { storeMsAt } from "./stored-message.ts";

/** Messages and bytes of one page; base64 and JSON make it half as large again, and a frame holds 16 MiB. */
const pageCountMax = 500;
const pageBytesMax = 4 * 1024 * 1024;
/** Rows of waiting messages looked at for one page: a topic may have few among millions. */
const rowsMax = 50_000;

const codec = new GeneralCodec<apache.rocketmq.v2.Message, apache.rocketmq.v2.IMessage>(
  apache.rocketmq.v2.Message,
  "apache.rocketmq.v2.Message",
);

/** The topic as the control plane has it: nobody may have used it here yet. */
const opening = z.strictObject({
  incarnation: z.number().int(),
  messageTypes: z.number().int(),
  queueCount: z.number().int(),
});

const item = z.strictObject({
  /** Null: it waits for the delivery time that it carries. */
  queueId: z.number().int().min(0).nullable(),
  /** apache.rocketmq.v2.Message, base64. */
  message: z.string(),
  bornHost: z.string().max(255),
  laneMark: z.string().max(255),
});

/**
 * `topic.export` and `topic.import`: a topic's messages out of one broker and into another. What waits for its time comes page by
 * page in the order of the table's rows, what is visible queue by queue.
 */
export function topicTransfer(
  tables: BrokerTables,
  log: LogReader & LogWriter,
  sender: Sender,
  openTopic: (opening: TopicOpening, now: Now) => Opened,
): Operation[] {
  const page = z.strictObject({
    topic: z.string(),
    /** Null: what waits for its time. */
    queueId: z.number().int().min(0).nullable(),
    /** Offset, or row; 0, then what the page before gave as `next`. */
    from: z.number().int().min(0),
  });
  return [
    operation("topic.export", page, (order): Operated | Promise<Operated> => {
      const topic = tables.topics.byName(order.topic);
      // A topic that nobody has used here is empty.
      if (topic === undefined) {
        return { ok: true, result: { queueCount: 0, items: [], damaged: [], next: null }, position: noPosition };
      }
      if (order.queueId === null) return waitingPage(tables, log, topic, order.from);
      const queue = topic.queues[order.queueId];
      if (queue === undefined) return noQueue(order.topic, order.queueId);
      const { queues } = tables;
      const end = queues.visibleEnd(queue);
      const items: object[] = [];
      const damaged: number[] = [];
      let bytes = 0;
      let offset = Math.max(order.from, queues.beginOffset(queue));
      for (; offset < end && items.length < pageCountMax; offset++) {
        const entry = queues.entry(queue, offset);
        if (items.length > 0 && bytes + queues.bytes(entry) > pageBytesMax) break;
        bytes += queues.bytes(entry);
        const isLost = (queues.flags(entry) & EntryFlag.Lost) !== 0;
        const view = isLost ? undefined : readItem(log, queues.position(entry));
        if (view === undefined) damaged.push(offset);
        else items.push({ queueId: order.queueId, offset, ...view });
      }
      const result = { queueCount: topic.queues.length, items, damaged, next: offset < end ? offset : null };
      return { ok: true, result, position: noPosition };
    }),
    operation(
      "topic.import",
      z.strictObject({ topic: z.string(), opening, items: z.array(item).min(1).max(pageCountMax) }),
      (order, now): Operated => {
        const opened = openTopic({ name: order.topic, ...order.opening }, now);
        if (!opened.ok) return opened;
        const topic = tables.topics.byId(opened.id);
        let { position } = opened;
        for (const [i, { queueId, message, bornHost, laneMark }] of order.items.entries()) {
          if (topic === undefined || (queueId !== null && topic.queues[queueId] === undefined))
            return noQueue(order.topic, queueId ?? 0);
          const bytes = Buffer.from(message, "base64");
          if (bytes.length > messageBytesMax || !isMessage(bytes)) {
            return { ok: false, code: Code.MessageCorrupted, message: `item ${i} of the page is no message` };
          }
          const call = { topicId: topic.id, laneMark, bornHost, messages: [bytes] };
          const sent = queueId === null ? sender.restoreTimed(call, now) : sender.restore(call, queueId, now);
          // Those before it are stored: the caller learns how far it came.
          if (!sent.ok)
            return { ...sent, message: `${i} of ${order.items.length} were imported, then: ${sent.message}` };
          position = sent.position;
        }
        return { ok: true, result: { imported: order.items.length }, position };
      },
    ),
  ];
}

/** A page of what waits for its time in a topic, from row `from` on. */
function waitingPage(
  tables: BrokerTables,
  log: LogReader & LogWriter,
  topic: Topic,
  from: number,
): Operated | Promise<Operated> {
  const { waiting, transactions } = tables;
  const items: object[] = [];
  const damaged: number[] = [];
  let bytes = 0;
  let row = from;
  const end = Math.min(waiting.end, from + rowsMax);
  for (; row < end && items.length < pageCountMax && bytes < pageBytesMax; row++) {
    const timedNumber = waiting.number(row);
    if (timedNumber === 0 || waiting.topicId(row) !== topic.id) continue;
    const position = waiting.position(row);
    if (position >= log.writtenPosition) {
      // Stored or carried in this turn: it can be read when that is written.
      if (items.length + damaged.length > 0) break;
      return new Promise((resolve) => log.whenWritten(position, () => resolve(waitingPage(tables, log, topic, row))));
    }
    const view = readItem(log, position);
    if (view === undefined) damaged.push(timedNumber);
    else {
      items.push({ ...view, timedNumber, dueMs: waiting.dueMs(row) });
      bytes += view.message.length;
    }
  }
  const result = {
    queueCount: topic.queues.length,
    openTransactions: transactions.countOf(topic.id),
    ...{ items, damaged, next: row < waiting.end ? row : null },
  };
  return { ok: true, result, position: noPosition };
}

function isUnseen(type: RecordType): boolean {
  return type === RecordType.TimedMessage || type === RecordType.Carry;
}

/** What an item says wherever it lies. */
interface Item {
  /** Of a message that was released at its time, or waits for it: its number at this broker. */
  readonly timedNumber?: number;
  readonly storedMs: number;
  readonly bornHost: string;
  readonly laneMark: string;
  readonly message: string;
}

/** Undefined when the bytes are damaged. */
function readItem(log: LogReader, position: number): Item | undefined {
  try {
    const record = log.read(position);
    const timedNumber = record.type === RecordType.Due ? releaseNumber(record.body, 0) : undefined;
    const storedMs = isUnseen(record.type) ? undefined : storeMsAt(log, position);
    const { body, start } = readStoredMessage(log, position);
    return {
      ...(timedNumber === undefined ? {} : { timedNumber }),
      storedMs: storedMs ?? messageStoreMs(body, start),
      bornHost: messageBornHost(body, start),
      laneMark: messageLaneMark(body, start),
      message: body.toString("base64", messageBodyStart(body, start)),
    };
  } catch (error) {
    if (isUnreadable(error)) return undefined;
    throw error;
  }
}

function isMessage(bytes: Buffer): boolean {
  try {
    return (codec.decode(bytes).systemProperties?.messageId ?? "") !== "";
  } catch (error) {
    if (error instanceof MeshError) return false;
    throw error;
  }
}

function noQueue(topic: string, queueId: number): Operated {
  return { ok: false, code: Code.TopicNotFound, message: `this broker holds no queue ${queueId} of topic "${topic}"` };
}
