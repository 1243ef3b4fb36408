import fc from "fast-check";
import { testSeed } from "./test-seed.ts";

/** For who wants to know only that something fails (test/mutants): looking for the shortest history that does takes a minute and more. */
const endOnFailure = process.env["POPMESH_TEST_SHRINK"] === "off";

/** fast-check that draws from the seed of the run; every test takes it from here. */
fc.configureGlobal({ seed: testSeed, endOnFailure });

export default fc;

/** Quarters of the runs that are added at most: three times as many runs in all. */
const batchesMax = 8;

/**
 * Holds `property` in `runs` runs, and in more where the seed drew something rare too seldom: a run that did too little proves nothing,
 * and one whose luck was poor is not wrong. Other runs than those before, of the same seed.
 */
export function assertUntil<T>(property: fc.IProperty<T>, runs: number, hasDoneEnough: () => boolean): void {
  fc.assert(property, { numRuns: runs, endOnFailure });
  for (let batch = 1; batch <= batchesMax && !hasDoneEnough(); batch++) {
    const seed = (testSeed + Math.imul(batch, 0x9e3779b1)) >>> 0;
    fc.assert(property, { numRuns: Math.ceil(runs / 4), seed, endOnFailure });
  }
}

/** How often each of what runs count must have come about. */
export type Least = number | ((what: string) => number);

/** What came about too seldom to say anything of it. */
export function tooSeldom(counts: Readonly<Record<string, number>>, least: Least): string[] {
  const leastOf = typeof least === "number" ? () => least : least;
  return Object.entries(counts).flatMap(([what, count]) => (count < leastOf(what) ? [`only ${count} ${what}`] : []));
}
