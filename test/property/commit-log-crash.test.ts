import assert from "node:assert/strict";
import { runCrashCycles } from "../support/log-crash-run.ts";
import { testSeed } from "../support/test-seed.ts";

describe("The commit log on a disk that crashes", () => {
  it(`keeps every promised record through 1,500 crash cycles (seed ${testSeed})`, async () => {
    const { cycles, ackedRecords, crashes, kills, diskFailures, rewrites, rolls, removed, recycled } =
      await runCrashCycles(testSeed, 1500);
    // A run that did too little proves nothing.
    assert.equal(cycles, 1500);
    assert.ok(ackedRecords >= 45_000, `only ${ackedRecords} acknowledged records`);
    assert.ok(crashes >= 500 && kills >= 300 && diskFailures >= 50 && rewrites >= 300 && rolls >= 300);
    assert.ok(removed >= 200 && recycled >= 100, `${removed} segments removed, ${recycled} recycled`);
  }).timeout(240_000);

  it(`does the same twice with the same seed (seed ${testSeed})`, async () => {
    for (let round = 0; round < 4; round++) {
      const seed = (testSeed + round) >>> 0;
      assert.deepEqual(await runCrashCycles(seed, 40), await runCrashCycles(seed, 40), `seed ${seed}`);
    }
  }).timeout(240_000);
});
