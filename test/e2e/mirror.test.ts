import assert from "node:assert/strict";
import { join } from "node:path";
import { Producer } from "rocketmq-client-nodejs";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { MeshParts } from "../support/start-parts.ts";
import { TransactionProducer } from "../support/transaction-application.ts";
import { waitUntil } from "../support/wait-until.ts";

const consumerMain = join(compiledRoot, "test/support/mirror-consumer.js");
const quiet = { info() {}, debug() {}, warn() {}, error() {} };

/** A topic of a type, one for its copies, and the rule. */
const manifests = (topic: string, type: string) => `apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: ${topic} }
spec: { type: ${type} }
---
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: shadow-${topic} }
---
apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: ${topic}-mirror }
spec:
  topic: ${topic}
  rules: [{ to: base }]
  mirror: { topic: shadow-${topic} }
`;

/** Declares that and waits until the broker goes by it. */
async function mirror({ api }: MeshParts, topic: string, type: string): Promise<void> {
  const headers = { "x-popmesh-client": "test", "content-type": "application/yaml" };
  const applied = await fetch(`${api}/v1/apply`, { method: "POST", headers, body: manifests(topic, type) });
  assert.equal(applied.status, 200, await applied.text());
  await waitUntil("the rule is in force", async () => {
    const rule = await fetch(`${api}/v1/namespaces/default/lanerules/${topic}-mirror`);
    const { status } = (await rule.json()) as { status: { brokers: { state: string }[] } };
    return status.brokers[0]?.state === "in force";
  });
}

/** Bodies and marks that a consumer has printed. */
function got({ output }: RunningProcess): { readonly body: string; readonly mark: string }[] {
  return [...output.matchAll(/^got (\S+) (\S+)$/gm)].map(([, body = "", mark = ""]) => ({ body, mark }));
}

const bodies = (from: RunningProcess): string[] => [...new Set(got(from).map(({ body }) => body))].sort();

describe("a mirror with the official SDK", function () {
  this.timeout(120_000);
  let parts: MeshParts;
  let endpoint: string;
  const consumers: RunningProcess[] = [];

  before(async () => {
    parts = await MeshParts.start();
    endpoint = (await parts.startSidecar()).address;
  });

  after(async () => {
    await Promise.all(consumers.map((each) => each.stop("SIGKILL")));
    await parts?.stop();
  });

  async function consume(topic: string): Promise<RunningProcess> {
    const consumer = RunningProcess.node(consumerMain, [endpoint, `readers-of-${topic}`, topic]);
    consumers.push(consumer);
    await consumer.printed("ready", 40_000);
    return consumer;
  }

  it("gives a shadow topic the same messages, with the mark of their origin, also over a kill of the broker", async () => {
    await mirror(parts, "orders", "normal");
    const [orders, shadow] = [await consume("orders"), await consume("shadow-orders")];
    const producer = new Producer({ endpoints: endpoint, namespace: "", topics: ["orders"], logger: quiet });
    await producer.startup();
    let sent = 0;
    const send = () => producer.send({ topic: "orders", body: Buffer.from(`order-${sent++}`) });
    for (let i = 0; i < 5; i++) await send();
    await waitUntil("all are there", () => bodies(orders).length === 5 && bodies(shadow).length === 5, 40_000);
    await parts.killBroker();
    // One that failed may be stored all the same: it is an original as any.
    for (let taken = 0; taken < 5; )
      await send().then(
        () => taken++,
        () => {},
      );
    await producer.shutdown();
    await waitUntil("the originals are there", () => bodies(orders).length >= 10, 40_000);
    await waitUntil("the copies are there", () => bodies(shadow).length >= bodies(orders).length, 40_000);
    assert.deepEqual(bodies(shadow), bodies(orders));
    assert.ok(got(orders).every(({ mark }) => mark === "-"));
    for (const { mark } of got(shadow)) assert.match(mark, /^orders\/\d+\/\d+$/);
  });

  it("gives it timed messages when they are due and transactional ones when they are committed, also over a kill", async () => {
    await mirror(parts, "payments", "mixed");
    const [payments, shadow] = [await consume("payments"), await consume("shadow-payments")];
    const application = new TransactionProducer(endpoint, ["payments"], () => "UNKNOWN");
    const { producer } = application;
    await producer.startup();
    const send = (body: string, inMs?: number) => {
      const deliveryTimestamp = inMs === undefined ? {} : { deliveryTimestamp: new Date(Date.now() + inMs) };
      return producer.send({ topic: "payments", body: Buffer.from(body), ...deliveryTimestamp });
    };
    await send("timed", 1_000);
    await send("timed-over-the-kill", 6_000);
    const [committed, rolledBack, open] = [
      await application.begin("payments", "committed"),
      await application.begin("payments", "rolled-back"),
      await application.begin("payments", "committed-after-the-kill"),
    ];
    await committed.commit();
    await rolledBack.rollback();
    const first = ["committed", "timed"];
    for (const each of [payments, shadow])
      await waitUntil("what is visible is there", () => first.every((body) => bodies(each).includes(body)), 40_000);
    await parts.killBroker();
    await waitUntil("the open transaction is committed", () =>
      open.commit().then(
        () => true,
        () => false,
      ),
    );
    const all = [...first, "committed-after-the-kill", "timed-over-the-kill"].sort();
    for (const each of [payments, shadow])
      await waitUntil("all is there", () => all.every((body) => bodies(each).includes(body)), 40_000);
    // What is visible before it has come when it has.
    await waitUntil("another is taken", () =>
      send("last").then(
        () => true,
        () => false,
      ),
    );
    for (const each of [payments, shadow]) {
      await waitUntil("the last one is there", () => bodies(each).includes("last"), 40_000);
      assert.deepEqual(bodies(each), [...all, "last"].sort());
    }
    await producer.shutdown();
    for (const { mark } of got(shadow)) assert.match(mark, /^payments\/\d+\/\d+$/);
    assert.ok(got(payments).every(({ mark }) => mark === "-"));
  });
});
