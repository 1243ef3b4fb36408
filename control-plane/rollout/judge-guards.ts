import { processingQuantileMs } from "../../proto/lane/processing-bucket.ts";
import type { GuardName, GuardVerdict, RateGuard, RolloutSpec, TimeGuard } from "../resource/rollout.ts";
import type { GroupOutcomes, Outcomes } from "./outcome-window.ts";

/**
 * Below so many milliseconds a lag is none: a message that waits for the next turn of an event loop is no backlog, and a multiple
 * of nothing is nothing.
 */
const lagFloorMs = 1_000;

/**
 * What each guard of a rollout says of each group. Pure. Rates and times say something only with `samplesMin` hand-outs of the lane that
 * have an outcome; limits relative to base only when base has as many too. A lag needs no samples: it is as old as it says.
 */
export function judgeGuards(
  { guards, samplesMin }: Pick<RolloutSpec, "guards" | "samplesMin">,
  groups: readonly GroupOutcomes[],
  windowMs: number,
): GuardVerdict[] {
  const verdicts: GuardVerdict[] = [];
  for (const { group, lane, base } of groups) {
    const told = { group, windowMs, laneSamples: samplesOf(lane), baseSamples: samplesOf(base) };
    const laneSpeaks = told.laneSamples >= samplesMin;
    const baseSpeaks = told.baseSamples >= samplesMin;
    const rate = (guard: GuardName, limits: RateGuard, read: (outcomes: Outcomes) => number | null) => {
      const figures = { lane: read(lane), base: read(base) };
      const limit = least(limits.max, baseSpeaks ? sum(figures.base, limits.overBase) : undefined);
      verdicts.push({ guard, ...told, ...figures, limit, outcome: outcomeOf(laneSpeaks, figures.lane, limit) });
    };
    const time = (
      guard: GuardName,
      limits: TimeGuard,
      speaks: boolean,
      figures: { lane: number | null; base: number | null },
      ofBase: number | undefined,
    ) => {
      const limit = least(limits.maxMs, ofBase);
      verdicts.push({ guard, ...told, ...figures, limit, outcome: outcomeOf(speaks, figures.lane, limit) });
    };
    if (guards.failureRate !== undefined) {
      rate("failureRate", guards.failureRate, ({ acks, failures }) => share(failures, acks + failures));
    }
    if (guards.deadLetterRate !== undefined) {
      rate("deadLetterRate", guards.deadLetterRate, ({ acks, deadLetters }) => share(deadLetters, acks + deadLetters));
    }
    if (guards.lag !== undefined) {
      const { timesBase } = guards.lag;
      const ofBase = timesBase === undefined ? undefined : Math.max(lagFloorMs, base.lagMs) * timesBase;
      time("lag", guards.lag, true, { lane: lane.lagMs, base: base.lagMs }, ofBase);
    }
    if (guards.processingP99 !== undefined) {
      const { timesBase } = guards.processingP99;
      const figures = { lane: p99(lane), base: p99(base) };
      const speaks = acksOf(lane) >= samplesMin;
      const isComparable = timesBase !== undefined && figures.base !== null && acksOf(base) >= samplesMin;
      const ofBase = isComparable ? (figures.base ?? 0) * timesBase : undefined;
      time("processingP99", guards.processingP99, speaks, figures, ofBase);
    }
  }
  return verdicts;
}

/** Hand-outs that ended. */
export function samplesOf({ acks, failures }: Outcomes): number {
  return acks + failures;
}

function acksOf({ buckets }: Outcomes): number {
  return buckets.reduce((total, count) => total + count, 0);
}

function p99({ buckets }: Outcomes): number | null {
  return processingQuantileMs(buckets, 0.99) ?? null;
}

/** In percent. */
function share(part: number, of: number): number | null {
  return of === 0 ? null : (100 * part) / of;
}

function sum(a: number | null, b: number | undefined): number | undefined {
  return b === undefined ? undefined : (a ?? 0) + b;
}

function least(...limits: readonly (number | undefined)[]): number | null {
  const known = limits.filter((limit) => limit !== undefined);
  return known.length === 0 ? null : Math.min(...known);
}

function outcomeOf(speaks: boolean, figure: number | null, limit: number | null): GuardVerdict["outcome"] {
  if (!speaks || figure === null || limit === null) return "quiet";
  return figure > limit ? "broken" : "holds";
}
