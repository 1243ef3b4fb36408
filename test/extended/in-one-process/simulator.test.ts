import assert from "node:assert/strict";
import { faults } from "../../simulator/faults.ts";
import { broadcast } from "../../simulator/kind/broadcast.ts";
import { outliving, timed } from "../../simulator/kind/timed.ts";
import { assertReproducible, runsSummary, simulateMany } from "../../simulator/many-runs.ts";
import { amount, patience } from "../../support/test-factor.ts";
import { testSeed } from "../../support/test-seed.ts";

const runsPerChange = 40;
const runsNightly = 4_000;
const lastingRunsPerChange = 15;
const lastingRunsNightly = 1_000;
const broadcastRunsPerChange = 60;
const broadcastRunsNightly = 6_000;
const clockRunsPerChange = 500;
const clockRunsNightly = 50_000;
const timedRunsPerChange = 40;
const timedRunsNightly = 4_000;
const clockFaults = ["step the wall clock", "pause the broker", "pause a sidecar", "kill the broker"];

describe("A whole broker and its sidecars under one seed, at length", () => {
  const count = amount(runsPerChange, runsNightly);
  it(`keep their promises through faults of all kinds, ${count} runs (seed ${testSeed})`, async () => {
    const report = await simulateMany(testSeed, { loadMs: 3_000 }, ({ runs }) => runs >= count);
    console.log(`      ${runsSummary(report)}`);
    assert.ok(report.sendsOk >= 500 * count && report.sendsOkInFaults >= 100 * count, runsSummary(report));
    assert.ok(report.redeliveries >= 50 * count && report.deadLetters >= count, runsSummary(report));
    assert.ok(report.comparisons >= count && report.transactionEnds >= count, runsSummary(report));
    assert.ok(Object.keys(report.faults).length >= faults.length - 2, Object.keys(report.faults).join());
  }).timeout(patience(600_000, runsPerChange, runsNightly));

  it(`do the same twice with the same seed, 20 of 20 (seed ${testSeed})`, async () => {
    for (let i = 0; i < 20; i++) await assertReproducible((testSeed + 1_000 + i) >>> 0, { loadMs: 300 });
  }).timeout(600_000);

  const lastingRuns = amount(lastingRunsPerChange, lastingRunsNightly);
  it(`keep timed messages longer than the log, ${lastingRuns} runs (seed ${testSeed})`, async () => {
    const options = { ...outliving, loadMs: 12_000, faultPeriodMs: 1_500 };
    const report = await simulateMany((testSeed + 200_000) >>> 0, options, ({ runs }) => runs >= lastingRuns);
    console.log(`      ${runsSummary(report)}, ${report.removedBytes} bytes of log removed`);
    assert.ok(report.removedBytes >= 200_000 * lastingRuns, `${report.removedBytes}`);
    assert.ok(report.timed >= 100 * lastingRuns && report.recalled >= 20 * lastingRuns, runsSummary(report));
  }).timeout(patience(600_000, lastingRunsPerChange, lastingRunsNightly));

  const broadcastRuns = amount(broadcastRunsPerChange, broadcastRunsNightly);
  it(`give each instance of a broadcast group every message, ${broadcastRuns} runs (seed ${testSeed})`, async () => {
    const options = { loadMs: 1_500, kinds: [broadcast] };
    const report = await simulateMany((testSeed + 400_000) >>> 0, options, ({ runs }) => runs >= broadcastRuns);
    console.log(`      ${runsSummary(report)}`);
    assert.ok(
      report.deliveries >= 500 * broadcastRuns && report.redeliveries >= 10 * broadcastRuns,
      runsSummary(report),
    );
    assert.ok(report.lateInstances >= broadcastRuns / 2 && report.absences >= broadcastRuns, runsSummary(report));
    assert.ok(report.instancesLeft >= broadcastRuns / 4, runsSummary(report));
  }).timeout(patience(600_000, broadcastRunsPerChange, broadcastRunsNightly));

  const clockRuns = amount(clockRunsPerChange, clockRunsNightly);
  it(`T21: mind no step of the wall clock and no pause, ${clockRuns} runs (seed ${testSeed})`, async () => {
    const options = { loadMs: 150, faults: clockFaults, faultPeriodMs: 30 };
    const report = await simulateMany((testSeed + 100_000) >>> 0, options, ({ runs }) => runs >= clockRuns);
    console.log(`      ${runsSummary(report)}`);
    assert.ok((report.faults["step the wall clock"] ?? 0) >= clockRuns, runsSummary(report));
    assert.ok((report.faults["pause the broker"] ?? 0) >= clockRuns / 2, runsSummary(report));
    assert.ok(report.sendsOk >= 20 * clockRuns && report.comparisons >= clockRuns / 2, runsSummary(report));
  }).timeout(patience(600_000, clockRunsPerChange, clockRunsNightly));

  const timedRuns = amount(timedRunsPerChange, timedRunsNightly);
  it(`T21: deliver no timed message early, late or never, ${timedRuns} runs (seed ${testSeed})`, async () => {
    const options = { loadMs: 400, kinds: [timed], faults: clockFaults, faultPeriodMs: 40 };
    const report = await simulateMany((testSeed + 300_000) >>> 0, options, ({ runs }) => runs >= timedRuns);
    console.log(`      ${runsSummary(report)}`);
    assert.ok((report.faults["step the wall clock"] ?? 0) >= timedRuns, runsSummary(report));
    assert.ok(report.timed >= 50 * timedRuns && report.recalled >= 5 * timedRuns, runsSummary(report));
  }).timeout(patience(600_000, timedRunsPerChange, timedRunsNightly));
});
