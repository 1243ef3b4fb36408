import { LaneRun, type LaneStep, laneStepKinds } from "./lane-run.ts";
import fc, { assertUntil, type Least, tooSeldom } from "./seeded-fast-check.ts";

export const laneStep: fc.Arbitrary<LaneStep> = fc.tuple(fc.nat(laneStepKinds - 1), fc.nat(1_000), fc.nat(1_000));

/**
 * Random histories with rules, lanes and crashes, until they did everything `least` times; returns what they did, so that a run that did
 * too little fails.
 */
export function checkLaneHistories(
  isOrdered: boolean,
  runs: number,
  stepsMax: number,
  least: Least,
): Record<string, number> {
  const total: Record<string, number> = {};
  assertUntil(
    fc.property(fc.array(laneStep, { maxLength: stepsMax, size: "max" }), (steps) => {
      const run = new LaneRun(isOrdered);
      if (steps.length % 4 === 0) run.beginWithKept();
      for (const each of steps) run.step(each);
      run.drain();
      const all = { ...run.counts, ...run.checker.counts };
      for (const [what, count] of Object.entries(all)) total[what] = (total[what] ?? 0) + count;
      // What a history of this kind cannot do: there is no order to keep, or nothing to keep aside and no figure that says all.
      for (const what of isOrdered ? ["kept", "waits"] : ["inTurn"]) delete total[what];
    }),
    runs,
    () => tooSeldom(total, least).length === 0,
  );
  return total;
}
