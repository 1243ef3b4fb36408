import assert from "node:assert/strict";
import { checkBrokerModel } from "../support/broker-commands.ts";

describe("the broker state machine against its model (T06)", () => {
  it("keeps its promises in 300 random histories with crashes, reboots, clock jumps and rebuilds", () => {
    const done = checkBrokerModel(300, 130);
    for (const [what, count] of Object.entries(done)) {
      assert.ok(count >= 100, `only ${count} ${what}: the histories did too little`);
    }
  }).timeout(240_000);
});
