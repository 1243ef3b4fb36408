import assert from "node:assert/strict";
import { fuzzScanner } from "../../support/log-fuzz.ts";
import { testSeed, withSeed } from "../../support/test-seed.ts";

describe("T10: frames of the commit log", () => {
  it(`survives 300,000 mutilated segments and serves nothing that was not written (seed ${testSeed})`, () => {
    withSeed((seed) => {
      const served = fuzzScanner(seed, 300_000);
      assert.ok(served >= 1_500_000, `only ${served} records were served`);
    });
  });
});
