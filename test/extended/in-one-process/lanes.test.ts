import assert from "node:assert/strict";
import { checkLaneHistories } from "../../support/lane-histories.ts";
import { tooSeldom } from "../../support/seeded-fast-check.ts";
import { amount, patience } from "../../support/test-factor.ts";

const [runs, runsAtNight] = [1_000, 100_000];
const least = 200;

describe("lanes under many random rules, consumers and crashes", () => {
  for (const isOrdered of [false, true]) {
    it(`lose nothing, give nothing to two lanes and leave nothing behind, ${isOrdered ? "with" : "without"} order`, () => {
      assert.deepEqual(tooSeldom(checkLaneHistories(isOrdered, amount(runs, runsAtNight), 400, least), least), []);
    }).timeout(patience(600_000, runs, runsAtNight));
  }
});
