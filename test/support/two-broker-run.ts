import { Code } from "../../proto/code.ts";
import { message, type RawV2Client, receiveRequest } from "./raw-v2-client.ts";
import { MeshParts } from "./start-parts.ts";
import { waitUntil } from "./wait-until.ts";

export interface TwoBrokerReport {
  readonly answeredOk: number;
  readonly failed: number;
  /** Acknowledged, and nobody got them. */
  readonly lost: readonly string[];
  /** Stored more than once. */
  readonly doubled: readonly string[];
}

const topic = "two-brokers";
const producerCount = 32;
const consumerCount = 8;
const sendsBefore = 400;
/** Answers to some ten sends: one after the other, the producers get stuck at the broker that is not heard. */
const swallowedBytesMin = 200;

/**
 * Of one of two brokers the answers are swallowed under sends, then its connection breaks: what it stored meanwhile has an outcome
 * that nobody knows. Each message is sent by one call and never again by its client, so what is stored twice was sent twice by the
 * sidecar (S2).
 */
export async function swallowAnswersOfOneOfTwo(): Promise<TwoBrokerReport> {
  const mesh = await MeshParts.start();
  const proxy = await mesh.startBroker("broker-b");
  try {
    const sidecar = await mesh.startSidecar();
    const client = mesh.client(sidecar, "producer");
    await waitUntil("a topic on both brokers", async () => {
      const { messageQueues } = await client.call("QueryRoute", { topic: { name: topic } });
      return new Set(messageQueues.map(({ broker }) => broker?.name)).size === 2;
    });
    const ok = new Set<string>();
    let failed = 0;
    let isSending = true;
    const produce = async (producer: number): Promise<void> => {
      for (let i = 0; isSending; i++) {
        const body = `${producer}-${i}`;
        const answer = await client.call("SendMessage", { messages: [message(topic, body)] }).catch(() => undefined);
        if (answer?.status?.code === Code.Ok) ok.add(body);
        else failed++;
      }
    };
    const producing = Promise.all(Array.from({ length: producerCount }, (_, producer) => produce(producer)));
    await waitUntil("sends", () => ok.size >= sendsBefore, 30_000);
    proxy.isMute = true;
    await waitUntil("swallowed answers", () => proxy.swallowedBytes >= swallowedBytesMin, 30_000);
    proxy.cut();
    isSending = false;
    await producing;

    const seen = new Map<string, number>();
    const consumer = mesh.client(sidecar, "consumer");
    await Promise.all(Array.from({ length: consumerCount }, () => takeAll(consumer, ok, seen)));
    return {
      ...{ answeredOk: ok.size, failed },
      lost: [...ok].filter((body) => !seen.has(body)),
      doubled: [...seen].filter(([, count]) => count > 1).map(([body]) => body),
    };
  } finally {
    proxy.stop();
    await mesh.stop();
  }
}

/** Receives and acks until all that is wanted has come and neither broker has more; gives up after 20 s. */
async function takeAll(client: RawV2Client, wanted: ReadonlySet<string>, seen: Map<string, number>): Promise<void> {
  const endMs = performance.now() + 20_000;
  const request = receiveRequest(topic, topic, {
    longPollingTimeout: { seconds: 0, nanos: 200_000_000 },
    invisibleDuration: { seconds: 60, nanos: 0 },
  });
  for (let empty = 0; empty < 6; ) {
    const { messages } = await client.receive(request);
    const isAll = performance.now() > endMs || [...wanted].every((body) => seen.has(body));
    empty = messages.length === 0 && isAll ? empty + 1 : 0;
    for (const { body } of messages) {
      const text = Buffer.from(body).toString();
      seen.set(text, (seen.get(text) ?? 0) + 1);
    }
    if (messages.length === 0) continue;
    await client.call("AckMessage", {
      ...{ group: { name: topic }, topic: { name: topic } },
      entries: messages.map(({ systemProperties }) => ({
        messageId: systemProperties?.messageId ?? "",
        receiptHandle: systemProperties?.receiptHandle ?? "",
      })),
    });
  }
}
