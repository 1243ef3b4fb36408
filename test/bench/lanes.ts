import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compiledRoot } from "../support/running-process.ts";
import { type LaneRow, laneRows, type StepFigures } from "./lanes/lane-rows.ts";

/**
 * What lane rules cost the state machine: CPU time per message of sends, receives and acks, over a log in memory, for a topic without
 * rules and with one of each kind, in order and not; and, with `--build`, for another compiled tree without rules. Each row has a
 * process of its own, one runs at a time, in short rounds that alternate; the medians of the ratios within a round are what holds.
 *
 *     node dist/test/bench/lanes.js [--rounds 25] [--turns 20] [--copies 1] [--only TEXT] [--build DIR]
 */
const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "25" },
    /** Of 1 024 messages each. */
    turns: { type: "string", default: "20" },
    /** Only rows whose name contains this, and those they are compared with. */
    only: { type: "string", default: "" },
    build: { type: "string" },
    /** Processes of a row, of which a round's figures are the mean: what V8 makes of the same code differs from one to the next. */
    copies: { type: "string", default: "1" },
  },
});
const rounds = Number(flags.rounds);
const turns = Number(flags.turns);
const warmUpTurns = 100;

interface Worker {
  readonly child: ChildProcess;
  /** Rejects when the process ends. */
  readonly ended: Promise<never>;
}

interface Runner {
  readonly name: string;
  readonly row: LaneRow;
  readonly workers: readonly Worker[];
  readonly figures: StepFigures[];
}

const program = fileURLToPath(new URL("lanes/state-process.js", import.meta.url));
const runners: Runner[] = [];
try {
  for (const [i, row] of laneRows.entries()) {
    if (row.rule !== undefined && !row.name.includes(flags.only)) continue;
    await start(row.name, row, i, compiledRoot);
    if (row.rule === undefined && flags.build !== undefined)
      await start(`${row.name}, ${flags.build}`, row, i, flags.build);
  }
  for (const runner of runners) await run(runner, warmUpTurns);
  for (let round = 0; round < rounds; round++) {
    // There and back: who runs behind whom changes.
    const order = round % 2 === 0 ? runners : [...runners].reverse();
    for (const runner of order) runner.figures.push(await run(runner, turns));
  }
} finally {
  for (const { workers } of runners) for (const { child } of workers) child.kill("SIGKILL");
}
console.log(
  `CPU us per message, medians of ${rounds} rounds of ${turns * 1024} messages; in brackets: over the same without a rule, the median and the middle half of the rounds.`,
);
for (const runner of runners) {
  const base = runners.find(({ row }) => row.isOrdered === runner.row.isOrdered)!;
  const cells = (["send", "receive", "ack"] as const).map((step) =>
    cell(step, runner, base, (figures) => figures[step]),
  );
  cells.push(cell("all", runner, base, all));
  console.log(`${runner.name.padEnd(26)}  ${cells.join("  ")}`);
}

async function start(name: string, row: LaneRow, at: number, build: string): Promise<void> {
  const workers: Worker[] = [];
  runners.push({ name, row, workers, figures: [] });
  for (let copy = 0; copy < Number(flags.copies); copy++) {
    const child = fork(program, [build, String(at)]);
    const ended = once(child, "exit").then((): never => {
      throw new Error(`${name}: its process ended`);
    });
    ended.catch(() => {});
    workers.push({ child, ended });
    await answered(child, ended);
  }
}

async function run({ workers }: Runner, count: number): Promise<StepFigures> {
  const sum = { send: 0, receive: 0, ack: 0 };
  for (const { child, ended } of workers) {
    child.send(count);
    const figures = (await answered(child, ended)) as StepFigures;
    sum.send += figures.send / workers.length;
    sum.receive += figures.receive / workers.length;
    sum.ack += figures.ack / workers.length;
  }
  return sum;
}

async function answered(child: ChildProcess, ended: Promise<never>): Promise<unknown> {
  const abort = new AbortController();
  try {
    const [answer] = (await Promise.race([once(child, "message", abort), ended])) as [unknown];
    return answer;
  } finally {
    abort.abort();
  }
}

function all({ send, receive, ack }: StepFigures): number {
  return send + receive + ack;
}

function cell(what: string, own: Runner, base: Runner, read: (figures: StepFigures) => number): string {
  const us = quantile(own.figures.map(read), 0.5);
  const text = `${what} ${us.toFixed(2)}`;
  if (own === base) return text.padEnd(30);
  const ratios = own.figures.map((figures, round) => read(figures) / read(base.figures[round]!));
  const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(ratios, share).toFixed(3));
  return `${text} (${middle}; ${low}-${high})`.padEnd(30);
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
}
