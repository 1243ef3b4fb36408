import assert from "node:assert/strict";
import { join } from "node:path";
import { Producer } from "rocketmq-client-nodejs";
import { applyManifests, commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

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
  whenEmpty: { action: spill, after: 0.5s }
`;

describe("popmesh explain", function () {
  this.timeout(60_000);

  it("tells of real messages, of one that might come, and of a group why its canary gets nothing (L12)", async () => {
    const parts = await MeshParts.start();
    let consumer: RunningProcess | undefined;
    try {
      const popmesh = (...argv: string[]) => commandOutput(parts.api, argv);
      await applyManifests(parts.api, manifests);
      const base = await parts.startSidecar();
      consumer = RunningProcess.node(join(compiledRoot, "test/support/lane-consumer.js"), [
        ...[base.address, "billing", "orders", "parcels"],
      ]);
      const lanes = async () => {
        const status = await (await fetch(`${parts.api}/v1/namespaces/default/groups/billing/status`)).json();
        const { topics } = status as { topics: { lanes: { lane: string; state: string }[] }[] };
        return topics.flatMap((topic) => topic.lanes.map(({ lane, state }) => `${lane} ${state}`));
      };
      await waitUntil("its canary is spilled", async () => (await lanes()).includes("canary spilled"), 40_000);

      const producer = new Producer({
        endpoints: base.address,
        namespace: "",
        topics: ["orders"],
        logger: quietLogger,
      });
      await producer.startup();
      const send = async (body: string, properties: Record<string, string>) => {
        const all = new Map(Object.entries(properties));
        const { messageId } = await producer.send({ topic: "orders", body: Buffer.from(body), properties: all });
        await waitUntil(`${body} is handled`, () => consumer?.output.includes(`got ${body}`) === true, 40_000);
        return messageId;
      };
      const id = await send("of-user", { user: "42" });
      await producer.shutdown();

      let told = "";
      await waitUntil("it is acknowledged", async () =>
        /acknowledged\n/.test((told = await popmesh("explain", "--id", id))),
      );
      for (const part of [
        `${id} in default/orders on broker`,
        "It is rule default/orders-canary, version 1, which is for this group",
        'Clause 1 (to canary) does not hold: its lane mark is "base" and not "canary".',
        'Clause 2 (to canary) holds: its property user is "42".',
        "So it is of lane canary.",
        "of lane base, standing in for lane canary, attempt 1",
        "Now: the group is done with it",
      ]) {
        assert.ok(told.includes(part), `${part}\n${told}`);
      }
      const body = JSON.stringify({ id });
      const answer = await fetch(`${parts.api}/v1/namespaces/default/explain/message`, {
        method: "POST",
        headers: { "x-popmesh-client": "test" },
        body,
      });
      const data = (await answer.json()) as { brokers: { items: { groups: { rule: { number: number } }[] }[] }[] };
      assert.equal(data.brokers[0]?.items[0]?.groups[0]?.rule.number, 1);

      const would = await popmesh("explain", "--topic", "orders", "--property", "user=42");
      assert.match(
        would,
        /So it is of lane canary\.\n {2}Lane canary is spilled: .*base consumers handle its messages \(\S+/,
      );
      const other = JSON.parse(
        await popmesh("explain", "--topic", "orders", "--property", "user=7", "--output", "json"),
      );
      assert.deepEqual([other.brokers[0].groups[0].clause, other.brokers[0].groups[0].lane], [null, "base"]);

      const why = await popmesh("explain", "group", "billing", "--topic", "orders", "--lane", "canary");
      assert.match(why, /clause 2: user = "42" goes to canary/);
      assert.match(why, /no sidecar of lane canary is connected \(start one: popmesh sidecar --lane canary\)/);
      await parts.startSidecar(undefined, { lane: "canary" });
      const connected = await popmesh("explain", "group", "billing", "--lane", "canary");
      assert.match(connected, /1 sidecar of lane canary are connected, but no client there receives default\/orders/);
    } finally {
      await consumer?.stop("SIGKILL");
      await parts.stop();
    }
  });
});
