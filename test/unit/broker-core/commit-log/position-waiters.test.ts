import assert from "node:assert/strict";
import { PositionWaiters } from "../../../../broker-core/commit-log/position-waiters.ts";

describe("PositionWaiters", () => {
  it("runs what waits below a position, in order of position, equal ones in order of arrival", () => {
    const waiters = new PositionWaiters();
    const ran: string[] = [];
    for (const [position, name] of [
      [10, "a"],
      [30, "c"],
      [20, "b"],
      [20, "b2"],
      [40, "d"],
    ] as const) {
      waiters.add(position, () => ran.push(name));
    }
    waiters.advance(30);
    assert.deepEqual(ran, ["a", "b", "b2"]);
    waiters.advance(41);
    assert.deepEqual(ran, ["a", "b", "b2", "c", "d"]);
    assert.equal(waiters.count, 0);
  });

  it("takes additions from within an action", () => {
    const waiters = new PositionWaiters();
    const ran: number[] = [];
    waiters.add(1, () => {
      ran.push(1);
      waiters.add(2, () => ran.push(2));
      waiters.add(9, () => ran.push(9));
    });
    waiters.advance(5);
    assert.deepEqual(ran, [1, 2]);
    assert.equal(waiters.count, 1);
  });

  it("keeps order over many thousands with a moving head", () => {
    const waiters = new PositionWaiters();
    const ran: number[] = [];
    for (let position = 0; position < 10_000; position++) {
      waiters.add(position, () => ran.push(position));
      if (position % 3 === 0) waiters.advance(position - 2000);
    }
    waiters.advance(10_000);
    assert.deepEqual(
      ran,
      Array.from({ length: 10_000 }, (_, i) => i),
    );
  });
});
