import assert from "node:assert/strict";
import { randomIndex } from "../../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../../proto/runtime/seeded-randomness.ts";
import { DeadlineWheel, deadlineTickMs } from "../../../../../sidecar/upstream/broker-core/deadline-wheel.ts";
import { withSeed } from "../../../../support/test-seed.ts";

describe("A deadline wheel", () => {
  it("fires each slot once, never after its deadline and at most two ticks before, whatever is armed and disarmed", () => {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      const slots = 300;
      let nowMs = 1_000_003;
      const wheel = new DeadlineWheel(nowMs);
      wheel.grow(100);
      wheel.grow(slots);
      const deadlines = new Map<number, number>();
      const fire = (slot: number): void => {
        const deadlineMs = deadlines.get(slot);
        assert.ok(deadlineMs !== undefined, `slot ${slot} fired though it was not armed`);
        assert.ok(deadlineMs > nowMs - deadlineTickMs, `slot ${slot} fired late`);
        assert.ok(deadlineMs - nowMs <= 2 * deadlineTickMs, `slot ${slot} fired ${deadlineMs - nowMs} ms early`);
        deadlines.delete(slot);
      };
      for (let step = 0; step < 20_000; step++) {
        const slot = randomIndex(randomness, slots);
        const action = randomIndex(randomness, 4);
        if (action < 2) {
          // Some deadlines lie several rounds of the wheel ahead.
          const deadlineMs = nowMs + 15 + randomIndex(randomness, randomIndex(randomness, 10) === 0 ? 60_000 : 500);
          wheel.arm(slot, deadlineMs);
          deadlines.set(slot, deadlineMs);
        } else if (action === 2) {
          wheel.disarm(slot);
          deadlines.delete(slot);
        } else {
          assert.ok(wheel.nextMs() <= Math.min(...deadlines.values()), "the timer would come too late");
          nowMs += randomIndex(randomness, deadlineTickMs);
          wheel.advance(nowMs, fire);
        }
        assert.equal(wheel.count, deadlines.size);
      }
    });
  });

  it("sees everything after a long sleep, and goes on", () => {
    const wheel = new DeadlineWheel(0);
    wheel.grow(3);
    const fired: number[] = [];
    wheel.arm(0, 100);
    wheel.arm(1, 500_000);
    wheel.advance(400_000, (slot) => fired.push(slot));
    assert.deepEqual(fired, [0]);
    wheel.arm(2, 400_100);
    wheel.advance(400_100, (slot) => fired.push(slot));
    wheel.advance(600_000, (slot) => fired.push(slot));
    assert.deepEqual(fired, [0, 2, 1]);
    assert.equal(wheel.nextMs(), Number.POSITIVE_INFINITY);
  });

  it("lets what fires arm and disarm others", () => {
    const wheel = new DeadlineWheel(0);
    wheel.grow(4);
    for (const slot of [0, 1, 2]) wheel.arm(slot, 100);
    const fired: number[] = [];
    wheel.advance(200, (slot) => {
      fired.push(slot);
      if (fired.length > 1) return;
      wheel.disarm(slot === 0 ? 1 : 0);
      wheel.arm(3, 50);
    });
    assert.equal(fired.length, 2);
    wheel.advance(300, (slot) => fired.push(slot));
    assert.equal(fired.at(-1), 3, "what was armed for a time that has passed fires in the next tick");
  });
});
