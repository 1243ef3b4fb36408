import { againWithSeed, testSeed, testSeedOrigin } from "./test-seed.ts";

/** Required by mocha's configuration: every run says its seed, and every test that fails says how to have the same chance again. */
export function mochaGlobalSetup(): void {
  console.log(`POPMESH_TEST_SEED=${testSeed} (${testSeedOrigin})`);
}

export const mochaHooks = {
  // Before each file: mocha's workers drop all listeners behind one.
  beforeAll(): void {
    process.removeListener("unhandledRejection", failTest);
    process.on("unhandledRejection", failTest);
  },
  afterEach(this: Mocha.Context): void {
    const error: unknown = this.currentTest?.err;
    if (error instanceof Error && !error.message.includes("POPMESH_TEST_SEED=")) error.message += againWithSeed();
  },
};

/** Mocha passes over what nobody handles; thrown here, it fails the test that runs. */
function failTest(reason: unknown): void {
  throw reason;
}
