/** The seed of this run's chance: `POPMESH_TEST_SEED`, else a new one. Tests name it when they fail. */
export const testSeed: number =
  process.env["POPMESH_TEST_SEED"] === undefined
    ? Math.floor(Math.random() * 0x1_0000_0000)
    : Number(process.env["POPMESH_TEST_SEED"]);

/** Runs `action`; what it throws says how to run it again with the same chance. */
export function withSeed(action: (seed: number) => void, seed = testSeed): void {
  try {
    action(seed);
  } catch (error) {
    if (error instanceof Error) error.message += `\n(again with POPMESH_TEST_SEED=${seed})`;
    throw error;
  }
}
