import assert from "node:assert/strict";
import { runCrashCycles } from "../../support/log-crash-run.ts";
import { amount } from "../../support/test-factor.ts";
import { testSeed } from "../../support/test-seed.ts";

describe("T01: simulated crash and recovery of the commit log", () => {
  const cycles = amount(10_000, 1_000_000);
  it(`keeps ${30 * cycles} acknowledged records through ${cycles} crash cycles (seed ${testSeed})`, async () => {
    const result = await runCrashCycles(testSeed, cycles);
    assert.equal(result.cycles, cycles);
    assert.ok(result.ackedRecords >= 30 * cycles, `only ${result.ackedRecords} acknowledged records`);
    assert.ok(result.crashes >= 4000 && result.kills >= 2000 && result.cleanStops >= 500);
    assert.ok(result.failedOpenings >= 500 && result.diskFailures >= 500 && result.rolls >= 3000);
    assert.ok(result.removed >= 1500 && result.recycled >= 700);
  });

  it(`gives the same trace for the same seed, 20 of 20 (seed ${testSeed})`, async () => {
    for (let round = 0; round < 20; round++) {
      const seed = (testSeed + round) >>> 0;
      assert.deepEqual(await runCrashCycles(seed, 80), await runCrashCycles(seed, 80), `seed ${seed}`);
    }
  });
});
