import assert from "node:assert/strict";
import { checkBrokerDamage } from "../../support/broker-damage.ts";
import { tooSeldom } from "../../support/seeded-fast-check.ts";
import { amount, patience } from "../../support/test-factor.ts";

describe("a broker that starts on a damaged log, at length (B10, T02)", () => {
  const runs = amount(1_500, 100_000);
  it(`goes on with all that is left, in ${runs} random histories with lost records`, () => {
    assert.deepEqual(tooSeldom(checkBrokerDamage(runs, 110, 100), 100), []);
  }).timeout(patience(600_000, 1_500, 100_000));
});
