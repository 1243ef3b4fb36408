import type { ResourceView } from "../api/view.ts";
import { tableText } from "./format.ts";

/** A rollout's status as the API tells it, as far as it is shown. */
interface Status {
  readonly phase: string;
  readonly step: number;
  readonly percent: number;
  readonly lane: string | null;
  readonly waitsFor: string;
  readonly judgedOver: string;
  readonly rolledBackBecause?: string;
  readonly outcomes: readonly { readonly group: string; readonly lane: Figures; readonly base: Figures }[];
  readonly verdicts: readonly { readonly outcome: string; readonly text: string }[];
  readonly events: readonly { readonly at: string; readonly by: string; readonly what: string }[];
}
interface Figures {
  readonly acks: number;
  readonly failures: number;
  readonly deadLetters: number;
  readonly lagMs: number;
  readonly processingP99Ms: number | null;
}

const barWidth = 40;
/** Events shown under a rollout. */
const eventsShown = 4;

/** One line of a rollout: for where no terminal redraws. It changes when something worth a line has changed. */
export function rolloutLine({ metadata, spec, status }: ResourceView): string {
  const { phase, step, percent, rolledBackBecause, waitsFor } = status as unknown as Status;
  const why = rolledBackBecause ?? waitsFor;
  const steps = (spec["steps"] as unknown[]).length;
  return `${metadata["name"]}: ${phase}, step ${step} of ${steps}, ${percent} %${why === "" ? "" : `: ${why}`}`;
}

/** A rollout in full, for a terminal. */
export function rolloutBlock({ metadata, spec, status }: ResourceView): string {
  const told = status as unknown as Status;
  const steps = spec["steps"] as readonly { readonly percent: number }[];
  const filled = Math.round((told.percent * barWidth) / 100);
  const lines = [
    `${metadata["name"]}  ${told.phase.toUpperCase()}  lane ${told.lane ?? "?"} of ${String(spec["laneRule"])}`,
    `  [${"#".repeat(filled)}${".".repeat(barWidth - filled)}] ${told.percent} %   step ${told.step} of ${steps.length}: ${steps
      .map(({ percent }) => `${percent}`)
      .join(" > ")} %`,
  ];
  if (told.rolledBackBecause !== undefined) lines.push(`  because: ${told.rolledBackBecause}`);
  if (told.waitsFor !== "") lines.push(`  ${told.waitsFor}`);
  if (told.outcomes.length > 0) lines.push(...indented(outcomeTable(told)));
  for (const { outcome, text } of told.verdicts) lines.push(`  ${outcome.padEnd(6)} ${text}`);
  for (const { at, what } of told.events.slice(-eventsShown)) lines.push(`  ${at}  ${what}`);
  return lines.join("\n");
}

function outcomeTable({ outcomes, lane, judgedOver }: Status): string {
  const rows = outcomes.flatMap(({ group, lane: tried, base }) => [
    [group, lane ?? "?", ...figureCells(tried)],
    [group, "base", ...figureCells(base)],
  ]);
  return tableText([`GROUP (last ${judgedOver})`, "LANE", "ACKS", "FAILURES", "DEAD", "LAG", "P99"], rows);
}

function figureCells({ acks, failures, deadLetters, lagMs, processingP99Ms }: Figures): string[] {
  const p99 = processingP99Ms === null ? "-" : `${Math.round(processingP99Ms)} ms`;
  return [String(acks), String(failures), String(deadLetters), `${lagMs} ms`, p99];
}

function indented(text: string): string[] {
  return text.split("\n").map((line) => `  ${line}`);
}
