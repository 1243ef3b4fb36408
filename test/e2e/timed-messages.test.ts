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

  const sendDue = (body: string, dueMs: number) =>
    producer.send({ topic: "alarms", body: Buffer.from(body), deliveryTimestamp: new Date(dueMs) });
  const send = (body: string, aheadMs: number) => sendDue(body, Date.now() + aheadMs);
  /** Undefined: its time came first. What is not ahead when it is stored has no handle. */
  const recallBefore = async (dueMs: number, recallHandle: string) => {
    try {
      assert.notEqual(recallHandle, "");
      return await producer.recallMessage("alarms", recallHandle);
    } catch (error) {
      if (Date.now() < dueMs) throw error;
      return undefined;
    }
  };
  const isAnyDelayed = /popmesh_broker_delayed_messages\{topic="default\/alarms"\} [1-9]/;
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
      await sendDue(body, base + i * 250);
    }
    await waitUntil("all of them", () => keeper.bodies.length >= messages, 30_000);
    assert.deepEqual([...keeper.bodies].sort(), [...dueMs.keys()].sort());
    assert.deepEqual(early, []);
  });

  it("are taken back by their handle while they wait, and never come then", async () => {
    let takenBack = "";
    let aheadMs = 1_500;
    // Where the machine stands still between send and recall, another one is sent, with more time.
    for (; takenBack === ""; aheadMs *= 2) {
      const dueMs = Date.now() + aheadMs;
      const taken = await sendDue(`taken back ${aheadMs}`, dueMs);
      const receipt = await recallBefore(dueMs, taken.recallHandle);
      if (receipt === undefined) continue;
      assert.equal(receipt.messageId, taken.messageId);
      takenBack = `taken back ${aheadMs}`;
    }
    // Due behind it: when this one is here, the other one's time is over.
    const kept = await send("kept", aheadMs);
    await waitUntil("the other one", () => keeper.bodies.includes("kept"), 30_000 + aheadMs);
    assert.ok(!keeper.bodies.includes(takenBack));
    await assert.rejects(producer.recallMessage("alarms", kept.recallHandle), /does not wait any more/);
  });

  it("outlive a kill -9 of the broker between send and due: all come once, none early, none that was taken back", async () => {
    let dueMs = 0;
    const wanted = new Set<string>();
    const early: string[] = [];
    keeper.onMessage = (body) => {
      if (wanted.has(body) && Date.now() < dueMs) early.push(body);
    };
    /** Twenty that are due at `dueMs`, and one that is taken back. False: the time came before all of that was done. */
    const prepare = async (): Promise<boolean> => {
      wanted.clear();
      for (let i = 0; i < 20; i++) wanted.add(`survivor ${i} of ${dueMs}`);
      const [taken] = await Promise.all([
        sendDue(`taken of ${dueMs}`, dueMs),
        ...[...wanted].map((body, i) => sendDue(body, dueMs + i)),
      ]);
      const isTaken = (await recallBefore(dueMs, taken.recallHandle)) !== undefined;
      const told = await metrics();
      if (!isTaken || Date.now() >= dueMs) return false;
      assert.match(told, /popmesh_broker_delayed_messages\{topic="default\/alarms"\} 20\n/);
      return true;
    };
    for (let aheadMs = 4_000; ; aheadMs *= 2) {
      dueMs = Date.now() + aheadMs;
      if (await prepare()) break;
      await waitUntil("nothing waits", async () => !isAnyDelayed.test(await metrics()));
    }
    process.kill(await childPid(mesh, "broker-core"), "SIGKILL");
    const survivors = () => keeper.bodies.filter((body) => wanted.has(body));
    await waitUntil("all of them", () => new Set(survivors()).size === wanted.size, 40_000);
    assert.deepEqual(survivors().sort(), [...wanted].sort(), "each once");
    assert.deepEqual(early, []);
    assert.ok(!keeper.bodies.includes(`taken of ${dueMs}`));
    assert.doesNotMatch(await metrics(), isAnyDelayed);
  });

  it("are refused when their time is further ahead than the broker allows", async () => {
    await assert.rejects(send("in a year", 365 * 24 * 3_600_000), /--delay-max/);
  });
});
