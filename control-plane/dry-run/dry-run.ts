import type { FromAll } from "../operation/order-to-all.ts";

/** What a broker answers to `lane.dryRun`. */
export interface BrokerDryRun {
  /** Messages of the time. */
  readonly total: number;
  /** Of those, looked at. */
  readonly examined: number;
  readonly damaged: number;
  /** There were more than it may look at: evenly spread runs of them were. */
  readonly isCut: boolean;
  /** Its time was over before it came to the end. */
  readonly isLate: boolean;
  readonly areKeysCut?: boolean;
  readonly clauses: readonly { readonly clause: number; readonly to: string; readonly messages: number }[];
  readonly lanes: readonly {
    readonly lane: string;
    readonly messages: number;
    readonly keys: number;
    readonly topKeys: readonly KeyCount[];
  }[];
  readonly groups: readonly {
    readonly group: string;
    readonly isDecidedByIt: boolean;
    readonly moves: readonly { readonly from: string; readonly to: string; readonly messages: number }[];
    /** Consumers by lane; a lane that is not there yet is missing. */
    readonly holders: Readonly<Record<string, number>>;
  }[];
}

interface KeyCount {
  readonly key: string;
  readonly messages: number;
}

/** A rule held against the recent messages of all brokers. */
export interface DryRunReport {
  readonly total: number;
  readonly examined: number;
  /** `share`: of what was looked at, 0 to 1. */
  readonly lanes: readonly {
    readonly lane: string;
    readonly messages: number;
    readonly share: number;
    readonly topKeys: readonly KeyCount[];
  }[];
  readonly clauses: readonly { readonly clause: number; readonly to: string; readonly messages: number }[];
  readonly groups: readonly {
    readonly group: string;
    readonly before: Readonly<Record<string, number>>;
    readonly after: Readonly<Record<string, number>>;
    /** Messages that would be of another lane. */
    readonly moved: number;
  }[];
  readonly warnings: readonly string[];
}

const keysShown = 5;

/** Adds up what the brokers said. `sidecarLanes`: lanes of the connected sidecars. */
export function dryRunReport(
  { brokers, unanswered }: FromAll<BrokerDryRun>,
  sidecarLanes: readonly string[],
): DryRunReport {
  const sum = (count: (said: BrokerDryRun) => number): number =>
    brokers.reduce((total, said) => total + count(said), 0);
  const examined = sum((said) => said.examined);
  const lanes = namesOf(brokers.flatMap((said) => said.lanes.map(({ lane }) => lane))).map((lane) => {
    const rows = brokers.flatMap((said) => said.lanes.filter((row) => row.lane === lane));
    const messages = rows.reduce((total, row) => total + row.messages, 0);
    const keys = new Map<string, number>();
    for (const { key, messages: count } of rows.flatMap(({ topKeys }) => topKeys)) {
      keys.set(key, (keys.get(key) ?? 0) + count);
    }
    const topKeys = [...keys].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).slice(0, keysShown);
    return {
      ...{ lane, messages, share: examined === 0 ? 0 : messages / examined },
      topKeys: topKeys.map(([key, count]) => ({ key, messages: count })),
    };
  });
  const clauses = (brokers.find((said) => said.clauses.length > 0)?.clauses ?? []).map(({ clause, to }, i) => ({
    ...{ clause, to },
    messages: sum((said) => said.clauses[i]?.messages ?? 0),
  }));
  const groups = namesOf(
    brokers.flatMap((said) => said.groups.filter(({ isDecidedByIt }) => isDecidedByIt).map(({ group }) => group)),
  ).map((group) => {
    const rows = brokers.flatMap((said) => said.groups.filter((row) => row.group === group));
    const [before, after] = [new Map<string, number>(), new Map<string, number>()];
    let moved = 0;
    for (const { from, to, messages } of rows.flatMap(({ moves }) => moves)) {
      before.set(from, (before.get(from) ?? 0) + messages);
      after.set(to, (after.get(to) ?? 0) + messages);
      if (from !== to) moved += messages;
    }
    return { group, before: Object.fromEntries(before), after: Object.fromEntries(after), moved };
  });
  const warnings = [
    ...brokers.flatMap(cutText),
    ...unanswered.map(({ broker, error }) => `broker ${broker} is missing from these figures: ${error}`),
    ...clauses
      .filter(({ messages }) => examined > 0 && messages === 0)
      .map(({ clause, to }) => `clause ${clause} (to ${to}) decided about none of the ${examined} messages looked at`),
    ...namesOf(clauses.map(({ to }) => to))
      .filter((lane) => lane !== "base")
      .flatMap((lane) => emptyLane(lane, brokers, groups, sidecarLanes)),
  ];
  return { total: sum((said) => said.total), examined, lanes, clauses, groups, warnings };
}

function cutText({
  broker,
  total,
  examined,
  damaged,
  isCut,
  isLate,
}: BrokerDryRun & { readonly broker: string }): string[] {
  const lines: string[] = [];
  if (isLate)
    lines.push(
      `broker ${broker} stopped after ${examined} of ${total} messages because its time was over; name a shorter one`,
    );
  else if (isCut) lines.push(`broker ${broker} looked at ${examined} of ${total} messages, evenly spread`);
  if (damaged > 0) lines.push(`${damaged} messages of broker ${broker} are damaged and were left out`);
  return lines;
}

/** A lane in which nobody consumes: of which groups. */
function emptyLane(
  lane: string,
  brokers: FromAll<BrokerDryRun>["brokers"],
  groups: DryRunReport["groups"],
  sidecarLanes: readonly string[],
): string[] {
  const isConsumed = (group: string): boolean =>
    brokers.some((said) => said.groups.some((row) => row.group === group && (row.holders[lane] ?? 0) > 0));
  const without = groups.map(({ group }) => group).filter((group) => !isConsumed(group));
  if (without.length === 0 && groups.length > 0) return [];
  const sidecars = sidecarLanes.filter((each) => each === lane).length;
  const connected =
    sidecars === 0 ? `no sidecar of lane ${lane} is connected` : `${sidecars} of its sidecars are connected`;
  const whose = groups.length === 0 ? "" : ` of ${without.join(", ")}`;
  return [
    `nobody consumes in lane ${lane}${whose} now (${connected}): base would handle its messages, or they would wait if the rule says hold`,
  ];
}

function namesOf(names: readonly string[]): string[] {
  return [...new Set(names)];
}

/** The report as a platform engineer reads it. */
export function dryRunText({ total, examined, lanes, clauses, groups, warnings }: DryRunReport): string[] {
  if (total === 0) return ["No message of that time is there to hold it against.", ...warnings.map(warningText)];
  const looked = examined === total ? `all ${total} messages` : `${examined} of ${total} messages`;
  const lines = [`Held against ${looked} of that time:`];
  for (const { lane, messages, share, topKeys } of lanes) {
    const keys =
      topKeys.length === 0
        ? ""
        : `; most of ${topKeys.map(({ key, messages: count }) => `${key} (${count})`).join(", ")}`;
    lines.push(`  ${percentText(share)} would go to lane ${lane}: ${messages} messages${keys}`);
  }
  for (const { clause, to, messages } of clauses)
    lines.push(`  clause ${clause} (to ${to}) would decide about ${messages}`);
  for (const { group, before, after, moved } of groups) {
    lines.push(
      `  group ${group}: ${shareText(before)} now, ${shareText(after)} then; ${moved} messages would be of another lane`,
    );
  }
  if (groups.length === 0) lines.push("  no group has read the topic yet for which it would decide");
  return [...lines, ...warnings.map(warningText)];
}

function warningText(warning: string): string {
  return `  warning: ${warning}`;
}

function shareText(lanes: Readonly<Record<string, number>>): string {
  const all = Object.entries(lanes).sort(([a], [b]) => (a < b ? -1 : 1));
  return all.length === 0 ? "nothing" : all.map(([lane, messages]) => `${messages} ${lane}`).join(", ");
}

function percentText(share: number): string {
  return `${(share * 100).toFixed(share > 0 && share < 0.01 ? 2 : 1)} %`;
}
