import type { LaneClause } from "../../proto/lane/lane-rule.ts";
import type { ExplainedGroup, LaneFacts, RuleFacts } from "./explained.ts";

/** "rule default/orders-canary, version 3". */
export function ruleText({ name, number, group }: Pick<RuleFacts, "name" | "number" | "group">): string {
  return `rule ${name}, version ${number}, which is for ${group === "" ? "every group" : "this group"}`;
}

/** Which clause decided on what, one sentence per clause. */
export function decisionLines({ rule, clause, lane, verdicts }: ExplainedGroup, isPast: boolean): string[] {
  if (rule === null) {
    return [`No lane rule ${isPast ? "was" : "is"} in force for it, so it is of the base lane like everything else.`];
  }
  const decides = isPast ? "decided when it was stored" : "decides";
  const lines = [`It is ${ruleText(rule)}, in force since log position ${rule.since}, that ${decides}.`];
  for (const verdict of verdicts) {
    const failed = verdict.conditions.filter(({ holds }) => !holds);
    const told = verdict.holds ? verdict.conditions : failed;
    const why = told.length === 0 ? "it has no condition" : told.map(({ text }) => text).join("; ");
    lines.push(`Clause ${verdict.clause} (to ${verdict.to}) ${verdict.holds ? "holds" : "does not hold"}: ${why}.`);
  }
  if (clause === null && verdicts.length > 0) lines.push("No clause holds.");
  if (clause === null && verdicts.length === 0) lines.push("Which clause held cannot be told: its bytes are damaged.");
  lines.push(`So it is of lane ${lane}.`);
  return lines;
}

/** Who gets what is of a lane, in one sentence. `base`: the group's base lane, which stands in. */
export function whoGets(lane: LaneFacts, base: LaneFacts): string {
  const { lane: name, isSpilled, isClosing, isWithdrawn } = lane;
  if (name === "base") {
    return lane.holders.length === 0
      ? "Nobody consumes in the base lane now; it waits for a consumer."
      : `It goes to a consumer of the base lane: ${clients(lane)}.`;
  }
  if (lane.areOff === true) {
    return `Lanes are off at this broker (popmesh lanes on lets them go on), so consumers of all lanes handle everything: ${clients(base)}.`;
  }
  if (isClosing) {
    const who = isSpilled
      ? `base consumers handle what is left (${clients(base)})`
      : `its consumers handle what is left (${clients(lane)})`;
    return `Lane ${name} is closing, no rule names it any more: ${who}.`;
  }
  if (isWithdrawn) {
    return `Lane ${name} is taken back by its rule (withdrawn; a rollout says why: popmesh rollout status), so its consumers get nothing, and base consumers handle its messages (${clients(base)}).`;
  }
  if (isSpilled) {
    return `Lane ${name} is spilled: nobody consumes in it, so base consumers handle its messages (${clients(base)}).`;
  }
  if (lane.holders.length > 0 || lane.waitingReceives > 0) {
    return `Lane ${name} is live, and it goes to a consumer there: ${clients(lane)}.`;
  }
  return lane.whenEmpty?.action === "spill"
    ? `Nobody consumes in lane ${name} at the moment; base takes over when that has lasted ${lane.whenEmpty.afterMs / 1000} s.`
    : `Nobody consumes in lane ${name}, and its rule says hold: it waits until somebody does.`;
}

export function clients({ holders }: LaneFacts): string {
  if (holders.length === 0) return "nobody at the moment";
  const shown = holders.slice(0, 5).join(", ");
  return holders.length > 5 ? `${shown} and ${holders.length - 5} more` : shown;
}

/** A clause as one reads it aloud. */
export function clauseText({ to, lane, tag, properties, sql, percent }: LaneClause): string {
  const conditions = [
    ...(lane === undefined ? [] : [`lane mark "${lane}"`]),
    ...(tag === undefined ? [] : [`tag ${tag}`]),
    ...Object.entries(properties ?? {}).map(([name, value]) => `${name} = "${value}"`),
    ...(sql === undefined ? [] : [sql]),
  ];
  const what = conditions.length === 0 ? "everything" : conditions.join(" and ");
  return `${percent === undefined ? what : `${percent} % of ${what}`} goes to ${to}`;
}
