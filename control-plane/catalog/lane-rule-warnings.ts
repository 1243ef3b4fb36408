import { qualifiedName } from "../../proto/resource-name.ts";
import { type LaneRuleRecord, laneTargetKey } from "../resource/lane-rule.ts";
import type { CatalogDraft } from "./catalog-draft.ts";
import { laneRuleNames } from "./declare-lane-rule.ts";
import { rolloutOf } from "./declare-rollout.ts";

/** What of a rule that is in force may not be what was meant: names of nothing, and who decides beside it (L10). */
export function laneRuleWarnings(draft: CatalogDraft, rule: LaneRuleRecord): string[] {
  const { namespace, topic, group } = rule;
  const warnings: string[] = [];
  if (draft.get("topic", qualifiedName(namespace, topic)) === undefined) {
    warnings.push(`topic "${topic}" does not exist; the rule waits for it`);
  }
  const off = (draft.get("topic", qualifiedName(namespace, topic))?.placement ?? []).filter(
    (broker) => draft.get("broker", broker)?.lanesOff === true,
  );
  if (off.length > 0) {
    warnings.push(
      `lanes are off at broker ${off.join(", ")}: base handles everything there until somebody lets them go on with popmesh lanes on`,
    );
  }
  const rollout = rolloutOf(draft, rule);
  if (rollout !== undefined) {
    warnings.push(
      `Rollout ${rollout.namespace}/${rollout.name} sets the percent of its clause; what a manifest says of that does not count`,
    );
  }
  const names = laneRuleNames(draft);
  if (group === "") {
    const prefix = laneTargetKey(namespace, { topic, group: "" });
    const others = [...names].filter(([target]) => target.startsWith(prefix) && target !== prefix);
    for (const [target, name] of others) {
      warnings.push(
        `group "${target.slice(prefix.length)}" is decided by LaneRule ${namespace}/${name} and not by this one`,
      );
    }
    return warnings;
  }
  const record = draft.get("group", qualifiedName(namespace, group));
  if (record === undefined) warnings.push(`group "${group}" does not exist; the rule waits for it`);
  else if (record.deliveryMode === "broadcast") {
    warnings.push(`group "${group}" is a broadcast group: every instance gets every message, whatever its lane`);
  }
  const general = names.get(laneTargetKey(namespace, { topic, group: "" }));
  if (general !== undefined) {
    warnings.push(`LaneRule ${namespace}/${general} does not decide for group "${group}" any more, this one does`);
  }
  return warnings;
}
