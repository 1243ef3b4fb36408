import assert from "node:assert/strict";
import { runCrashCycles } from "../support/log-crash-run.ts";
import { testSeed } from "../support/test-seed.ts";

describe("T01: simulated crash and recovery of the commit log", () => {
  it(`keeps 300,000 acknowledged records through 10,000 crash cycles (seed ${testSeed})`, async () => {
    const result = await runCrashCycles(testSeed, 10_000);
    assert.equal(result.cycles, 10_000);
    assert.ok(result.ackedRecords >= 300_000, `only ${result.ackedRecords} acknowledged records`);
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
