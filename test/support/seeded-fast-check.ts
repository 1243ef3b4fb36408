import fc from "fast-check";
import { testSeed } from "./test-seed.ts";

/** fast-check that draws from the seed of the run; every test takes it from here. */
fc.configureGlobal({ seed: testSeed });

export default fc;
