import assert from "node:assert/strict";
import { checkLaneHistories } from "../support/lane-histories.ts";

describe("lanes under random rules, consumers and crashes", () => {
  for (const isOrdered of [false, true]) {
    it(`lose nothing, give nothing to two lanes and leave nothing behind, ${isOrdered ? "with" : "without"} order`, () => {
      const done = checkLaneHistories(isOrdered, 80, 250);
      for (const [what, count] of Object.entries(done)) {
        assert.ok(count >= (what === "kept" ? 5 : 30), `only ${count} ${what}: the histories did too little`);
      }
    }).timeout(240_000);
  }
});
