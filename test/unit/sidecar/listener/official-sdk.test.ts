import assert from "node:assert/strict";
import { ConsumeResult, type MessageView, Producer, PushConsumer, SimpleConsumer } from "rocketmq-client-nodejs";
import { Code } from "../../../../proto/code.ts";
import { failed } from "../../../support/fake-upstream.ts";
import { freePorts } from "../../../support/free-port.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { Stopwatch } from "../../../support/stopwatch.ts";
import { waitUntil } from "../../../support/wait-until.ts";

/** Keeps the SDK's log off the home directory. */
const logger = { info() {}, warn() {}, error() {}, debug() {} };

describe("the official Node.js SDK", function () {
  this.timeout(240_000);
  let mesh: SidecarUnderTest;
  before(async () => {
    mesh = await SidecarUnderTest.start();
  });
  after(() => mesh.stop());

  const producerOf = (topics: string[] = [], endpoints = mesh.address) =>
    new Producer({ endpoints, namespace: "", topics, logger });
  const pushConsumerOf = (
    topic: string,
    group: string,
    consume: (view: MessageView) => ConsumeResult,
    endpoints = mesh.address,
  ) =>
    new PushConsumer({
      endpoints,
      namespace: "",
      consumerGroup: group,
      subscriptions: new Map([[topic, "*"]]),
      messageListener: { consume: async (view: MessageView) => consume(view) },
      logger,
    });

  it("sends, receives and acks on topics and groups that are made on first use", async () => {
    const producer = producerOf();
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
    assert.deepEqual(
      messages.map((view) => [view.body.toString(), view.tag, view.corrupted ?? false, view.deliveryAttempt]),
      [["hello", "new", false, 1]],
    );
    for (const view of messages) await consumer.ack(view);
    assert.deepEqual(await consumer.receive(10), []);
    await Promise.all([producer.shutdown(), consumer.shutdown()]);
  });

  it("receives with a simple consumer what a broker has that it does not know of, while it waits for another", async () => {
    mesh.plane.setTopic("default/spread", { brokers: ["broker-a"] });
    const consumer = new SimpleConsumer({
      endpoints: mesh.address,
      namespace: "",
      consumerGroup: "spread",
      subscriptions: new Map([["spread", "*"]]),
      awaitDuration: 20_000,
      logger,
    });
    const producer = producerOf();
    await Promise.all([consumer.startup(), producer.startup()]);
    const [old, come] = [mesh.upstream("broker-a"), mesh.upstream("broker-b")];
    const receiving = consumer.receive(10);
    await waitUntil("it waits at the broker of its route", () => old.parkedCount > 0);
    mesh.plane.setTopic("default/spread", { brokers: ["broker-a", "broker-b"] });
    await waitUntil("the sidecar waits at the other one too", () => come.parkedCount > 0);
    old.sendFailure = failed(Code.InternalServerError, "no connection", "not-sent");
    await producer.send({ topic: "spread", body: Buffer.from("from the new one") });
    old.sendFailure = undefined;
    // An SDK looks at its route again after 30 s, and the poll ends after 20.
    const messages = await receiving;
    assert.deepEqual(
      messages.map((view) => view.body.toString()),
      ["from the new one"],
    );
    await consumer.ack(messages[0]!);
    assert.equal(come.leasedCount("default/spread", "default/spread"), 0);
    assert.equal(old.parkedCount, 0, "the broker that had nothing was told");
    await Promise.all([producer.shutdown(), consumer.shutdown()]);
  });

  it("[13] consumes by push, each message once, and shuts down in under 5 s although it polls", async () => {
    const seen: string[] = [];
    const consumer = pushConsumerOf("parcels", "shipping", (view) => {
      seen.push(view.body.toString());
      return ConsumeResult.SUCCESS;
    });
    await consumer.startup();
    const producer = producerOf();
    await producer.startup();
    for (let i = 0; i < 50; i++) await producer.send({ topic: "parcels", body: Buffer.from(`p${i}`) });
    await waitUntil("50 messages consumed", () => seen.length >= 50);
    assert.equal(new Set(seen).size, 50);
    await waitUntil("all acked", () => mesh.upstream().leasedCount("default/parcels", "default/shipping") === 0);
    await producer.shutdown();
    const watch = new Stopwatch();
    await consumer.shutdown();
    assert.ok(watch.stop() < 5_000);
    assert.equal(mesh.upstream().parkedCount, 0);
    assert.equal(seen.length, 50);
  });

  it("[9, trap 3] starts a producer of 0, 1, 2, 3 and 10 topics in under 5 s, ten times in a row", async () => {
    const tenTimes = async (count: number): Promise<void> => {
      for (let round = 0; round < 10; round++) {
        const producer = producerOf(Array.from({ length: count }, (_, i) => `start-${count}-${i}`));
        const watch = new Stopwatch();
        await producer.startup();
        assert.ok(watch.stop() < 5_000, `${count} topics, round ${round}`);
        await producer.shutdown();
      }
    };
    await Promise.all([0, 1, 2, 3, 10].map(tenTimes));
  });

  it("[10] rejects its start in under 5 s when a topic does not exist, and nothing hangs", async () => {
    mesh.plane.setNamespace("strict", false, false);
    const producer = new Producer({ endpoints: mesh.address, namespace: "strict", topics: ["missing"], logger });
    const watch = new Stopwatch();
    await assert.rejects(producer.startup(), (error: Error) => {
      const causes = [error.message, String(error.cause), String((error.cause as Error | undefined)?.cause)].join(" ");
      assert.match(causes, /40402.*does not exist/);
      return true;
    });
    assert.ok(watch.stop() < 5_000);
    await producer.shutdown();
  });

  it("[11] started before the sidecar, it starts once the sidecar is there or rejects; it does not crash", async () => {
    const [port] = await freePorts(1);
    const producer = producerOf(["early"], `127.0.0.1:${port}`);
    const starting = producer.startup().then(
      () => "started",
      () => "rejected",
    );
    const late = await SidecarUnderTest.start({ argv: ["--listen", `127.0.0.1:${port}`] });
    try {
      assert.match(await starting, /started|rejected/);
    } finally {
      await producer.shutdown().catch(() => {});
      await late.stop();
    }
  });

  it("[30] gets a failing message again by the policy of its group, not after milliseconds", async () => {
    mesh.plane.setTopic("default/failing", { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/failing", { backoff: { initialMs: 1_000, maxMs: 1_000, multiplier: 1 } });
    const attemptsAtMs: number[] = [];
    const consumer = pushConsumerOf("failing", "failing", (view) => {
      attemptsAtMs.push(performance.now());
      return (view.deliveryAttempt ?? 0) < 3 ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
    });
    await consumer.startup();
    const producer = producerOf();
    await producer.startup();
    await producer.send({ topic: "failing", body: Buffer.from("x") });
    await waitUntil("three attempts", () => attemptsAtMs.length === 3);
    for (const i of [1, 2]) {
      const gapMs = (attemptsAtMs[i] ?? 0) - (attemptsAtMs[i - 1] ?? 0);
      assert.ok(gapMs > 900, `attempt ${i + 1} came after ${gapMs} ms`);
    }
    await Promise.all([producer.shutdown(), consumer.shutdown()]);
  });

  it("[34] goes on in under 10 s when the sidecar is killed and comes back", async () => {
    const [port] = await freePorts(1);
    const argv = ["--listen", `127.0.0.1:${port}`];
    const { plane, upstreams } = mesh;
    let sidecar = await SidecarUnderTest.start({ argv, plane, upstreams });
    const endpoints = `127.0.0.1:${port}`;
    const seen = new Set<string>();
    const consumer = pushConsumerOf(
      "back",
      "back",
      (view) => {
        seen.add(view.body.toString());
        return ConsumeResult.SUCCESS;
      },
      endpoints,
    );
    const producer = producerOf(["back"], endpoints);
    await Promise.all([consumer.startup(), producer.startup()]);
    await producer.send({ topic: "back", body: Buffer.from("before") });
    await waitUntil("it works", () => seen.has("before"));
    await sidecar.stop({ abruptly: true });
    sidecar = await SidecarUnderTest.start({ argv, plane, upstreams });
    const watch = new Stopwatch();
    await waitUntil("a send works", async () =>
      producer.send({ topic: "back", body: Buffer.from("after") }).then(
        () => true,
        () => false,
      ),
    );
    await waitUntil("the push consumer works", () => seen.has("after"));
    assert.ok(watch.stop() < 10_000);
    await Promise.all([producer.shutdown(), consumer.shutdown()]);
    await sidecar.stop();
  });
});
