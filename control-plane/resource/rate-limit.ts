/** Which way messages go that a limit counts. */
export const limitDirections = ["send", "receive"] as const;
export type LimitDirection = (typeof limitDirections)[number];

/** What people say about a rate limit. Always whole: what is left out of a manifest has its default, not its old value. */
export interface RateLimitSpec {
  /** Name of a topic in the limit's namespace, which need not exist yet; "": all topics. */
  readonly topic: string;
  /** Name of a consumer group in the limit's namespace; "": all groups. Only of a limit on receives. */
  readonly group: string;
  /** Client ids, "*" for any number of characters; "": all clients. Those that match share the limit. */
  readonly client: string;
  readonly direction: LimitDirection;
  /** 0: messages are not counted. */
  readonly messagesPerSecond: number;
  /** 0: bytes are not counted. */
  readonly bytesPerSecond: number;
  /** How much of the rate may come at once after a pause: what the rate gives in this time. Milliseconds. */
  readonly burstMs: number;
}

/** A rate limit as the control plane keeps it. */
export interface RateLimitRecord extends RateLimitSpec {
  readonly namespace: string;
  readonly name: string;
  /** Rises with every change, across deletions. */
  readonly generation: number;
  /** Wall clock. */
  readonly createdMs: number;
  readonly createdBy: string;
  readonly changedMs: number;
  readonly changedBy: string;
}

export const rateLimitCounts = {
  /** Limits in all namespaces together. */
  limitsMax: 10_000,
} as const;

/** Ranges that the manifest is held to. */
export const rateLimitRanges = Object.freeze({
  messagesPerSecondMax: 100_000_000,
  bytesPerSecondMax: 1024 ** 4,
  burstMs: { min: 100, max: 3_600_000 },
  clientLengthMax: 255,
});

/** One second of the rate: what people mean who name a rate alone. */
export const burstMsDefault = 1_000;

/** The spec alone of anything that has one, its fields in a fixed order. */
export function rateLimitSpecOf(spec: RateLimitSpec): RateLimitSpec {
  const { topic, group, client, direction, messagesPerSecond, bytesPerSecond, burstMs } = spec;
  return { topic, group, client, direction, messagesPerSecond, bytesPerSecond, burstMs };
}

/** What a limit is for, in words: `topic "orders", clients "checkout-*"`. */
export function limitScopeText(namespace: string, { topic, group, client }: RateLimitSpec): string {
  const parts = [
    ...(topic === "" ? [] : [`topic "${topic}"`]),
    ...(group === "" ? [] : [`group "${group}"`]),
    ...(client === "" ? [] : [`clients "${client}"`]),
  ];
  const inNamespace = `namespace "${namespace}"`;
  return parts.length === 0 ? `all of ${inNamespace}` : `${parts.join(", ")} of ${inNamespace}`;
}
