/** Delays between hand-outs of one message: a list whose last entry repeats, or exponential growth. Milliseconds. */
export type Backoff =
  | { readonly kind: "list"; readonly delaysMs: readonly number[] }
  | { readonly kind: "exponential"; readonly initialMs: number; readonly maxMs: number; readonly multiplier: number };

/** What people say about a consumer group. */
export interface ConsumerGroupSpec {
  /** Hand-outs before a message goes to the dead-letter queue. */
  readonly attemptsMax: number;
  readonly backoff: Backoff;
  /** Messages of one topic that may be out at the group's consumers; 0: the broker's own limit. */
  readonly inflightMax: number;
  /** Messages a push consumer asks for at once. */
  readonly receiveBatchSize: number;
  readonly longPollingMs: number;
  /** "shared": each message goes to one client instance; "broadcast": to every one, from its first receive on. */
  readonly deliveryMode: DeliveryMode;
  /** Of a broadcast group: an instance is forgotten when its client was gone for so long. */
  readonly instanceExpiryMs: number;
}

export const deliveryModes = ["shared", "broadcast"] as const;
export type DeliveryMode = (typeof deliveryModes)[number];

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

/** The defaults of RocketMQ 5: 16 retries, then the dead-letter queue; its well-known ladder of delays. */
export const consumerGroupDefaults: ConsumerGroupSpec = Object.freeze({
  attemptsMax: 17,
  backoff: Object.freeze({
    kind: "list",
    delaysMs: Object.freeze([
      second,
      5 * second,
      10 * second,
      30 * second,
      ...Array.from({ length: 10 }, (_, i) => (i + 1) * minute),
      20 * minute,
      30 * minute,
      hour,
      2 * hour,
    ]),
  }),
  inflightMax: 0,
  receiveBatchSize: 32,
  longPollingMs: 20 * second,
  deliveryMode: "shared",
  instanceExpiryMs: 30 * minute,
});

/** Ranges that the manifest is held to. */
export const consumerGroupLimits = Object.freeze({
  attemptsMax: { min: 1, max: 1_000 },
  backoffDelayMsMax: 24 * hour,
  backoffListLengthMax: 64,
  backoffMultiplier: { min: 1, max: 10 },
  inflightMax: { min: 0, max: 1_000_000 },
  receiveBatchSize: { min: 1, max: 1_024 },
  longPollingMs: { min: second, max: minute },
  instanceExpiryMs: { min: second, max: 7 * 24 * hour },
});

/** A consumer group as the control plane keeps it. */
export interface ConsumerGroupRecord extends ConsumerGroupSpec {
  readonly namespace: string;
  readonly name: string;
  /** Rises with every change, across deletions; brokers never replace a newer policy by an older one. */
  readonly generation: number;
  /** Wall clock. */
  readonly createdMs: number;
  readonly createdBy: string;
}
