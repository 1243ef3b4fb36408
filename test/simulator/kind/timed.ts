import { type Randomness, randomIndex } from "../../../proto/runtime/randomness.ts";
import { encodeMessage, type GroupPlan, type MessageKind, type Plan, planGroup, planTopic, tags } from "../plan.ts";

const typeNormal = 1;
const typeDelay = 3;
const day = 86_400_000;

/** How far ahead: most come within the run, some only if somebody sets the clock. */
const aheadMs = [20, 20, 200, 200, 1_000, 3_000, 3_600_000, 30 * day] as const;

/** Messages that wait for their time, some among others that do not. */
export const timed: MessageKind = {
  name: "timed",
  plan(number, randomness) {
    const groups = Array.from({ length: 1 + randomIndex(randomness, 2) }, (_, i) =>
      planGroup(`timed-${number}-${i}`, randomness),
    );
    return planTopic(number, randomness, timed, groups, { messageTypes: (1 << typeDelay) | (1 << typeNormal) });
  },
  compose(id, bodyBytes, randomness, wallMs) {
    const tag = tags[randomIndex(randomness, tags.length + 1)];
    const properties = tag === undefined ? {} : { tag };
    if (randomness.fraction() < 0.1) return { bytes: encodeMessage(id, bodyBytes, properties), seen: properties };
    return composeTimed(id, bodyBytes, randomness, wallMs, aheadMs, properties);
  },
};

/** Some wait for long, and the log drops its oldest part meanwhile. */
const longAheadMs = [20, 1_000, 5_000, 9_000, 30 * day] as const;

/**
 * Timed messages whose group is quick and loses no message to the dead-letter queue: for runs in which the log keeps little.
 */
export const lasting: MessageKind = {
  name: "lasting",
  plan(number, randomness) {
    const group = planGroup(`lasting-${number}`, randomness, {
      ...{ attemptsMax: 0, inflightMax: 0, batchMax: 16, consumerCount: 2, invisibleMsMax: 400, waitMsMax: 200 },
      ...{ filter: "*", passes: undefined, habits: quickHabits },
    });
    return planTopic(number, randomness, lasting, [group], { messageTypes: 1 << typeDelay });
  },
  compose: (id, bodyBytes, randomness, wallMs) => composeTimed(id, bodyBytes, randomness, wallMs, longAheadMs, {}),
};

/**
 * A run in which timed messages outlive the segments they were stored in: half of what is sent only makes the log grow, of which
 * the broker keeps a dozen small segments, more than what a quick group has before it.
 */
export const outliving = {
  plan: (randomness: Randomness): Plan => ({
    topics: [lasting.plan(0, randomness), filler.plan(1, randomness)],
    ...{ sidecarCount: 2, producerCount: 2, sendsOpen: 2, thinkMsMax: 50, bodyBytesMax: 4_000 },
  }),
  broker: { retentionBytes: 12 * 96 * 1024 },
  /** Those that leave the disk its room: on a full one even young segments go. */
  faults: [
    "kill the broker",
    "cut the power",
    "stop the broker cleanly",
    "pause the broker",
    "break connections",
    "step the wall clock",
    "slow the disk",
    "fail the disk",
  ],
} as const;

const quickHabits: GroupPlan["habits"] = {
  ...{ ack: 1, "slow-ack": 0.2, "late-ack": 0, "double-ack": 0.1, suspend: 0, "hand-back": 0.1 },
  ...{ renew: 0, extend: 0, never: 0, forward: 0, forge: 0 },
};

/** What nobody reads: it makes the log grow. */
export const filler: MessageKind = {
  name: "filler",
  plan: (number, randomness) => planTopic(number, randomness, filler, []),
  compose: (id, bodyBytes) => ({ bytes: encodeMessage(id, bodyBytes, {}), seen: {} }),
};

function composeTimed(
  id: string,
  bodyBytes: number,
  randomness: Randomness,
  wallMs: number,
  spans: readonly number[],
  properties: { readonly tag?: string },
) {
  const span = spans[randomIndex(randomness, spans.length)]!;
  // Some times are over already.
  const dueMs = Math.max(0, Math.floor(wallMs + span * (1.05 * randomness.fraction() - 0.05)));
  const deliveryTimestamp = { seconds: Math.floor(dueMs / 1_000), nanos: (dueMs % 1_000) * 1_000_000 };
  const bytes = encodeMessage(id, bodyBytes, { ...properties, messageType: typeDelay, deliveryTimestamp });
  return { bytes, seen: properties, dueMs };
}
