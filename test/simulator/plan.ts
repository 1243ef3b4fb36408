import { apache } from "#codec/rocketmq-v2";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import type { GroupRef, TopicRef } from "../../sidecar/upstream/upstream.ts";
import type { HistoryEvent } from "../support/history.ts";
import { groupRef, topicRef } from "../support/upstream-client.ts";

/** What one run is made of; drawn from its seed, so that runs differ in kind and not only in order. */
export interface Plan {
  readonly topics: readonly TopicPlan[];
  readonly sidecarCount: number;
  readonly producerCount: number;
  /** Sends a producer has open at once. */
  readonly sendsOpen: number;
  readonly thinkMsMax: number;
  readonly bodyBytesMax: number;
}

export interface TopicPlan {
  readonly ref: TopicRef;
  readonly kind: MessageKind;
  readonly groups: readonly GroupPlan[];
}

export interface GroupPlan {
  readonly ref: GroupRef;
  /** Expression and what it lets pass. */
  readonly filterType: number;
  readonly filter: string;
  readonly passes: ((sent: Composed["seen"]) => boolean) | undefined;
  readonly consumerCount: number;
  readonly batchMax: number;
  readonly invisibleMsMax: number;
  readonly waitMsMax: number;
  /** What consumers do with a message, as shares. */
  readonly habits: Readonly<Record<Habit, number>>;
  /** Share of receives that carry an attempt id. */
  readonly attemptIds: number;
  /** Set: this is one client of a broadcast group, and `ref` is what the broker knows it as. */
  readonly instance?: { readonly group: string; readonly clientId: string };
  /** Until the first receive; left out: 0. */
  readonly startsAfterMs?: number;
  /** Share of receives before which a consumer is away for a while. */
  readonly awayShare?: number;
  /** Its consumer asks once, and is away for a while as soon as it is answered. */
  readonly isAwayAtFirst?: boolean;
  /** Set: its consumer leaves for good so long after its first receive. */
  readonly leavesAfterMs?: number;
}

/** What the history calls a group; an instance by its client, whatever name it has at the broker. */
export function nameOf({ ref, instance }: GroupPlan): string {
  return instance === undefined ? ref.name : `${instance.group} for ${instance.clientId}`;
}

/** The group whose dead-letter queue this one's dead messages are in. */
export function deadLetterGroupOf({ ref, instance }: GroupPlan): string {
  return instance?.group ?? ref.name;
}

/** What a consumer does with a message it got. */
export const habits = [
  "ack",
  "slow-ack",
  "late-ack",
  "double-ack",
  "suspend",
  "hand-back",
  "renew",
  "extend",
  "never",
  "forward",
  "forge",
] as const;
export type Habit = (typeof habits)[number];

/** A message as a client makes it, and what the history says about it. */
export interface Composed {
  readonly bytes: Uint8Array;
  readonly seen: Pick<HistoryEvent, "tag" | "key" | "isHalf" | "properties">;
  /** Wall time at which it is to be delivered. */
  readonly dueMs?: number;
}

/** One kind of message: what its topics, groups and messages look like. A kind is a module of its own. */
export interface MessageKind {
  readonly name: string;
  /** A topic of this kind with its groups. `number` is unique in the run. */
  plan(number: number, randomness: Randomness): TopicPlan;
  /** `wallMs`: what the application takes for the time. */
  compose(id: string, bodyBytes: number, randomness: Randomness, wallMs: number): Composed;
}

export const tags = ["red", "green", "blue"] as const;

/** Mostly 0, so that many runs are without a habit. */
function shareOf(randomness: Randomness, most: number): number {
  return randomness.fraction() < 0.5 ? 0 : randomness.fraction() * most;
}

/** A group with habits of its own. */
export function planGroup(
  name: string,
  randomness: Randomness,
  parts: Partial<GroupPlan> & { readonly attemptsMax?: number; readonly inflightMax?: number } = {},
): GroupPlan {
  const pick = (bound: number): number => randomIndex(randomness, bound);
  const attemptsMax = parts.attemptsMax ?? (randomness.fraction() < 0.4 ? 1 + pick(4) : 0);
  const inflightMax = parts.inflightMax ?? (randomness.fraction() < 0.2 ? 1 + pick(8) : 0);
  const wantsTags = randomness.fraction() < 0.3;
  const wanted = tags.filter(() => randomness.fraction() < 0.5);
  const isAll = !wantsTags || wanted.length === 0;
  return {
    ref: groupRef(name, { attemptsMax, inflightMax }),
    filterType: 1,
    filter: isAll ? "*" : wanted.join(" || "),
    passes: isAll ? undefined : ({ tag }) => wanted.some((one) => one === tag),
    consumerCount: 1 + pick(3),
    batchMax: 1 + pick(randomness.fraction() < 0.5 ? 4 : 32),
    invisibleMsMax: [200, 1_000, 5_000][pick(3)]!,
    waitMsMax: [0, 200, 2_000][pick(3)]!,
    habits: {
      ack: 1,
      "slow-ack": shareOf(randomness, 0.5),
      "late-ack": shareOf(randomness, 0.1),
      "double-ack": shareOf(randomness, 0.2),
      suspend: shareOf(randomness, 0.1),
      "hand-back": shareOf(randomness, 0.1),
      renew: shareOf(randomness, 0.1),
      extend: shareOf(randomness, 0.1),
      never: shareOf(randomness, 0.1),
      forward: shareOf(randomness, 0.05),
      forge: shareOf(randomness, 0.05),
    },
    attemptIds: randomness.fraction() < 0.5 ? 0 : randomness.fraction(),
    ...parts,
  };
}

/** Bytes of a message with a body that only this id has. */
export function encodeMessage(
  id: string,
  bodyBytes: number,
  systemProperties: apache.rocketmq.v2.ISystemProperties,
  userProperties: Record<string, string> = {},
): Uint8Array {
  const body = Buffer.alloc(bodyBytes, id);
  const properties = { messageId: id, messageType: 1, ...systemProperties };
  return apache.rocketmq.v2.Message.encode({
    topic: { name: "t" },
    systemProperties: properties,
    userProperties,
    body,
  }).finish();
}

export function planTopic(
  number: number,
  randomness: Randomness,
  kind: MessageKind,
  groups: readonly GroupPlan[],
  parts: Partial<TopicRef> = {},
): TopicPlan {
  const queueCount = 1 + randomIndex(randomness, 4);
  return { ref: topicRef(`${kind.name}-${number}`, { queueCount, ...parts }), kind, groups };
}

/** Draws a run of the given kinds: mostly one or two of them. */
export function drawPlan(randomness: Randomness, kinds: readonly MessageKind[]): Plan {
  const pick = (bound: number): number => randomIndex(randomness, bound);
  const topicCount = 1 + pick(3);
  return {
    topics: Array.from({ length: topicCount }, (_, i) => kinds[pick(kinds.length)]!.plan(i, randomness)),
    sidecarCount: 1 + pick(3),
    producerCount: 1 + pick(6),
    sendsOpen: 1 + pick(4),
    thinkMsMax: [2, 10, 50][pick(3)]!,
    bodyBytesMax: [50, 500, 4_000][pick(3)]!,
  };
}
