import { type MessageView, Producer, SimpleConsumer } from "rocketmq-client-nodejs";
import { quietLogger } from "./quiet-logger.ts";

const invisibleMs = 60_000;
const groupCount = 12;
/** The first message groups are handled so slowly that they always have a backlog. */
const slowGroups = 2;
const slowMs = 60;
const sendPauseMs = 15;
/** A producer is so many messages ahead of who handles them at most. */
const aheadMax = 30;

export interface OrderedLoadReport {
  readonly sent: number;
  readonly sendErrors: readonly string[];
  readonly lost: readonly string[];
  readonly doubled: readonly string[];
  /** Handled after a later one of their message group. */
  readonly overtaken: readonly string[];
}

/**
 * An application on the official SDK with message groups: each has one producer that waits for every answer, and sends by way of one
 * sidecar after the other. What it handled, and in which order, is written down.
 */
export class OrderedLoad {
  readonly #topic: string;
  readonly #producers: readonly Producer[];
  readonly #consumers: readonly SimpleConsumer[];
  readonly #sent = Array.from({ length: groupCount }, () => 0);
  readonly #handled = Array.from({ length: groupCount }, (): number[] => []);
  readonly #sendErrors: string[] = [];
  /** Messages whose first send may have been stored though it failed: sent again by the application, they may be there twice. */
  readonly #uncertain = new Set<string>();
  #isSending = true;
  #isReceiving = true;
  #sending: Promise<unknown> = Promise.resolve();
  #receiving: Promise<unknown> = Promise.resolve();

  constructor(endpoints: readonly string[], topic: string, consumerGroup: string) {
    this.#topic = topic;
    // A machine that is busy with other tests is no failure of the mesh.
    const common = { namespace: "", logger: quietLogger, requestTimeout: 20_000 };
    this.#producers = endpoints.map(
      (at) => new Producer({ ...common, endpoints: at, topics: [topic], maxAttempts: 1 }),
    );
    this.#consumers = endpoints.map(
      (at) =>
        new SimpleConsumer({
          ...{ ...common, endpoints: at, consumerGroup },
          subscriptions: new Map([[topic, "*"]]),
          awaitDuration: 1_000,
        }),
    );
  }

  async start(): Promise<void> {
    for (const consumer of this.#consumers) await consumer.startup();
    for (const producer of this.#producers) await producer.startup();
    // Twice: each of them waits at one broker at a time.
    this.#receiving = Promise.all([...this.#consumers, ...this.#consumers].map((consumer) => this.#receive(consumer)));
    this.#sending = Promise.all(Array.from({ length: groupCount }, (_, group) => this.#send(group)));
  }

  get sentCount(): number {
    return this.#sent.reduce((sum, count) => sum + count, 0);
  }

  /** How many are not handled, by message group. */
  get left(): string {
    return this.#sent.map((count, group) => count - new Set(this.#handled[group]).size).join(" ");
  }

  get isAllHandled(): boolean {
    return this.#handled.every((handled, group) => new Set(handled).size === this.#sent[group]);
  }

  async stopSending(): Promise<void> {
    this.#isSending = false;
    await this.#sending;
  }

  async stop(): Promise<OrderedLoadReport> {
    await this.stopSending();
    this.#isReceiving = false;
    await this.#receiving;
    for (const client of [...this.#producers, ...this.#consumers]) await client.shutdown();
    const all = this.#handled.flatMap((handled, group) =>
      handled.map((number, at) => ({ handled, group, number, at })),
    );
    return {
      sent: this.sentCount,
      sendErrors: this.#sendErrors,
      lost: this.#sent.flatMap((count, group) =>
        Array.from({ length: count }, (_, number) => number)
          .filter((number) => !this.#handled[group]!.includes(number))
          .map((number) => `${group}-${number}`),
      ),
      doubled: all
        .filter(({ handled, number, at }) => handled.indexOf(number) < at)
        .map(({ group, number }) => `${group}-${number}`)
        .filter((name) => !this.#uncertain.has(name)),
      overtaken: all
        .filter(({ handled, number, at }) => at > 0 && handled[at - 1]! > number)
        .map(({ group, number, handled, at }) => `${group}-${number} after ${group}-${handled[at - 1]}`),
    };
  }

  async #send(group: number): Promise<void> {
    while (this.#isSending) {
      const number = this.#sent[group]!;
      if (number - this.#handled[group]!.length >= aheadMax) {
        await pause(sendPauseMs);
        continue;
      }
      const producer = this.#producers[(number + group) % this.#producers.length]!;
      try {
        const body = Buffer.from(`${group}-${number}`);
        await producer.send({ topic: this.#topic, messageGroup: `account-${group}`, body });
        this.#sent[group] = number + 1;
        await pause(sendPauseMs);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        this.#sendErrors.push(text);
        if (!isHeldBack(text)) this.#uncertain.add(`${group}-${number}`);
        await pause(100);
      }
    }
  }

  async #receive(consumer: SimpleConsumer): Promise<void> {
    while (this.#isReceiving) {
      let messages: MessageView[] = [];
      try {
        messages = await consumer.receive(groupCount, invisibleMs);
      } catch {
        // A broker that is gone, or a route that is not there yet: the next one tells.
        await pause(50);
      }
      await Promise.all(messages.map((message) => this.#handle(consumer, message)));
    }
  }

  async #handle(consumer: SimpleConsumer, message: MessageView): Promise<void> {
    const [group = 0, number = 0] = message.body.toString().split("-").map(Number);
    if (group < slowGroups) await pause(slowMs);
    this.#handled[group]!.push(number);
    while (this.#isReceiving) {
      try {
        await consumer.ack(message);
        return;
      } catch {
        await pause(50);
      }
    }
  }
}

/** The broker is drained, and the message group has a backlog there for longer than its patience. Nothing was stored. */
export function isHeldBack(text: string): boolean {
  return text.includes("earlier messages of the message group");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
