import assert from "node:assert/strict";
import { Producer } from "rocketmq-client-nodejs";
import { commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { childPid, type Mesh, startMesh } from "../support/start-mesh.ts";
import { BookKeeper } from "../support/transaction-application.ts";
import { waitUntil } from "../support/wait-until.ts";

const messages = 12;

/** Timed messages through the official SDK: "in 300" is to be delivered 300 ms after it was made. */
describe("timed messages of the official SDK", function () {
  this.timeout(90_000);
  let mesh: Mesh;
  let producer: Producer;
  let keeper: BookKeeper;

  before(async () => {
    mesh = await startMesh();
    await popmesh("topic", "create", "alarms", "--type", "delay");
    producer = new Producer({ endpoints: mesh.endpoint, namespace: "", topics: ["alarms"], logger: quietLogger });
    await producer.startup();
    keeper = new BookKeeper(mesh.endpoint, "alarms", "sleepers");
    await keeper.start();
  });
  after(async () => {
    await keeper?.stop();
    await producer?.shutdown();
    await mesh?.stop();
  });

  const popmesh = (...argv: string[]) => commandOutput(`http://${mesh.api}`, argv);

  const send = (body: string, aheadMs: number) =>
    producer.send({ topic: "alarms", body: Buffer.from(body), deliveryTimestamp: new Date(Date.now() + aheadMs) });

  const metrics = async () => (await fetch(`http://${mesh.brokerAdmin}/stats/prometheus`)).text();

  it("come once each, in the order of their times, and never early", async () => {
    const dueMs = new Map<string, number>();
    const early: string[] = [];
    keeper.onMessage = (body) => {
      if (Date.now() < (dueMs.get(body) ?? 0)) early.push(body);
    };
    const base = Date.now() + 1_500;
    for (let i = messages; i >= 1; i--) {
      const body = `at ${i}`;
      dueMs.set(body, base + i * 250);
      await producer.send({ topic: "alarms", body: Buffer.from(body), deliveryTimestamp: new Date(base + i * 250) });
    }
    await waitUntil("all of them", () => keeper.bodies.length >= messages, 30_000);
    assert.deepEqual([...keeper.bodies].sort(), [...dueMs.keys()].sort());
    assert.deepEqual(early, []);
  });

  it("are taken back by their handle while they wait, and never come then", async () => {
    const kept = await send("kept", 2_000);
    const taken = await send("taken back", 1_500);
    assert.notEqual(taken.recallHandle, "");
    const receipt = await producer.recallMessage("alarms", taken.recallHandle);
    assert.equal(receipt.messageId, taken.messageId);
    await waitUntil("the other one", () => keeper.bodies.includes("kept"), 30_000);
    assert.ok(!keeper.bodies.includes("taken back"));
    await assert.rejects(producer.recallMessage("alarms", kept.recallHandle), /does not wait any more/);
  });

  it("outlive a kill -9 of the broker between send and due: all come once, none early, none that was taken back", async () => {
    const dueMs = Date.now() + 4_000;
    const wanted = new Set<string>();
    const early: string[] = [];
    keeper.onMessage = (body) => {
      if (wanted.has(body) && Date.now() < dueMs) early.push(body);
    };
    const sendDue = (body: string, dueAtMs: number) =>
      producer.send({ topic: "alarms", body: Buffer.from(body), deliveryTimestamp: new Date(dueAtMs) });
    for (let i = 0; i < 20; i++) wanted.add(`survivor ${i}`);
    const [taken] = await Promise.all([
      sendDue("taken before the kill", dueMs),
      ...[...wanted].map((body, i) => sendDue(body, dueMs + i)),
    ]);
    await producer.recallMessage("alarms", taken.recallHandle);
    assert.match(await metrics(), /popmesh_broker_delayed_messages\{topic="default\/alarms"\} 20\n/);
    assert.ok(Date.now() < dueMs, "the machine is too slow for this test");
    process.kill(await childPid(mesh, "broker-core"), "SIGKILL");
    const survivors = () => keeper.bodies.filter((body) => wanted.has(body));
    await waitUntil("all of them", () => new Set(survivors()).size === wanted.size, 40_000);
    assert.deepEqual(survivors().sort(), [...wanted].sort(), "each once");
    assert.deepEqual(early, []);
    assert.ok(!keeper.bodies.includes("taken before the kill"));
    assert.doesNotMatch(await metrics(), /popmesh_broker_delayed_messages\{topic="default\/alarms"\} [1-9]/);
  });

  it("are refused when their time is further ahead than the broker allows", async () => {
    await assert.rejects(send("in a year", 365 * 24 * 3_600_000), /--delay-max/);
  });
});
