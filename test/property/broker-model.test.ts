import assert from "node:assert/strict";
import { checkBrokerModel } from "../support/broker-commands.ts";
import { tooSeldom } from "../support/seeded-fast-check.ts";

describe("the broker state machine against its model (T06)", () => {
  it("keeps its promises in 300 random histories with crashes, reboots, clock jumps and rebuilds", () => {
    assert.deepEqual(tooSeldom(checkBrokerModel(300, 130, 100), 100), []);
  }).timeout(240_000);
});
