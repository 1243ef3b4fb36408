import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

const backoff = { delaysMs: [], initialMs: 0, maxMs: 0, multiplier: 0 };

describe("opening topics and groups", () => {
  it("gives each name one id, for as long as its incarnation lives, across restarts and snapshots", () => {
    const f = new BrokerFixture();
    const orders = f.topic("ns/orders");
    const payments = f.topic("ns/payments");
    const billing = f.group("ns/billing");
    assert.notEqual(orders, payments);
    const records = f.log.recordCount;
    f.crash("kill");
    assert.deepEqual(
      [f.topic("ns/orders"), f.topic("ns/payments"), f.group("ns/billing")],
      [orders, payments, billing],
    );
    f.crash("kill", f.state.snapshot());
    assert.deepEqual(
      [f.topic("ns/orders"), f.topic("ns/payments"), f.group("ns/billing")],
      [orders, payments, billing],
    );
    assert.equal(f.log.recordCount, records, "asking again writes nothing");
  });

  it("names the position of the opening also to who asks again before it is durable", () => {
    const f = new BrokerFixture();
    f.isAutoSync = false;
    const opening = { name: "ns/a", incarnation: 1, messageTypes: 2, queueCount: 1 };
    const first = f.state.openTopic(opening, f.now);
    const second = f.state.openTopic(opening, f.now);
    assert.deepEqual(first, second);
  });

  it("drops everything of an older incarnation, and never uses its id again", () => {
    const f = new BrokerFixture();
    const t = f.topic();
    const g = f.group();
    f.receive(t, g);
    f.sendMany(t, 3);
    f.receive(t, g, { batch: 2 });
    const young = f.topic("ns/orders", { incarnation: 2 });
    assert.notEqual(young, t);
    assert.deepEqual(f.receive(young, g), []);
    assert.equal(f.refusal(f.ask(t, g).ticket).code, Code.TopicNotFound);
    assert.equal(f.state.send({ topicId: t, laneMark: "", bornHost: "", messages: [] }, f.now).ok, false);
    f.send(young, { id: "new" });
    assert.deepEqual(
      f.receive(young, g).map(({ offset }) => offset),
      [0],
    );
    f.pass(100_000);
    f.assertRebuilt();
  });

  it("refuses an older incarnation", () => {
    const f = new BrokerFixture();
    f.topic("ns/orders", { incarnation: 5 });
    const opened = f.state.openTopic({ name: "ns/orders", incarnation: 4, messageTypes: 2, queueCount: 1 }, f.now);
    assert.ok(!opened.ok);
    assert.equal(opened.code, Code.TopicNotFound);
    assert.match(opened.message, /incarnation 5: fetch its route again/);
  });

  it("adds queues, which groups read from their beginning, and never takes one away", () => {
    const f = new BrokerFixture();
    const t = f.topic("ns/orders", { queueCount: 1 });
    const g = f.group();
    f.receive(t, g);
    assert.equal(f.topic("ns/orders", { queueCount: 4 }), t);
    f.sendMany(t, 8);
    assert.equal(f.topic("ns/orders", { queueCount: 2 }), t);
    assert.equal(f.state.topics()[0]?.queueCount, 4);
    const got = f.receive(t, g);
    assert.deepEqual(new Set(got.map(({ queueId }) => queueId)), new Set([0, 1, 2, 3]));
    f.assertRebuilt();
  });

  it("replaces a policy by a newer generation only", () => {
    const f = new BrokerFixture();
    const t = f.topic();
    const g = f.group("ns/billing", { generation: 3, inflightMax: 7 });
    f.receive(t, g);
    f.group("ns/billing", { generation: 2, inflightMax: 9 });
    assert.equal(f.figures().inFlightMax, 7);
    f.group("ns/billing", { generation: 4, inflightMax: 9 });
    assert.equal(f.figures().inFlightMax, 9);
    f.crash("kill");
    assert.equal(f.figures().inFlightMax, 9);
  });

  it("refuses names and numbers that a record cannot hold", () => {
    const f = new BrokerFixture();
    const topic = (change: object) =>
      f.state.openTopic({ name: "ns/a", incarnation: 1, messageTypes: 2, queueCount: 1, ...change }, f.now);
    const group = (change: object) =>
      f.state.openGroup({ name: "ns/g", generation: 1, attemptsMax: 1, inflightMax: 0, backoff, ...change }, f.now);
    for (const [opened, code] of [
      [topic({ name: "" }), Code.IllegalTopic],
      [topic({ name: "n".repeat(256) }), Code.IllegalTopic],
      [topic({ queueCount: 0 }), Code.BadRequest],
      [topic({ queueCount: 1025 }), Code.BadRequest],
      [topic({ queueCount: 1.5 }), Code.BadRequest],
      [topic({ incarnation: -1 }), Code.BadRequest],
      [topic({ incarnation: 2 ** 53 }), Code.BadRequest],
      [group({ name: "" }), Code.IllegalConsumerGroup],
      [group({ name: "n".repeat(251) }), Code.IllegalConsumerGroup],
      [group({ backoff: { ...backoff, delaysMs: new Array(65).fill(1) } }), Code.BadRequest],
    ] as const) {
      assert.ok(!opened.ok);
      assert.equal(opened.code, code);
    }
    assert.equal(f.log.recordCount, 0);
  });
});
