/**
 * How much more than for each change the counted tests do: 1 by day, more at night (`POPMESH_TEST_FACTOR`, which
 * `npm run test:nightly` sets). Read here only.
 */
export const testFactor: number = Math.max(1, Number(process.env["POPMESH_TEST_FACTOR"] ?? 1) || 1);
