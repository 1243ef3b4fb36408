import assert from "node:assert/strict";
import {
  withBrokerAdded,
  withBrokerDraining,
  withBrokerOpen,
  withBrokersAdded,
  withGroupsGone,
  withoutBroker,
} from "../../../../control-plane/catalog/topic-placement.ts";
import type { TopicRecord } from "../../../../control-plane/resource/topic.ts";

const topic: TopicRecord = {
  ...{ namespace: "default", name: "orders", type: "fifo", queues: 4, state: "active" },
  ...{ incarnation: 1, generation: 1, placement: ["a", "b"], createdMs: 0, createdBy: "test" },
};

describe("Where a topic lies", () => {
  it("goes through a drain: closed and asked first, then not asked any more, then as if it had never been there", () => {
    const draining = withBrokerDraining(topic, "a", [], 7);
    const sets = [["b"], ["a", "b"]];
    assert.deepEqual(draining, { ...topic, closed: ["a"], groupSpread: { number: 7, sets, gone: [] } });
    const drained = withGroupsGone(draining, "a");
    assert.deepEqual(drained, { ...topic, closed: ["a"], groupSpread: { number: 7, sets: [["b"]], gone: [] } });
    const spread = { number: 7, sets: [["b"]], gone: [] };
    assert.deepEqual(withoutBroker(drained, "a", 9), { ...topic, placement: ["b"], groupSpread: spread });
  });

  it("has heirs where the broker was alone, and message groups go there only when they have left it", () => {
    const alone = { ...topic, placement: ["a"] };
    const draining = withBrokerDraining(alone, "a", ["c", "d"], 7);
    assert.deepEqual(draining.placement, ["a", "c", "d"]);
    assert.deepEqual(draining.groupSpread?.sets, [["c", "d"], ["a"]]);
    assert.deepEqual(withGroupsGone(draining, "a").groupSpread?.sets, [["c", "d"]]);
  });

  it("keeps the homes of before of two brokers that are drained at once until each is", () => {
    const both = withBrokerDraining(withBrokerDraining(topic, "a", [], 7), "b", ["c"], 8);
    assert.deepEqual(both.groupSpread, { number: 8, sets: [["c"], ["b"], ["a", "b"]], gone: [] });
    const first = withGroupsGone(both, "b");
    assert.deepEqual(first.groupSpread, { number: 8, sets: [["c"], ["a", "b"]], gone: ["b"] });
    assert.deepEqual(withBrokerOpen(first, "b", 9).groupSpread?.gone, [], "one that is taken back is asked again");
    assert.deepEqual(withGroupsGone(first, "a").groupSpread, { number: 8, sets: [["c"]], gone: [] });
  });

  it("lets message groups come back when the drain is taken back, from where they have gone meanwhile", () => {
    const back = withBrokerOpen(withBrokerDraining(topic, "a", [], 7), "a", 8);
    assert.deepEqual(back, { ...topic, groupSpread: { number: 8, sets: [["a", "b"], ["b"]], gone: [] } });
    const late = withBrokerOpen(withGroupsGone(withBrokerDraining(topic, "a", [], 7), "a"), "a", 8);
    assert.deepEqual(late, back);
  });

  it("spreads message groups over a broker that is added, and asks their homes of before", () => {
    const added = withBrokerAdded(topic, "c", 7);
    const sets = [
      ["a", "b", "c"],
      ["a", "b"],
    ];
    assert.deepEqual(added, { ...topic, placement: ["a", "b", "c"], groupSpread: { number: 7, sets, gone: [] } });
    assert.deepEqual(withBrokerAdded({ ...topic, placement: [] }, "c", 7), { ...topic, placement: ["c"] });
    assert.equal(withBrokerAdded(topic, "b", 7), topic);
  });

  it("asks a broker again that was gone and is added anew", () => {
    const gone = withGroupsGone(withBrokerDraining(withBrokerAdded(topic, "c", 7), "a", [], 8), "a");
    assert.deepEqual(gone.groupSpread, {
      number: 8,
      sets: [
        ["b", "c"],
        ["a", "b"],
      ],
      gone: ["a"],
    });
    const anew = withBrokerAdded(withoutBroker(gone, "a", 9), "a", 10);
    assert.deepEqual(anew.groupSpread?.gone, []);
    assert.deepEqual(anew.groupSpread?.sets[0], ["b", "c", "a"]);
  });

  it("has a home again after the last broker was forgotten", () => {
    const lost = withoutBroker(withoutBroker(withBrokerAdded(topic, "c", 7), "a", 8), "b", 9);
    const none = withoutBroker(lost, "c", 10);
    assert.deepEqual(none.placement, []);
    assert.deepEqual(withBrokersAdded(none, ["d"], 11).groupSpread?.sets[0], ["d"]);
    assert.deepEqual(withoutBroker(topic, "a", 7), { ...topic, placement: ["b"] }, "nothing has moved");
  });
});
