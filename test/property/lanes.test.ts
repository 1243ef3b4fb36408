import assert from "node:assert/strict";
import { checkLaneHistories } from "../support/lane-histories.ts";
import { tooSeldom } from "../support/seeded-fast-check.ts";

const least = (what: string) => (what === "kept" ? 5 : 30);

describe("lanes under random rules, consumers and crashes", () => {
  for (const isOrdered of [false, true]) {
    it(`lose nothing, give nothing to two lanes and leave nothing behind, ${isOrdered ? "with" : "without"} order`, () => {
      assert.deepEqual(tooSeldom(checkLaneHistories(isOrdered, 80, 250, least), least), []);
    }).timeout(240_000);
  }
});
