import type { ConsumerGroup } from "../topic/consumer-group.ts";
import type { GroupLaneRule, LaneRuleSet } from "./lane-rule-set.ts";

/** The rule that a group's lanes go by. An instance of a broadcast group gets everything: it has no lanes. */
export function ruleFor(set: LaneRuleSet, group: ConsumerGroup): GroupLaneRule | undefined {
  return group.policy.broadcast === undefined ? set.ruleFor(group.name) : undefined;
}
