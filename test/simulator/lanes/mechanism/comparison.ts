import { drawLaneSchedule, type LaneSchedule } from "../lane-schedule.ts";
import { runLaneSchedule } from "../lane-simulation.ts";
import { runFilterSwitch } from "./filter-switch.ts";
import { LaneTally, messagesOf, type TallyCounts } from "./lane-tally.ts";
import { runQueueSplit } from "./queue-split.ts";

/** So long that a poll of fifteen seconds has its turns. */
const loadMs = 120_000;

export interface ComparisonRow {
  readonly mechanism: string;
  readonly counts: TallyCounts;
}

const mechanisms: readonly (readonly [string, (schedule: LaneSchedule) => TallyCounts])[] = [
  ["popmesh", runPopmesh],
  [
    "suffix group, filter switched, keeps its offset",
    (of) => runFilterSwitch(of, { pollMs: undefined, keepsOffset: true }),
  ],
  [
    "suffix group, filter switched, begins at the end",
    (of) => runFilterSwitch(of, { pollMs: undefined, keepsOffset: false }),
  ],
  ["suffix group, live groups polled every 15 s", (of) => runFilterSwitch(of, { pollMs: 15_000, keepsOffset: true })],
  ["queues split, rebalance", runQueueSplit],
];

/** The same schedules for each mechanism. Throws when popmesh breaks a promise that its own judge holds. */
export function compareMechanisms(firstSeed: number, schedules: number, messages: number): ComparisonRow[] {
  return mechanisms.map(([mechanism, run]) => {
    const counts = { messages: 0, lost: 0, duplicates: 0, unexcused: 0, disordered: 0 };
    for (let i = 0; i < schedules; i++) {
      const schedule = drawLaneSchedule((firstSeed + i) >>> 0, { messages, loadMs, onlyLanes: true });
      const of = run(schedule);
      for (const key of Object.keys(counts) as (keyof TallyCounts)[]) counts[key] += of[key];
    }
    return { mechanism, counts };
  });
}

export function comparisonTable(rows: readonly ComparisonRow[]): string {
  const head = [
    "| mechanism | messages | lost | handled twice | of these not in flight at a kill | out of order |",
    "|---|---|---|---|---|---|",
  ];
  return [
    ...head,
    ...rows.map(({ mechanism, counts }) => {
      const { messages, lost, duplicates, unexcused, disordered } = counts;
      return `| ${mechanism} | ${messages} | ${lost} | ${duplicates} | ${unexcused} | ${disordered} |`;
    }),
  ].join("\n");
}

function runPopmesh(schedule: LaneSchedule): TallyCounts {
  const tally = new LaneTally(messagesOf(schedule));
  const report = runLaneSchedule(schedule, tally);
  if (report.violationCount > 0) throw new Error(`seed ${schedule.seed}: ${report.violations.slice(0, 5).join("\n")}`);
  return tally.counts();
}
