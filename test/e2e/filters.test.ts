import assert from "node:assert/strict";
import { ConsumeResult, FilterExpression, Producer, PushConsumer, SimpleConsumer } from "rocketmq-client-nodejs";
import type { FilterType } from "rocketmq-client-nodejs/proto/apache/rocketmq/v2/definition_pb.js";
import { commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";
import { waitUntil } from "../support/wait-until.ts";

/** FilterType.SQL: ES modules cannot import the SDK's own constant. */
const filterTypeSql: FilterType = 2;
const sql = (expression: string): FilterExpression => new FilterExpression(expression, filterTypeSql);

describe("filters with the official SDK", function () {
  this.timeout(60_000);
  let mesh: Mesh;
  let producer: Producer;
  const consumers: { shutdown(): Promise<void> }[] = [];

  before(async () => {
    mesh = await startMesh();
    for (const topic of ["orders", "payments"]) {
      await commandOutput(`http://${mesh.api}`, ["topic", "create", topic]);
    }
    producer = new Producer({
      endpoints: mesh.endpoint,
      namespace: "",
      topics: ["orders", "payments"],
      logger: quietLogger,
    });
    await producer.startup();
  });
  after(async () => {
    await Promise.all([producer?.shutdown(), ...consumers.map((consumer) => consumer.shutdown())]);
    await mesh?.stop();
  });

  async function send(topic: string, body: string, properties: Record<string, string>, tag?: string): Promise<void> {
    await producer.send({
      topic,
      body: Buffer.from(body),
      properties: new Map(Object.entries(properties)),
      ...(tag === undefined ? {} : { tag }),
    });
  }

  async function simple(topic: string, group: string, filter: FilterExpression | string): Promise<SimpleConsumer> {
    const consumer = new SimpleConsumer({
      ...{ endpoints: mesh.endpoint, namespace: "", logger: quietLogger, consumerGroup: group, awaitDuration: 5_000 },
      subscriptions: new Map([[topic, filter]]),
    });
    await consumer.startup();
    consumers.push(consumer);
    return consumer;
  }

  /** Receives and acks until `count` bodies are there. */
  async function take(consumer: SimpleConsumer, count: number): Promise<string[]> {
    const bodies: string[] = [];
    await waitUntil(
      `${count} messages`,
      async () => {
        for (const message of await consumer.receive(32)) {
          await consumer.ack(message);
          bodies.push(message.body.toString());
        }
        return bodies.length >= count;
      },
      30_000,
    );
    return bodies.sort();
  }

  it("a SimpleConsumer gets what its SQL92 expression is true for, and nothing else", async () => {
    await send("orders", "small", { amount: "5", region: "eu" });
    await send("orders", "big", { amount: "500", region: "eu" });
    await send("orders", "far", { amount: "500", region: "mars" });
    await send("orders", "none", { region: "eu" });
    await send("orders", "tagged", { amount: "1", region: "us" }, "vip");
    const consumer = await simple(
      "orders",
      "billing",
      sql("(amount > 100 OR TAGS = 'vip') AND region IN ('eu', 'us') -- who pays"),
    );
    assert.deepEqual(await take(consumer, 2), ["big", "tagged"]);
    // All five are behind the group now: the next that matches is the next it gets.
    await send("orders", "last", { amount: "101", region: "us" });
    assert.deepEqual(await take(consumer, 1), ["last"]);
  });

  it("a PushConsumer too, while it waits", async () => {
    const bodies: string[] = [];
    const push = new PushConsumer({
      ...{ endpoints: mesh.endpoint, namespace: "", logger: quietLogger, consumerGroup: "shipping" },
      subscriptions: new Map([["payments", sql("method STARTSWITH 'card' AND amount BETWEEN 10 AND 20")]]),
      messageListener: {
        async consume(message) {
          bodies.push(message.body.toString());
          return ConsumeResult.SUCCESS;
        },
      },
    });
    await push.startup();
    consumers.push(push);
    for (let amount = 5; amount <= 25; amount++) {
      await send("payments", `card ${amount}`, { method: "card/visa", amount: String(amount) });
      await send("payments", `cash ${amount}`, { method: "cash", amount: String(amount) });
    }
    await waitUntil("the eleven are there", () => bodies.length >= 11, 30_000);
    await send("payments", "end", { method: "card", amount: "10" });
    await waitUntil("the last is there", () => bodies.includes("end"), 30_000);
    const expected = Array.from({ length: 11 }, (_, i) => `card ${10 + i}`);
    assert.deepEqual(bodies.sort(), [...expected, "end"].sort());
  });

  it("a second client of the group with another filter is told who is in its way, and costs the first one nothing", async () => {
    const first = await simple("orders", "audit", sql("kind = 'a'"));
    await send("orders", "for a, early", { kind: "a" });
    assert.deepEqual(await take(first, 1), ["for a, early"]);
    const second = await simple("orders", "audit", sql("kind = 'b'"));
    await assert.rejects(second.receive(1), (error: Error) => {
      assert.match(error.message, /group default\/audit reads default\/orders with the filter SQL92 "kind = 'a'"/);
      assert.match(error.message, new RegExp(`of client "${first.clientId}"`));
      assert.match(error.message, /asks with SQL92 "kind = 'b'"/);
      return true;
    });
    await send("orders", "for a", { kind: "a" });
    await assert.rejects(second.receive(1));
    assert.deepEqual(await take(first, 1), ["for a"]);
    const agreeing = await simple("orders", "audit", sql("( kind='a' )"));
    await send("orders", "also for a", { kind: "a" });
    assert.deepEqual(await take(agreeing, 1), ["also for a"]);
  });

  it("an expression that does not parse ends the start of the client with the place and the mend", async () => {
    await assert.rejects(simple("orders", "broken", sql("amount => 5")), /at character 9: found ">", expected/);
  });
});
