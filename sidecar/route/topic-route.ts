import type { GroupRef, TopicRef } from "../upstream/upstream.ts";

/** A topic as this sidecar routes it. Immutable; replaced as a whole when the control plane sends another version. */
export interface TopicRoute {
  /** What brokers must know of the topic. `ref.name` is "<namespace>/<topic>". */
  readonly ref: TopicRef;
  readonly segments: readonly RouteSegment[];
  /** Segments that take sends now. Empty while the topic is read-only or draining. */
  readonly writable: readonly RouteSegment[];
  /** Segments that hand out messages. */
  readonly readable: readonly RouteSegment[];
  /** Longest body that its namespace lets it take; 0: no other than the v2 API's. */
  readonly maxMessageBytes: number;
  /** Names of the rate limits that are for this topic. */
  readonly rateLimits: readonly string[];
  /** How message groups are spread; undefined: over all writable segments, and always were. */
  readonly groupSpread: GroupSpread | undefined;
}

/** Message groups are spread over other brokers than before; see `homesOfMessageGroup`. */
export interface GroupSpread {
  /** Rises with every change. */
  readonly number: number;
  /** Names of broker groups, newest set first. */
  readonly sets: readonly (readonly string[])[];
  /** Broker groups that have nothing left of any message group: they are not asked. */
  readonly gone: ReadonlySet<string>;
}

/** The part of a topic that lies in one broker group. */
export interface RouteSegment {
  /** Name of the Cluster resource: "bg/<broker name>". */
  readonly cluster: string;
  /** The broker group's own name, which clients and receipts carry. */
  readonly brokerName: string;
  readonly queueCount: number;
  readonly isReadable: boolean;
  readonly isWritable: boolean;
}

/** How a consumer group is served. Immutable. */
export interface GroupPolicy {
  /** What brokers must know of the group. `ref.name` is "<namespace>/<group>". */
  readonly ref: GroupRef;
  /** Messages a push consumer asks for at once. */
  readonly receiveBatchSize: number;
  /** How long a push consumer's receive waits. */
  readonly longPollingMs: number;
  /** Set: every client instance gets every message, and is forgotten when it was gone for so long. */
  readonly instanceExpiryMs?: number;
  /** Names of the rate limits that are for this group and no topic. */
  readonly rateLimits: readonly string[];
}

/** What may be created on first use in a namespace, and what holds for all of it. */
export interface NamespacePolicy {
  readonly autoCreateTopics: boolean;
  readonly autoCreateGroups: boolean;
  /** Names of the rate limits that are for no topic and no group. */
  readonly rateLimits: readonly string[];
}
