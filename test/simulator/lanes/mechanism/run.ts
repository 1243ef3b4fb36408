import { compareMechanisms, comparisonTable } from "./comparison.ts";

/** `node dist/test/simulator/lanes/mechanism/run.js [FIRST_SEED [SCHEDULES [MESSAGES]]]` */
const [first = 1, schedules = 100, messages = 1_000] = process.argv.slice(2).map(Number);
console.log(comparisonTable(compareMechanisms(first, schedules, messages)));
