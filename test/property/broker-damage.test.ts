import assert from "node:assert/strict";
import { checkBrokerDamage } from "../support/broker-damage.ts";

describe("a broker that starts on a damaged log (B10, T02)", () => {
  it("goes on with all that is left, in 120 random histories with lost records", () => {
    const done = checkBrokerDamage(120, 80);
    for (const [what, count] of Object.entries(done)) {
      assert.ok(count >= 10, `only ${count} ${what}: the histories did too little`);
    }
  }).timeout(240_000);
});
