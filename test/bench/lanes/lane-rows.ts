/** What one row of the table loads the state machine with. */
export interface LaneRow {
  readonly name: string;
  readonly isOrdered?: boolean;
  readonly rule?: object;
  readonly isOnOtherTopic?: boolean;
  /** Lanes in which somebody receives. */
  readonly lanes?: readonly string[];
}

/** CPU microseconds per message. */
export interface StepFigures {
  readonly send: number;
  readonly receive: number;
  readonly ack: number;
}

const to = "canary";
const lanes = ["", "canary"];
const byMark = { clauses: [{ to, lane: "canary" }] };
const byTag = { clauses: [{ to, tag: "canary" }] };
const byProperty = { clauses: [{ to, properties: { region: "us" } }] };
const bySql = { clauses: [{ to, sql: "amount > 100 AND region IN ('us')" }] };
const byShare = { clauses: [{ to, percent: 5 }] };

/** The first of each order is what the others are compared with. In all but the first two, one message in twenty is a canary's. */
export const laneRows: readonly LaneRow[] = [
  { name: "no rule" },
  { name: "one on another topic", rule: byMark, isOnOtherTopic: true },
  { name: "by lane mark, spilled", rule: byMark },
  { name: "by lane mark", rule: byMark, lanes },
  { name: "by tag", rule: byTag, lanes },
  { name: "by property", rule: byProperty, lanes },
  { name: "by SQL92", rule: bySql, lanes },
  { name: "by share, 5 %", rule: byShare, lanes },
  { name: "in order: no rule", isOrdered: true },
  { name: "in order: by lane mark", isOrdered: true, rule: byMark, lanes },
  { name: "in order: by SQL92", isOrdered: true, rule: bySql, lanes },
];

/** CPU of this process so far, with what its collector and compiler use. */
export function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
