import { baseLane, type LaneClause } from "../../proto/lane/lane-rule.ts";
import type { ExplainedTopicOfGroup, LaneFacts } from "./explained.ts";
import { clauseText, clients, ruleText, whoGets } from "./lane-words.ts";

/** What the control plane knows beside what a broker says of a group. */
export interface GroupSurroundings {
  /** Lanes of the sidecars that are connected. */
  readonly sidecarLanes: readonly string[];
  /** Of a rule for the group and topic that the broker does not have in force: why, in words. */
  readonly behind: readonly string[];
}

/** A group in one topic at one broker, in sentences: its rule, its lanes, and why a lane gets nothing (L12). */
export function groupLines(
  group: string,
  broker: string,
  said: ExplainedTopicOfGroup,
  around: GroupSurroundings,
  only?: string,
): string[] {
  const { topic, rule, lanes, recent, inFlightMax } = said;
  const lines = [`Group ${group} on topic ${topic}, broker ${broker}:`];
  if (rule === null) lines.push("  No lane rule is in force: every message is of the base lane.");
  else {
    lines.push(
      `  In force is ${ruleText(rule)}, since log position ${rule.since}; what was stored before stays whose it was:`,
    );
    for (const [i, clause] of rule.clauses.entries()) lines.push(`    clause ${i + 1}: ${clauseText(clause)}`);
  }
  for (const line of around.behind) lines.push(`  ${line}`);
  if (recent.looked > 0) {
    const shares = lanes.map(({ lane }) => `${recent.byLane[lane] ?? 0} of ${lane}`).join(", ");
    lines.push(`  Of the last ${recent.looked} messages ${shares}.`);
  }
  const base = lanes[0]!;
  for (const lane of lanes) {
    if (only !== undefined && lane.lane !== only) continue;
    lines.push(
      `  Lane ${lane.lane}: ${stateOf(lane)}; ${lane.ready} ready, ${lane.inFlight} in flight, ${lane.waitingReceives} receives waiting; received in it lately: ${lane.holders.length === 0 ? "nobody" : clients(lane)}.`,
    );
    for (const line of waitsFor(said, lane, base, inFlightMax, around)) lines.push(`    ${line}`);
  }
  if (only !== undefined && !lanes.some(({ lane }) => lane === only)) {
    lines.push(
      `  The group has no lane ${only} here: no rule in force sends anything to it, so whoever consumes as ${only} gets what base gets.`,
    );
  }
  return lines;
}

/** A rule that will decide for a group in a topic that the group has not read anywhere. */
export interface WaitingRule {
  /** "<namespace>/<rule>". */
  readonly name: string;
  /** Version. */
  readonly number: number;
  /** "": it is for every group. */
  readonly group: string;
  /** "<namespace>/<topic>". */
  readonly topic: string;
  readonly clauses: readonly LaneClause[];
  /** Of so many brokers that hold the topic, so many have it. */
  readonly brokers: number;
  readonly inForce: number;
}

/** What waits for a group that has read less than rules are there for: before its first receive a broker knows nothing of it. */
export function waitingLines(group: string, rules: readonly WaitingRule[]): string[] {
  return rules.flatMap((rule) => {
    const { topic, clauses, brokers, inForce } = rule;
    const lanes = [...new Set(clauses.map(({ to }) => to))].filter((lane) => lane !== baseLane);
    const has = lanes.length === 0 ? "no lane but base" : `lane${lanes.length === 1 ? "" : "s"} ${lanes.join(", ")}`;
    return [
      `Group ${group} has not read topic ${topic} yet; ${ruleText(rule)}, waits for it, with ${has}:`,
      ...clauses.map((clause, i) => `    clause ${i + 1}: ${clauseText(clause)}`),
      `  It is in force at ${inForce} of ${brokers} brokers; the group has its lanes there from its first receive on.`,
    ];
  });
}

function stateOf({ lane, isSpilled, isClosing, isWithdrawn, areOff }: LaneFacts): string {
  if (isClosing) return "closing, no rule names it any more";
  if (areOff === true && lane !== baseLane) return "suspended, lanes are off at this broker";
  if (isWithdrawn) return "taken back by its rule, base stands in";
  if (isSpilled) return "spilled, base stands in";
  return lane === baseLane ? "the base lane" : "live";
}

/** Why nothing goes on in a lane, or what it is waiting for; what is all right is not told. */
function waitsFor(
  { topic, rule, recent, isOrdered }: ExplainedTopicOfGroup,
  lane: LaneFacts,
  base: LaneFacts,
  inFlightMax: number,
  { sidecarLanes }: GroupSurroundings,
): string[] {
  const { lane: name } = lane;
  const reasons: string[] = [];
  const isBase = name === baseLane;
  if (!isBase && lane.areOff !== true && (lane.isWithdrawn || (lane.isSpilled && lane.holders.length > 0))) {
    reasons.push(whoGets(lane, base));
  } else if (lane.holders.length === 0) {
    if (!isBase && !lane.isClosing) {
      const count = sidecarLanes.filter((each) => each === name).length;
      const sidecars =
        count === 0
          ? `no sidecar of lane ${name} is connected (start one: popmesh sidecar --lane ${name})`
          : `${count === 1 ? "1 sidecar" : `${count} sidecars`} of lane ${name} ${count === 1 ? "is" : "are"} connected, but no client there receives ${topic} for this group, or lanes are off there (popmesh lanes status)`;
      reasons.push(`Nobody has consumed in it lately: ${sidecars}.`);
    } else if (isBase) reasons.push("Nobody has consumed in it lately.");
    if (!isBase) reasons.push(whoGets(lane, base));
  }
  if (lane.inFlight >= inFlightMax) {
    reasons.push(
      `It has ${lane.inFlight} messages in flight, its limit: consumers get more when they acknowledge some.`,
    );
  }
  const clauses = rule?.clauses.filter(({ to }) => to === name) ?? [];
  if (!isBase && rule !== null && (recent.byLane[name] ?? 0) === 0) {
    if (recent.looked === 0) reasons.push("No message of the topic is there.");
    else if (clauses.length > 0) {
      reasons.push(`None of the last ${recent.looked} messages is its own: ${clauses.map(clauseText).join("; or ")}.`);
      const byMark = clauses.find((clause) => clause.lane !== undefined);
      if (byMark?.lane !== undefined && (recent.marks[byMark.lane] ?? 0) === 0)
        reasons.push(marksText(recent.marks, byMark.lane));
    }
  }
  const isIdle = lane.ready === 0 && lane.inFlight === 0;
  if (isIdle && lane.holders.length > 0) {
    const areWaiting = lane.waitingReceives > 0 && !lane.isWithdrawn;
    reasons.push(`Everything of it is handled${areWaiting ? "; its consumers wait for what comes" : ""}.`);
  }
  if (lane.ready > 0 && lane.waitingReceives > 0 && !lane.isWithdrawn) {
    const filter =
      lane.filter === null ? "" : ` Its consumers filter by ${lane.filter}: what does not fit that is passed by.`;
    const order = isOrdered ? " Messages of one message group come one at a time, in whatever lane." : "";
    reasons.push(`Consumers wait although ${lane.ready} are ready.${filter}${order}`);
  }
  return reasons;
}

function marksText(marks: Readonly<Record<string, number>>, wanted: string): string {
  const seen = Object.entries(marks).map(([mark, count]) => `${mark === "" ? "no mark" : mark} (${count})`);
  return (
    `The lane marks of the last messages are: ${seen.join(", ") || "none"}. A message carries mark ${wanted} when its producer's sidecar runs ` +
    `with --lane ${wanted}, or by the property x-popmesh-lane, baggage or the trace.`
  );
}
