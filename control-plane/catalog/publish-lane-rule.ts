import { qualifiedName } from "../../proto/resource-name.ts";
import { firstShare } from "../resource/lane-publication.ts";
import type { LaneRuleRecord } from "../resource/lane-rule.ts";
import type { CatalogDraft } from "./catalog-draft.ts";

/** A new version of a rule sets out. `previous`: generation of the version before; 0: there was none. */
export function beginPublication(
  draft: CatalogDraft,
  key: string,
  rule: LaneRuleRecord,
  previous: number,
  isRollback: boolean,
): void {
  const topic = draft.get("topic", qualifiedName(rule.namespace, rule.topic));
  const placement = [...(topic?.placement ?? [])].sort();
  // Nobody to convince: who holds the topic later gets it then.
  if (placement.length === 0) {
    draft.delete("lanePublication", key);
    return;
  }
  const alive = placement.filter((broker) => draft.isAlive(broker));
  const count = Math.ceil(placement.length * firstShare);
  const first = (alive.length > 0 ? alive : placement).slice(0, count);
  // One version after another before the first was through: the last that was is where it goes back to.
  const base = draft.get("lanePublication", key)?.base ?? previous;
  // What takes a version back goes everywhere at once.
  const stage = isRollback || first.length === placement.length ? "all" : "first";
  draft.put("lanePublication", key, { generation: rule.generation, base, stage, first, isRollback });
}

/** The brokers of the first stage have it. */
export function publishToAll(draft: CatalogDraft, key: string, generation: number): void {
  const publication = draft.get("lanePublication", key);
  if (publication?.generation === generation) draft.put("lanePublication", key, { ...publication, stage: "all" });
}

/** Those that should get it first are gone: others do. */
export function publishFirstTo(draft: CatalogDraft, key: string, generation: number, first: readonly string[]): void {
  const publication = draft.get("lanePublication", key);
  if (publication?.generation === generation) draft.put("lanePublication", key, { ...publication, first });
}

/** Everybody has it. */
export function endPublication(draft: CatalogDraft, key: string, generation: number): void {
  if (draft.get("lanePublication", key)?.generation === generation) draft.delete("lanePublication", key);
}
