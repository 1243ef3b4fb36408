import assert from "node:assert/strict";
import { ConsumeQueueRun } from "../support/consume-queue-run.ts";
import { testSeed } from "../support/test-seed.ts";

describe("consume queues over an index on disk", () => {
  it("hold what a plain model holds, whatever is written out, trimmed, removed, restarted, lost and found", async () => {
    const totals: Record<string, number> = {};
    // More than eight where the seed draws something that is rare too seldom.
    const isTooLittle = () => Object.values(totals).some((count) => count < 3);
    for (let run = 0; run < 8 || (run < 40 && isTooLittle()); run++) {
      const seed = (testSeed + Math.imul(run, 0x9e3779b1)) >>> 0;
      const queues = new ConsumeQueueRun(seed);
      try {
        await queues.steps(800);
      } catch (error) {
        if (error instanceof Error) error.message += ` (POPMESH_TEST_SEED=${testSeed}, run ${run})`;
        throw error;
      }
      for (const [what, count] of Object.entries(queues.counts)) totals[what] = (totals[what] ?? 0) + count;
    }
    for (const [what, count] of Object.entries(totals))
      assert.ok(count >= 3, `only ${count} ${what}: ${JSON.stringify(totals)}`);
  }).timeout(240_000);
});
