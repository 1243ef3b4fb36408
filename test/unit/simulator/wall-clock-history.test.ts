import assert from "node:assert/strict";
import { WallClockHistory } from "../../simulator/wall-clock-history.ts";

describe("what a wall clock has shown", () => {
  /** Right by 1 000 at first, an hour ahead from 100 to 200, then two minutes behind, right again from 500 on. */
  const clock = new WallClockHistory();
  clock.set(0, 1_000);
  clock.set(100, 3_601_000);
  clock.set(200, -119_000);
  clock.set(500, 1_000);

  it("is reached by waiting, or by a jump", () => {
    assert.equal(clock.firstReached(1_050, 10), 50);
    assert.equal(clock.firstReached(1_050, 70), 70);
    assert.equal(clock.firstReached(2_000_000, 10), 100);
    assert.equal(clock.firstReached(1_050, 300), 500);
    assert.equal(clock.firstReached(9_000, 300), 8_000);
  });

  it("is reached for good only when it is not set back any more", () => {
    assert.equal(clock.reachedForGood(1_050, 10), 500);
    assert.equal(clock.reachedForGood(1_700, 10), 700);
    assert.equal(clock.reachedForGood(-118_750, 10), 250);
    assert.equal(clock.reachedForGood(-200_000, 10), 10);
  });

  it("tells whether it stood before a time", () => {
    assert.equal(clock.wasBefore(1_050, 60, 90), false);
    assert.equal(clock.wasBefore(1_050, 40, 90), true);
    assert.equal(clock.wasBefore(1_050, 110, 199), false);
    assert.equal(clock.wasBefore(1_050, 110, 200), true);
  });
});
