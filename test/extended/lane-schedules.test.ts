import assert from "node:assert/strict";
import { laneRunsTable, messagesOf, runInProcesses } from "../simulator/lanes/lane-runs.ts";
import { amount, patience } from "../support/test-factor.ts";
import { againWithSeed, testSeed } from "../support/test-seed.ts";

const [schedules, schedulesAtNight] = [1_000, 100_000];
/** Sends that come while the broker is down are not made, so somewhat fewer are sent. */
const messagesEach = 5_300;
/** As many as a runner of CI has cores. */
const processes = 2;

describe("Lanes under a thousand schedules of rules, kills and clocks", () => {
  const count = amount(schedules, schedulesAtNight);
  it(`keep what they promise of every message, ${count} schedules (seed ${testSeed})`, async () => {
    const report = await runInProcesses(testSeed, count, messagesEach, processes);
    console.log(laneRunsTable(report));
    assert.equal(report.violations, 0, report.failures.join("\n") + againWithSeed());
    assert.ok(report.schedules === count && messagesOf(report) >= 5_000 * count, laneRunsTable(report));
    const { counts, steps } = report;
    assert.ok(counts.handlings >= 8_000 * count && counts.inTurn >= 2_000 * count, laneRunsTable(report));
    assert.ok(counts.reassignments >= 20 * count && counts.laneChanges >= 10 * count, laneRunsTable(report));
    assert.ok(counts.duplicates >= 20 * count && counts.explained >= 100 * count, laneRunsTable(report));
    for (const kind of [
      "kill broker",
      "cut power",
      "kill control plane",
      "kill sidecar",
      "kill consumer",
      "step clock",
    ])
      assert.ok((steps[kind] ?? 0) >= count / 2, `only ${steps[kind]} times: ${kind}`);
  }).timeout(patience(900_000, schedules, schedulesAtNight));
});
