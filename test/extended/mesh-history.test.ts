import { assertMeshHistory, meshFaultSummary, runMeshFaults } from "../support/mesh-fault-run.ts";
import { amount } from "../support/test-factor.ts";
import { testSeed } from "../support/test-seed.ts";

const runs = amount(2, 20);
const seconds = amount(45, 300);
const work = { sends: 5_000, sendsInFaults: 500 };

describe("T07: histories of real sidecars and a real broker under mixed faults", () => {
  for (let run = 0; run < runs; run++) {
    const seed = (testSeed + run) >>> 0;
    it(`keep every promise, run ${run + 1} of ${runs} (seed ${seed})`, async () => {
      const report = await runMeshFaults(seed, seconds, work);
      console.log(`      ${meshFaultSummary(report)}`);
      assertMeshHistory(report, work);
    }).timeout(240_000 + 4_000 * seconds);
  }
});
