import assert from "node:assert/strict";
import { runCheckpointCrashes } from "../support/checkpoint-crash-run.ts";
import { testSeed } from "../support/test-seed.ts";

describe("An index and its checkpoints on a disk that crashes", () => {
  it(`are what the log says after 300 starts, neither ahead of it nor behind (seed ${testSeed})`, async () => {
    const counts = await runCheckpointCrashes(testSeed, 300);
    const { fromCheckpoint, fromLog, checkpoints, crashes, taken } = counts;
    // Nobody hurt the index: what a checkpoint names of it is there.
    assert.equal(fromLog, 0);
    assert.ok(fromCheckpoint >= 150 && checkpoints >= 150, JSON.stringify(counts));
    assert.ok(crashes >= 120 && taken >= 40, JSON.stringify(counts));
  }).timeout(240_000);
});
