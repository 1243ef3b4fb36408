import type { BrokerAnswer } from "./broker-operator.ts";

/** A group's progress in one topic on one broker, as `group.describe` answers it. */
export interface TopicProgress {
  readonly topic: string;
  /** Client id of the instance, of a broadcast group; null of any other. Brokers of before there were any leave it out. */
  readonly instance?: string | null;
  readonly ready: number;
  /** Behind an earlier message of their message group. */
  readonly blocked: number;
  readonly inFlight: number;
  readonly inFlightMax: number;
  readonly deadLetters: number;
  /** Messages of the topic that wait for their time: no lag yet. */
  readonly delayed: number;
  readonly waitingReceives: number;
  /** Where a lane rule names any for the group: the base lane first. Brokers of before there were any leave it out. */
  readonly lanes?: readonly LaneProgress[];
  /** By which the group reads the topic there; null when nobody has received for a while. */
  readonly filter: string | null;
  /** Wall time of the oldest message that the group is not done with. */
  readonly oldestStoreMs: number | null;
  readonly lagMs: number;
}

/** A lane of a group in one topic on one broker. */
export interface LaneProgress {
  readonly lane: string;
  readonly ready: number;
  readonly inFlight: number;
  /** Base consumers handle its messages too: nobody is there. */
  readonly isSpilled: boolean;
  /** No rule names it any more, and what is left in it is handled. */
  readonly isClosing: boolean;
  /** Its rule takes it back: its consumers get nothing, base handles what is its own. Brokers of before leave it out. */
  readonly isWithdrawn?: boolean;
  readonly waitingReceives: number;
  /** Client ids that received in it lately. */
  readonly holders: readonly string[];
}

/** A lane over all brokers. */
export interface LaneStatus {
  readonly lane: string;
  readonly ready: number;
  readonly inFlight: number;
  /** "spilled", "withdrawn" or "closing" where any broker says so: base handles its messages there. */
  readonly state: "live" | "spilled" | "withdrawn" | "closing";
  readonly waitingReceives: number;
  readonly holders: readonly string[];
}

export interface DescribedGroup {
  readonly group: string;
  readonly isKnown: boolean;
  readonly topics: readonly TopicProgress[];
}

/** A group's progress in one topic, over all brokers. */
export interface TopicStatus {
  readonly topic: string;
  /** Client id of the instance, of a broadcast group: each has its own figures. */
  readonly instance: string | null;
  readonly ready: number;
  /** Behind an earlier message of their message group. */
  readonly blocked: number;
  readonly inFlight: number;
  readonly deadLetters: number;
  /** Messages of the topic that wait for their time: no lag yet. */
  readonly delayed: number;
  readonly waitingReceives: number;
  /** `ready`, `blocked` and `inFlight`. */
  readonly lagMessages: number;
  /** Age of the oldest message that the group is not done with. */
  readonly lagSeconds: number;
  /** The filters in force, mostly one; two while a change of it reaches one broker after the other. */
  readonly filters: readonly string[];
  /** Empty where no lane rule names any for the group; otherwise the base lane comes first. */
  readonly lanes: readonly LaneStatus[];
  readonly brokers: readonly (TopicProgress & { readonly broker: string })[];
}

export interface GroupStatus {
  readonly group: string;
  readonly topics: readonly TopicStatus[];
  /** Brokers that could not be asked: the figures above lack theirs. */
  readonly unanswered: readonly { readonly broker: string; readonly error: string }[];
}

/** Adds up what the brokers said. */
export function groupStatus(group: string, answers: readonly BrokerAnswer<DescribedGroup>[]): GroupStatus {
  const byTopic = new Map<string, (TopicProgress & { readonly broker: string })[]>();
  for (const answer of answers) {
    if (!answer.ok) continue;
    for (const progress of answer.result.topics) {
      const key = JSON.stringify([progress.topic, progress.instance ?? null]);
      const rows = byTopic.get(key) ?? [];
      rows.push({ broker: answer.broker, ...progress });
      byTopic.set(key, rows);
    }
  }
  const topics = [...byTopic]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, brokers]): TopicStatus => {
      const [{ topic, instance = null } = { topic: "" }] = brokers;
      const sum = (count: (row: TopicProgress) => number): number =>
        brokers.reduce((total, row) => total + count(row), 0);
      const ready = sum((row) => row.ready);
      const blocked = sum((row) => row.blocked);
      const inFlight = sum((row) => row.inFlight);
      return {
        topic,
        instance,
        ready,
        blocked,
        inFlight,
        deadLetters: sum((row) => row.deadLetters),
        delayed: sum((row) => row.delayed),
        waitingReceives: sum((row) => row.waitingReceives),
        lagMessages: ready + blocked + inFlight,
        lagSeconds: Math.max(0, ...brokers.map(({ lagMs }) => lagMs)) / 1000,
        filters: [...new Set(brokers.flatMap(({ filter }) => filter ?? []))],
        lanes: lanesOf(brokers.flatMap(({ lanes = [] }) => lanes)),
        brokers,
      };
    });
  return { group, topics, unanswered: unanswered(answers) };
}

/** Adds up the lanes of several brokers, in the order in which they are named first. */
function lanesOf(all: readonly LaneProgress[]): LaneStatus[] {
  return [...new Set(all.map(({ lane }) => lane))].map((lane) => {
    const rows = all.filter((row) => row.lane === lane);
    const sum = (count: (row: LaneProgress) => number): number => rows.reduce((total, row) => total + count(row), 0);
    return {
      lane,
      ready: sum((row) => row.ready),
      inFlight: sum((row) => row.inFlight),
      state: stateOf(rows),
      waitingReceives: sum((row) => row.waitingReceives),
      holders: [...new Set(rows.flatMap(({ holders }) => holders))].sort(),
    };
  });
}

function stateOf(rows: readonly LaneProgress[]): LaneStatus["state"] {
  if (rows.some(({ isClosing }) => isClosing)) return "closing";
  if (rows.some(({ isWithdrawn }) => isWithdrawn)) return "withdrawn";
  return rows.some(({ isSpilled }) => isSpilled) ? "spilled" : "live";
}

/** The brokers that failed, in words. */
export function unanswered(
  answers: readonly BrokerAnswer<unknown>[],
): { readonly broker: string; readonly error: string }[] {
  return answers.flatMap((answer) => (answer.ok ? [] : [{ broker: answer.broker, error: answer.error.message }]));
}
