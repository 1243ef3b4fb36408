import assert from "node:assert/strict";
import {
  ConsumeResult,
  type ILogger,
  type MessageView,
  Producer,
  PushConsumer,
  SimpleConsumer,
} from "rocketmq-client-nodejs";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { waitUntil } from "../../../support/wait-until.ts";

/** Keeps the SDK's log off the home directory. */
const logger: ILogger = { info() {}, warn() {}, error() {}, debug() {} } as unknown as ILogger;

describe("the official Node.js SDK", () => {
  let mesh: SidecarUnderTest;
  before(async () => {
    mesh = await SidecarUnderTest.start();
  });
  after(() => mesh.stop());

  it("sends, receives and acks on topics and groups that are made on first use", async () => {
    const producer = new Producer({ endpoints: mesh.address, namespace: "", logger });
    await producer.startup();
    const receipt = await producer.send({ topic: "orders", tag: "new", keys: ["k1"], body: Buffer.from("hello") });
    assert.notEqual(receipt.messageId, "");
    const consumer = new SimpleConsumer({
      endpoints: mesh.address,
      namespace: "",
      consumerGroup: "billing",
      subscriptions: new Map([["orders", "*"]]),
      awaitDuration: 2_000,
      logger,
    });
    await consumer.startup();
    const messages = await consumer.receive(10);
    assert.equal(messages.length, 1);
    assert.equal(messages[0]?.body.toString(), "hello");
    assert.equal(messages[0]?.tag, "new");
    assert.equal(messages[0]?.corrupted ?? false, false);
    const [first] = messages;
    assert.ok(first);
    await consumer.ack(first);
    await Promise.all([producer.shutdown(), consumer.shutdown()]);
  });

  it("consumes by push", async () => {
    const seen: string[] = [];
    const consumer = new PushConsumer({
      endpoints: mesh.address,
      namespace: "",
      consumerGroup: "shipping",
      subscriptions: new Map([["parcels", "*"]]),
      messageListener: {
        async consume(messageView: MessageView) {
          seen.push(messageView.body.toString());
          return ConsumeResult.SUCCESS;
        },
      },
      logger,
    });
    await consumer.startup();
    const producer = new Producer({ endpoints: mesh.address, namespace: "", logger });
    await producer.startup();
    for (let i = 0; i < 20; i++) await producer.send({ topic: "parcels", body: Buffer.from(`p${i}`) });
    await waitUntil("20 messages consumed", () => seen.length >= 20);
    assert.equal(new Set(seen).size, 20);
    await producer.shutdown();
    await consumer.shutdown();
  });
});
