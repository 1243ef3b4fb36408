import assert from "node:assert/strict";
import { checkBrokerDamage } from "../support/broker-damage.ts";
import { tooSeldom } from "../support/seeded-fast-check.ts";

describe("a broker that starts on a damaged log (B10, T02)", () => {
  it("goes on with all that is left, in 120 random histories with lost records", () => {
    assert.deepEqual(tooSeldom(checkBrokerDamage(120, 80, 10), 10), []);
  }).timeout(240_000);
});
