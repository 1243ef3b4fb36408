import assert from "node:assert/strict";
import { runDamageCases } from "../../support/log-damage-suite.ts";
import { testSeed } from "../../support/test-seed.ts";

describe("T02: damage at rest of the commit log", () => {
  it(`loses exactly what the damage covers, every case (seed ${testSeed})`, async () => {
    const counts = await runDamageCases(testSeed, 1);
    assert.ok(counts["truncations"]! >= 20_000 && counts["regionFlips"]! >= 32_768 && counts["randomFlips"]! >= 5000);
    assert.ok(counts["flipsWithoutMark"]! >= 4096);
    assert.ok(counts["sectors"]! >= 500 && counts["files"]! >= 30, JSON.stringify(counts));
  });
});
