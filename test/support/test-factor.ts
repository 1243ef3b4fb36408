/**
 * How much more than for each change the counted tests do: 1 by day; `npm run test:nightly` sets `POPMESH_TEST_FACTOR` to
 * 100, with which every count reaches what the plan wants at night. Read here only.
 */
const testFactor: number = Math.max(1, Number(process.env["POPMESH_TEST_FACTOR"] ?? 1) || 1);

/** How many of something: `perChange` by day, at most `nightly` at night. */
export function amount(perChange: number, nightly: number): number {
  return Math.min(Math.round(perChange * testFactor), nightly);
}

/** Patience for a test that takes up to `ms` by day and does `nightly / perChange` as much at night. */
export function patience(ms: number, perChange: number, nightly: number): number {
  return Math.ceil((ms * amount(perChange, nightly)) / perChange);
}
