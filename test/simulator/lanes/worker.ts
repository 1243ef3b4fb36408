import { runHere } from "./lane-runs.ts";

/** Runs some schedules and prints what came of them as JSON: `node worker.js FIRST_SEED COUNT MESSAGES`. */
const [first = 1, count = 1, messages = 1_000] = process.argv.slice(2).map(Number);
process.stdout.write(JSON.stringify(runHere(first, count, messages)));
