import assert from "node:assert/strict";
import { type SimulationOptions, type SimulationReport, simulate } from "./simulation.ts";

/** What many runs did together. */
export interface RunsReport {
  runs: number;
  operations: number;
  sendsOk: number;
  sendsOkInFaults: number;
  acksOk: number;
  deliveries: number;
  redeliveries: number;
  recovered: number;
  deadLetters: number;
  transactionEnds: number;
  /** Messages that waited for their time, and those of them that were taken back. */
  timed: number;
  recalled: number;
  /** Instances of broadcast groups that came late or left for good, and absences of others. */
  lateInstances: number;
  instancesLeft: number;
  absences: number;
  comparisons: number;
  powerCuts: number;
  removedBytes: number;
  /** Reads of old messages off the event loop. */
  coldReads: number;
  virtualMs: number;
  readonly faults: Record<string, number>;
}

/** Runs one seed after the other until `isEnough`. The first broken promise ends it, with its seed. */
export async function simulateMany(
  firstSeed: number,
  options: SimulationOptions,
  isEnough: (report: RunsReport) => boolean,
): Promise<RunsReport> {
  const total: RunsReport = {
    ...{ runs: 0, operations: 0, sendsOk: 0, sendsOkInFaults: 0, acksOk: 0, deliveries: 0, redeliveries: 0 },
    ...{
      recovered: 0,
      deadLetters: 0,
      transactionEnds: 0,
      timed: 0,
      recalled: 0,
      lateInstances: 0,
      instancesLeft: 0,
      absences: 0,
      comparisons: 0,
      powerCuts: 0,
      removedBytes: 0,
      coldReads: 0,
      virtualMs: 0,
      faults: {},
    },
  };
  for (let seed = firstSeed; !isEnough(total); seed = (seed + 1) >>> 0) add(total, await simulate(seed, options));
  return total;
}

/** The same seed twice is the same run, event for event. */
export async function assertReproducible(seed: number, options: SimulationOptions): Promise<void> {
  const [first, second] = [await simulate(seed, options), await simulate(seed, options)];
  assert.deepEqual(
    { trace: second.traceHash, events: second.events, counts: second.counts },
    { trace: first.traceHash, events: first.events, counts: first.counts },
    `two runs of seed ${seed} differ`,
  );
}

/** One line for the table of a run. */
export function runsSummary(report: RunsReport): string {
  const faults = Object.values(report.faults).reduce((sum, count) => sum + count, 0);
  return (
    `${report.runs} runs, ${report.operations} operations, ${Math.round(report.virtualMs / 1000)} s of their time, ` +
    `${report.sendsOk} sends acknowledged (${report.sendsOkInFaults} in fault windows), ${report.deliveries} handed out ` +
    `(${report.redeliveries} again), ${report.acksOk} acked, ${report.deadLetters} dead letters, ${report.transactionEnds} ends of transactions, ` +
    `${report.timed} timed (${report.recalled} taken back), broadcast instances ${report.lateInstances} late, ${report.absences} times away, ` +
    `${report.instancesLeft} gone, ${report.coldReads} cold reads, ` +
    `${faults} faults of ${Object.keys(report.faults).length} kinds, ${report.comparisons} rebuilt states compared`
  );
}

function add(total: RunsReport, { operations, counts, history, node, virtualMs }: SimulationReport): void {
  total.runs++;
  total.operations += operations;
  total.virtualMs += virtualMs;
  total.sendsOk += counts.sendsOk;
  total.sendsOkInFaults += counts.sendsOkInFaults;
  total.acksOk += counts.acksOk;
  total.deliveries += counts.deliveries;
  total.deadLetters += counts.deadLetters;
  total.transactionEnds += counts.transactionEnds;
  total.timed += counts.timed;
  total.recalled += counts.recallsOk;
  total.lateInstances += counts.lateInstances;
  total.instancesLeft += counts.instancesLeft;
  total.absences += counts.absences;
  total.redeliveries += history.counts.redeliveries;
  total.recovered += history.counts.recovered;
  total.comparisons += node.comparisons;
  total.removedBytes += node.removedBytes;
  total.coldReads += node.coldReads;
  total.powerCuts += node.powerCuts;
  for (const [name, count] of Object.entries(counts.faults)) total.faults[name] = (total.faults[name] ?? 0) + count;
}
