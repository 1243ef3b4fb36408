import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { request } from "undici";
import { commandOutput } from "../support/popmesh-command.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { MeshParts, type SidecarProcess } from "../support/start-parts.ts";
import { BookKeeper, TransactionProducer } from "../support/transaction-application.ts";
import { waitUntil } from "../support/wait-until.ts";

const checksMax = 3;

describe("transactions of the official SDK", function () {
  this.timeout(90_000);
  let mesh: MeshParts;
  let sidecar: SidecarProcess;
  const sidecars: SidecarProcess[] = [];
  const stops: (() => Promise<unknown>)[] = [];

  before(async () => {
    mesh = await MeshParts.start({
      "transaction-first-check": "400ms",
      "transaction-check-interval": "600ms",
      "transaction-checks-max": String(checksMax),
    });
    sidecar = await mesh.startSidecar();
    sidecars.push(sidecar);
    const file = join(mesh.directory, "topics.yaml");
    writeFileSync(file, ["payments", "orders", "transfers", "doubts"].map(mixedTopic).join("---\n"));
    await commandOutput(mesh.api, ["apply", "-f", file]);
  });
  after(async () => {
    await Promise.all(stops.map((stop) => stop().catch(() => {})));
    // In order: the SDK raises an uncaught error when a stream that it is leaving breaks.
    await Promise.all(sidecars.map(({ process }) => process.stop("SIGTERM")));
    await mesh?.stop();
  });

  async function producer(...args: ConstructorParameters<typeof TransactionProducer>): Promise<TransactionProducer> {
    const made = new TransactionProducer(...args);
    await made.producer.startup();
    stops.push(() => made.producer.shutdown());
    return made;
  }

  async function consumer(topic: string): Promise<BookKeeper> {
    const keeper = new BookKeeper(sidecar.address, topic, topic);
    await keeper.start();
    stops.push(() => keeper.stop());
    return keeper;
  }

  async function brokerMetric(line: string): Promise<number> {
    const { body } = await request(`http://${mesh.brokerAdmin}/stats/prometheus`);
    const text = await body.text();
    return Number(
      text
        .split("\n")
        .find((each) => each.startsWith(`${line} `))
        ?.slice(line.length + 1) ?? 0,
    );
  }

  const openTransactions = (topic: string) =>
    brokerMetric(`popmesh_broker_open_transactions{topic="default/${topic}"}`);

  /** A plain message behind everything: what was visible before has been received when this has. */
  async function assertReceived(
    keeper: BookKeeper,
    { producer }: TransactionProducer,
    topic: string,
    bodies: string[],
  ) {
    await producer.send({ topic, tag: "tx", body: Buffer.from("the last one") });
    await waitUntil("the last message", () => keeper.bodies.includes("the last one"), 20_000);
    await waitUntil("all of them", () => keeper.bodies.length > bodies.length, 20_000);
    assert.deepEqual([...keeper.bodies].sort(), [...bodies, "the last one"].sort());
  }

  it("shows a message at its commit and not before, once, and never after a rollback", async () => {
    const app = await producer(sidecar.address, ["payments"], () => "UNKNOWN");
    const keeper = await consumer("payments");
    const [committed, rolledBack] = [await app.begin("payments", "paid"), await app.begin("payments", "cancelled")];
    await app.producer.send({ topic: "payments", tag: "tx", body: Buffer.from("plain") });
    await waitUntil("the plain message", () => keeper.bodies.includes("plain"));
    assert.deepEqual(keeper.bodies, ["plain"]);
    assert.equal(await openTransactions("payments"), 2);
    await committed.commit();
    await committed.commit();
    await rolledBack.rollback();
    await assert.rejects(rolledBack.commit(), /40000.*rolled back before/);
    await assert.rejects(committed.rollback(), /40000.*committed before/);
    assert.equal(await openTransactions("payments"), 0);
    await assertReceived(keeper, app, "payments", ["plain", "paid"]);
  });

  it("asks another producer of the topic when the one that sent it was killed, and does what that says, once", async () => {
    const topic = "orders";
    const main = join(compiledRoot, "test/support/transaction-process.js");
    const victim = RunningProcess.node(main, [sidecar.address, topic, "8"]);
    stops.push(() => victim.stop("SIGKILL"));
    await victim.printed("ready");
    await victim.stop("SIGKILL");
    const keeper = await consumer(topic);
    const heir = RunningProcess.node(main, [sidecar.address, topic, "0"]);
    stops.push(() => heir.stop("SIGKILL"));
    // What the victim answered itself before it died does not count as asked of the heir.
    const answered = (victim.output.match(/checked/g) ?? []).length;
    const askedOfHeir = () => new Set(heir.output.match(/checked: .*/g));
    await waitUntil("every transaction has ended", async () => (await openTransactions(topic)) === 0, 20_000);
    assert.ok(askedOfHeir().size >= 8 - answered, `asked of the heir: ${[...askedOfHeir()]}`);
    assert.ok(askedOfHeir().size > 0);
    const app = await producer(sidecar.address, [topic], () => "UNKNOWN");
    await assertReceived(keeper, app, topic, ["commit 0", "commit 2", "commit 4", "commit 6"]);
  });

  it("keeps what is open through kill -9 of the broker and of the sidecar, and ends it as its producer says", async () => {
    const topic = "transfers";
    const own = await mesh.startSidecar();
    const app = await producer(own.address, [topic], () => "UNKNOWN");
    const keeper = await consumer(topic);
    const opened = await Promise.all(["a", "b", "c", "d"].map((body) => app.begin(topic, body)));
    const [a, b, c, d] = opened as [(typeof opened)[0], (typeof opened)[0], (typeof opened)[0], (typeof opened)[0]];
    await mesh.killBroker();
    await retried(() => a.commit());
    await retried(() => b.rollback());
    await own.process.stop("SIGKILL");
    sidecars.push(await mesh.startSidecar(own));
    await retried(() => c.commit());
    await retried(() => c.commit());
    await mesh.killBroker();
    await retried(() => d.commit());
    await retried(() => a.commit());
    assert.equal(await openTransactions(topic), 0);
    await retried(() => app.producer.send({ topic, tag: "tx", body: Buffer.from("the last one") }));
    await waitUntil("the last message", () => keeper.bodies.includes("the last one"), 20_000);
    await waitUntil("all of them", () => keeper.bodies.length >= 4, 20_000);
    assert.deepEqual([...keeper.bodies].sort(), ["a", "c", "d", "the last one"]);
  });

  it("gives up after the maximum of questions: rolled back, counted, logged, and a late commit is refused", async () => {
    const topic = "doubts";
    const app = await producer(sidecar.address, [topic], () => "UNKNOWN");
    const keeper = await consumer(topic);
    const line = 'popmesh_broker_transactions_given_up_total{reason="checks exhausted"}';
    const before = await brokerMetric(line);
    const transaction = await app.begin(topic, "nobody knows");
    await waitUntil("it is given up", async () => (await brokerMetric(line)) === before + 1, 20_000);
    assert.deepEqual(app.checked, Array(checksMax).fill("nobody knows"));
    await assert.rejects(transaction.commit(), /40000.*as often as is allowed/);
    const logged = mesh.brokerOutput.split("\n").find((each) => each.includes(`"topic":"default/${topic}"`));
    assert.ok(logged !== undefined);
    const { level, reason, checks, messageId } = JSON.parse(logged) as Record<string, unknown>;
    assert.deepEqual([level, reason, checks], [40, "checks exhausted", checksMax]);
    assert.match(String(messageId), /^01[0-9A-F]{32}$/);
    await assertReceived(keeper, app, topic, []);
  });
});

function mixedTopic(name: string): string {
  return `apiVersion: popmesh.io/v1\nkind: Topic\nmetadata: { name: ${name} }\nspec: { type: mixed, queues: 4 }\n`;
}

/** Until it is answered OK: over a kill the SDK sees errors, and an end may be repeated. */
async function retried(action: () => Promise<unknown>): Promise<void> {
  await waitUntil(
    "an answer after the kill",
    () =>
      action().then(
        () => true,
        () => false,
      ),
    30_000,
  );
}
