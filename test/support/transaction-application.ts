import { type MessageView, Producer, SimpleConsumer, type TransactionChecker } from "rocketmq-client-nodejs";
import { quietLogger } from "./quiet-logger.ts";
import { waitUntil } from "./wait-until.ts";

type Transaction = ReturnType<Producer["beginTransaction"]>;
/** Of what the SDK's checker resolves with; the enum itself is not among its exports. */
type Resolution = Awaited<ReturnType<TransactionChecker["check"]>>;
const resolutions = { UNKNOWN: 0, COMMIT: 1, ROLLBACK: 2 } as const satisfies Record<string, number>;
export type Decision = keyof typeof resolutions;

/** A transactional producer on the official SDK that keeps book of what it was asked. */
export class TransactionProducer {
  readonly producer: Producer;
  /** Bodies that the checker was asked about, in order. */
  readonly checked: string[] = [];

  /** `decide`: the checker's answer for a body. */
  constructor(endpoint: string, topics: readonly string[], decide: (body: string) => Decision) {
    this.producer = new Producer({
      ...{ endpoints: endpoint, namespace: "", topics: [...topics], logger: quietLogger, maxAttempts: 1 },
      checker: {
        check: async (message: MessageView) => {
          const body = message.body.toString();
          this.checked.push(body);
          return resolutions[decide(body)] as Resolution;
        },
      },
    });
  }

  /** Sends a half message. */
  async begin(topic: string, body: string): Promise<Transaction> {
    const transaction = this.producer.beginTransaction();
    await this.producer.send({ topic, tag: "tx", body: Buffer.from(body) }, transaction);
    return transaction;
  }
}

/** A simple consumer on the official SDK that acks all it gets and keeps it. */
export class BookKeeper {
  readonly bodies: string[] = [];
  /** Called with each body when it comes. */
  onMessage: ((body: string) => void) | undefined;
  readonly #consumer: SimpleConsumer;
  #isReceiving = true;
  #loop: Promise<void> = Promise.resolve();

  constructor(endpoint: string, topic: string, group: string) {
    this.#consumer = new SimpleConsumer({
      ...{ endpoints: endpoint, namespace: "", logger: quietLogger, consumerGroup: group, awaitDuration: 1_000 },
      subscriptions: new Map([[topic, "*"]]),
    });
  }

  async start(): Promise<void> {
    await this.#consumer.startup();
    this.#loop = this.#receive();
  }

  async stop(): Promise<void> {
    this.#isReceiving = false;
    await this.#loop;
    await this.#consumer.shutdown();
  }

  async #receive(): Promise<void> {
    while (this.#isReceiving) {
      const messages = await this.#consumer.receive(16, 30_000).catch(() => [] as MessageView[]);
      for (const message of messages) {
        const body = message.body.toString();
        this.onMessage?.(body);
        this.bodies.push(body);
        await this.#ack(message);
      }
    }
  }

  /** Until it is answered OK: an ack whose answer a kill swallowed may have been taken, and may be repeated. */
  async #ack(message: MessageView): Promise<void> {
    await waitUntil("an ack", () =>
      this.#consumer.ack(message).then(
        () => true,
        () => false,
      ),
    );
  }
}
