import assert from "node:assert/strict";
import { NodeClock } from "../../../../proto/runtime/node-clock.ts";

describe("the machine's clock", () => {
  const clock = new NodeClock();

  it("fires a timer never early, also when it was set late in a long turn of the event loop", async () => {
    // Occupies this turn, so that the loop's own idea of now is old when the timer is set.
    const turnEndMs = clock.monotonicMs() + 40;
    while (clock.monotonicMs() < turnEndMs);
    const setMs = clock.monotonicMs();
    await new Promise<void>((resolve) => clock.after(20, resolve));
    assert.ok(clock.monotonicMs() - setMs >= 20);
  });

  it("does not fire a timer that was cancelled", async () => {
    let fired = false;
    clock
      .after(5, () => {
        fired = true;
      })
      .cancel();
    await new Promise<void>((resolve) => clock.after(15, resolve));
    assert.equal(fired, false);
  });

  it("never steps back, and names the boot", () => {
    const first = clock.monotonicMs();
    assert.ok(clock.monotonicMs() >= first);
    assert.notEqual(clock.bootId, "");
  });
});
