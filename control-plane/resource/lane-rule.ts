import type { LaneClause, LaneRule, WhenEmpty } from "../../proto/lane/lane-rule.ts";
import { qualifiedName } from "../../proto/resource-name.ts";

/** What people say about a lane rule. Always whole: what is left out of a manifest has its default, not its old value. */
export interface LaneRuleSpec {
  /** Name of a topic in the rule's namespace, which need not exist yet. */
  readonly topic: string;
  /** Name of a consumer group in the rule's namespace; "": every group that has no rule of its own for the topic. */
  readonly group: string;
  readonly clauses: readonly LaneClause[];
  readonly whenEmpty: WhenEmpty;
  /** Lanes that are taken back (`LaneRule.withdrawn`), in order; left out: none. */
  readonly withdrawn?: readonly string[];
  /** A share of the topic's messages is copied to another topic of the namespace; left out: none. */
  readonly mirror?: { readonly topic: string; readonly percent: number };
}

/** A lane rule as the control plane keeps it. */
export interface LaneRuleRecord extends LaneRuleSpec {
  readonly namespace: string;
  readonly name: string;
  /** Rises with every change, across deletions; brokers never replace a newer rule by an older one. */
  readonly generation: number;
  /** Wall clock. */
  readonly createdMs: number;
  readonly createdBy: string;
  readonly changedMs: number;
  readonly changedBy: string;
}

export const laneRuleCounts = {
  /** Rules in all namespaces together. */
  rulesMax: 10_000,
} as const;

/** The shortest time after which a lane without a consumer may spill: less would move messages at every pause of a consumer. */
export const spillAfterMsMin = 100;

/** What a rule is for, as a key: no two rules of a namespace may have the same. */
export function laneTargetKey(namespace: string, { topic, group }: Pick<LaneRuleSpec, "topic" | "group">): string {
  return `${namespace}/${topic}/${group}`;
}

/** The spec alone of anything that has one, its fields in a fixed order. */
export function laneRuleSpecOf({
  topic,
  group,
  clauses,
  whenEmpty,
  withdrawn = [],
  mirror,
}: LaneRuleSpec): LaneRuleSpec {
  return {
    ...{ topic, group, clauses, whenEmpty },
    ...(withdrawn.length === 0 ? {} : { withdrawn }),
    ...(mirror === undefined ? {} : { mirror }),
  };
}

/** The part of a spec that brokers classify by. */
export function laneRuleOf({ clauses, whenEmpty, withdrawn, mirror }: LaneRuleSpec, namespace: string): LaneRule {
  return {
    ...{ clauses, whenEmpty },
    ...(withdrawn === undefined ? {} : { withdrawn }),
    ...(mirror === undefined ? {} : { mirror: { ...mirror, topic: qualifiedName(namespace, mirror.topic) } }),
  };
}
