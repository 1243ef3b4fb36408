import assert from "node:assert/strict";
import { TimerWheel } from "../../../../broker-core/pop/timer-wheel.ts";
import fc from "../../../support/seeded-fast-check.ts";

function takeAll(wheel: TimerWheel, nowMs: number): number[] {
  const taken: number[] = [];
  for (let timer = wheel.takeDue(nowMs); timer >= 0; timer = wheel.takeDue(nowMs)) taken.push(timer);
  return taken.sort((a, b) => a - b);
}

const delays = fc.oneof(
  fc.integer({ min: -50, max: 2_000 }),
  fc.integer({ min: 0, max: 43_200_000 }),
  fc.double({ min: 0, max: 400_000, noNaN: true }),
  // Around the borders of the levels: 1 024 ms, 262 144 ms, 18.6 h, 198 days.
  fc.constantFrom(1020, 1024, 1028, 262_140, 262_144, 67_108_860, 67_108_864, 17_179_869_184, 3e10),
);

describe("the timing wheel", () => {
  it("fires every timer at its time and no other, whatever is set, moved and cancelled", () => {
    const step = fc.record({
      passMs: fc.oneof(fc.nat(8), fc.integer({ min: 0, max: 3_000 }), fc.constantFrom(262_144, 3_000_000)),
      set: fc.array(fc.tuple(fc.nat(40), delays), { maxLength: 6 }),
      cancel: fc.array(fc.nat(40), { maxLength: 2 }),
    });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 40 }), fc.array(step, { maxLength: 40 }), (start, steps) => {
        const wheel = new TimerWheel(start);
        const due = new Map<number, number>();
        let now = start;
        for (const { passMs, set, cancel } of steps) {
          for (const [timer, delay] of set) {
            wheel.set(timer, now + delay);
            due.set(timer, now + delay);
          }
          for (const timer of cancel) {
            wheel.cancel(timer);
            due.delete(timer);
          }
          now += passMs;
          const expected = [...due].filter(([, at]) => at <= now).map(([timer]) => timer);
          for (const timer of expected) due.delete(timer);
          assert.deepEqual(
            takeAll(wheel, now),
            expected.sort((a, b) => a - b),
          );
          assert.equal(wheel.count, due.size);
          const next = wheel.nextMs();
          if (due.size === 0) assert.equal(next, Number.POSITIVE_INFINITY);
          else assert.ok(next > now && next <= Math.min(...due.values()) + 4, `next ${next}`);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("followed by its own nextMs, fires within 4 ms of the due time", () => {
    const wheel = new TimerWheel(0);
    const dueMs = [1, 5, 999, 1_025, 262_145, 43_200_000, 500_000_000];
    for (const [timer, ms] of dueMs.entries()) wheel.set(timer, ms);
    const fired: number[] = [];
    while (wheel.count > 0) {
      const now = wheel.nextMs();
      for (const timer of takeAll(wheel, now)) {
        assert.ok(now - dueMs[timer]! <= 4 && now >= dueMs[timer]!);
        fired.push(timer);
      }
    }
    assert.deepEqual(fired, [...dueMs.keys()]);
  });

  it("takes a due time in the past, and 100 000 timers at one moment", () => {
    const wheel = new TimerWheel(1_000_000);
    wheel.set(3, 5);
    assert.deepEqual(takeAll(wheel, 1_000_000), [3]);
    for (let timer = 0; timer < 100_000; timer++) wheel.set(timer, 1_060_000);
    assert.equal(takeAll(wheel, 1_059_999).length, 0);
    assert.equal(takeAll(wheel, 1_060_000).length, 100_000);
  });
});
