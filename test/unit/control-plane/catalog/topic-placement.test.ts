import assert from "node:assert/strict";
import {
  withBrokerAdded,
  withBrokerDraining,
  withBrokerOpen,
  withGroupsGone,
  withoutBroker,
} from "../../../../control-plane/catalog/topic-placement.ts";
import type { TopicRecord } from "../../../../control-plane/resource/topic.ts";

const topic: TopicRecord = {
  ...{ namespace: "default", name: "orders", type: "fifo", queues: 4, state: "active" },
  ...{ incarnation: 1, generation: 1, placement: ["a", "b"], createdMs: 0, createdBy: "test" },
};

describe("Where a topic lies", () => {
  it("goes through a drain: closed and left by message groups, then by all, then as if it had never been there", () => {
    const draining = withBrokerDraining(topic, "a", []);
    assert.deepEqual(draining, { ...topic, closed: ["a"], groupsLeft: ["a"] });
    const drained = withGroupsGone(draining, "a");
    assert.deepEqual(drained, { ...topic, closed: ["a"], groupSets: [["b"]] });
    assert.deepEqual(withoutBroker(drained, "a"), { ...topic, placement: ["b"] });
  });

  it("has heirs where the broker was alone, and message groups go there only when they have left it", () => {
    const alone = { ...topic, placement: ["a"] };
    const draining = withBrokerDraining(alone, "a", ["c", "d"]);
    assert.deepEqual(draining.placement, ["a", "c", "d"]);
    assert.deepEqual(draining.groupSets, [["a"], ["c", "d"]]);
    assert.deepEqual(withoutBroker(withGroupsGone(draining, "a"), "a"), { ...topic, placement: ["c", "d"] });
  });

  it("adds a set when all of those leave that message groups are spread over", () => {
    const both = withBrokerDraining(withBrokerDraining(topic, "a", []), "b", ["c"]);
    assert.deepEqual(both.groupSets, [["a", "b"], ["c"]]);
    assert.deepEqual(
      [both.closed, both.groupsLeft],
      [
        ["a", "b"],
        ["a", "b"],
      ],
    );
  });

  it("lets message groups that left stay away when the drain is taken back", () => {
    const back = withBrokerOpen(withBrokerDraining(topic, "a", []), "a");
    assert.deepEqual(back, { ...topic, groupsLeft: ["a"] });
    const late = withBrokerOpen(withGroupsGone(withBrokerDraining(topic, "a", []), "a"), "a");
    assert.deepEqual(late, { ...topic, groupSets: [["b"]] });
  });

  it("moves no message group when a broker is added", () => {
    assert.deepEqual(withBrokerAdded(topic, "c"), { ...topic, placement: ["a", "b", "c"], groupSets: [["a", "b"]] });
    assert.deepEqual(withBrokerAdded({ ...topic, placement: [] }, "c"), { ...topic, placement: ["c"] });
    assert.equal(withBrokerAdded(topic, "b"), topic);
  });
});
