import { qualifiedName } from "../../proto/resource-name.ts";
import type { LaneRuleRecord, LaneRuleSpec } from "../resource/lane-rule.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { declareLaneRule, isSameLaneRule, type LaneRuleContext } from "./declare-lane-rule.ts";
import { heldByRollout } from "./declare-rollout.ts";
import { type RolledBack, rollBack } from "./resource-versions.ts";

/**
 * Gives a rule the content of an earlier version; a deleted one exists again then. What a rollout that is not done sets in the rule stays
 * as it is: a lane that a guard took back is not given back by going to a version of before, nor is a version that differs in this alone
 * another one.
 */
export function rollBackLaneRule(
  draft: CatalogDraft,
  namespace: string,
  name: string,
  to: number | undefined,
  context: LaneRuleContext,
): RolledBack<LaneRuleRecord> {
  const key = qualifiedName(namespace, name);
  const existing = draft.get("laneRule", key);
  const held = (spec: LaneRuleSpec) => heldByRollout(draft, { namespace, name, spec });
  const isCurrent = (spec: LaneRuleSpec) => existing !== undefined && isSameLaneRule(existing, held(spec).spec);
  return rollBack(draft, "laneRule", key, to, isCurrent, (spec, rollback) =>
    declareLaneRule(draft, held(spec), context, rollback),
  );
}
