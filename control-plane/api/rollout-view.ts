import { processingQuantileMs } from "../../proto/lane/processing-bucket.ts";
import type { LaneRuleRecord } from "../resource/lane-rule.ts";
import { manifestApiVersion } from "../resource/manifest-version.ts";
import {
  type GuardVerdict,
  managedClause,
  type RateGuard,
  type RolloutRecord,
  type RolloutSpec,
  type RolloutState,
  type TimeGuard,
} from "../resource/rollout.ts";
import { wantedShare } from "../rollout/decide-rollout.ts";
import { verdictText } from "../rollout/guard-text.ts";
import type { GroupOutcomes, Outcomes } from "../rollout/outcome-window.ts";
import type { RolloutLook } from "../rollout/rollout-controller.ts";
import { durationText, isoTime, type ResourceView } from "./view.ts";

/** `look`: what the last look at it found; undefined: there was none in this run yet. */
export function rolloutView(
  rollout: RolloutRecord,
  state: RolloutState,
  rule: LaneRuleRecord | undefined,
  look: RolloutLook | undefined,
): ResourceView {
  const managed = rule === undefined ? undefined : managedClause(rule, rollout);
  const isRunning = state.phase === "progressing" || state.phase === "paused";
  return {
    apiVersion: manifestApiVersion,
    kind: "Rollout",
    metadata: { namespace: rollout.namespace, name: rollout.name },
    spec: rolloutSpecView(rollout),
    status: {
      phase: state.phase,
      step: state.step + 1,
      percent: wantedShare(rollout, state).percent,
      lane: typeof managed === "object" ? managed.lane : null,
      since: isoTime(state.stepSinceMs),
      waitsFor: look?.waitsFor ?? "the first look",
      ...(state.verdict === undefined ? {} : { rolledBackBecause: verdictText(state.verdict), verdict: state.verdict }),
      judgedOver: durationText(Math.round(look?.windowMs ?? 0)),
      outcomes: isRunning ? (look?.groups ?? []).map(groupView) : [],
      verdicts: isRunning ? (look?.verdicts ?? []).map(guardView) : [],
      generation: rollout.generation,
      createdAt: isoTime(rollout.createdMs),
      createdBy: rollout.createdBy,
      changedAt: isoTime(rollout.changedMs),
      changedBy: rollout.changedBy,
      events: state.events.slice(-eventsTold).map(eventView),
    },
  };
}

/** Of those that are kept; `history` tells all. */
const eventsTold = 10;

/** A spec as people write it. */
export function rolloutSpecView(spec: RolloutSpec): ResourceView["spec"] {
  const { laneRule, lane, clause, steps, guards, windowMs, samplesMin } = spec;
  const { failureRate, deadLetterRate, lag, processingP99 } = guards;
  return {
    laneRule,
    ...(lane === undefined ? {} : { lane }),
    ...(clause === undefined ? {} : { clause: clause + 1 }),
    steps: steps.map(({ percent, pauseMs }) => ({
      percent,
      pause: pauseMs === "manual" ? {} : durationText(pauseMs),
    })),
    guards: {
      ...(failureRate === undefined ? {} : { failureRate: rateView(failureRate) }),
      ...(deadLetterRate === undefined ? {} : { deadLetterRate: rateView(deadLetterRate) }),
      ...(lag === undefined ? {} : { lag: timeView(lag) }),
      ...(processingP99 === undefined ? {} : { processingP99: timeView(processingP99) }),
    },
    window: durationText(windowMs),
    samplesMin,
  };
}

export function eventView({ atMs, by, what }: RolloutState["events"][number]): object {
  return { at: isoTime(atMs), by, what };
}

function rateView(guard: RateGuard): object {
  return { ...guard };
}

function timeView({ maxMs, timesBase }: TimeGuard): object {
  return {
    ...(maxMs === undefined ? {} : { max: durationText(maxMs) }),
    ...(timesBase === undefined ? {} : { timesBase }),
  };
}

function groupView({ group, lane, base }: GroupOutcomes): object {
  return { group, lane: outcomesView(lane), base: outcomesView(base) };
}

function outcomesView({ acks, failures, deadLetters, buckets, lagMs }: Outcomes): object {
  return { acks, failures, deadLetters, lagMs, processingP99Ms: processingQuantileMs(buckets, 0.99) ?? null };
}

function guardView(verdict: GuardVerdict): object {
  const { guard, group, outcome, lane, base, limit } = verdict;
  return { guard, group, outcome, lane, base, limit, text: verdictText(verdict) };
}
