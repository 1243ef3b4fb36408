import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { OperatorLink } from "../../../support/operator-link.ts";
import { SimulatedBroker } from "../../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";
import { groupRef, topicRef } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

interface Result {
  readonly total: number;
  readonly examined: number;
  readonly isCut: boolean;
  readonly clauses: readonly { messages: number }[];
  readonly lanes: readonly { lane: string; messages: number; topKeys: readonly { key: string; messages: number }[] }[];
  readonly groups: readonly {
    readonly group: string;
    readonly isDecidedByIt: boolean;
    readonly moves: readonly { from: string; to: string; messages: number }[];
    readonly holders: Readonly<Record<string, number>>;
  }[];
}

const topic = topicRef("orders", { queueCount: 2 });

/** Every tenth is of user 42, whose key is k42; the others have ten keys. */
const message = (n: number) =>
  apache.rocketmq.v2.Message.encode({
    topic: { name: "orders" },
    systemProperties: { messageId: `id-${n}`, messageType: 1, keys: [n % 10 === 0 ? "k42" : `k${n % 10}`] },
    userProperties: { user: n % 10 === 0 ? "42" : "7" },
    body: Buffer.alloc(100, "x"),
  }).finish();

describe("the dry run of a lane rule at a broker", function () {
  this.timeout(240_000);
  let broker: SimulatedBroker;
  let operator: OperatorLink;

  before(async () => {
    broker = await SimulatedBroker.start(new SimulatedDisk(), new SeededRandomness(5));
    operator = new OperatorLink(broker.broker.port);
    const { client } = broker;
    await client.take(topic, groupRef("billing"), { clientId: "b-1" });
    for (let n = 0; n < 400; n++) {
      await waitUntil("it is stored", async () => (await client.send(topic, [message(n)])).ok);
    }
  });
  after(async () => {
    operator.close();
    await broker.stop();
  });

  const rule = {
    clauses: [
      { to: "canary", properties: { user: "42" } },
      { to: "blue", lane: "blue" },
    ],
  };
  const dryRun = (parts: object = {}) =>
    operator.call<Result>("lane.dryRun", { topic: "default/orders", rule, sinceMs: 1, ...parts });

  it("tells how many messages of a time go where, which keys, and what each group would see", async () => {
    const before = broker.broker.state.appliedPosition;
    const told = await dryRun();
    assert.deepEqual([told.total, told.examined, told.isCut], [400, 400, false]);
    assert.deepEqual(
      told.clauses.map(({ messages }) => messages),
      [40, 0],
    );
    assert.deepEqual(
      told.lanes.map(({ lane, messages }) => [lane, messages]),
      [
        ["base", 360],
        ["canary", 40],
        ["blue", 0],
      ],
    );
    assert.deepEqual(told.lanes[1]?.topKeys, [{ key: "k42", messages: 40 }]);
    assert.deepEqual(told.lanes[0]?.topKeys[0], { key: "k1", messages: 40 });
    const [billing] = told.groups;
    assert.deepEqual(billing?.moves, [
      { from: "base", to: "canary", messages: 40 },
      { from: "base", to: "base", messages: 360 },
    ]);
    assert.deepEqual([billing?.isDecidedByIt, billing?.holders], [true, { base: 1 }]);
    assert.equal(broker.broker.state.appliedPosition, before, "nothing is written");
  });

  it("looks at no more than it may, evenly spread, and says so", async () => {
    const told = await dryRun({ examinedMax: 64 });
    assert.deepEqual([told.total, told.isCut], [400, true]);
    assert.ok(told.examined >= 32 && told.examined <= 128, String(told.examined));
    assert.equal((await dryRun({ sinceMs: Date.now() + 3_600_000 })).total, 0);
  });

  it("goes by the rules in force beside it: a group with a rule of its own is not touched by one for every group", async () => {
    const own = { clauses: [{ to: "green" }] };
    await operator.call("lane.rule", {
      topic: "default/orders",
      group: "default/billing",
      name: "own",
      number: 1,
      rule: own,
    });
    const [billing] = (await dryRun()).groups;
    assert.deepEqual(
      [billing?.isDecidedByIt, billing?.moves],
      [false, [{ from: "green", to: "green", messages: 400 }]],
    );
    const [changed] = (await dryRun({ group: "default/billing" })).groups;
    assert.deepEqual(changed?.moves, [
      { from: "green", to: "canary", messages: 40 },
      { from: "green", to: "base", messages: 360 },
    ]);
  });

  it("refuses a rule that cannot be, and knows nothing of a topic that is not here", async () => {
    await assert.rejects(dryRun({ rule: { clauses: [{ to: "a", sql: "x =" }] } }), /clause 1, sql/);
    assert.equal((await dryRun({ topic: "default/none" })).total, 0);
  });
});
