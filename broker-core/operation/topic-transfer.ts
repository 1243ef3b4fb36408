import { z } from "zod";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { type Now, noPosition, type Opened, type Operated, type TopicOpening } from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { messageBytesMax, type Sender } from "../dispatch/sender.ts";
import { messageBodyStart, messageBornHost, messageLaneMark } from "../record/message-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import { StorageError } from "../storage/storage.ts";
import { type Operation, operation } from "./operations.ts";
import { storeMsAt } from "./stored-message.ts";

/** Messages and bytes of one page; base64 and JSON make it half as large again, and a frame holds 16 MiB. */
const pageCountMax = 500;
const pageBytesMax = 4 * 1024 * 1024;

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
  queueId: z.number().int().min(0),
  /** apache.rocketmq.v2.Message, base64. */
  message: z.string(),
  bornHost: z.string().max(255),
  laneMark: z.string().max(255),
});

/** `topic.export` and `topic.import`: a topic's visible messages, queue by queue, out of one broker and into another. */
export function topicTransfer(
  tables: BrokerTables,
  log: LogReader,
  sender: Sender,
  openTopic: (opening: TopicOpening, now: Now) => Opened,
): Operation[] {
  const page = z.strictObject({ topic: z.string(), queueId: z.number().int().min(0), from: z.number().int().min(0) });
  return [
    operation("topic.export", page, (order): Operated => {
      const topic = tables.topics.byName(order.topic);
      // A topic that nobody has used here is empty.
      if (topic === undefined) {
        return { ok: true, result: { queueCount: 0, items: [], damaged: [], next: null }, position: noPosition };
      }
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
        const view = readItem(log, queues.position(entry));
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
          if (topic?.queues[queueId] === undefined) return noQueue(order.topic, queueId);
          const bytes = Buffer.from(message, "base64");
          if (bytes.length > messageBytesMax || !isMessage(bytes)) {
            return { ok: false, code: Code.MessageCorrupted, message: `item ${i} of the page is no message` };
          }
          const sent = sender.restore({ topicId: topic.id, laneMark, bornHost, messages: [bytes] }, queueId, now);
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

/** Undefined when the bytes are damaged. */
function readItem(log: LogReader, position: number): object | undefined {
  try {
    const storedMs = storeMsAt(log, position);
    const { body, start } = readStoredMessage(log, position);
    return {
      storedMs,
      bornHost: messageBornHost(body, start),
      laneMark: messageLaneMark(body, start),
      message: body.toString("base64", messageBodyStart(body, start)),
    };
  } catch (error) {
    if (error instanceof StorageError) return undefined;
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
