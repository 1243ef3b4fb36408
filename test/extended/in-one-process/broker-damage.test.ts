import assert from "node:assert/strict";
import { checkBrokerDamage } from "../../support/broker-damage.ts";
import { amount, patience } from "../../support/test-factor.ts";

describe("a broker that starts on a damaged log, at length (B10, T02)", () => {
  const runs = amount(1_500, 100_000);
  it(`goes on with all that is left, in ${runs} random histories with lost records`, () => {
    const done = checkBrokerDamage(runs, 110);
    for (const [what, count] of Object.entries(done)) {
      assert.ok(count >= 100, `only ${count} ${what}: the histories did too little`);
    }
  }).timeout(patience(600_000, 1_500, 100_000));
});
