import assert from "node:assert/strict";
import { MovingGroups, type MovingReport } from "../support/moving-groups.ts";
import { amount, patience } from "../support/test-factor.ts";
import { againWithSeed, testSeed } from "../support/test-seed.ts";

const [histories, nightly] = [40, 1_000];
const steps = 700;

describe("message groups over several brokers that come, are drained and come back, with lanes that change on each", () => {
  it("are handed out in order, lose nothing, and go where they are wanted (F15)", () => {
    const total: Record<string, number> = {};
    for (let i = 0; i < amount(histories, nightly); i++) {
      const seed = (testSeed + i) >>> 0;
      const history = new MovingGroups(seed);
      try {
        history.run(steps);
      } catch (error) {
        if (error instanceof Error) error.message += againWithSeed(seed);
        throw error;
      }
      for (const [what, count] of Object.entries(history.report) as [keyof MovingReport, number][]) {
        total[what] = (total[what] ?? 0) + count;
      }
    }
    for (const [what, count] of Object.entries(total)) {
      assert.ok(count >= 10, `only ${count} ${what}: the histories did too little`);
    }
  }).timeout(patience(120_000, histories, nightly));
});
