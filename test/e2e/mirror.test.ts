import assert from "node:assert/strict";
import { join } from "node:path";
import { Producer } from "rocketmq-client-nodejs";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

const consumerMain = join(compiledRoot, "test/support/mirror-consumer.js");
const quiet = { info() {}, debug() {}, warn() {}, error() {} };

const manifests = `apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: orders }
---
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: shadow-orders }
---
apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: orders-mirror }
spec:
  topic: orders
  rules: [{ to: base }]
  mirror: { topic: shadow-orders }
`;

describe("a mirror with the official SDK", function () {
  this.timeout(120_000);

  it("gives a shadow topic the same messages, with the mark of their origin, also over a kill of the broker", async () => {
    const parts = await MeshParts.start();
    const consumers: RunningProcess[] = [];
    try {
      const sidecar = await parts.startSidecar();
      const headers = { "x-popmesh-client": "test", "content-type": "application/yaml" };
      const applied = await fetch(`${parts.api}/v1/apply`, { method: "POST", headers, body: manifests });
      assert.equal(applied.status, 200, await applied.text());
      const rule = `${parts.api}/v1/namespaces/default/lanerules/orders-mirror`;
      await waitUntil("the rule is in force", async () => {
        const { status } = (await (await fetch(rule)).json()) as { status: { brokers: { state: string }[] } };
        return status.brokers[0]?.state === "in force";
      });
      const consume = async (topic: string) => {
        const consumer = RunningProcess.node(consumerMain, [sidecar.address, `readers-of-${topic}`, topic]);
        consumers.push(consumer);
        await consumer.printed("ready", 40_000);
        return consumer;
      };
      /** Bodies and marks. */
      const got = ({ output }: RunningProcess) =>
        [...output.matchAll(/^got (\S+) (\S+)$/gm)].map(([, body = "", mark = ""]) => ({ body, mark }));
      const [orders, shadow] = [await consume("orders"), await consume("shadow-orders")];
      const producer = new Producer({ endpoints: sidecar.address, namespace: "", topics: ["orders"], logger: quiet });
      await producer.startup();
      let sent = 0;
      const send = () => producer.send({ topic: "orders", body: Buffer.from(`order-${sent++}`) });
      for (let i = 0; i < 5; i++) await send();
      const bodies = (from: RunningProcess) => [...new Set(got(from).map(({ body }) => body))].sort();
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
    } finally {
      await Promise.all(consumers.map((each) => each.stop("SIGKILL")));
      await parts.stop();
    }
  });
});
