import assert from "node:assert/strict";
import { type OutcomesAnswer, OutcomeWindow } from "../../../../control-plane/rollout/outcome-window.ts";

function answer(
  run: number,
  lanes: Readonly<Record<string, readonly [acks: number, failures: number]>>,
): OutcomesAnswer {
  const items = Object.entries(lanes).map(([lane, [acks, failures]]) => ({
    ...{ group: "ns/g", lane, acks, failures },
    ...{ deadLetters: 0, buckets: [acks], lagMs: acks },
  }));
  return { run, items };
}

describe("The window of outcomes", () => {
  const told = (window: OutcomeWindow, nowMs: number) =>
    window
      .outcomes("canary", "base", nowMs)
      .map(({ group, lane, base }) => [group, lane.acks, lane.failures, base.acks]);

  it("holds what was counted within it, and not what was before a broker was asked", () => {
    const window = new OutcomeWindow(60_000, 0);
    window.take("a", answer(1, { base: [100, 0], canary: [10, 5] }), 0);
    assert.deepEqual(told(window, 0), [["ns/g", 0, 0, 0]]);
    window.take("a", answer(1, { base: [110, 0], canary: [12, 6] }), 10_000);
    assert.deepEqual(told(window, 10_000), [["ns/g", 2, 1, 10]]);
    window.take("a", answer(1, { base: [111, 0], canary: [12, 6] }), 80_000);
    assert.deepEqual(told(window, 80_000), [["ns/g", 0, 0, 1]], "the rest is too old");
  });

  it("adds up brokers, and takes the longest lag of any", () => {
    const window = new OutcomeWindow(60_000, 0);
    for (const broker of ["a", "b"]) window.take(broker, answer(1, { base: [0, 0], canary: [0, 0] }), 0);
    window.take("a", answer(1, { base: [1, 0], canary: [2, 0] }), 1_000);
    window.take("b", answer(7, { base: [10, 0], canary: [20, 0] }), 1_000);
    assert.deepEqual(told(window, 1_000), [["ns/g", 22, 0, 11]]);
    assert.equal(window.outcomes("canary", "base", 1_000)[0]?.lane.lagMs, 20);
  });

  it("goes on over a broker that started again, whose counts begin anew, more or fewer", () => {
    const window = new OutcomeWindow(60_000, 0);
    window.take("a", answer(1, { base: [0, 0], canary: [5, 0] }), 0);
    window.take("a", answer(2, { base: [0, 0], canary: [9, 0] }), 1_000);
    assert.deepEqual(told(window, 1_000), [["ns/g", 9, 0, 0]], "nine in the new run, not four more");
    window.take("a", answer(2, { base: [0, 0], canary: [3, 0] }), 2_000);
    assert.deepEqual(told(window, 2_000), [["ns/g", 12, 0, 0]], "a lane that went and came back");
  });

  it("counts a lane that came after the broker was first asked from its beginning", () => {
    const window = new OutcomeWindow(60_000, 0);
    window.take("a", answer(1, {}), 0);
    assert.deepEqual(told(window, 0), []);
    window.take("a", answer(1, { base: [3, 0], canary: [4, 1] }), 1_000);
    assert.deepEqual(told(window, 1_000), [["ns/g", 4, 1, 3]]);
  });

  it("begins anew with a step", () => {
    const window = new OutcomeWindow(60_000, 0);
    window.take("a", answer(1, { base: [0, 0], canary: [0, 0] }), 0);
    window.take("a", answer(1, { base: [0, 0], canary: [4, 0] }), 10_000);
    assert.equal(window.coveredMs(10_000), 10_000);
    window.restart(10_000);
    assert.equal(window.coveredMs(11_000), 1_000);
    window.take("a", answer(1, { base: [0, 0], canary: [5, 0] }), 11_000);
    assert.deepEqual(told(window, 11_000), [["ns/g", 1, 0, 0]]);
  });
});
