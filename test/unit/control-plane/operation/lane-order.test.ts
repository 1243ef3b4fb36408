import assert from "node:assert/strict";
import { type CatalogTables, emptyTables } from "../../../../control-plane/catalog/catalog-table.ts";
import { type LaneRuleAtBroker, laneOrdersFor, rulesInList } from "../../../../control-plane/operation/lane-order.ts";

describe("the orders that bring a broker's lane rules in step", () => {
  let tables: CatalogTables;
  beforeEach(() => {
    tables = emptyTables();
  });

  const topic = (name: string, brokers: readonly string[], incarnation = 1) =>
    tables.topic.set(`default/${name}`, {
      ...{ namespace: "default", name, type: "normal", queues: 4, state: "active" },
      ...{ incarnation, generation: 1, placement: brokers, createdMs: 0, createdBy: "" },
    });
  const rule = (name: string, topicName: string, generation: number, group = "") => {
    tables.laneRule.set(`default/${name}`, {
      ...{ namespace: "default", name, topic: topicName, group, generation },
      ...{ clauses: [{ to: "canary" }], whenEmpty: { action: "hold" } },
      ...{ createdMs: 0, createdBy: "", changedMs: 0, changedBy: "" },
    });
    tables.counter.set(`laneRule/default/${name}`, { incarnation: 1, generation });
  };
  /** What is left of a rule that was deleted with this generation. */
  const deleted = (name: string, generation: number) =>
    tables.counter.set(`laneRule/default/${name}`, { incarnation: 1, generation });
  const orders = (...has: Partial<LaneRuleAtBroker>[]) => {
    const whole = has.map((at) => ({
      ...{ topic: "default/orders", group: "", name: "default/canary", generation: 1, incarnation: 1 },
      ...at,
    }));
    const found = laneOrdersFor("a", tables, new Map(whole.map((at) => [`${at.topic} ${at.group}`, at])));
    return {
      withdrawals: found.withdrawals.map(({ name, topic: of, number }) => `${name} of ${of} at ${number}`),
      rules: found.rules.map(({ name, number, opening }) => `${name} ${number} ${opening?.incarnation}`),
      foreign: found.foreign.map(({ name }) => name),
    };
  };
  const nothing = { withdrawals: [], rules: [], foreign: [] };

  it("are none where the broker has what it shall have", () => {
    topic("orders", ["a"]);
    rule("canary", "orders", 1);
    assert.deepEqual(orders({}), nothing);
  });

  it("bring what is missing or older, and leave what is newer", () => {
    topic("orders", ["a"]);
    rule("canary", "orders", 3);
    assert.deepEqual(orders().rules, ["default/canary 3 1"]);
    assert.deepEqual(orders({ generation: 2 }).rules, ["default/canary 3 1"]);
    assert.deepEqual(orders({ generation: 4 }), nothing);
  });

  it("carry the whole rule and what the broker must know of a topic that nobody used there", () => {
    topic("orders", ["a"]);
    rule("canary", "orders", 3, "billing");
    const [order] = laneOrdersFor("a", tables, new Map()).rules;
    assert.deepEqual(order, {
      topic: "default/orders",
      group: "default/billing",
      name: "default/canary",
      number: 3,
      rule: { clauses: [{ to: "canary" }], whenEmpty: { action: "hold" } },
      opening: { incarnation: 1, messageTypes: 2, queueCount: 4 },
    });
  });

  it("wait for the topic, and go only where it lies", () => {
    rule("canary", "orders", 1);
    assert.deepEqual(orders(), nothing);
    topic("orders", ["b"]);
    assert.deepEqual(orders(), nothing);
  });

  it("come again for a topic that was deleted and created again", () => {
    topic("orders", ["a"], 2);
    rule("canary", "orders", 1);
    assert.deepEqual(orders({ incarnation: 1 }).rules, ["default/canary 1 2"]);
  });

  it("withdraw what was deleted while the broker was away", () => {
    topic("orders", ["a"]);
    deleted("canary", 2);
    assert.deepEqual(orders({}), { ...nothing, withdrawals: ["default/canary of default/orders at 2"] });
  });

  it("withdraw a rule where it was before it became one for another topic", () => {
    topic("orders", ["a"]);
    topic("bills", ["a"]);
    rule("canary", "bills", 3);
    assert.deepEqual(orders({}), {
      ...nothing,
      withdrawals: ["default/canary of default/orders at 3"],
      rules: ["default/canary 3 1"],
    });
  });

  it("make room for a rule of another name", () => {
    topic("orders", ["a"]);
    deleted("canary", 2);
    rule("blue", "orders", 1);
    assert.deepEqual(orders({}), {
      ...nothing,
      withdrawals: ["default/canary of default/orders at 2"],
      rules: ["default/blue 1 1"],
    });
  });

  it("are not made of an answer that cannot be read", () => {
    assert.deepEqual(rulesInList({ topics: [], more: 1 }), []);
    for (const answer of [null, {}, { topics: [{ topic: "t" }] }]) {
      assert.throws(() => rulesInList(answer), /are they of one release\?/);
    }
  });

  it("leave in force what another control plane made", () => {
    topic("orders", ["a"]);
    assert.deepEqual(orders({}), { ...nothing, foreign: ["default/canary"] });
  });
});
