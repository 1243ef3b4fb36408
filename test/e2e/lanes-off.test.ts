import assert from "node:assert/strict";
import { applyManifests, runPopmesh } from "../support/popmesh-command.ts";
import type { RawV2Client } from "../support/raw-v2-client.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

const manifests = `apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: orders, namespace: default }
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
  rules: [{ when: { lane: canary }, to: canary }]
  whenEmpty: { action: hold }
`;

describe("popmesh lanes off", function () {
  this.timeout(60_000);

  it("hands a lane's messages to base without a control plane, outlives a killed broker, and takes it back", async () => {
    const parts = await MeshParts.start();
    try {
      const run = (...argv: string[]) => runPopmesh(parts.api, argv);
      const popmesh = (...argv: string[]) => run("lanes", ...argv);
      const api = async (path: string) => (await fetch(`${parts.api}${path}`)).json();
      const lanesAtBrokers = async () => {
        const { items } = (await api("/v1/brokers")) as { items: { status: { lanes: string } }[] };
        return items.map(({ status }) => status.lanes).join();
      };
      /** What the metrics of a broker or sidecar say, for a dashboard: 1 is off. */
      const offAt = async (admin: string) => {
        const text = await (await fetch(`http://${admin}/stats/prometheus`)).text();
        return Number(/^popmesh_(?:broker|sidecar)_lanes_off (\d)$/m.exec(text)?.[1]);
      };
      await applyManifests(parts.api, manifests);
      const [base, canary] = [await parts.startSidecar(), await parts.startSidecar(undefined, { lane: "canary" })];
      const [inBase, inCanary] = [parts.client(base, "base"), parts.client(canary, "canary")];
      const topic = { name: "orders" };
      const group = { name: "billing" };
      /** What comes within a short wait, acknowledged. */
      const handle = async (client: RawV2Client) => {
        const { messages } = await client.receive({
          ...{ group, messageQueue: { topic }, batchSize: 8, invisibleDuration: { seconds: 30 } },
          ...{ filterExpression: { type: 1, expression: "*" }, longPollingTimeout: { seconds: 1 } },
        });
        const entries = messages.map(({ systemProperties }) => ({
          messageId: systemProperties?.messageId ?? "",
          receiptHandle: systemProperties?.receiptHandle ?? "",
        }));
        if (entries.length > 0) await client.call("AckMessage", { group, topic, entries });
        return entries.map(({ messageId }) => messageId);
      };
      let sent = 0;
      const sendInCanary = async () => {
        const systemProperties = { messageId: `m${++sent}`, messageType: 1 };
        const { status } = await inCanary.call("SendMessage", {
          messages: [{ topic, systemProperties, body: Buffer.from("x") }],
        });
        assert.equal(status?.code, 20_000, status?.message);
        return systemProperties.messageId;
      };
      const comesTo = async (client: RawV2Client, id: string) => {
        const got: string[] = [];
        await waitUntil(`${id} comes`, async () => {
          got.push(...(await handle(client)));
          return got.includes(id);
        });
        assert.deepEqual(got, [id]);
      };
      await handle(inBase);
      await waitUntil("the rule is in force", async () => {
        const status = await (await fetch(`http://${parts.brokerAdmin}/lanes`)).json();
        return (status as { lanes: number }).lanes === 1;
      });
      await comesTo(inCanary, await sendInCanary());

      // With a control plane it finds all of them.
      const found = await popmesh("status", "-o", "json");
      assert.equal(found.code, 0, found.output);
      const kinds = JSON.parse(found.output).map(
        (said: { kind: string; state: string }) => `${said.kind} ${said.state}`,
      );
      assert.deepEqual(kinds.sort(), ["broker on", "sidecar on", "sidecar on"]);

      await parts.killControlPlane();
      const kept = await sendInCanary();
      assert.deepEqual(await handle(inBase), [], "its rule says hold");
      const ports = ["--broker-admin", parts.brokerAdmin, "--sidecar-admin", canary.admin];
      const off = await popmesh("off", ...ports);
      assert.equal(off.code, 0, off.output);
      await comesTo(inBase, kept);
      const figures = () => Promise.all([parts.brokerAdmin, canary.admin, base.admin].map(offAt));
      assert.deepEqual(await figures(), [1, 1, 0]);
      await parts.killBroker();
      const later = await sendInCanary();
      await comesTo(inBase, later);
      // A canary's consumer is one of base now, and its messages still carry its mark.
      const ofBoth = await sendInCanary();
      await comesTo(inCanary, ofBoth);

      // A control plane that was away is told by the broker, and tells it wherever somebody looks at lanes.
      await parts.startControlPlane();
      await waitUntil("the broker has said so", async () => (await lanesAtBrokers()) === "off");
      assert.match((await run("get", "lanerules")).output, /^orders-canary .* 1 of 1 brokers, lanes off at 1$/m);
      const { status } = (await api("/v1/namespaces/default/lanerules/orders-canary")) as { status: object };
      assert.deepEqual((status as { lanesOffAt: string[] }).lanesOffAt, ["broker-a"]);
      const explained = (await api("/v1/namespaces/default/explain/groups/billing")) as { text: string };
      assert.match(explained.text, /Lane canary: suspended, lanes are off at this broker/);

      const on = await popmesh("on", "--broker-admin", parts.brokerAdmin);
      assert.match(on.output, /^broker +\S+ +on/m);
      const own = await sendInCanary();
      assert.deepEqual(await handle(inBase), []);
      assert.deepEqual(await handle(inCanary), [], "its sidecar is off: it receives as base");
      assert.equal((await popmesh("on", ...ports)).code, 0);
      await comesTo(inCanary, own);
      assert.deepEqual(await figures(), [0, 0, 0]);
      await waitUntil("the broker has said so", async () => (await lanesAtBrokers()) === "on");
      // Half a kill switch is none.
      const half = await popmesh("status", ...ports, "--sidecar-admin", "127.0.0.1:1");
      assert.equal(half.code, 1);
      assert.match(half.output, /sidecar 127\.0\.0\.1:1: not reached/);
    } finally {
      await parts.stop();
    }
  });
});
