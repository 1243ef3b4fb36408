import assert from "node:assert/strict";
import { AgeClock } from "../../../../broker-core/retention/age-clock.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const minute = 60_000;
const hour = 60 * minute;
const year = 365 * 24 * hour;
const now = Date.UTC(2030, 0, 1);

describe("the time by which messages get old", () => {
  const started = (wallMs: number) => {
    const clock = new ManualClock({ wallMs });
    return { clock, age: new AgeClock(clock, 72 * hour) };
  };

  it("makes nothing old in the ten minutes after a start", () => {
    const { clock, age } = started(now + 10 * year);
    clock.advance(10 * minute - 1);
    assert.equal(age.isSettled, false);
    clock.advance(1);
    assert.equal(age.isSettled, true);
  });

  it("goes by what the wall clock says when those are over, whether it was ahead before or behind", () => {
    for (const wrongMs of [10 * year, -10 * year]) {
      const { clock, age } = started(now + wrongMs);
      clock.advance(minute);
      clock.jumpWall(-wrongMs);
      clock.advance(9 * minute);
      assert.equal(age.isSettled, true);
      clock.advance(hour);
      assert.equal(age.nowMs, now + hour + 10 * minute);
    }
  });

  it("does not follow the wall clock ahead while the broker runs, and follows it back", () => {
    const { clock, age } = started(now);
    clock.advance(10 * minute);
    assert.equal(age.isSettled, true);
    clock.jumpWall(10 * year);
    clock.advance(hour);
    assert.equal(age.nowMs, now + hour + 10 * minute);
    clock.jumpWall(-10 * year - hour);
    assert.equal(age.nowMs, now + 10 * minute);
  });

  it("waits a tenth of a short retention only", () => {
    const clock = new ManualClock();
    const age = new AgeClock(clock, 50_000);
    clock.advance(5_000);
    assert.equal(age.isSettled, true);
  });
});
