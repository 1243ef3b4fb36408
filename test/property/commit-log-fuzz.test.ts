import assert from "node:assert/strict";
import { fuzzScanner } from "../support/log-fuzz.ts";
import { testSeed, withSeed } from "../support/test-seed.ts";

describe("The scanner of the commit log", () => {
  it(`survives 20,000 mutilated segments and serves nothing that was not written (seed ${testSeed})`, () => {
    withSeed((seed) => {
      const served = fuzzScanner(seed, 20_000);
      assert.ok(served >= 100_000, `only ${served} records were served`);
    });
  }).timeout(240_000);
});
