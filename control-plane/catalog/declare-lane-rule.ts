import { qualifiedName } from "../../proto/resource-name.ts";
import {
  type LaneRuleRecord,
  type LaneRuleSpec,
  laneRuleCounts,
  laneRuleSpecOf,
  laneTargetKey,
} from "../resource/lane-rule.ts";
import type { NamespaceSpec } from "../resource/namespace.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { type Declared, declareNamespace, tooMany } from "./declare.ts";
import { beginPublication } from "./publish-lane-rule.ts";
import {
  actionOf,
  countVersion,
  keepVersion,
  type Rollback,
  type VersionNumbers,
  type VersionOf,
  versionsOf,
} from "./resource-versions.ts";

/** What a declaration of lane rules needs to know beside the draft. */
export interface LaneRuleContext {
  readonly namespaceDefaults: NamespaceSpec;
  /**
   * Highest generation that any broker has of a rule ("<namespace>/<rule>"); 0: none is known. After a restored backup brokers may
   * be ahead of the control plane, and would take what comes now for old.
   */
  readonly generationSeen: (ruleKey: string) => number;
}

/** The spec is taken as a whole. Topic and group of a rule are fixed for its life: messages of them were decided by it. */
export function declareLaneRule(
  draft: CatalogDraft,
  { namespace, name, spec }: { readonly namespace: string; readonly name: string; readonly spec: LaneRuleSpec },
  context: LaneRuleContext,
  rollback?: Rollback,
): Declared<LaneRuleRecord> {
  const key = qualifiedName(namespace, name);
  const existing = draft.get("laneRule", key);
  if (existing !== undefined && isSameLaneRule(existing, spec)) return { outcome: "unchanged", record: existing };
  const refusal = existing === undefined ? refuseNew(draft, namespace, spec) : refuseChange(existing, spec);
  if (refusal !== undefined) return { outcome: "conflict", ...refusal };
  if (existing === undefined) declareNamespace(draft, namespace, {}, context.namespaceDefaults);
  const numbers = countRuleVersion(draft, key, { namespace, ...spec }, context);
  const { nowMs, by } = draft;
  const record: LaneRuleRecord = {
    namespace,
    name,
    ...laneRuleSpecOf(spec),
    generation: numbers.generation,
    createdMs: existing?.createdMs ?? nowMs,
    createdBy: existing?.createdBy ?? by,
    changedMs: nowMs,
    changedBy: by,
  };
  laneRuleNames(draft).set(laneTargetKey(namespace, spec), name);
  draft.put("laneRule", key, record);
  const action = actionOf(existing === undefined, rollback);
  keepVersion(draft, "laneRule", key, { ...numbers, ...action, spec: laneRuleSpecOf(spec) });
  beginPublication(draft, key, record, existing === undefined ? 0 : numbers.previous, rollback !== undefined);
  return { outcome: existing === undefined ? "created" : "configured", record };
}

/**
 * Takes back a version that a broker refused: the last that was in force everywhere comes again, as a new version, and the reason is
 * kept with it; where there was none the rule goes. Nothing happens when the version is not on its way any more.
 */
export function takeBackLaneRule(
  draft: CatalogDraft,
  key: string,
  generation: number,
  reason: string,
  context: LaneRuleContext,
): void {
  const publication = draft.get("lanePublication", key);
  const existing = draft.get("laneRule", key);
  if (publication?.generation !== generation || existing?.generation !== generation) return;
  const base = versionsOf(draft, "laneRule", key).find((version) => version.generation === publication.base);
  if (base?.spec !== undefined && isSameLaneRule(base.spec, existing)) {
    // It is what was in force everywhere before: there is nothing to go back to, and the refusal stands.
    draft.put("lanePublication", key, { ...publication, stage: "all", isRollback: true });
    return;
  }
  if (base?.spec === undefined) {
    removeRule(draft, key, existing, context, { action: "rolled back", reason });
    return;
  }
  const { namespace, name } = existing;
  declareLaneRule(draft, { namespace, name, spec: base.spec }, context, { contentOf: base.generation, reason });
}

/** False when there is no such rule. Its versions stay. */
export function removeLaneRule(draft: CatalogDraft, key: string, context: LaneRuleContext): boolean {
  const existing = draft.get("laneRule", key);
  if (existing === undefined) return false;
  removeRule(draft, key, existing, context, { action: "deleted" });
  return true;
}

function removeRule(
  draft: CatalogDraft,
  key: string,
  existing: LaneRuleRecord,
  context: LaneRuleContext,
  why: Pick<VersionOf<"laneRule">, "action" | "reason">,
): void {
  laneRuleNames(draft).delete(laneTargetKey(existing.namespace, existing));
  const numbers = countRuleVersion(draft, key, existing, context);
  draft.delete("laneRule", key);
  draft.delete("lanePublication", key);
  keepVersion(draft, "laneRule", key, { ...numbers, ...why });
}

/** Per draft, so that a file of thousands of rules looks through them once. */
const namesByDraft = new WeakMap<CatalogDraft, Map<string, string>>();

/** Names of the rules in a draft by `laneTargetKey`. */
export function laneRuleNames(draft: CatalogDraft): Map<string, string> {
  let names = namesByDraft.get(draft);
  if (names !== undefined) return names;
  names = new Map();
  for (const key of draft.keys("laneRule")) {
    const rule = draft.get("laneRule", key);
    if (rule !== undefined) names.set(laneTargetKey(rule.namespace, rule), rule.name);
  }
  namesByDraft.set(draft, names);
  return names;
}

type Refusal = { readonly path: string; readonly reason: string };

function refuseNew(draft: CatalogDraft, namespace: string, spec: LaneRuleSpec): Refusal | undefined {
  const { rulesMax } = laneRuleCounts;
  if (draft.count("laneRule") >= rulesMax) return tooMany("lane rules", rulesMax);
  const other = laneRuleNames(draft).get(laneTargetKey(namespace, spec));
  if (other === undefined) return undefined;
  const reason = `is for ${targetText(spec)}, for which LaneRule ${namespace}/${other} decides already; change that one, or delete it first`;
  return { path: "spec.topic", reason };
}

function refuseChange(existing: LaneRuleRecord, spec: LaneRuleSpec): Refusal | undefined {
  if (existing.topic === spec.topic && existing.group === spec.group) return undefined;
  const path = existing.topic === spec.topic ? "spec.group" : "spec.topic";
  const reason = `is for ${targetText(existing)} and cannot become one for ${targetText(spec)}; use another name, or delete it first`;
  return { path, reason };
}

/**
 * Higher than any of a rule of this name, and of a rule for this topic and group, by which brokers tell newer from older: another
 * rule may have been there before.
 */
function countRuleVersion(
  draft: CatalogDraft,
  key: string,
  target: Pick<LaneRuleRecord, "namespace" | "topic" | "group">,
  context: LaneRuleContext,
): VersionNumbers {
  const targetKey = `laneTarget/${laneTargetKey(target.namespace, target)}`;
  const atTarget = draft.get("counter", targetKey)?.generation ?? 0;
  const isNew = draft.get("laneRule", key) === undefined;
  const numbers = countVersion(draft, "laneRule", key, isNew, Math.max(atTarget, context.generationSeen(key)));
  draft.put("counter", targetKey, { incarnation: 0, generation: numbers.generation });
  return numbers;
}

/** As it stands in a sentence: topic "orders", group "billing". */
function targetText({ topic, group }: Pick<LaneRuleSpec, "topic" | "group">): string {
  return `topic "${topic}", ${group === "" ? "every group" : `group "${group}"`}`;
}

export function isSameLaneRule(a: LaneRuleSpec, b: LaneRuleSpec): boolean {
  return JSON.stringify(laneRuleSpecOf(a)) === JSON.stringify(laneRuleSpecOf(b));
}
