import assert from "node:assert/strict";
import { runDamageCases } from "../support/log-damage-suite.ts";
import { testSeed } from "../support/test-seed.ts";

describe("The commit log after damage at rest", () => {
  it(`loses exactly what the damage covers, every tenth case (seed ${testSeed})`, async () => {
    const counts = await runDamageCases(testSeed, 10);
    assert.ok(counts["truncations"]! >= 2000 && counts["regionFlips"]! >= 3276 && counts["randomFlips"]! >= 500);
    assert.ok(counts["flipsWithoutMark"]! >= 300);
    assert.ok(counts["sectors"]! >= 500 && counts["files"]! >= 30, JSON.stringify(counts));
  }).timeout(240_000);
});
