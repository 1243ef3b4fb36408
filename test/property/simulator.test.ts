import assert from "node:assert/strict";
import { assertReproducible, runsSummary, simulateMany } from "../simulator/many-runs.ts";
import { testSeed } from "../support/test-seed.ts";

/** A small share of what test/extended/simulator.test.ts does at length. */
describe("A whole broker and its sidecars under one seed", () => {
  it(`keep their promises through faults of all kinds (seed ${testSeed})`, async () => {
    const report = await simulateMany(
      testSeed,
      { loadMs: 800 },
      ({ runs, operations }) => runs >= 5 && operations >= 15_000,
    );
    console.log(`      ${runsSummary(report)}`);
    assert.ok(report.sendsOk >= 1_000 && report.acksOk >= 1_000, runsSummary(report));
    assert.ok(report.comparisons >= 5, runsSummary(report));
  }).timeout(240_000);

  it(`do the same twice with the same seed, 3 of 3 (seed ${testSeed})`, async () => {
    for (let i = 0; i < 3; i++) await assertReproducible((testSeed + 1_000 + i) >>> 0, { loadMs: 200 });
  }).timeout(240_000);
});
