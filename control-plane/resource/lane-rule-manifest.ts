import { z } from "zod";
import { FilterType, readFilterExpression } from "../../proto/filter/filter-expression.ts";
import { bucketCount, bucketsOf } from "../../proto/lane/lane-bucket.ts";
import {
  baseLane,
  type LaneClause,
  laneNameProblem,
  laneRuleLimits,
  whenEmptyDefault,
} from "../../proto/lane/lane-rule.ts";
import { shadowedClauses } from "../../proto/lane/lane-shadow.ts";
import { groupNameProblem, printableName, topicNameProblem } from "../../proto/resource-name.ts";
import { type LaneRuleSpec, laneRuleSpecOf, spillAfterMsMin } from "./lane-rule.ts";
import { duration } from "./manifest-duration.ts";

const { clausesMax, propertiesMax, propertyLengthMax, spillAfterMsMax } = laneRuleLimits;

/** A text that `problemOf` finds nothing wrong with. */
const named = (problemOf: (name: string) => string | undefined) =>
  z.string().superRefine((name, context) => {
    const problem = problemOf(name);
    if (problem !== undefined) context.addIssue({ code: "custom", message: `"${printableName(name)}" ${problem}` });
  });

const laneName = named(laneNameProblem);

const propertyText = z.string().max(propertyLengthMax, `is longer than ${propertyLengthMax} characters`);

/** YAML reads `user: 42` as a number and `vip: true` as a truth value; properties are texts. */
const propertyValue = z.unknown().transform((value, context) => {
  if (typeof value === "string") {
    const read = propertyText.safeParse(value);
    if (read.success) return value;
    context.addIssue({ code: "custom", message: read.error.issues[0]?.message ?? "is no text" });
    return z.NEVER;
  }
  const hint = typeof value === "number" || typeof value === "boolean" ? `; write "${String(value)}"` : "";
  context.addIssue({ code: "custom", message: `must be a text, as values of properties are${hint}` });
  return z.NEVER;
});

const properties = z
  .record(propertyText.min(1, "a property has no name"), propertyValue)
  .refine((all) => Object.keys(all).length <= propertiesMax, `holds more than ${propertiesMax} properties`)
  .refine((all) => Object.keys(all).length > 0, "holds no property");

const expression = (type: (typeof FilterType)["Tag" | "Sql"]) =>
  z.string().superRefine((text, context) => {
    const read = readFilterExpression(type, text);
    if (!read.ok) context.addIssue({ code: "custom", message: read.message });
  });

const when = z
  .strictObject({
    lane: laneName.optional(),
    tag: expression(FilterType.Tag).optional(),
    properties: properties.optional(),
    sql: expression(FilterType.Sql).optional(),
  })
  .transform((conditions, context) => {
    // A misspelt condition is not none.
    if (Object.keys(conditions).length + context.issues.length > 0) return conditions;
    const message = "holds no condition; leave it out in a clause that holds for every message";
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  });

const percent = z.number().superRefine((value, context) => {
  const buckets = (value * bucketCount) / 100;
  if (value >= 0 && value <= 100 && Math.abs(buckets - bucketsOf(value)) < 1e-6) return;
  context.addIssue({ code: "custom", message: "must be from 0 to 100 in steps of 0.01" });
});

const clause = z
  .strictObject({ when: when.optional(), percent: percent.optional(), to: laneName })
  .transform(({ when: conditions, percent: share, to }): LaneClause => {
    const { lane, tag, properties: wanted, sql } = conditions ?? {};
    return {
      to,
      ...(lane === undefined ? {} : { lane }),
      ...(tag === undefined ? {} : { tag }),
      // In one order, so that a rule that says the same is the same.
      ...(wanted === undefined ? {} : { properties: Object.fromEntries(Object.entries(wanted).sort()) }),
      ...(sql === undefined ? {} : { sql }),
      ...(share === undefined ? {} : { percent: share }),
    };
  });

const clauses = z
  .array(clause)
  .min(1, "holds no clause; to have no rule any more, delete it")
  .max(clausesMax, `holds more than ${clausesMax} clauses`)
  .transform((all, context) => {
    // L10: a clause that decides nothing is a mistake of whoever wrote it.
    for (const { clause: index, by } of shadowedClauses(all)) {
      const message = `is never reached: rules.${by}${summaryOf(all[by])} takes every message it would hold for; move it before that one, or leave it out`;
      context.addIssue({ code: "custom", path: [index], message });
    }
    return all;
  });

const whenEmpty = z
  .strictObject({ action: z.enum(["spill", "hold"]), after: duration(spillAfterMsMin, spillAfterMsMax).optional() })
  .transform(({ action, after }, context) => {
    if (action === "spill") {
      return { action, afterMs: after ?? (whenEmptyDefault.action === "spill" ? whenEmptyDefault.afterMs : 0) };
    }
    if (after === undefined) return { action };
    context.addIssue({
      code: "custom",
      path: ["after"],
      message: "has no meaning with action: hold, which waits for ever",
    });
    return z.NEVER;
  });

/** The spec of a LaneRule as people write it. */
export const laneRuleSpecSchema = z
  .strictObject({
    topic: named(topicNameProblem),
    group: named(groupNameProblem).optional(),
    rules: clauses,
    whenEmpty: whenEmpty.optional(),
    withdrawn: z.array(laneName).optional(),
    mirror: z.strictObject({ topic: named(topicNameProblem), percent: percent.optional() }).optional(),
  })
  .transform(({ topic, group, rules, whenEmpty: empty, withdrawn = [], mirror }, context): LaneRuleSpec => {
    if (mirror?.topic === topic) {
      context.addIssue({
        code: "custom",
        path: ["mirror", "topic"],
        message: "is the rule's own topic; a topic cannot be its own copy",
      });
    }
    for (const [index, lane] of withdrawn.entries()) {
      if (rules.some(({ to }) => to === lane) && lane !== baseLane) continue;
      const message =
        lane === baseLane ? "is the lane that stands in for others" : `no clause of this rule has to: ${lane}`;
      context.addIssue({ code: "custom", path: ["withdrawn", index], message });
    }
    return laneRuleSpecOf({
      topic,
      group: group ?? "",
      clauses: rules,
      whenEmpty: empty ?? whenEmptyDefault,
      withdrawn: [...new Set(withdrawn)].sort(),
      ...(mirror === undefined ? {} : { mirror: { topic: mirror.topic, percent: mirror.percent ?? 100 } }),
    });
  });

/** What a clause sends where, short enough for a sentence. */
function summaryOf(found: LaneClause | undefined): string {
  return found === undefined ? "" : ` (to: ${found.to})`;
}
