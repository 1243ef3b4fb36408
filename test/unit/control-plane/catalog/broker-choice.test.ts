import assert from "node:assert/strict";
import { brokersFor, brokersLacking, placeWanting } from "../../../../control-plane/catalog/broker-choice.ts";
import { CatalogDraft } from "../../../../control-plane/catalog/catalog-draft.ts";
import { emptyTables } from "../../../../control-plane/catalog/catalog-table.ts";
import { declareTopic } from "../../../../control-plane/catalog/declare.ts";
import { declareBroker, forgetBroker } from "../../../../control-plane/catalog/declare-broker.ts";
import { drainBroker, noteDrained, undrainBroker } from "../../../../control-plane/catalog/drain-broker.ts";

const namespaceDefaults = { autoCreateTopics: true, autoCreateGroups: true };

/** A catalog with brokers of these names, and what is done to it in one draft after the other. */
function catalogWith(...names: string[]) {
  const dead = new Set<string>();
  const isAlive = (name: string) => !dead.has(name);
  const draft = new CatalogDraft(emptyTables(), { nowMs: 1_000, by: "test", isAlive });
  const come = (name: string) =>
    declareBroker(draft, { name, host: "h", port: 1, runId: 1, draining: false, writable: true, lanesOff: false });
  for (const name of names) come(name);
  const topic = (name: string, brokers?: number) => {
    const said = brokers === undefined ? {} : { brokers };
    return declareTopic(draft, "default", name, said, namespaceDefaults);
  };
  const record = (name: string) => {
    const found = draft.get("topic", `default/${name}`);
    assert.ok(found);
    return found;
  };
  /** Those that take new messages. */
  const open = (name: string) => record(name).placement.filter((broker) => !record(name).closed?.includes(broker));
  return { draft, dead, come, topic, record, open };
}

const four = ["a", "b", "c", "d"];

describe("A topic that shall lie on so many brokers", () => {
  it("lies on as many, spread evenly, and few choose otherwise when a broker comes or goes", () => {
    const counts = new Map<string, number>();
    let [came, left] = [0, 0];
    for (let i = 0; i < 400; i++) {
      const key = `default/t${i}`;
      const chosen = brokersFor(key, 2, four);
      assert.equal(new Set(chosen).size, 2);
      assert.deepEqual(brokersFor(key, 2, [...four].reverse()), chosen, "in whatever order they are told");
      for (const name of chosen) counts.set(name, (counts.get(name) ?? 0) + 1);
      const withE = brokersFor(key, 2, [...four, "e"]);
      if (withE.includes("e")) came++;
      assert.ok(withE.filter((name) => chosen.includes(name)).length >= (withE.includes("e") ? 1 : 2));
      const withoutA = brokersFor(key, 2, ["b", "c", "d"]);
      if (chosen.includes("a")) left++;
      else assert.deepEqual(withoutA, chosen);
    }
    for (const count of counts.values()) assert.ok(count > 140 && count < 260, `${count} of 800`);
    assert.ok(came > 100 && came < 220, `${came} of 400 would have chosen the fifth of five`);
    assert.ok(left > 140 && left < 260);
    assert.deepEqual(brokersFor("default/t", undefined, four), four, "or on all");
    assert.deepEqual(brokersFor("default/t", 9, four), four);
  });

  it("gets another for one that is drained, and keeps both when that is taken back", () => {
    const { draft, topic, open, record } = catalogWith(...four);
    topic("orders", 2);
    const [first = "", second = ""] = open("orders");
    drainBroker(draft, first, 0);
    const after = open("orders");
    assert.equal(after.length, 2);
    assert.ok(after.includes(second) && !after.includes(first));
    undrainBroker(draft, first);
    assert.deepEqual(open("orders").sort(), [first, ...after].sort());
    drainBroker(draft, second, 0);
    assert.deepEqual(open("orders").length, 2, "there are enough");
    noteDrained(draft, second);
    assert.ok(record("orders").placement.includes(second), "until it is forgotten");
  });

  it("gets another for one that is forgotten, none for one that is down", () => {
    const { draft, dead, topic, open, come } = catalogWith("a", "b", "c");
    topic("orders", 2);
    topic("everywhere");
    const [first = "", second = ""] = open("orders");
    dead.add(first);
    come("d");
    assert.deepEqual(open("orders"), [first, second]);
    forgetBroker(draft, first);
    assert.equal(open("orders").length, 2);
    assert.ok(!open("orders").includes(first));
    assert.deepEqual(
      open("everywhere"),
      ["a", "b", "c"].filter((name) => name !== first),
      "it says no number",
    );
  });

  it("gets as many as there are, and the rest when they come", () => {
    const { topic, open, come, record } = catalogWith();
    topic("orders", 2);
    assert.deepEqual(open("orders"), []);
    come("a");
    assert.deepEqual([open("orders"), record("orders").groupSpread], [["a"], undefined]);
    come("b");
    assert.deepEqual(
      [open("orders"), record("orders").groupSpread?.sets],
      [
        ["a", "b"],
        [["a", "b"], ["a"]],
      ],
    );
    come("c");
    assert.deepEqual(open("orders"), ["a", "b"], "it has what it wants");
  });

  it("can be raised and not lowered", () => {
    const { draft, topic, open } = catalogWith(...four);
    topic("orders", 2);
    const before = open("orders");
    assert.equal(topic("orders", 2).outcome, "unchanged");
    assert.equal(topic("orders", 3).outcome, "configured");
    assert.deepEqual([open("orders").slice(0, 2), open("orders").length], [before, 3]);
    const lowered = topic("orders", 1);
    assert.ok(lowered.outcome === "conflict" && lowered.path === "spec.brokers");
    assert.match(lowered.reason, /cannot be 1: it lies on \w, \w, \w, and they may still hold messages/);
    topic("everywhere");
    assert.equal(topic("everywhere", 3).outcome, "conflict");
    assert.equal(topic("everywhere", 5).outcome, "configured");
    placeWanting(draft);
    assert.deepEqual(open("everywhere"), four);
    const alone = { brokers: 2, placement: ["a", "b"], closed: ["a", "b"] };
    assert.deepEqual(brokersLacking("k", alone, ["a"]), [], "one that is drained does not come back by that");
  });
});
