import assert from "node:assert/strict";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";
import { StallWatch } from "../../../../sidecar/listener/stall-watch.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

/** A clock whose timers run late once: as after SIGCONT. */
class StoppableClock extends ManualClock {
  #stoppedMs = 0;
  override monotonicMs(): number {
    return super.monotonicMs() + this.#stoppedMs;
  }
  standStill(ms: number): void {
    this.#stoppedMs += ms;
  }
}

describe("stall watch", () => {
  it("notices a process that stood still, before and after its next tick", () => {
    const clock = new StoppableClock();
    const watch = new StallWatch(clock, new MetricRegistry());
    watch.start();
    const issuedMs = clock.monotonicMs();
    clock.advance(10_000);
    assert.equal(watch.longestSince(issuedMs), 0);
    clock.standStill(30_000);
    assert.ok(watch.longestSince(issuedMs) >= 29_000, "at once, before any timer ran");
    clock.advance(1_000);
    assert.ok(watch.longestSince(issuedMs) >= 29_000, "and after");
    assert.equal(watch.longestSince(clock.monotonicMs()), 0, "but not for what was asked since");
    clock.advance(120_000);
    assert.equal(watch.longestSince(issuedMs), 0, "nor for ever");
  });
});
