import { qualifiedName } from "../../proto/resource-name.ts";
import { type LaneRuleRecord, type LaneRuleSpec, laneRuleSpecOf, laneTargetKey } from "../resource/lane-rule.ts";
import {
  managedClause,
  type RolloutRecord,
  type RolloutSaid,
  type RolloutSpec,
  type RolloutState,
  rolloutLimits,
  rolloutSpecOf,
} from "../resource/rollout.ts";
import {
  beginRollout,
  orderRollout,
  type RolloutOrder,
  respecRollout,
  wantedShare,
} from "../rollout/decide-rollout.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import type { ReadonlyCatalogTables } from "./catalog-table.ts";
import { type Declared, tooMany } from "./declare.ts";
import { declareLaneRule, type LaneRuleContext, laneRuleNames } from "./declare-lane-rule.ts";
import { countUp } from "./name-counter.ts";

/** Takes the spec as a whole, and puts the share of its step into force in the same change. */
export function declareRollout(
  draft: CatalogDraft,
  { namespace, name, spec: said }: { readonly namespace: string; readonly name: string; readonly spec: RolloutSaid },
  context: LaneRuleContext,
): Declared<RolloutRecord> {
  const key = qualifiedName(namespace, name);
  const existing = draft.get("rollout", key);
  const found = ruleOf(draft, namespace, name, said, context);
  if ("outcome" in found) return found;
  const { rule: _, ...others } = said;
  const spec = rolloutSpecOf({ ...others, laneRule: found.name });
  if (existing !== undefined && isSame(existing, spec)) return { outcome: "unchanged", record: existing };
  const refusal = refuse(draft, key, namespace, spec, found);
  if (refusal !== undefined) return { outcome: "conflict", ...refusal };
  const { nowMs, by } = draft;
  const { generation } = countUp(draft, "rollout", key, existing === undefined);
  const record: RolloutRecord = {
    ...{ namespace, name },
    ...spec,
    generation,
    createdMs: existing?.createdMs ?? nowMs,
    createdBy: existing?.createdBy ?? by,
    ...{ changedMs: nowMs, changedBy: by },
  };
  draft.put("rollout", key, record);
  const state = draft.get("rolloutState", key);
  putRolloutState(
    draft,
    record,
    existing === undefined || state === undefined
      ? beginRollout(spec, generation, nowMs, by)
      : respecRollout(spec, state, generation, nowMs, by),
    context,
  );
  return { outcome: existing === undefined ? "created" : "configured", record };
}

/** What a person orders. */
export type Ordered =
  | { readonly outcome: "ordered"; readonly state: RolloutState }
  | { readonly outcome: "absent" }
  | { readonly outcome: "refused"; readonly reason: string };

export function orderOfRollout(
  draft: CatalogDraft,
  key: string,
  order: RolloutOrder,
  context: LaneRuleContext,
): Ordered {
  const record = draft.get("rollout", key);
  const state = draft.get("rolloutState", key);
  if (record === undefined || state === undefined) return { outcome: "absent" };
  const next = orderRollout(record, state, order, draft.nowMs, draft.by);
  if (typeof next === "string") return { outcome: "refused", reason: next };
  putRolloutState(draft, record, next, context);
  return { outcome: "ordered", state: next };
}

/** False when there is none. The rule stays as it stands then. */
export function removeRollout(draft: CatalogDraft, key: string): boolean {
  if (draft.get("rollout", key) === undefined) return false;
  countUp(draft, "rollout", key, false);
  draft.delete("rollout", key);
  draft.delete("rolloutState", key);
  return true;
}

/** Keeps a state, and has the rule say what it wants. */
export function putRolloutState(
  draft: CatalogDraft,
  record: RolloutRecord,
  state: RolloutState,
  context: LaneRuleContext,
): void {
  draft.put("rolloutState", qualifiedName(record.namespace, record.name), state);
  enforceShare(draft, record, state, context);
}

/** The rule of a rollout says what the state wants; whatever somebody else made of its clause. */
export function enforceShare(
  draft: CatalogDraft,
  record: RolloutRecord,
  state: RolloutState,
  context: LaneRuleContext,
): void {
  const rule = draft.get("laneRule", qualifiedName(record.namespace, record.laneRule));
  if (rule === undefined) return;
  const spec = wantedSpec(rule, record, state);
  if (spec === undefined) return;
  declareLaneRule(draft, { namespace: record.namespace, name: record.laneRule, spec }, context);
}

/** What the rule would have to be; undefined: it is, or it has no such clause any more. */
export function wantedSpec(rule: LaneRuleSpec, record: RolloutSpec, state: RolloutState): LaneRuleSpec | undefined {
  const managed = managedClause(rule, record);
  if (typeof managed === "string") return undefined;
  const { percent, isWithdrawn } = wantedShare(record, state);
  const { withdrawn = [], ...spec } = laneRuleSpecOf(rule);
  const isAsWanted =
    rule.clauses[managed.index]?.percent === percent && withdrawn.includes(managed.lane) === isWithdrawn;
  if (isAsWanted) return undefined;
  const others = withdrawn.filter((lane) => lane !== managed.lane);
  return laneRuleSpecOf({
    ...spec,
    clauses: rule.clauses.map((clause, index) => (index === managed.index ? withPercent(clause, percent) : clause)),
    withdrawn: (isWithdrawn ? [...others, managed.lane] : others).sort(),
  });
}

/**
 * A rule as it is written, with the share that its rollout wants: who applies a file again must not give a lane back, not even for the
 * moment until it is set back.
 */
export function heldByRollout<
  R extends { readonly namespace: string; readonly name: string; readonly spec: LaneRuleSpec },
>(draft: CatalogDraft, said: R): R {
  const rollout = rolloutOf(draft, said);
  if (rollout === undefined) return said;
  const state = draft.get("rolloutState", qualifiedName(rollout.namespace, rollout.name));
  const spec = state === undefined ? undefined : wantedSpec(said.spec, rollout, state);
  return spec === undefined ? said : { ...said, spec };
}

/** The fields of a clause stay in one order, so that a rule that says the same is the same. */
function withPercent(clause: LaneRuleRecord["clauses"][number], percent: number) {
  const { percent: _, ...others } = clause;
  return { ...others, percent };
}

/** The rollout that sets a share of a rule, if there is one that is not done. */
export function rolloutOf(
  draft: CatalogDraft,
  { namespace, name }: Pick<LaneRuleRecord, "namespace" | "name">,
): RolloutRecord | undefined {
  for (const key of draft.keys("rollout")) {
    const rollout = draft.get("rollout", key);
    if (rollout?.namespace !== namespace || rollout.laneRule !== name) continue;
    if (draft.get("rolloutState", key)?.phase !== "done") return rollout;
  }
  return undefined;
}

type Refusal = { readonly path: string; readonly reason: string };

/** The rule that is meant. One that is told by its target and is not there is made, with nothing for the lane yet. */
function ruleOf(
  draft: CatalogDraft,
  namespace: string,
  name: string,
  { rule, lane = "" }: RolloutSaid,
  context: LaneRuleContext,
): LaneRuleRecord | ({ readonly outcome: "conflict" } & Refusal) {
  if ("name" in rule) {
    const found = draft.get("laneRule", qualifiedName(namespace, rule.name));
    if (found !== undefined) return found;
    const reason = `is of LaneRule ${namespace}/${rule.name}, which does not exist; apply it first, or in the same file before`;
    return { outcome: "conflict", path: "spec.laneRule", reason };
  }
  const known = laneRuleNames(draft).get(laneTargetKey(namespace, rule));
  const found = known === undefined ? undefined : draft.get("laneRule", qualifiedName(namespace, known));
  if (found !== undefined) return found;
  const clauses = [
    { to: lane, lane },
    { to: lane, percent: 0 },
  ];
  const whenEmpty = { action: "spill", afterMs: 2_000 } as const;
  const declared = declareLaneRule(draft, { namespace, name, spec: { ...rule, clauses, whenEmpty } }, context);
  return declared.outcome === "conflict" ? declared : declared.record;
}

function refuse(
  draft: CatalogDraft,
  key: string,
  namespace: string,
  spec: RolloutSpec,
  rule: LaneRuleRecord,
): Refusal | undefined {
  const { rolloutsMax } = rolloutLimits;
  if (draft.get("rollout", key) === undefined && draft.count("rollout") >= rolloutsMax) {
    const { path, reason } = tooMany("rollouts", rolloutsMax);
    return { path, reason };
  }
  const managed = managedClause(rule, spec);
  const what = `LaneRule ${namespace}/${rule.name}`;
  if (typeof managed === "string") return { path: "spec.clause", reason: `is of ${what}, which ${managed}` };
  for (const otherKey of draft.keys("rollout")) {
    const other = draft.get("rollout", otherKey);
    if (otherKey === key || other?.namespace !== namespace || other.laneRule !== rule.name) continue;
    const theirs = managedClause(rule, other);
    if (typeof theirs === "string" || theirs.lane !== managed.lane) continue;
    const reason = `is of lane ${managed.lane} of ${what}, which Rollout ${otherKey} raises already; delete that one first`;
    return { path: "spec.laneRule", reason };
  }
  return undefined;
}

function isSame(a: RolloutSpec, b: RolloutSpec): boolean {
  return JSON.stringify(rolloutSpecOf(a)) === JSON.stringify(rolloutSpecOf(b));
}

/** The topic and group of a rollout's rule; undefined: the rule is gone. */
export function ruleOfRollout(tables: ReadonlyCatalogTables, { namespace, laneRule }: RolloutRecord) {
  return tables.laneRule.get(qualifiedName(namespace, laneRule));
}
