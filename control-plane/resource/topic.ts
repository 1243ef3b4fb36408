/** What a topic takes. Order is derived from the type, so it is fixed for the life of a topic. */
export const topicTypes = ["normal", "fifo", "delay", "transaction", "priority", "lite", "mixed"] as const;
export type TopicType = (typeof topicTypes)[number];

/** active: send and receive; readOnly: receive only; draining: receive only, about to be deleted. */
export const topicStates = ["active", "readOnly", "draining"] as const;
export type TopicState = (typeof topicStates)[number];

/** What people say about a topic. */
export interface TopicSpec {
  readonly type: TopicType;
  /** Queues on each broker group that holds the topic. May grow, never shrink: a queue may still hold messages. */
  readonly queues: number;
  readonly state: TopicState;
  /** Broker groups that shall hold it. May grow, never shrink. Left out: all that serve when it is created. */
  readonly brokers?: number;
}

/** A guard against typing errors: so many brokers nobody has. */
export const topicBrokersMax = 1024;

export const topicQueuesMax = 1024;

export const topicDefaults: TopicSpec = Object.freeze({ type: "normal", queues: 8, state: "active" });

/** A topic as the control plane keeps it. */
export interface TopicRecord extends TopicSpec {
  readonly namespace: string;
  readonly name: string;
  /** Rises when a topic of that name is deleted and created again; 1 at first. */
  readonly incarnation: number;
  /** Rises with every change, across deletions; 1 at first. */
  readonly generation: number;
  /** Broker groups that hold the topic. Empty until the first broker registers; stable from then on. */
  readonly placement: readonly string[];
  /** Those of them that take no new messages: they are drained. Left out: none. */
  readonly closed?: readonly string[];
  /** How message groups are spread over them, once that has changed. Left out: over all of them, and always were. */
  readonly groupSpread?: GroupSpread;
  /** Wall clock. */
  readonly createdMs: number;
  readonly createdBy: string;
}

/**
 * A message group has its home in the newest set. Where it had another one in an earlier set it goes on being taken there while
 * something of it is left (broker-core/dispatch/decisions/2026-11-26-spreading-message-groups.md).
 */
export interface GroupSpread {
  /** Of the newest set: rises with every change, over all topics. */
  readonly number: number;
  /** Broker groups, newest set first. An earlier set is kept as long as it may matter. */
  readonly sets: readonly (readonly string[])[];
  /** Those of the earlier sets that have nothing left of any message group. */
  readonly gone: readonly string[];
}

/** Bit n stands for number n of `apache.rocketmq.v2.MessageType`. */
const messageTypeBit = {
  normal: 1 << 1,
  fifo: 1 << 2,
  delay: 1 << 3,
  transaction: 1 << 4,
  lite: 1 << 5,
  priority: 1 << 6,
} as const;

/** The message types a topic accepts, as the bit set of `TopicRoute.message_types`. */
export function messageTypesOf(type: TopicType): number {
  if (type !== "mixed") return messageTypeBit[type];
  return messageTypeBit.normal | messageTypeBit.fifo | messageTypeBit.delay | messageTypeBit.transaction;
}
