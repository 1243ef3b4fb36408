import { join } from "node:path";
import { compiledRoot, RunningProcess } from "../../support/running-process.ts";
import type { JudgeCounts } from "./lane-judge.ts";
import { drawLaneSchedule, messageKinds } from "./lane-schedule.ts";
import { runLaneSchedule, type ScheduleReport } from "./lane-simulation.ts";

/** Virtual time with load. */
const loadMs = 12_000;
const failuresMax = 10;

/** Many schedules in one. */
export interface LaneRunsReport {
  readonly firstSeed: number;
  schedules: number;
  seconds: number;
  readonly counts: JudgeCounts;
  /** What happened in them, by kind. */
  readonly steps: Record<string, number>;
  violations: number;
  readonly failures: string[];
}

export function runsBlank(firstSeed: number): LaneRunsReport {
  return {
    ...{ firstSeed, schedules: 0, seconds: 0, violations: 0, failures: [], steps: {} },
    counts: {
      messages: { normal: 0, fifo: 0, timed: 0, half: 0 },
      ...{ acked: 0, handlings: 0, reassignments: 0, laneChanges: 0, standIns: 0, duplicates: 0, inFlightAtKills: 0 },
      ...{ inTurn: 0, retries: 0, dead: 0, rolledBack: 0, explained: 0 },
    },
  };
}

/** Schedules of `messages` each, in this process. */
export function runHere(firstSeed: number, count: number, messages: number): LaneRunsReport {
  const report = runsBlank(firstSeed);
  const startMs = Date.now();
  for (let i = 0; i < count; i++) {
    add(report, runLaneSchedule(drawLaneSchedule((firstSeed + i) >>> 0, { messages, loadMs })));
  }
  report.seconds = (Date.now() - startMs) / 1000;
  return report;
}

/** The same in `processes` at once, each with a share of the seeds. */
export async function runInProcesses(
  firstSeed: number,
  count: number,
  messages: number,
  processes: number,
): Promise<LaneRunsReport> {
  const total = runsBlank(firstSeed);
  const startMs = Date.now();
  const workers: RunningProcess[] = [];
  try {
    const shares = Array.from({ length: processes }, (_, i) => {
      const [from, to] = [Math.floor((count * i) / processes), Math.floor((count * (i + 1)) / processes)];
      const argv = [String((firstSeed + from) >>> 0), String(to - from), String(messages)];
      const worker = RunningProcess.node(join(compiledRoot, "test/simulator/lanes/worker.js"), argv);
      workers.push(worker);
      return worker;
    });
    for (const worker of shares) {
      const code = await worker.exited();
      if (code !== 0) throw new Error(`a process of lane schedules ended with ${code}:\n${worker.output}`);
      merge(total, JSON.parse(worker.output.slice(worker.output.indexOf("{"))) as LaneRunsReport);
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.stop("SIGKILL")));
  }
  total.seconds = (Date.now() - startMs) / 1000;
  return total;
}

export function messagesOf({ counts }: LaneRunsReport): number {
  return messageKinds.reduce((sum, kind) => sum + counts.messages[kind], 0);
}

/** What a person reads. */
export function laneRunsTable(report: LaneRunsReport): string {
  const { counts, steps } = report;
  const kinds = messageKinds.map((kind) => `${kind} ${counts.messages[kind]}`).join(", ");
  const rows: [string, string | number][] = [
    ["schedules", report.schedules],
    ["messages", `${messagesOf(report)} (${kinds})`],
    ["sends acked", counts.acked],
    ["handlings", counts.handlings],
    ["in turn of a message group", counts.inTurn],
    ["by base for a spilled lane", counts.standIns],
    ["re-assignments in the log", counts.reassignments],
    ["handled again in another lane", counts.laneChanges],
    ["retries that were asked for", counts.retries],
    ["duplicates", `${counts.duplicates} (at most ${counts.inFlightAtKills}: in flight at kills, or held too long)`],
    ["dead letters", counts.dead],
    ["explained by the broker", counts.explained],
    ["violations", report.violations],
    ["seed", report.firstSeed],
    ["seconds", report.seconds.toFixed(1)],
    [
      "steps",
      Object.keys(steps)
        .sort()
        .map((kind) => `${kind} ${steps[kind]}`)
        .join(", "),
    ],
  ];
  return rows.map(([what, value]) => `      ${what.padEnd(30)} ${value}`).join("\n");
}

function add(total: LaneRunsReport, { seed, counts, steps, violations, violationCount }: ScheduleReport): void {
  const failures =
    violationCount === 0
      ? []
      : [`seed ${seed}: ${violationCount} violations\n  ${violations.slice(0, 5).join("\n  ")}`];
  merge(total, {
    firstSeed: seed,
    schedules: 1,
    seconds: 0,
    counts,
    steps: { ...steps },
    violations: violationCount,
    failures,
  });
}

function merge(total: LaneRunsReport, part: LaneRunsReport): void {
  total.schedules += part.schedules;
  total.violations += part.violations;
  total.failures.push(...part.failures.slice(0, failuresMax - total.failures.length));
  for (const kind of messageKinds) total.counts.messages[kind] += part.counts.messages[kind];
  for (const key of Object.keys(part.counts) as (keyof JudgeCounts)[])
    if (key !== "messages") total.counts[key] += part.counts[key];
  for (const [kind, count] of Object.entries(part.steps)) total.steps[kind] = (total.steps[kind] ?? 0) + count;
}
