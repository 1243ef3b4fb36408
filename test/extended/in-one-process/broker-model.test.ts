import assert from "node:assert/strict";
import { checkBrokerModel } from "../../support/broker-commands.ts";
import { tooSeldom } from "../../support/seeded-fast-check.ts";
import { amount, patience } from "../../support/test-factor.ts";

describe("the broker state machine against its model, at length (T06)", () => {
  const runs = amount(2_500, 200_000);
  it(`keeps its promises in ${runs} random histories of up to 150 steps`, () => {
    assert.deepEqual(tooSeldom(checkBrokerModel(runs, 150, 1_000), 1_000), []);
  }).timeout(patience(600_000, 2_000, 200_000));
});
