import { createHash } from "node:crypto";
import { apache } from "#codec/rocketmq-v2";
import type { BrokerPort, SubscriptionFigures, TopicFigures } from "../../broker-core/broker-port.ts";

/** What is to be found in a broker: everything that a client could ask for. */
export interface BrokerView {
  readonly topics: readonly TopicFigures[];
  readonly subscriptions: readonly SubscriptionFigures[];
  readonly queues: readonly QueueView[];
}

interface QueueView {
  readonly topic: string;
  readonly queueId: number;
  readonly begin: number;
  readonly end: number;
  /** [offset, message id, digest of the client's message, store time, lane mark, host, what it died of]; of a copy also whose it is. */
  readonly messages: readonly (readonly [number, string, string, number, string, string, string, string?])[];
  /** Group to its offset. */
  readonly positions: Readonly<Record<string, number>>;
}

const readAllFilter = { filterType: 1, filter: "*", bytesMax: 0 };

/** Looks without changing anything. `groupIds`: the groups whose positions are asked for, by name. */
export function viewBroker(state: BrokerPort, groupIds: ReadonlyMap<string, number>): BrokerView {
  const topics = state.topics().sort((a, b) => a.id - b.id);
  const subscriptions = state.subscriptions().sort((a, b) => order(`${a.group} ${a.topic}`, `${b.group} ${b.topic}`));
  const queues = topics.flatMap(({ id, name, queueCount }) =>
    Array.from({ length: queueCount }, (_, queueId) => {
      const at = { topicId: id, groupId: 0, queueId, value: 0 };
      const begin = offsetOf(state, { ...at, policy: "begin" });
      const end = offsetOf(state, { ...at, policy: "end" });
      const messages = messagesOf(state, id, queueId, begin, [...groupIds.values()][0]!);
      const read = subscriptions.filter(({ topic, group }) => topic === name && groupIds.has(group));
      const positions = Object.fromEntries(
        read.map(({ group }) => [group, offsetOf(state, { ...at, policy: "group", groupId: groupIds.get(group)! })]),
      );
      return { topic: name, queueId, begin, end, messages, positions };
    }),
  );
  return { topics, subscriptions, queues };
}

function offsetOf(state: BrokerPort, call: Parameters<BrokerPort["queryOffset"]>[0]): number {
  const found = state.queryOffset(call);
  if (!found.ok) throw new Error(found.message);
  return found.offset;
}

function messagesOf(
  state: BrokerPort,
  topicId: number,
  queueId: number,
  begin: number,
  groupId: number,
): QueueView["messages"] {
  const messages: QueueView["messages"][number][] = [];
  for (let offset = begin; ; ) {
    const pulled = state.pull({ topicId, groupId, queueId, offset, batch: 32, ...readAllFilter });
    if (!pulled.ok) throw new Error(pulled.message);
    for (const { bytes, offset: at, storeMs, laneMark, bornHost, deadLetter, mirrorOf } of pulled.messages) {
      const id = apache.rocketmq.v2.Message.decode(bytes).systemProperties?.messageId ?? "";
      const digest = createHash("sha256").update(bytes).digest("hex");
      const death = deadLetter === undefined ? "" : JSON.stringify(deadLetter);
      const found = [at, id, digest, storeMs, laneMark, bornHost, death] as const;
      messages.push(mirrorOf === "" ? found : [...found, mirrorOf]);
    }
    offset = pulled.nextOffset;
    if (pulled.isAtEnd) return messages;
  }
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
