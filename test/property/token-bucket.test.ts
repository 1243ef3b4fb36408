import assert from "node:assert/strict";
import { TokenBucket } from "../../sidecar/limit/token-bucket.ts";
import fc from "../support/seeded-fast-check.ts";

/** What a bucket is asked, in order; times rise by `afterMs`. */
const step = fc.record({
  afterMs: fc.oneof(fc.double({ min: 0, max: 20, noNaN: true }), fc.double({ min: 0, max: 8_000, noNaN: true })),
  act: fc.constantFrom("take", "reserve", "settle", "rate"),
  amount: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 40 })),
});

describe("a token bucket", () => {
  it("lets through no more than its rate and one bucketful, over any stretch of time", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 100, max: 3_000 }),
        fc.array(step, { maxLength: 80 }),
        (rate, burstMs, steps) => {
          let nowMs = 0;
          const bucket = new TokenBucket(1_000, nowMs);
          bucket.setRate(rate, burstMs, nowMs);
          const taken: [atMs: number, amount: number][] = [];
          for (const { afterMs, amount } of steps) {
            nowMs += afterMs;
            if (!bucket.admits(amount, nowMs)) continue;
            bucket.take(amount);
            taken.push([nowMs, amount]);
          }
          const capacity = (rate * burstMs) / 1_000;
          for (let from = 0; from < taken.length; from++) {
            let sum = 0;
            for (let to = from; to < taken.length; to++) {
              const [atMs, amount] = taken[to]!;
              sum += amount;
              const allowed = capacity + (rate * (atMs - taken[from]![0])) / 1_000;
              // What is larger than the bucket passes when it is full and leaves a debt.
              const oversize = Math.max(0, amount - capacity);
              assert.ok(sum - oversize <= allowed + 1e-6, `${sum} of ${allowed} in ${atMs - taken[from]![0]} ms`);
            }
          }
        },
      ),
    );
  });

  it("reserves no more than it holds, but for one of each reservation, and gives back what was not used", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.array(step, { maxLength: 80 }), (rate, steps) => {
        let nowMs = 0;
        const bucket = new TokenBucket(1_000, nowMs);
        bucket.setRate(rate, 1_000, nowMs);
        const open: number[] = [];
        let used = 0;
        for (const { afterMs, act, amount } of steps) {
          nowMs += afterMs;
          if (act === "settle" && open.length > 0) {
            const reserved = open.shift()!;
            const spent = amount % (reserved + 1);
            bucket.settle(reserved, spent);
            used += spent;
          } else if (act === "reserve") {
            const granted = bucket.reservable(amount, nowMs);
            assert.ok(granted <= amount);
            if (granted === 0) continue;
            bucket.reserve(granted);
            open.push(granted);
          }
          const reserved = open.reduce((sum, one) => sum + one, 0);
          assert.ok(reserved <= bucket.capacity + open.length, `${reserved} reserved in ${open.length}`);
        }
        assert.ok(used <= bucket.capacity + (rate * nowMs) / 1_000 + steps.length, `${used} used`);
      }),
    );
  });

  it("says exactly how long to wait", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 80 }), (rate, cost) => {
        const bucket = new TokenBucket(0, 0);
        bucket.setRate(rate, 1_000, 0);
        const waitMs = bucket.waitMs(cost, 0);
        assert.equal(bucket.admits(cost, waitMs - 1), false);
        assert.equal(bucket.admits(cost, waitMs + 0.001), true);
      }),
    );
  });

  it("that loses rate loses what it holds beyond, and that gains gets nothing for the past", () => {
    const bucket = new TokenBucket(100, 0);
    bucket.setRate(100, 1_000, 0);
    bucket.setRate(10, 1_000, 0);
    assert.deepEqual([bucket.admits(10, 0), bucket.reservable(100, 0)], [true, 5]);
    bucket.take(10);
    bucket.setRate(100, 1_000, 0);
    assert.equal(bucket.admits(1, 0), false);
    assert.equal(bucket.admits(50, 500), true);
  });

  it("without a rate lets nothing through, and never says when", () => {
    const bucket = new TokenBucket(5, 0);
    bucket.setRate(0, 1_000, 0);
    assert.deepEqual([bucket.admits(1, 9_000), bucket.reservable(1, 9_000)], [false, 0]);
    assert.equal(bucket.waitMs(1, 9_000), Number.POSITIVE_INFINITY);
  });
});
