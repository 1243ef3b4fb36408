import { laneRunsTable, runInProcesses } from "./lane-runs.ts";

/** Schedules by hand: `node dist/test/simulator/lanes/run.js FIRST_SEED [COUNT [MESSAGES [PROCESSES]]]`. */
const [first = 1, count = 1, messages = 5_000, processes = 1] = process.argv.slice(2).map(Number);
const report = await runInProcesses(first, count, messages, processes);
console.log(laneRunsTable(report));
for (const failure of report.failures) console.log(failure);
process.exit(report.violations === 0 ? 0 : 1);
