import assert from "node:assert/strict";
import { TraceLanes } from "../../../../sidecar/lane/trace-lanes.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

describe("the lanes of traces (L11)", () => {
  let clock: ManualClock;
  let traces: TraceLanes;
  beforeEach(() => {
    clock = new ManualClock();
    traces = new TraceLanes(clock, { tracesMax: 3, forgetMs: 1_000 });
  });

  it("are those learned last", () => {
    traces.learn("a", "canary");
    traces.learn("b", "blue");
    traces.learn("a", "green");
    assert.deepEqual([traces.laneOf("a"), traces.laneOf("b"), traces.laneOf("c")], ["green", "blue", undefined]);
  });

  it("are forgotten when they were not used for their time, and kept by use", () => {
    traces.learn("a", "canary");
    traces.learn("b", "canary");
    clock.advance(999);
    assert.equal(traces.laneOf("a"), "canary");
    clock.advance(1);
    assert.deepEqual([traces.laneOf("a"), traces.laneOf("b")], ["canary", undefined]);
    assert.equal(traces.count, 1);
  });

  it("are bounded: the one not used for longest makes room", () => {
    for (const id of ["a", "b", "c"]) traces.learn(id, "canary");
    traces.laneOf("a");
    traces.learn("d", "canary");
    assert.equal(traces.count, 3);
    assert.deepEqual(
      ["a", "b", "c", "d"].map((id) => traces.laneOf(id)),
      ["canary", undefined, "canary", "canary"],
    );
  });
});
