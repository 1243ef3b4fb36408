import { runsSummary, simulateMany } from "./many-runs.ts";
import { allKinds } from "./simulation.ts";

/**
 * Runs seeds by hand: `node dist/test/simulator/run.js FIRST COUNT [LOAD_MS [FAULT,… [KIND,…]]]`; "" for all. Ends with 1 at the first broken
 * promise.
 */
const [first = "1", count = "10", loadMs = "2000", faults = "", kinds = ""] = process.argv.slice(2);
const options = {
  loadMs: Number(loadMs),
  ...(faults === "" ? {} : { faults: faults.split(",") }),
  ...(kinds === "" ? {} : { kinds: allKinds.filter(({ name }) => kinds.split(",").includes(name)) }),
};
try {
  console.log(runsSummary(await simulateMany(Number(first), options, ({ runs }) => runs >= Number(count))));
} catch (error) {
  console.log(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
