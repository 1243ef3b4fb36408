import { type GuardVerdict, type RolloutSpec, type RolloutState, rolloutLimits } from "../resource/rollout.ts";
import { verdictText } from "./guard-text.ts";
import { judgeGuards, samplesOf } from "./judge-guards.ts";
import type { GroupOutcomes } from "./outcome-window.ts";

/** What is known when a rollout is looked at. */
export interface RolloutView {
  /** Over the window, at most back to the beginning of the step. */
  readonly groups: readonly GroupOutcomes[];
  readonly windowMs: number;
  /** Why the share cannot be trusted to be in force everywhere, or figures are missing; undefined: all is told. */
  readonly incomplete?: string;
}

export type RolloutOrder = "pause" | "resume" | "promote" | "abort";

export interface RolloutDecision {
  readonly state: RolloutState;
  readonly verdicts: readonly GuardVerdict[];
  /** What the rollout waits for, as a sentence; "" where it waits for nothing. */
  readonly waitsFor: string;
}

/** What the managed clause has to say while a rollout is in a state: its share, and whether its lane is taken back. */
export function wantedShare(
  { steps }: RolloutSpec,
  { phase, step }: RolloutState,
): {
  readonly percent: number;
  readonly isWithdrawn: boolean;
} {
  if (phase === "rolled back" || phase === "aborted") return { percent: 0, isWithdrawn: true };
  return { percent: steps[Math.min(step, steps.length - 1)]?.percent ?? 0, isWithdrawn: false };
}

export function beginRollout(spec: RolloutSpec, generation: number, nowMs: number, by: string): RolloutState {
  const state = { phase: "progressing" as const, step: 0, stepSinceMs: nowMs, generation, events: [] };
  return noted(state, nowMs, by, `begun: ${stepText(spec, 0)}`);
}

/** The spec is another one now: the step that is in force begins anew. What was rolled back stays so. */
export function respecRollout(
  spec: RolloutSpec,
  state: RolloutState,
  generation: number,
  nowMs: number,
  by: string,
): RolloutState {
  const step = Math.min(state.step, spec.steps.length - 1);
  // Steps were added behind the last one, or what was done is done otherwise: it goes on from where the share stands.
  const phase = state.phase === "done" ? "progressing" : state.phase;
  const next = { ...state, phase, step, stepSinceMs: nowMs, generation };
  return noted(next, nowMs, by, `changed to version ${generation}: ${stepText(spec, step)}`);
}

/** One look at a rollout: pure, and the same whoever looks. */
export function decideRollout(
  spec: RolloutSpec,
  state: RolloutState,
  view: RolloutView,
  nowMs: number,
  by: string,
): RolloutDecision {
  const isRunning = state.phase === "progressing" || state.phase === "paused";
  const verdicts = isRunning ? judgeGuards(spec, view.groups, view.windowMs) : [];
  const stays = (waitsFor: string): RolloutDecision => ({ state, verdicts, waitsFor });
  if (!isRunning) return stays(state.phase === "done" ? "" : "waits for a person: popmesh rollout resume begins anew");
  const broken = verdicts.find(({ outcome }) => outcome === "broken");
  if (broken !== undefined) {
    const text = `rolled back at ${percentOf(spec, state)} %: ${verdictText(broken)}`;
    const next: RolloutState = { ...state, phase: "rolled back", verdict: broken };
    return { state: noted(next, nowMs, by, text), verdicts, waitsFor: "" };
  }
  if (state.phase === "paused") return stays("paused by a person: popmesh rollout resume goes on");
  const pauseMs = spec.steps[state.step]?.pauseMs ?? 0;
  if (pauseMs === "manual") return stays("waits for a person: popmesh rollout promote goes on");
  const leftMs = state.stepSinceMs + pauseMs - nowMs;
  if (leftMs > 0) return stays(`${Math.ceil(leftMs / 1_000)} s of the step are left`);
  if (view.incomplete !== undefined) return stays(view.incomplete);
  const most = Math.max(0, ...view.groups.map(({ lane }) => samplesOf(lane)));
  if (most < spec.samplesMin) {
    return stays(`${most} of ${spec.samplesMin} hand-outs of the lane have an outcome within the window`);
  }
  return { state: passed(spec, state, nowMs, by), verdicts, waitsFor: "" };
}

/** What a person orders; a text: why it means nothing now. */
export function orderRollout(
  spec: RolloutSpec,
  state: RolloutState,
  order: RolloutOrder,
  nowMs: number,
  by: string,
): RolloutState | string {
  const { phase } = state;
  const isStopped = phase === "rolled back" || phase === "aborted";
  switch (order) {
    case "pause":
      if (phase !== "progressing") return `is ${phase}; only one that is progressing can be paused`;
      return noted({ ...state, phase: "paused" }, nowMs, by, `paused at ${percentOf(spec, state)} %`);
    case "resume":
      if (phase === "paused") return noted({ ...state, phase: "progressing" }, nowMs, by, "resumed");
      if (!isStopped) return `is ${phase}; there is nothing to resume`;
      return noted(
        { ...withoutVerdict(state), phase: "progressing", step: 0, stepSinceMs: nowMs },
        nowMs,
        by,
        `begun again: ${stepText(spec, 0)}`,
      );
    case "promote":
      if (phase === "done" || isStopped) return `is ${phase}; only one that is progressing or paused can be promoted`;
      return passed(spec, state, nowMs, by);
    case "abort":
      if (isStopped) return `is ${phase} already`;
      return noted({ ...state, phase: "aborted" }, nowMs, by, `aborted at ${percentOf(spec, state)} %`);
  }
}

/** The step went well, or a person says so. */
function passed(spec: RolloutSpec, state: RolloutState, nowMs: number, by: string): RolloutState {
  const step = state.step + 1;
  if (step >= spec.steps.length) {
    return noted({ ...state, phase: "done" }, nowMs, by, `done: the last step, ${percentOf(spec, state)} %, is passed`);
  }
  const next: RolloutState = { ...state, phase: "progressing", step, stepSinceMs: nowMs };
  return noted(next, nowMs, by, stepText(spec, step));
}

function withoutVerdict({ verdict: _, ...state }: RolloutState): RolloutState {
  return state;
}

function noted(state: RolloutState, atMs: number, by: string, what: string): RolloutState {
  return { ...state, events: [...state.events, { atMs, by, what }].slice(-rolloutLimits.eventsKept) };
}

function percentOf({ steps }: RolloutSpec, { step }: RolloutState): number {
  return steps[step]?.percent ?? 0;
}

function stepText({ steps }: RolloutSpec, step: number): string {
  return `step ${step + 1} of ${steps.length}, ${steps[step]?.percent ?? 0} %`;
}
