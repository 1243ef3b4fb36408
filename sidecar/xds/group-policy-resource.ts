import { popmesh } from "#codec/popmesh-v1";
import type { GroupPolicy } from "../route/topic-route.ts";
import type { BackoffPolicy } from "../upstream/upstream.ts";
import { type Decoded, decodeNamed, missingFeatures } from "./resource-type.ts";

/** What holds where a policy leaves something out; the figures of the reference server. */
const attemptsMaxDefault = 17;
const receiveBatchSizeDefault = 32;
const longPollingMsDefault = 20_000;
const instanceExpiryMsDefault = 1_800_000;
const backoffDefault: BackoffPolicy = { kind: "exponential", initialMs: 1_000, maxMs: 7_200_000, multiplier: 2 };

export function decodeGroupPolicy(name: string, bytes: Uint8Array): Decoded<GroupPolicy> {
  const decoded = decodeNamed(
    name,
    () => popmesh.v1.ConsumerGroupPolicy.decode(bytes),
    (message) => message.name,
  );
  if (!decoded.ok) return decoded;
  const message = decoded.value;
  const missing = missingFeatures(message.requiredFeatures);
  if (missing !== undefined) return { ok: false, reason: missing };
  return {
    ok: true,
    value: Object.freeze({
      ref: Object.freeze({
        name,
        generation: message.generation,
        attemptsMax: message.attemptsMax || attemptsMaxDefault,
        backoff: backoffOf(message.backoff),
        inflightMax: message.inflightMax,
      }),
      receiveBatchSize: message.receiveBatchSize || receiveBatchSizeDefault,
      longPollingMs: message.longPollingMs || longPollingMsDefault,
      rateLimits: message.rateLimits,
      ...(message.broadcast ? { instanceExpiryMs: message.instanceExpiryMs || instanceExpiryMsDefault } : {}),
    }),
  };
}

/** The policy of a group that the control plane says nothing about; used where a client must be told something. */
export function defaultGroupPolicy(name: string): GroupPolicy {
  return {
    ref: { name, generation: 0, attemptsMax: attemptsMaxDefault, backoff: backoffDefault, inflightMax: 0 },
    receiveBatchSize: receiveBatchSizeDefault,
    longPollingMs: longPollingMsDefault,
    rateLimits: [],
  };
}

function backoffOf(backoff: popmesh.v1.Backoff | null): BackoffPolicy {
  if (backoff === null) return backoffDefault;
  if (backoff.delayMs.length > 0) return { kind: "list", delaysMs: [...backoff.delayMs] };
  if (backoff.initialMs === 0) return backoffDefault;
  return {
    kind: "exponential",
    initialMs: backoff.initialMs,
    maxMs: Math.max(backoff.maxMs, backoff.initialMs),
    multiplier: backoff.multiplier >= 1 ? backoff.multiplier : 2,
  };
}
