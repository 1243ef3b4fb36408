import { type Randomness, randomIndex } from "../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../proto/runtime/seeded-randomness.ts";

export const laneNames = ["canary", "blue"] as const;
/** Topics of a schedule: one without order, one that keeps it. */
export const topicNames = ["ns/orders", "ns/ledger"] as const;
export const [plainTopic, orderedTopic] = [0, 1] as const;
export const groupNames = ["ns/billing", "ns/audit"] as const;
/** Message groups of the topic that keeps order. */
export const orderKeyCount = 48;
/** First keys of messages without a message group; shares are counted in them. */
export const keyCount = 199;

export type MessageKind = "normal" | "fifo" | "timed" | "half";
export const messageKinds: readonly MessageKind[] = ["normal", "fifo", "timed", "half"];

/** One clause of a rule, and the few things that schedules say in one. */
export interface ScheduledClause {
  readonly to: string;
  readonly lane?: string;
  readonly tag?: string;
  readonly percent?: number;
}

export interface ScheduledRule {
  readonly clauses: readonly ScheduledClause[];
  readonly whenEmpty: { readonly action: "hold" } | { readonly action: "spill"; readonly afterMs: number };
}

export interface SendStep {
  readonly atMs: number;
  readonly topic: number;
  readonly kind: MessageKind;
  /** Mark by user property; "": none. */
  readonly mark: string;
  readonly tag: string;
  /** Of a FIFO send; -1: none. */
  readonly orderKey: number;
  /** First key of the first message; the others count on. */
  readonly key: number;
  readonly count: number;
  /** Of timed messages: due so long after the send. */
  readonly dueInMs: number;
  /** How a transaction ends; "ask": by the answer to a check-back, which is "commit" for even keys. */
  readonly end: "commit" | "rollback" | "ask";
}

export type FaultKind =
  | "kill broker"
  | "cut power"
  | "kill control plane"
  | "kill sidecar"
  | "kill consumer"
  | "step clock";

export type Step =
  | {
      readonly atMs: number;
      readonly kind: "rule";
      readonly topic: number;
      readonly group: number;
      readonly rule: ScheduledRule;
    }
  | { readonly atMs: number; readonly kind: "delete"; readonly topic: number; readonly group: number }
  /** All consumers of a lane: they start, stop in order, or are killed, with their sidecar or without it. */
  | {
      readonly atMs: number;
      readonly kind: "up" | "down" | "kill";
      readonly lane: number;
      readonly withSidecar: boolean;
    }
  | { readonly atMs: number; readonly kind: FaultKind; readonly pick: number; readonly forMs: number };

export interface LaneSchedule {
  readonly seed: number;
  readonly loadMs: number;
  readonly sends: readonly SendStep[];
  readonly steps: readonly Step[];
}

export interface ScheduleOptions {
  readonly messages: number;
  readonly loadMs: number;
  /** Rules and lanes only: nothing is killed but lanes' consumers, and everything is in force when it is said. */
  readonly onlyLanes?: boolean;
}

/** What happens to a mesh, drawn from a seed. The same for every mechanism that is asked how it copes. */
export function drawLaneSchedule(seed: number, options: ScheduleOptions): LaneSchedule {
  const randomness = new SeededRandomness(seed);
  const steps = [...drawLanes(randomness, options), ...drawRules(randomness, options)];
  if (options.onlyLanes !== true) steps.push(...drawFaults(randomness, options));
  steps.sort((a, b) => a.atMs - b.atMs);
  return { seed, loadMs: options.loadMs, sends: drawSends(randomness, options), steps };
}

function drawSends(randomness: Randomness, { messages, loadMs, onlyLanes }: ScheduleOptions): SendStep[] {
  const sends: SendStep[] = [];
  let left = messages;
  while (left > 0) {
    const chance = randomness.fraction();
    const kind: MessageKind =
      chance < 0.38 ? "fifo" : chance < 0.84 || onlyLanes === true ? "normal" : chance < 0.9 ? "timed" : "half";
    const most = onlyLanes === true ? 6 : kind === "half" ? 8 : 48;
    const count = Math.min(left, 1 + randomIndex(randomness, most));
    left -= count;
    const mark = ["", "", "", "canary", "canary", "blue", "gone"][randomIndex(randomness, onlyLanes === true ? 5 : 7)]!;
    sends.push({
      atMs: randomness.fraction() * loadMs,
      topic: kind === "fifo" || (kind !== "normal" && randomness.fraction() < 0.3) ? orderedTopic : plainTopic,
      kind,
      mark,
      tag: randomness.fraction() < 0.5 ? "red" : "green",
      orderKey: kind === "fifo" ? randomIndex(randomness, orderKeyCount) : -1,
      key: randomIndex(randomness, keyCount),
      count,
      dueInMs: 50 + randomIndex(randomness, 4_000),
      end: (["commit", "commit", "commit", "rollback", "ask"] as const)[randomIndex(randomness, 5)]!,
    });
  }
  return sends.sort((a, b) => a.atMs - b.atMs);
}

function drawLanes(randomness: Randomness, { loadMs, onlyLanes }: ScheduleOptions): Step[] {
  const steps: Step[] = [];
  for (let lane = 0; lane < (onlyLanes === true ? 1 : laneNames.length); lane++) {
    let atMs = randomness.fraction() * loadMs * 0.3;
    let isUp = false;
    while (atMs < loadMs) {
      const kind = isUp ? (randomness.fraction() < 0.5 ? "kill" : "down") : "up";
      steps.push({ atMs, kind, lane, withSidecar: randomness.fraction() < 0.5 });
      isUp = !isUp;
      // Some flap faster than any poll.
      atMs +=
        randomness.fraction() < 0.25 ? 20 + randomIndex(randomness, 400) : 400 + randomness.fraction() * loadMs * 0.3;
    }
  }
  return steps;
}

function drawRules(randomness: Randomness, { loadMs, onlyLanes }: ScheduleOptions): Step[] {
  const steps: Step[] = [];
  for (let topic = 0; topic < topicNames.length; topic++) {
    let atMs = randomness.fraction() * loadMs * 0.2;
    let percent = 5;
    while (atMs < loadMs) {
      const group = onlyLanes === true || randomness.fraction() < 0.7 ? -1 : randomIndex(randomness, groupNames.length);
      if (randomness.fraction() < 0.15) steps.push({ atMs, kind: "delete", topic, group });
      else {
        const chance = randomness.fraction();
        percent = chance < 0.6 ? Math.min(100, percent * 2 + 5) : chance < 0.8 ? Math.floor(percent / 3) + 1 : percent;
        const rule = {
          clauses: drawClauses(randomness, percent, onlyLanes === true),
          whenEmpty: drawWhenEmpty(randomness, onlyLanes === true),
        };
        steps.push({ atMs, kind: "rule", topic, group, rule });
      }
      atMs += 100 + randomness.fraction() * loadMs * 0.25;
    }
  }
  return steps;
}

function drawClauses(randomness: Randomness, percent: number, onlyCanary: boolean): ScheduledClause[] {
  const toCanary = { to: "canary", lane: "canary" };
  const share = { to: "canary", percent };
  const all: ScheduledClause[][] = [
    [toCanary],
    [toCanary, share],
    [share],
    [toCanary, { to: "blue", lane: "blue" }],
    [{ to: "blue", percent }, toCanary],
    [{ to: "canary", tag: "red" }],
    [{ to: "blue", lane: "canary" }],
  ];
  return all[randomIndex(randomness, onlyCanary ? 3 : all.length)]!;
}

function drawWhenEmpty(randomness: Randomness, alwaysSpills: boolean): ScheduledRule["whenEmpty"] {
  if (!alwaysSpills && randomness.fraction() < 0.15) return { action: "hold" };
  return { action: "spill", afterMs: [200, 500, 2_000][randomIndex(randomness, 3)]! };
}

function drawFaults(randomness: Randomness, { loadMs }: ScheduleOptions): Step[] {
  const kinds: readonly FaultKind[] = [
    ...(["kill broker", "cut power", "kill control plane", "kill sidecar"] as const),
    ...(["kill sidecar", "kill consumer", "kill consumer", "step clock"] as const),
  ];
  const steps: Step[] = [];
  for (let atMs = randomness.fraction() * 1_000; atMs < loadMs; atMs += 300 + randomness.fraction() * 1_400) {
    const kind = kinds[randomIndex(randomness, kinds.length)]!;
    steps.push({ atMs, kind, pick: randomness.uint32(), forMs: 10 + randomIndex(randomness, 600) });
  }
  return steps;
}
