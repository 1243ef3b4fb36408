import assert from "node:assert/strict";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import { laneStep } from "../support/lane-histories.ts";
import { LaneRun } from "../support/lane-run.ts";
import fc from "../support/seeded-fast-check.ts";

/** Losing one of these loses no message, whatever else. */
const mayBeLost = new Set<RecordType>([
  ...[RecordType.LaneSpilled, RecordType.LaneResumed, RecordType.LaneClosed],
  ...[RecordType.Pop, RecordType.CursorOpened, RecordType.Ack, RecordType.Change],
]);

describe("lanes in a log of which a part is lost", () => {
  for (const isOrdered of [false, true]) {
    it(`lose no message and end no start, ${isOrdered ? "with" : "without"} order`, () => {
      let lostCount = 0;
      fc.assert(
        fc.property(
          fc.array(laneStep, { maxLength: 120, size: "max" }),
          fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
          (steps, lost) => {
            const run = new LaneRun(isOrdered);
            for (const each of steps) run.step(each);
            lostCount += run.lose(lost, mayBeLost);
            run.drainAfterDamage();
          },
        ),
        { numRuns: 60 },
      );
      assert.ok(lostCount > 30, `${lostCount} records were lost`);
    }).timeout(240_000);
  }
});
