import assert from "node:assert/strict";
import { join } from "node:path";
import { Producer } from "rocketmq-client-nodejs";
import { quietLogger } from "../support/quiet-logger.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

const consumerMain = join(compiledRoot, "test/support/lane-consumer.js");

const manifests = `apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: orders }
---
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: parcels }
---
apiVersion: popmesh.io/v1
kind: ConsumerGroup
metadata: { name: billing }
---
apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: orders-canary }
spec:
  topic: orders
  group: billing
  rules:
    - { when: { lane: canary }, to: canary }
    - { when: { properties: { user: "42" } }, to: canary }
  # Longer than a busy machine makes anybody stall: base takes over where the test kills the canary, and nowhere else.
  whenEmpty: { action: spill, after: 8s }
`;

describe("a canary of a consumer with the official SDK", function () {
  this.timeout(120_000);

  it("gets what its rule says, loses nothing when it is killed, and keeps its lane through base (L4, L8, L11, F3, F16)", async () => {
    const parts = await MeshParts.start();
    const consumers: RunningProcess[] = [];
    try {
      const api = async (method: "GET" | "POST", path: string, body?: string) => {
        const headers = { "x-popmesh-client": "test", "content-type": "application/yaml" };
        const answer = await fetch(`${parts.api}${path}`, { method, headers, ...(body === undefined ? {} : { body }) });
        const text = await answer.text();
        assert.equal(answer.status, 200, text);
        return JSON.parse(text);
      };
      const [base, canary] = [await parts.startSidecar(), await parts.startSidecar(undefined, { lane: "canary" })];
      // In force before anybody has used the topic.
      await api("POST", "/v1/apply", manifests);
      await waitUntil("the rule is in force", async () => {
        const { status } = await api("GET", "/v1/namespaces/default/lanerules/orders-canary");
        return status.brokers[0]?.state === "in force";
      });

      const consume = (address: string) => {
        const consumer = RunningProcess.node(consumerMain, [address, "billing", "orders", "parcels"]);
        consumers.push(consumer);
        return consumer;
      };
      const got = ({ output }: RunningProcess) =>
        [...output.matchAll(/^got (\S+)$/gm)].map(([, body]) => body ?? "").sort();
      const [inBase, inCanary] = [consume(base.address), consume(canary.address)];
      const laneConsumers = async () => {
        const text = await (await fetch(`http://${parts.brokerAdmin}/stats/prometheus`)).text();
        return Number(/^popmesh_broker_lane_consumers (\d+)$/m.exec(text)?.[1]);
      };
      await waitUntil("the canary's consumer is known", async () => (await laneConsumers()) === 1, 40_000);

      const producer = new Producer({
        endpoints: base.address,
        namespace: "",
        topics: ["orders"],
        logger: quietLogger,
      });
      await producer.startup();
      let traces = 0;
      const send = async (name: string, count: number, properties: Record<string, string>) => {
        const bodies = Array.from({ length: count }, (_, i) => `${name}-${i}`).sort();
        for (const body of bodies) {
          const traceparent = `00-${(++traces).toString(16).padStart(32, "0")}-00f067aa0ba902b7-01`;
          const all = new Map(Object.entries({ ...properties, traceparent }));
          await producer.send({ topic: "orders", body: Buffer.from(body), properties: all });
        }
        return bodies;
      };
      const marked = await send("marked", 10, { "x-popmesh-lane": "canary" });
      const unmarked = await send("unmarked", 10, {});
      const ofUser = await send("user", 5, { user: "42" });
      const handled = () => got(inBase).length + got(inCanary).length;
      await waitUntil("all are handled", () => handled() === 25, 40_000);
      assert.deepEqual(got(inCanary), [...marked, ...ofUser].sort());
      assert.deepEqual(got(inBase), unmarked);

      // The canary dies with its sidecar: base handles what is its lane's, and goes on sending in that lane.
      await canary.process.stop("SIGKILL");
      await inCanary.stop("SIGKILL");
      await waitUntil("the broker knows that it is gone", async () => (await laneConsumers()) === 0);
      const orphaned = await send("orphaned", 10, { "x-popmesh-lane": "canary" });
      await waitUntil("base handles them", () => got(inBase).length === 20, 40_000);
      assert.deepEqual(got(inBase), [...orphaned, ...unmarked].sort());
      const laneOf = async (key: string) => {
        const found = await api(
          "POST",
          "/v1/namespaces/default/messages/find",
          JSON.stringify({ topic: "parcels", key }),
        );
        return /"laneMark":"([^"]*)"/.exec(JSON.stringify(found))?.[1];
      };
      assert.equal(await laneOf(orphaned[0] ?? ""), "canary", "sent on by base in the trace of a canary's message");
      assert.equal(await laneOf(unmarked[0] ?? ""), "base");
      assert.equal(await laneOf(ofUser[0] ?? ""), "canary", "sent on by the canary");

      const status = await api("GET", "/v1/namespaces/default/groups/billing/status");
      const ofOrders = status.topics.find(({ topic }: { topic: string }) => topic === "default/orders");
      assert.deepEqual(
        ofOrders.lanes.map(({ lane, state }: { lane: string; state: string }) => `${lane} ${state}`),
        ["base live", "canary spilled"],
      );

      // It returns, and gets its own again.
      await parts.startSidecar(canary, { lane: "canary" });
      const again = consume(canary.address);
      await waitUntil("it is known again", async () => (await laneConsumers()) === 1, 40_000);
      const late = await send("late", 10, { "x-popmesh-lane": "canary" });
      await waitUntil("it handles them", () => got(again).length === 10, 40_000);
      assert.deepEqual(got(again), late);
      assert.equal(got(inBase).length, 20);

      // Without a control plane, and with a broker that knows its rules from its log alone.
      await parts.killControlPlane();
      await parts.killBroker();
      await waitUntil("it is known to the new process", async () => (await laneConsumers()) === 1, 40_000);
      const last = await send("last", 10, { "x-popmesh-lane": "canary" });
      await waitUntil("it handles them", () => got(again).length === 20, 40_000);
      assert.deepEqual(got(again), [...last, ...late].sort());
      assert.equal(got(inBase).length, 20);
      await producer.shutdown();
    } finally {
      await Promise.all(consumers.map((consumer) => consumer.stop("SIGKILL")));
      await parts.stop();
    }
  });
});
