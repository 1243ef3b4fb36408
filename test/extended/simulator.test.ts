import assert from "node:assert/strict";
import { faults } from "../simulator/faults.ts";
import { assertReproducible, runsSummary, simulateMany } from "../simulator/many-runs.ts";
import { testFactor } from "../support/test-factor.ts";
import { testSeed } from "../support/test-seed.ts";

describe("A whole broker and its sidecars under one seed, at length", () => {
  it(`keep their promises through faults of all kinds (seed ${testSeed})`, async () => {
    const report = await simulateMany(testSeed, {}, ({ operations }) => operations >= 500_000 * testFactor);
    console.log(`      ${runsSummary(report)}`);
    assert.ok(report.runs >= 10 && report.sendsOk >= 50_000 && report.sendsOkInFaults >= 10_000, runsSummary(report));
    assert.ok(
      report.redeliveries >= 5_000 && report.deadLetters >= 100 && report.comparisons >= 30,
      runsSummary(report),
    );
    assert.ok(Object.keys(report.faults).length >= faults.length - 2, `${Object.keys(report.faults)}`);
  }).timeout(600_000 * testFactor);

  it(`do the same twice with the same seed, 20 of 20 (seed ${testSeed})`, async () => {
    for (let i = 0; i < 20; i++) await assertReproducible((testSeed + 1_000 + i) >>> 0, { loadMs: 1_000 });
  }).timeout(600_000);
});
