import assert from "node:assert/strict";
import { broadcast } from "../simulator/kind/broadcast.ts";
import { outliving } from "../simulator/kind/timed.ts";
import { assertReproducible, type RunsReport, runsSummary, simulateMany } from "../simulator/many-runs.ts";
import { testSeed } from "../support/test-seed.ts";

/** A small share of what test/extended/in-one-process/simulator.test.ts does at length. */
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
    assert.ok(report.coldReads >= 10, runsSummary(report));
  }).timeout(240_000);

  it(`keep timed messages longer than the log (seed ${testSeed})`, async () => {
    const options = { ...outliving, loadMs: 8_000, faultPeriodMs: 2_000 };
    const isEnough = ({ runs, removedBytes }: RunsReport) => runs >= 2 && removedBytes > 500_000;
    const report = await simulateMany((testSeed + 200_000) >>> 0, options, isEnough);
    console.log(`      ${runsSummary(report)}, ${report.removedBytes} bytes of log removed`);
    assert.ok(report.timed >= 100 && report.recalled >= 20, runsSummary(report));
  }).timeout(240_000);

  it(`give each instance of a broadcast group every message, whatever the others do (seed ${testSeed})`, async () => {
    const options = { loadMs: 500, faultPeriodMs: 200, kinds: [broadcast] };
    const isEnough = ({ runs, lateInstances, absences, instancesLeft }: RunsReport) =>
      runs >= 4 && lateInstances > 0 && absences > 0 && instancesLeft > 0;
    const report = await simulateMany((testSeed + 400_000) >>> 0, options, isEnough);
    console.log(`      ${runsSummary(report)}`);
    assert.ok(report.deliveries >= 500, runsSummary(report));
  }).timeout(240_000);

  it(`do the same twice with the same seed, 3 of 3 (seed ${testSeed})`, async () => {
    for (let i = 0; i < 3; i++) await assertReproducible((testSeed + 1_000 + i) >>> 0, { loadMs: 200 });
  }).timeout(240_000);
});
