import assert from "node:assert/strict";
import { LaneProcessRun } from "../support/lane-process-run.ts";
import { amount, patience } from "../support/test-factor.ts";
import { againWithSeed, testSeed } from "../support/test-seed.ts";

const [schedules, schedulesAtNight] = [20, 400];

describe("Lanes under schedules of rules and kills, with real processes and the official SDK", () => {
  const count = amount(schedules, schedulesAtNight);
  it(`keep what they promise of every message, ${count} schedules (seed ${testSeed})`, async () => {
    const run = await LaneProcessRun.start(testSeed);
    try {
      for (let i = 0; i < count; i++) await run.schedule();
      const { violations, steps, ...counts } = await run.finish();
      const table = Object.entries({
        ...counts,
        violations: violations.length,
        seed: testSeed,
        steps: JSON.stringify(steps),
      })
        .map(([what, value]) => `      ${what.padEnd(16)} ${value}`)
        .join("\n");
      console.log(table);
      assert.deepEqual(violations.slice(0, 10), [], table + againWithSeed());
      assert.ok(counts.acked >= 40 * count && counts.handlings >= counts.acked, table);
      assert.ok(counts.inCanary >= count && counts.reassignments >= count / 2 && counts.explained >= 50, table);
    } finally {
      await run.stop();
    }
  }).timeout(patience(600_000, schedules, schedulesAtNight));
});
