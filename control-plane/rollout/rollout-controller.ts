import { baseLane } from "../../proto/lane/lane-rule.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Catalog } from "../catalog/catalog.ts";
import type { LaneRuleContext } from "../catalog/declare-lane-rule.ts";
import { enforceShare, putRolloutState, ruleOfRollout, wantedSpec } from "../catalog/declare-rollout.ts";
import type { LaneRuleStanding } from "../operation/lane-publisher.ts";
import type { LaneRuleRecord } from "../resource/lane-rule.ts";
import { type GuardVerdict, managedClause, type RolloutRecord, type RolloutState } from "../resource/rollout.ts";
import { decideRollout, wantedShare } from "./decide-rollout.ts";
import { type GroupOutcomes, OutcomeWindow, outcomesAnswer } from "./outcome-window.ts";

/** So often brokers are asked and guards judged: a failing version is taken back within about this time. */
const lookEveryMs = 1_000;
/** A broker that does not answer in this time is missing in this look. */
const answerMsMax = 5_000;

export interface RolloutControllerDeps {
  readonly catalog: Catalog;
  /** Calls a method of one broker; rejects with `MeshError`. */
  readonly call: (broker: string, method: string, parameters: object, timeoutMs: number) => Promise<unknown>;
  readonly standings: (rule: LaneRuleRecord) => readonly LaneRuleStanding[];
  readonly laneContext: LaneRuleContext;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: MetricRegistry;
}

/** What the last look at a rollout found. Of this run: a control plane that starts again looks anew. */
export interface RolloutLook {
  readonly groups: readonly GroupOutcomes[];
  readonly verdicts: readonly GuardVerdict[];
  readonly waitsFor: string;
  readonly windowMs: number;
}

class Watched {
  readonly window: OutcomeWindow;
  readonly windowMs: number;
  stepSinceMs: number;
  look: RolloutLook = { groups: [], verdicts: [], waitsFor: "the first figures", windowMs: 0 };

  constructor(windowMs: number, stepSinceMs: number, nowMs: number) {
    this.window = new OutcomeWindow(windowMs, nowMs);
    this.windowMs = windowMs;
    this.stepSinceMs = stepSinceMs;
  }
}

/**
 * Looks at every rollout once a second: asks the brokers of its topic what became of hand-outs by lane, has the pure function decide
 * (decide-rollout.ts), and keeps what it decided in the store together with the rule that follows from it. Works by the outcomes of
 * real consumers alone. What it knows beside the store are the figures of the window, which a restart begins anew.
 */
export class RolloutController {
  readonly #deps: RolloutControllerDeps;
  readonly #watched = new Map<string, Watched>();
  #timer: Timer | undefined;
  #isClosed = false;

  constructor(deps: RolloutControllerDeps) {
    this.#deps = deps;
    deps.metrics.gaugeOf(
      "popmesh_control_plane_rollouts_rolled_back",
      "Rollouts that a guard has rolled back and that wait for a person.",
      () => [...deps.catalog.tables.rolloutState.values()].filter(({ phase }) => phase === "rolled back").length,
    );
  }

  start(): void {
    if (this.#isClosed) return;
    this.#timer = this.#deps.clock.after(lookEveryMs, () => {
      void this.lookAtAll().then(() => this.start());
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** What was found last; undefined: it was not looked at yet. */
  lookOf(key: string): RolloutLook | undefined {
    return this.#watched.get(key)?.look;
  }

  async lookAtAll(): Promise<void> {
    const { rollout } = this.#deps.catalog.tables;
    for (const key of this.#watched.keys()) if (!rollout.has(key)) this.#watched.delete(key);
    await Promise.all([...rollout].map(([key, record]) => this.#lookAt(key, record)));
  }

  async #lookAt(key: string, record: RolloutRecord): Promise<void> {
    const { catalog, clock, laneContext } = this.#deps;
    const state = catalog.tables.rolloutState.get(key);
    if (state === undefined) return;
    const watched = this.#watch(key, record, state);
    const rule = ruleOfRollout(catalog.tables, record);
    if (rule === undefined) {
      watched.look = { ...watched.look, waitsFor: `LaneRule ${record.laneRule} does not exist any more` };
      return;
    }
    const managed = managedClause(rule, record);
    if (typeof managed === "string") {
      watched.look = { ...watched.look, waitsFor: `LaneRule ${record.laneRule} ${managed}` };
      return;
    }
    const missing = await this.#ask(rule, watched.window);
    if (this.#isClosed || catalog.tables.rolloutState.get(key) !== state) return;
    const monotonicMs = clock.monotonicMs();
    const groups = watched.window.outcomes(managed.lane, baseLane, monotonicMs);
    const windowMs = watched.window.coveredMs(monotonicMs);
    const incomplete = missing ?? this.#whyNotInForce(rule);
    const view = { groups, windowMs, ...(incomplete === undefined ? {} : { incomplete }) };
    const by = `rollout:${key}`;
    const decided = decideRollout(record, state, view, clock.wallMs(), by);
    watched.look = { groups, windowMs, verdicts: decided.verdicts, waitsFor: decided.waitsFor };
    if (decided.state !== state) await this.#put(key, record, state, decided.state, by);
    else if (state.phase !== "done" && wantedSpec(rule, record, state) !== undefined) {
      await catalog.change(by, (draft) => enforceShare(draft, record, state, laneContext));
    }
  }

  /** Unless a person was faster. */
  async #put(key: string, record: RolloutRecord, seen: RolloutState, next: RolloutState, by: string): Promise<void> {
    const { catalog, log, laneContext } = this.#deps;
    const isPut = await catalog.change(by, (draft) => {
      if (draft.get("rolloutState", key) !== seen || draft.get("rollout", key) !== record) return false;
      putRolloutState(draft, record, next, laneContext);
      return true;
    });
    if (!isPut) return;
    const { percent } = wantedShare(record, next);
    const what = next.events.at(-1)?.what ?? "";
    if (next.phase === "rolled back") log.warn({ rollout: key, what }, "a rollout was rolled back");
    else log.info({ rollout: key, percent, what }, "a rollout went on");
  }

  #watch(key: string, { windowMs }: RolloutRecord, { stepSinceMs }: RolloutState): Watched {
    const nowMs = this.#deps.clock.monotonicMs();
    let watched = this.#watched.get(key);
    if (watched === undefined || watched.windowMs !== windowMs) {
      watched = new Watched(windowMs, stepSinceMs, nowMs);
      this.#watched.set(key, watched);
    }
    if (watched.stepSinceMs !== stepSinceMs) watched.window.restart(nowMs);
    watched.stepSinceMs = stepSinceMs;
    return watched;
  }

  /** Asks the brokers that hold the topic; why figures are missing, in words. */
  async #ask({ namespace, topic, group }: LaneRuleRecord, window: OutcomeWindow): Promise<string | undefined> {
    const { catalog, call, clock } = this.#deps;
    const name = qualifiedName(namespace, topic);
    const parameters = { topic: name, ...(group === "" ? {} : { group: qualifiedName(namespace, group) }) };
    let missing: string | undefined;
    const brokers = catalog.tables.topic.get(name)?.placement ?? [];
    await Promise.all(
      brokers.map(async (broker) => {
        try {
          const read = outcomesAnswer.safeParse(await call(broker, "lane.outcomes", parameters, answerMsMax));
          if (read.success) window.take(broker, read.data, clock.monotonicMs());
          else
            missing = `broker ${broker} tells figures otherwise than this control plane expects; are they of one release?`;
        } catch (error) {
          if (!(error instanceof MeshError)) throw error;
          missing = `broker ${broker} does not tell figures: ${error.message}`;
        }
      }),
    );
    return brokers.length === 0 ? `topic ${topic} does not exist` : missing;
  }

  #whyNotInForce(rule: LaneRuleRecord): string | undefined {
    const standings = this.#deps.standings(rule);
    const off = standings.find(({ lanes }) => lanes === "off");
    if (off !== undefined) return `lanes are off at broker ${off.broker}; popmesh lanes on lets them go on`;
    const standing = standings.find(({ state }) => state !== "in force");
    if (standing === undefined) return undefined;
    const { broker, state, reason } = standing;
    return `the share is ${state} at broker ${broker}${reason === undefined ? "" : `: ${reason}`}`;
  }
}
