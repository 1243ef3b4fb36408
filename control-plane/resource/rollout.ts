import { baseLane } from "../../proto/lane/lane-rule.ts";
import type { LaneRuleSpec } from "./lane-rule.ts";

/** What people say about a rollout: which share of a lane rule is raised, how, and what takes it back. Always whole. */
export interface RolloutSpec {
  /** Name of a LaneRule in the rollout's namespace. */
  readonly laneRule: string;
  /** The lane to which the managed clause sends; left out: any but base. */
  readonly lane?: string;
  /** Index of the managed clause; left out: the only one with a share (and for that lane). */
  readonly clause?: number;
  readonly steps: readonly RolloutStep[];
  readonly guards: RolloutGuards;
  /** Outcomes of so long are looked at, at most back to the beginning of the step. */
  readonly windowMs: number;
  /**
   * Hand-outs of the lane with an outcome, within the window, below which rates and times say nothing: no guard fails by them, and no
   * step is passed. Of base the same, for limits that are relative to it.
   */
  readonly samplesMin: number;
}

/** As it is written: with the name of a rule, or with what a rule is for. */
export type RolloutSaid = Omit<RolloutSpec, "laneRule"> & {
  /** A rule, or the topic and group ("": every group) of one, which is made if there is none; `lane` is given then. */
  readonly rule: { readonly name: string } | { readonly topic: string; readonly group: string };
};

export interface RolloutStep {
  readonly percent: number;
  /** How long it must go well; "manual": until a person promotes it. */
  readonly pauseMs: number | "manual";
}

/** A rate's limits, in percent of what was handled. */
export interface RateGuard {
  readonly max?: number;
  /** So many percentage points above that of base over the same window. */
  readonly overBase?: number;
}

/** A time's limits. */
export interface TimeGuard {
  readonly maxMs?: number;
  /** So many times that of base over the same window. */
  readonly timesBase?: number;
}

export interface RolloutGuards {
  /** Hand-outs that ended without an ack, of all that ended. */
  readonly failureRate?: RateGuard;
  /** Messages that went to the dead-letter queue, of all that were settled. */
  readonly deadLetterRate?: RateGuard;
  /** Age of the oldest message that the lane owns and is not done with. */
  readonly lag?: TimeGuard;
  /** 99th percentile of the time from hand-out to ack. */
  readonly processingP99?: TimeGuard;
}
export type GuardName = keyof RolloutGuards;

/** A rollout as the control plane keeps it. */
export interface RolloutRecord extends RolloutSpec {
  readonly namespace: string;
  readonly name: string;
  readonly generation: number;
  /** Wall clock. */
  readonly createdMs: number;
  readonly createdBy: string;
  readonly changedMs: number;
  readonly changedBy: string;
}

/**
 * "progressing": the share rises by itself. "paused": a person stopped it. "rolled back", "aborted": the share is 0 and the lane is taken
 * back, until a person resumes. "done": the last step went well.
 */
export type RolloutPhase = "progressing" | "paused" | "rolled back" | "aborted" | "done";

/** Where a rollout is. Plain data: what a control plane reads back after a restart and goes on with. */
export interface RolloutState {
  readonly phase: RolloutPhase;
  /** Index of the step that is or was in force. */
  readonly step: number;
  /** Wall clock: since when that step's share is to be in force. */
  readonly stepSinceMs: number;
  /** Generation of the spec that it was decided by. */
  readonly generation: number;
  /** Why it was rolled back. */
  readonly verdict?: GuardVerdict;
  /** What became of it, oldest first. */
  readonly events: readonly RolloutEvent[];
}

export interface RolloutEvent {
  /** Wall clock. */
  readonly atMs: number;
  readonly by: string;
  /** A sentence. */
  readonly what: string;
}

/** What a guard says of one group, with the figures it says it by. */
export interface GuardVerdict {
  readonly guard: GuardName;
  /** "<namespace>/<group>". */
  readonly group: string;
  /** "quiet": too few samples to say anything. */
  readonly outcome: "holds" | "broken" | "quiet";
  /** Percent, or milliseconds; null: nothing is known. */
  readonly lane: number | null;
  readonly base: number | null;
  /** The limit that is or would be broken first, in the unit of the figures; null: no limit applies now. */
  readonly limit: number | null;
  readonly laneSamples: number;
  readonly baseSamples: number;
  /** How long was looked at. */
  readonly windowMs: number;
}

export const rolloutLimits = {
  rolloutsMax: 1_000,
  stepsMax: 50,
  pauseMsMax: 30 * 86_400_000,
  windowMs: { min: 1_000, max: 3_600_000 },
  samplesMax: 1_000_000,
  eventsKept: 100,
} as const;

export const rolloutDefaults = { windowMs: 60_000, samplesMin: 50 } as const;

/** The spec alone of anything that has one, its fields in a fixed order. */
export function rolloutSpecOf(spec: RolloutSpec): RolloutSpec {
  const { laneRule, lane, clause, steps, guards, windowMs, samplesMin } = spec;
  return {
    laneRule,
    ...(lane === undefined ? {} : { lane }),
    ...(clause === undefined ? {} : { clause }),
    ...{ steps, guards, windowMs, samplesMin },
  };
}

/** The clause of a rule that a rollout manages, or why there is none, as it stands after the rule's name. */
export function managedClause(
  rule: Pick<LaneRuleSpec, "clauses">,
  { clause, lane }: Pick<RolloutSpec, "clause" | "lane">,
): { readonly index: number; readonly lane: string } | string {
  const fits = ({ to }: { readonly to: string }) => to !== baseLane && (lane === undefined || to === lane);
  const what = lane === undefined ? "another lane than base" : `lane "${lane}"`;
  if (clause !== undefined) {
    const found = rule.clauses[clause];
    if (found === undefined) return `has no clause ${clause + 1}`;
    return fits(found) ? { index: clause, lane: found.to } : `does not send to ${what} with clause ${clause + 1}`;
  }
  const shares = rule.clauses.flatMap((each, index) => (each.percent !== undefined && fits(each) ? [index] : []));
  const [index, ...others] = shares;
  if (index === undefined) return `has no clause with a percent to ${what}`;
  if (others.length > 0) return `has several clauses with a percent to ${what}; say which: spec.clause, counted from 1`;
  return { index, lane: rule.clauses[index]!.to };
}
