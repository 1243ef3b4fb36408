import assert from "node:assert/strict";
import { join } from "node:path";
import { Producer, SimpleConsumer } from "rocketmq-client-nodejs";
import { applyManifests, commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { MeshParts, type SidecarProcess } from "../support/start-parts.ts";
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
---
apiVersion: popmesh.io/v1
kind: Topic
metadata: { name: letters }
spec: { queues: 1 }
---
apiVersion: popmesh.io/v1
kind: ConsumerGroup
metadata: { name: mailing }
---
apiVersion: popmesh.io/v1
kind: LaneRule
metadata: { name: letters-canary }
spec:
  topic: letters
  group: mailing
  rules: [{ when: { lane: canary }, to: canary }]
  whenEmpty: { action: hold }
`;

/** What both `popmesh explain --id` and `popmesh message trace` are told of a message; what only one of them knows is not read. */
interface Told {
  readonly brokers: readonly {
    readonly items: readonly {
      readonly groups: readonly {
        readonly group: string;
        readonly state: string;
        readonly holder?: string;
        readonly attempt?: number;
      }[];
      readonly events: readonly object[];
    }[];
  }[];
}

describe("popmesh explain", function () {
  this.timeout(60_000);
  let parts: MeshParts;
  let base: SidecarProcess;
  before(async () => {
    parts = await MeshParts.start();
    await applyManifests(parts.api, manifests);
    base = await parts.startSidecar();
  });
  after(() => parts?.stop());

  const popmesh = (...argv: string[]) => commandOutput(parts.api, argv);

  it("tells of real messages, of one that might come, and of a group why its canary gets nothing (L12)", async () => {
    let consumer: RunningProcess | undefined;
    try {
      let before = "";
      await waitUntil("its rule is in force", async () =>
        /in force at 1 of 1 brokers/.test((before = await popmesh("explain", "group", "billing"))),
      );
      assert.match(
        before,
        /^Group default\/billing has not read topic default\/orders yet; rule default\/orders-canary, version 1, .* waits for it, with lane canary:\n/,
      );
      assert.match(before, / {4}clause 2: user = "42" goes to canary\n {2}It is in force at 1 of 1 brokers; /);
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
      assert.match(connected, /1 sidecar of lane canary is connected, but no client there receives default\/orders/);
    } finally {
      await consumer?.stop("SIGKILL");
    }
  });

  it("tells of a message what its trace tells: the same holders, attempts and lanes, and how it stands now", async () => {
    const common = { namespace: "", logger: quietLogger };
    const canary = await parts.startSidecar(undefined, { lane: "canary" });
    const producer = new Producer({ ...common, endpoints: base.address, topics: ["letters"] });
    const [inBase, inCanary] = [base, canary].map(
      ({ address }) =>
        new SimpleConsumer({
          ...{ ...common, endpoints: address, consumerGroup: "mailing" },
          subscriptions: new Map([["letters", "*"]]),
          awaitDuration: 1_000,
        }),
    ) as [SimpleConsumer, SimpleConsumer];
    const all = [producer, inBase, inCanary];
    await Promise.all(all.map((client) => client.startup()));
    try {
      const next = async (consumer: SimpleConsumer) => {
        const got: Awaited<ReturnType<SimpleConsumer["receive"]>> = [];
        await waitUntil("a message comes", async () => {
          got.push(...(await consumer.receive(1, 15_000).catch(() => [])));
          return got.length > 0;
        });
        return got[0]!;
      };
      await Promise.all([inBase, inCanary].map((consumer) => consumer.receive(1, 15_000).catch(() => [])));
      const send = async (lane: string) => {
        const properties = new Map([["x-popmesh-lane", lane]]);
        return (await producer.send({ topic: "letters", body: Buffer.from(lane), properties })).messageId;
      };
      const [id, ofBase] = [await send("canary"), await send("base")];
      /** How the message stands, as both tell it alike. */
      const standing = async () => {
        const [one, other] = await Promise.all(
          ["explain/message", "messages/trace"].map(async (path) => {
            const answer = await fetch(`${parts.api}/v1/namespaces/default/${path}`, {
              ...{ method: "POST", headers: { "x-popmesh-client": "test" }, body: JSON.stringify({ id }) },
            });
            const { groups, events } = ((await answer.json()) as Told).brokers[0]!.items[0]!;
            return {
              events,
              groups: groups.map(({ group, state, holder, attempt }) => ({ group, state, holder, attempt })),
            };
          }),
        );
        assert.deepEqual(one, other);
        return one!;
      };
      assert.equal((await next(inBase)).messageId, ofBase);
      // The position of base is beyond it; that of its lane is not.
      assert.equal((await standing()).groups[0]?.state, "ahead");

      const first = await next(inCanary);
      assert.equal(first.messageId, id);
      const out = (await standing()).groups[0];
      assert.deepEqual([out?.state, out?.attempt, out?.holder !== ""], ["in flight", 1, true]);
      await inCanary.changeInvisibleDuration(first, 100);
      const second = await next(inCanary);
      await inCanary.ack(second);
      const {
        events,
        groups: [done],
      } = await standing();
      assert.equal(done?.state, "done");
      const handOuts = (events as { event: string; attempt: number; holder: string; lane: string; owner: string }[])
        .filter(({ event }) => event === "handed out")
        .map(({ attempt, holder, lane, owner }) => [attempt, holder, lane, owner]);
      assert.deepEqual(handOuts, [
        [1, out?.holder, "canary", "canary"],
        [2, out?.holder, "canary", "canary"],
      ]);
      // And the same sentences.
      const [explained, traced] = await Promise.all([popmesh("explain", "--id", id), popmesh("message", "trace", id)]);
      for (const text of [explained, traced]) {
        assert.match(text, /handed out to \S+ of lane canary, attempt 2, invisible for 15 s/);
      }
    } finally {
      await Promise.all(all.map((client) => client.shutdown()));
    }
  });
});
