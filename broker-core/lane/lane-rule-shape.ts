import { z } from "zod";
import { LaneRuleFault } from "../../proto/lane/lane-classifier.ts";
import {
  type LaneClause,
  type LaneRule,
  laneNameProblem,
  laneRuleLimits,
  whenEmptyDefault,
} from "../../proto/lane/lane-rule.ts";
import { RecordFault } from "../record/record-fault.ts";

const laneName = z.string().superRefine((name, context) => {
  const problem = laneNameProblem(name);
  if (problem !== undefined)
    context.addIssue({ code: "custom", message: `the lane "${name.slice(0, 80)}" ${problem}` });
});
const property = z.string().max(laneRuleLimits.propertyLengthMax);

const percent = z
  .number()
  .min(0)
  .max(100)
  .refine((value) => Math.abs(value * 100 - Math.round(value * 100)) < 1e-6, {
    message: "a share is told in steps of 0.01 percent",
  });

const clause = z.strictObject({
  to: laneName,
  lane: laneName.optional(),
  tag: z.string().max(4_096).optional(),
  properties: z
    .record(property.min(1), property)
    .refine((all) => Object.keys(all).length <= laneRuleLimits.propertiesMax, {
      message: `a clause has at most ${laneRuleLimits.propertiesMax} properties`,
    })
    .optional(),
  sql: z.string().max(8_192).optional(),
  percent: percent.optional(),
});

/** A lane rule as it comes from outside. Strict: a misspelled condition that is passed over would send everything to the lane. */
export const laneRuleShape = z.strictObject({
  clauses: z.array(clause).min(1).max(laneRuleLimits.clausesMax),
  whenEmpty: z
    .discriminatedUnion("action", [
      z.strictObject({
        action: z.literal("spill"),
        afterMs: z.number().int().min(0).max(laneRuleLimits.spillAfterMsMax),
      }),
      z.strictObject({ action: z.literal("hold") }),
    ])
    .default(whenEmptyDefault),
  withdrawn: z.array(laneName).max(laneRuleLimits.clausesMax).optional(),
  mirror: z.strictObject({ topic: z.string().min(1).max(400), percent: percent.optional() }).optional(),
});

/** Bytes of a rule's text. */
export const laneRuleBytesMax = 60_000;

/** A rule in one spelling: the same rule, the same text. */
export function laneRuleText({ clauses, whenEmpty, withdrawn = [], mirror }: LaneRule): string {
  const empty = whenEmpty.action === "spill" ? { action: "spill", afterMs: whenEmpty.afterMs } : { action: "hold" };
  const taken = withdrawn.length === 0 ? {} : { withdrawn: [...new Set(withdrawn)].sort() };
  return JSON.stringify({ clauses: clauses.map(canonicalClause), whenEmpty: empty, ...taken, mirror });
}

function canonicalClause({ to, lane, tag, properties, sql, percent }: LaneClause): object {
  const names = Object.entries(properties ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return { to, lane, tag, ...(names.length === 0 ? {} : { properties: Object.fromEntries(names) }), sql, percent };
}

/** A rule as it lies in a record. Throws `RecordFault` when it is of a newer version. */
export function readLaneRule(text: string): LaneRule {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new RecordFault("a lane rule in the log is no JSON", { cause });
  }
  const read = laneRuleShape.safeParse(json);
  if (!read.success)
    throw new RecordFault(`a lane rule in the log is of a newer version: ${laneRuleProblem(read.error)}`);
  return plainRule(read.data);
}

/** The same without the properties that are undefined. */
export function plainRule(rule: z.infer<typeof laneRuleShape>): LaneRule {
  return JSON.parse(laneRuleText(rule as LaneRule)) as LaneRule;
}

/** What is wrong with a rule, for whoever wrote it: clauses are counted from 1. */
export function laneRuleProblem(error: z.ZodError | LaneRuleFault): string {
  if (error instanceof LaneRuleFault) return `clause ${error.clause + 1}, ${error.field}: ${error.message}`;
  const [issue] = error.issues;
  if (issue === undefined) return "not understood";
  const path = issue.path[0] === "rule" ? issue.path.slice(1) : issue.path;
  if (path[0] !== "clauses" || typeof path[1] !== "number") return `${path.join(".") || "the rule"}: ${issue.message}`;
  const field = path.slice(2).join(".");
  return `clause ${path[1] + 1}${field === "" ? "" : `, ${field}`}: ${issue.message}`;
}
