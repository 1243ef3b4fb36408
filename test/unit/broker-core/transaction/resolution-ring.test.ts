import assert from "node:assert/strict";
import { Resolution, ResolutionRing } from "../../../../broker-core/transaction/resolution-ring.ts";

describe("the memory of resolved transactions", () => {
  /** A ring with `count` transactions, every third rolled back, the others committed; runs of 1000 numbers each. */
  function ringOf(count: number, kept: number): ResolutionRing {
    const ring = new ResolutionRing(kept);
    for (let number = 1; number <= count; number++) {
      assert.equal(ring.nextNumber, number);
      ring.begin(Math.floor(number / 1000));
      ring.resolve(number, number % 3 === 0 ? Resolution.RolledBack : Resolution.Committed);
    }
    return ring;
  }

  it("knows how the last ones ended and who gave their numbers out, and forgets the oldest", () => {
    const kept = 4096;
    const count = 10_000;
    const ring = ringOf(count, kept);
    assert.equal(ring.lowNumber, count - kept + 1);
    for (let number = 1; number <= count; number++) {
      const isKnown = number >= ring.lowNumber;
      const expected = !isKnown ? Resolution.None : number % 3 === 0 ? Resolution.RolledBack : Resolution.Committed;
      assert.equal(ring.resolution(number), expected, `${number}`);
      assert.equal(ring.isOfRun(number, Math.floor(number / 1000)), true, `${number}`);
      assert.equal(ring.isOfRun(number, 77), !isKnown, `${number}`);
    }
    assert.equal(ring.isOfRun(count + 1, 10), false, "not given out yet");
    assert.ok(ring.image().runs.length <= 6, "runs are forgotten with their numbers");
  });

  it("takes the end of a forgotten transaction without harm", () => {
    const ring = ringOf(5_000, 1024);
    ring.resolve(1, Resolution.Committed);
    assert.equal(ring.resolution(1), Resolution.None);
    assert.equal(ring.resolution(5_000 - 1023), Resolution.Committed);
  });

  it("comes back from an image and goes on as if nothing had been", () => {
    for (const count of [0, 1, 1024, 1025, 9_999]) {
      const ring = ringOf(count, 2048);
      const { low, next, runs } = ring.image();
      const outcomes = Buffer.alloc(next - low);
      ring.copyOutcomes(outcomes, 0);
      const again = new ResolutionRing(2048);
      again.restore(low, runs, outcomes);
      for (const each of [ring, again]) for (let i = 0; i < 3_000; i++) each.begin(99);
      assert.deepEqual(again.image(), ring.image());
      for (let number = 1; number < ring.nextNumber; number++) {
        assert.equal(again.resolution(number), ring.resolution(number), `${number} of ${count}`);
      }
    }
  });
});
