import type { RateLimitSpec } from "./rate-limit.ts";

/** What holds for a whole namespace. */
export interface NamespaceSpec {
  /** What may be created on first use. */
  readonly autoCreateTopics: boolean;
  readonly autoCreateGroups: boolean;
  /** Quotas. 0 or left out: none. Dead-letter topics come with their group and are not counted. */
  readonly topicsMax?: number;
  readonly groupsMax?: number;
  /** Queues of all topics together, as they are declared: on each broker group that holds them. */
  readonly queuesMax?: number;
  /** Longest body of a message. 0 or left out: that of the v2 API, 4 MiB. */
  readonly maxMessageBytes?: number;
  /** Of each topic, on sends, that no RateLimit is for. Null or left out: none. */
  readonly topicSends?: DefaultLimit | null;
  /** Of each consumer group, on receives, likewise. */
  readonly groupReceives?: DefaultLimit | null;
}

/** The rates of a RateLimit. */
export type DefaultLimit = Pick<RateLimitSpec, "messagesPerSecond" | "bytesPerSecond" | "burstMs">;

/** A namespace as the control plane keeps it. It comes into being with the first resource in it. */
export interface NamespaceRecord extends NamespaceSpec {
  readonly name: string;
  readonly generation: number;
}

export const namespaceLimits = Object.freeze({
  quotaMax: 1_000_000,
  /** The v2 API's own limit of a body. */
  maxMessageBytesMax: 4 * 1024 * 1024,
});

/** Every field of a spec, what was left out as 0 or null. */
export function namespaceSpecOf(spec: NamespaceSpec): Required<NamespaceSpec> {
  const { autoCreateTopics, autoCreateGroups } = spec;
  const { topicsMax = 0, groupsMax = 0, queuesMax = 0, maxMessageBytes = 0 } = spec;
  const { topicSends = null, groupReceives = null } = spec;
  const quotas = { topicsMax, groupsMax, queuesMax };
  return { autoCreateTopics, autoCreateGroups, ...quotas, maxMessageBytes, topicSends, groupReceives };
}
