import { type Randomness, randomIndex } from "../../../proto/runtime/randomness.ts";
import { BroadcastInstances } from "../../../sidecar/route/broadcast-instance.ts";
import type { GroupRef } from "../../../sidecar/upstream/upstream.ts";
import { groupRef } from "../../support/upstream-client.ts";
import { encodeMessage, type GroupPlan, type MessageKind, planGroup, planTopic, tags } from "../plan.ts";

const fifo = 1 << 2;
const normal = 1 << 1;
const keys = ["ann", "bob"] as const;

/** No instance that comes back is gone for so long. */
const expiryMs = 30 * 60_000;
/** Of one that leaves for good: a run lives to see that it is forgotten. */
const leaverExpiryMs = 1_500;

/**
 * A broadcast group: each of its instances gets every message from its first receive on, whatever the others do. They have habits and
 * filters of their own; some come late, some are away for a while, and some leave for good and are forgotten.
 */
export const broadcast: MessageKind = {
  name: "broadcast",
  plan(number, randomness) {
    const policy = {
      attemptsMax: randomness.fraction() < 0.4 ? 1 + randomIndex(randomness, 4) : 0,
      inflightMax: randomness.fraction() < 0.2 ? 1 + randomIndex(randomness, 8) : 0,
    };
    const group = groupRef(`broadcast-${number}`, policy);
    const staying = Array.from({ length: 2 + randomIndex(randomness, 3) }, (_, i) =>
      planInstance(group, `b${number}-i${i}`, expiryMs, randomness),
    );
    const leaver =
      randomness.fraction() < 0.5
        ? [
            {
              ...planInstance(group, `b${number}-leaver`, leaverExpiryMs, randomness),
              leavesAfterMs: 100 + randomness.fraction() * 1_000,
            },
          ]
        : [];
    return planTopic(number, randomness, broadcast, [...staying, ...leaver], { messageTypes: fifo | normal });
  },
  compose(id, bodyBytes, randomness) {
    const tag = tags[randomIndex(randomness, tags.length + 1)];
    const key = randomness.fraction() < 0.3 ? keys[randomIndex(randomness, keys.length)] : undefined;
    const seen = { ...(tag === undefined ? {} : { tag }), ...(key === undefined ? {} : { key }) };
    const order = key === undefined ? {} : { messageGroup: key, messageType: 2 };
    return { bytes: encodeMessage(id, bodyBytes, { ...(tag === undefined ? {} : { tag }), ...order }), seen };
  },
};

function planInstance(group: GroupRef, clientId: string, instanceExpiryMs: number, randomness: Randomness): GroupPlan {
  const { attemptsMax, inflightMax } = group;
  const plan = planGroup("", randomness, { attemptsMax, inflightMax, consumerCount: 1 });
  // What the sidecar makes of the group's policy for this client.
  const policy = { ref: group, receiveBatchSize: 32, longPollingMs: 20_000, rateLimits: [], instanceExpiryMs };
  const { ref } = new BroadcastInstances().of(policy, clientId);
  return {
    ...plan,
    ref,
    instance: { group: group.name, clientId },
    startsAfterMs: randomness.fraction() < 0.6 ? 0 : randomness.fraction() * 1_000,
    isAwayAtFirst: randomness.fraction() < 0.3,
    awayShare: randomness.fraction() < 0.5 ? 0 : randomness.fraction() * 0.05,
  };
}
