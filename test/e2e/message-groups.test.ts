import assert from "node:assert/strict";
import { ConsumeResult, type MessageView, Producer, PushConsumer, SimpleConsumer } from "rocketmq-client-nodejs";
import { commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";
import { waitUntil } from "../support/wait-until.ts";

const accounts = ["ann", "bob", "cat", "dan", "eve", "fay"] as const;
const messagesPerAccount = 6;
const attemptsMax = 3;

/** Message groups through the official SDK: "ann 1" is message 1 of group ann. */
describe("message groups through the official SDK", function () {
  this.timeout(90_000);
  let mesh: Mesh;
  let producer: Producer;

  before(async () => {
    mesh = await startMesh();
    await popmesh("topic", "create", "transfers", "--type", "fifo");
    await popmesh("topic", "create", "letters");
    for (const group of ["push", "simple", "both"]) {
      await popmesh("group", "create", group, "--attempts-max", String(attemptsMax));
    }
    producer = new Producer({ endpoints: mesh.endpoint, namespace: "", topics: ["transfers"], logger: quietLogger });
    await producer.startup();
    // The SDK sends a group's messages one after the other, as whoever wants an order does.
    await Promise.all(
      accounts.map(async (account) => {
        for (let i = 1; i <= messagesPerAccount; i++) {
          await producer.send({ topic: "transfers", messageGroup: account, body: Buffer.from(`${account} ${i}`) });
        }
      }),
    );
  });
  after(async () => {
    await producer?.shutdown();
    await mesh?.stop();
  });

  const popmesh = (...argv: string[]) => commandOutput(`http://${mesh.api}`, argv);

  const textOf = ({ body }: MessageView) => body.toString();
  const ofAccount = (texts: readonly string[], account: string) => texts.filter((text) => text.startsWith(account));
  const whole = (account: string, without: readonly number[] = []) =>
    Array.from({ length: messagesPerAccount }, (_, i) => i + 1)
      .filter((i) => !without.includes(i))
      .map((i) => `${account} ${i}`);
  const deadLettersOf = async (group: string) =>
    JSON.parse(await popmesh("dlq", "list", group, "-o", "json")) as { attempts: number; reason: string }[];

  it("a push consumer handles each group in order; one that fails holds up nobody else and goes on behind its dead letter", async () => {
    /** Begins and ends of the handling, as they happened. */
    const begun: string[] = [];
    const handled: string[] = [];
    const open = new Map<string, string>();
    const overlaps: string[] = [];
    const othersAreDone = () =>
      accounts.every((account) => account === "ann" || ofAccount(handled, account).length === messagesPerAccount);
    const push = new PushConsumer({
      ...{ endpoints: mesh.endpoint, namespace: "", logger: quietLogger, consumerGroup: "push" },
      subscriptions: new Map([["transfers", "*"]]),
      messageListener: {
        async consume(message) {
          const text = textOf(message);
          const account = message.messageGroup ?? "";
          if (open.has(account)) overlaps.push(`${text} while ${open.get(account)} is handled`);
          open.set(account, text);
          begun.push(text);
          // Ann's second message fails for good, and takes until all others are through: they must not wait for it.
          if (text === "ann 2") await waitUntil("the other groups are done", othersAreDone, 30_000);
          const isFailure = text === "ann 2" || (text === "bob 3" && begun.filter((it) => it === text).length < 3);
          open.delete(account);
          if (!isFailure) handled.push(text);
          return isFailure ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
        },
      },
    });
    await push.startup();
    try {
      await waitUntil("all but the poison is handled", () => handled.length === 6 * messagesPerAccount - 1, 40_000);
    } finally {
      await push.shutdown();
    }
    assert.deepEqual(overlaps, []);
    for (const account of accounts) {
      assert.deepEqual(ofAccount(handled, account), whole(account, account === "ann" ? [2] : []));
    }
    assert.deepEqual(ofAccount(begun, "ann"), ["ann 1", "ann 2", "ann 2", "ann 2", ...whole("ann", [1, 2])]);
    assert.deepEqual(ofAccount(begun, "bob").slice(2, 5), ["bob 3", "bob 3", "bob 3"]);
    const [dead, ...more] = await deadLettersOf("push");
    assert.deepEqual([dead?.reason, more.length], ["forwarded by the consumer", 0]);
  });

  it("a simple consumer gets one message of a group at a time, again where it failed, until it is dead", async () => {
    const consumer = new SimpleConsumer({
      ...{ endpoints: mesh.endpoint, namespace: "", logger: quietLogger, consumerGroup: "simple" },
      ...{ subscriptions: new Map([["transfers", "*"]]), awaitDuration: 1_000 },
    });
    await consumer.startup();
    const seen: string[] = [];
    const acked: string[] = [];
    try {
      while (acked.length < 6 * messagesPerAccount - 1) {
        const messages = await consumer.receive(32, 10_000);
        assert.equal(new Set(messages.map(({ messageGroup }) => messageGroup)).size, messages.length);
        for (const message of messages) {
          const text = textOf(message);
          seen.push(`${text} (${message.deliveryAttempt})`);
          if (text === "cat 4") await consumer.changeInvisibleDuration(message, 100);
          else {
            await consumer.ack(message);
            acked.push(text);
          }
        }
      }
    } finally {
      await consumer.shutdown();
    }
    for (const account of accounts)
      assert.deepEqual(ofAccount(acked, account), whole(account, account === "cat" ? [4] : []));
    assert.deepEqual(ofAccount(seen, "cat").slice(3, 7), ["cat 4 (1)", "cat 4 (2)", "cat 4 (3)", "cat 5 (1)"]);
    const [dead] = await deadLettersOf("simple");
    assert.deepEqual([dead?.reason, dead?.attempts], ["attempts exhausted", attemptsMax]);
  });

  it("a push consumer of FIFO and other topics keeps the order too, though it consumes concurrently", async () => {
    await producer.send({ topic: "letters", body: Buffer.from("hello") });
    const handled: string[] = [];
    let failures = 0;
    const push = new PushConsumer({
      ...{ endpoints: mesh.endpoint, namespace: "", logger: quietLogger, consumerGroup: "both" },
      subscriptions: new Map([
        ["transfers", "*"],
        ["letters", "*"],
      ]),
      messageListener: {
        async consume(message) {
          const text = textOf(message);
          if (text === "dan 2" && failures++ === 0) return ConsumeResult.FAILURE;
          handled.push(text);
          return ConsumeResult.SUCCESS;
        },
      },
    });
    await push.startup();
    try {
      await waitUntil("everything is handled", () => handled.length === 6 * messagesPerAccount + 1, 40_000);
    } finally {
      await push.shutdown();
    }
    for (const account of accounts) assert.deepEqual(ofAccount(handled, account), whole(account));
    assert.equal(failures, 2, "it failed once and was handled then");
  });
});
