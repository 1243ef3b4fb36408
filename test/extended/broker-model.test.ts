import assert from "node:assert/strict";
import { checkBrokerModel, testSeed } from "../support/broker-commands.ts";

describe("the broker state machine against its model, at length (T06)", () => {
  it("keeps its promises in 2 000 random histories of up to 100 steps", () => {
    const done = checkBrokerModel(2_000, 100, testSeed());
    for (const [what, count] of Object.entries(done)) {
      assert.ok(count >= 1_000, `only ${count} ${what}: the histories did too little`);
    }
  }).timeout(600_000);
});
