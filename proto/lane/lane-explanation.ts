import { KeyCursor, type MessageScan, PropertyCursor } from "../codec/message-scan.ts";
import { bucketOf, bucketsOf, laneSalt } from "./lane-bucket.ts";
import { CompiledLaneRule } from "./lane-classifier.ts";
import { baseLane, type LaneClause, type LaneRule, whenEmptyDefault } from "./lane-rule.ts";

/** What one condition of a clause makes of a message, in words. */
export interface ConditionVerdict {
  readonly condition: "lane" | "tag" | "properties" | "sql" | "percent";
  readonly holds: boolean;
  readonly text: string;
}

export interface ClauseVerdict {
  /** From 1, as people count. */
  readonly clause: number;
  readonly to: string;
  readonly holds: boolean;
  readonly conditions: readonly ConditionVerdict[];
}

/** Why a rule sends a message where it does: each clause up to the one that decided. */
export interface RuleExplanation {
  /** From 1; null: none held, so it is of base. */
  readonly clause: number | null;
  readonly lane: string;
  readonly verdicts: readonly ClauseVerdict[];
}

/**
 * The same answer as `CompiledLaneRule.classify`, with the reasons (L12): each condition is asked of the classifier by itself, so that
 * what is told is what decides. For people: it compiles and allocates.
 */
export function explainRule(rule: LaneRule, scan: MessageScan, laneMark: string): RuleExplanation {
  const verdicts: ClauseVerdict[] = [];
  for (const [i, clause] of rule.clauses.entries()) {
    const conditions = conditionsOf(clause, scan, laneMark);
    const holds = conditions.every((condition) => condition.holds);
    verdicts.push({ clause: i + 1, to: clause.to, holds, conditions });
    if (holds) return { clause: i + 1, lane: clause.to, verdicts };
  }
  return { clause: null, lane: baseLane, verdicts };
}

/** What a message's share is counted by: its message group, else its first key, else its id. */
export function stickyKeyOf(scan: MessageScan): {
  readonly what: "message group" | "key" | "id";
  readonly value: string;
} {
  if (scan.messageGroupEnd > scan.messageGroupStart) {
    return { what: "message group", value: scan.text(scan.messageGroupStart, scan.messageGroupEnd) };
  }
  const keys = new KeyCursor();
  keys.begin(scan);
  while (keys.next()) {
    if (keys.keyEnd > keys.keyStart) return { what: "key", value: scan.text(keys.keyStart, keys.keyEnd) };
  }
  return { what: "id", value: scan.text(scan.messageIdStart, scan.messageIdEnd) };
}

function conditionsOf(clause: LaneClause, scan: MessageScan, laneMark: string): ConditionVerdict[] {
  const { to, lane, tag, properties, sql, percent } = clause;
  const conditions: ConditionVerdict[] = [];
  const ask = (
    condition: ConditionVerdict["condition"],
    alone: Partial<LaneClause>,
    say: (holds: boolean) => string,
  ) => {
    const compiled = new CompiledLaneRule({ clauses: [{ to, ...alone }], whenEmpty: whenEmptyDefault });
    const holds = compiled.classify(scan, laneMark) === 0;
    conditions.push({ condition, holds, text: say(holds) });
  };
  if (lane !== undefined) {
    ask("lane", { lane }, (holds) => {
      if (holds) return `it carries the lane mark "${lane}"`;
      return laneMark === ""
        ? `it carries no lane mark, and "${lane}" is asked for`
        : `its lane mark is "${laneMark}" and not "${lane}"`;
    });
  }
  if (tag !== undefined) {
    const own = scan.tagStart < 0 ? "it has no tag" : `its tag is "${scan.text(scan.tagStart, scan.tagEnd)}"`;
    ask("tag", { tag }, (holds) => (holds ? `${own}, which fits ${tag}` : `${own}, and ${tag} is asked for`));
  }
  for (const [name, value] of Object.entries(properties ?? {})) {
    ask("properties", { properties: { [name]: value } }, (holds) => {
      if (holds) return `its property ${name} is "${value}"`;
      const own = propertyOf(scan, name);
      return own === undefined
        ? `it has no property ${name}, and "${value}" is asked for`
        : `its property ${name} is "${own}" and not "${value}"`;
    });
  }
  if (sql !== undefined) {
    ask(
      "sql",
      { sql },
      (holds) => `${sql} is ${holds ? "true" : "not true (false, or unknown because a property is missing)"} for it`,
    );
  }
  if (percent !== undefined) {
    const { what, value } = stickyKeyOf(scan);
    const bytes = Buffer.from(value);
    const bucket = bucketOf(bytes, 0, bytes.length, laneSalt(to));
    ask("percent", { percent }, (holds) => {
      const end = bucketsOf(percent) - 1;
      const range = `the ${percent} % of lane ${to} are the buckets 0 to ${end} of 10 000`;
      return `its ${what} "${value}" is in bucket ${bucket}; ${range}, so it is ${holds ? "among" : "not among"} them`;
    });
  }
  return conditions;
}

/** A name may come twice; the last one counts. */
function propertyOf(scan: MessageScan, name: string): string | undefined {
  const cursor = new PropertyCursor();
  let value: string | undefined;
  cursor.begin(scan);
  while (cursor.next()) {
    if (scan.text(cursor.keyStart, cursor.keyEnd) === name) value = scan.text(cursor.valueStart, cursor.valueEnd);
  }
  return value;
}
