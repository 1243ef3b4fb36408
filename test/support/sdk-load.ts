import { type MessageView, Producer, SimpleConsumer } from "rocketmq-client-nodejs";
import { quietLogger } from "./quiet-logger.ts";

const invisibleMs = 10_000;

export interface SdkLoadReport {
  /** Sends that were answered OK. */
  readonly sent: number;
  readonly sendErrors: number;
  readonly acked: number;
  /** Acknowledged sends that nobody ever received. */
  readonly lost: readonly string[];
  /** Received again although their ack had been answered OK before that receive was asked. */
  readonly redeliveredAfterAck: readonly string[];
  /** Received more than once without a successful ack between: legal, only counted. */
  readonly duplicates: number;
  /** Received but never sent. */
  readonly phantoms: readonly string[];
}

/**
 * An application on the official SDK that sends and consumes as fast as it is let, through whatever happens to the mesh, and
 * keeps book of every answer it got.
 */
export class SdkLoad {
  readonly #topic: string;
  readonly #producer: Producer;
  readonly #consumer: SimpleConsumer;
  readonly #sentOk = new Set<string>();
  readonly #attempted = new Set<string>();
  readonly #received = new Map<string, number>();
  readonly #ackedAtMs = new Map<string, number>();
  readonly #redeliveredAfterAck: string[] = [];
  readonly #phantoms: string[] = [];
  #sendErrors = 0;
  #isSending = false;
  #isReceiving = false;
  #loops: Promise<void>[] = [];
  #next = 0;

  constructor(endpoint: string, topic: string, group: string) {
    this.#topic = topic;
    // One attempt: a send whose answer a kill swallowed, sent again by the SDK, would be two messages with one body.
    this.#producer = new Producer({
      endpoints: endpoint,
      namespace: "",
      topics: [topic],
      logger: quietLogger,
      maxAttempts: 1,
    });
    this.#consumer = new SimpleConsumer({
      endpoints: endpoint,
      namespace: "",
      logger: quietLogger,
      consumerGroup: group,
      subscriptions: new Map([[topic, "*"]]),
      awaitDuration: 2_000,
    });
  }

  get sentCount(): number {
    return this.#sentOk.size;
  }

  get ackedCount(): number {
    return this.#ackedAtMs.size;
  }

  async start(senders = 4, receivers = 2): Promise<void> {
    await this.#producer.startup();
    await this.#consumer.startup();
    this.#isSending = true;
    this.#isReceiving = true;
    this.#loops = [
      ...Array.from({ length: senders }, () => this.#sendLoop()),
      ...Array.from({ length: receivers }, () => this.#receiveLoop()),
    ];
  }

  stopSending(): void {
    this.#isSending = false;
  }

  /** Everything acknowledged has been received and acked. */
  get isDrained(): boolean {
    for (const body of this.#sentOk) if (!this.#ackedAtMs.has(body)) return false;
    return true;
  }

  async stop(): Promise<SdkLoadReport> {
    this.#isSending = false;
    this.#isReceiving = false;
    await Promise.all(this.#loops);
    await this.#producer.shutdown();
    await this.#consumer.shutdown();
    return {
      sent: this.#sentOk.size,
      sendErrors: this.#sendErrors,
      acked: this.#ackedAtMs.size,
      lost: [...this.#sentOk].filter((body) => !this.#received.has(body)),
      redeliveredAfterAck: this.#redeliveredAfterAck,
      duplicates: [...this.#received.values()].reduce((sum, count) => sum + count - 1, 0),
      phantoms: this.#phantoms,
    };
  }

  async #sendLoop(): Promise<void> {
    while (this.#isSending) {
      const body = `m${this.#next++}`;
      this.#attempted.add(body);
      try {
        await this.#producer.send({ topic: this.#topic, tag: "load", body: Buffer.from(body) });
        this.#sentOk.add(body);
      } catch {
        this.#sendErrors += 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  /**
   * Acks until it is answered OK: an ack whose answer was lost may have been taken, and then the message never comes again.
   * Gives up when the receipt is over; the message comes back then.
   */
  async #ack(message: MessageView): Promise<void> {
    const endMs = performance.now() + invisibleMs;
    for (;;) {
      try {
        await this.#consumer.ack(message);
        return;
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async #receiveLoop(): Promise<void> {
    while (this.#isReceiving) {
      const askedMs = performance.now();
      try {
        const messages = await this.#consumer.receive(16, invisibleMs);
        await Promise.all(
          messages.map(async (message) => {
            const body = message.body.toString();
            if (!this.#attempted.has(body)) this.#phantoms.push(body);
            const ackedMs = this.#ackedAtMs.get(body);
            if (ackedMs !== undefined && ackedMs < askedMs) this.#redeliveredAfterAck.push(body);
            this.#received.set(body, (this.#received.get(body) ?? 0) + 1);
            await this.#ack(message);
            if (!this.#ackedAtMs.has(body)) this.#ackedAtMs.set(body, performance.now());
          }),
        );
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
}
