import assert from "node:assert/strict";
import { baseLane, isLaneName, laneMarkOf, receivingLaneOf } from "../../../../sidecar/lane/lane.ts";

describe("lane", () => {
  it("is named like a DNS label", () => {
    for (const name of ["base", "a", "canary-2", "x".repeat(63)]) assert.equal(isLaneName(name), true, name);
    for (const name of ["", "-a", "a-", "A", "a.b", "a b", "ä", "x".repeat(64)])
      assert.equal(isLaneName(name), false, name);
  });

  it("marks and receives by the instance's own lane", () => {
    assert.equal(laneMarkOf(baseLane), "base");
    assert.equal(receivingLaneOf("canary"), "canary");
  });
});
