import { popmesh } from "#codec/popmesh-v1";
import { splitQualifiedName } from "../../proto/resource-name.ts";
import type { RateLimit } from "../limit/rate-limit.ts";
import { type Decoded, decodeNamed, missingFeatures } from "./resource-type.ts";

/** Numbers of enum LimitDirection. */
const sendDirection = 1;
const receiveDirection = 2;

/** Refused: no protobuf, another name, no direction of ours, and rates that are none. */
export function decodeRateLimit(name: string, bytes: Uint8Array): Decoded<RateLimit> {
  const decoded = decodeNamed(
    name,
    () => popmesh.v1.RateLimit.decode(bytes),
    (message) => message.name,
  );
  if (!decoded.ok) return decoded;
  const { generation, direction, topic, group, client, messagesPerSecond, bytesPerSecond } = decoded.value;
  const { burstMs, requiredFeatures } = decoded.value;
  const missing = missingFeatures(requiredFeatures);
  if (missing !== undefined) return { ok: false, reason: missing };
  const namespace = splitQualifiedName(name)?.namespace;
  if (namespace === undefined) return { ok: false, reason: "has a name that is not of the form <namespace>/<name>" };
  if (direction !== sendDirection && direction !== receiveDirection) {
    return { ok: false, reason: `has direction ${direction}, which is neither SEND nor RECEIVE` };
  }
  const isRate = (rate: number) => Number.isFinite(rate) && rate >= 0;
  if (!isRate(messagesPerSecond) || !isRate(bytesPerSecond) || messagesPerSecond + bytesPerSecond === 0) {
    return { ok: false, reason: "has no rate" };
  }
  if (burstMs < 1) return { ok: false, reason: "has no burst" };
  return {
    ok: true,
    value: Object.freeze({
      ...{ name, generation, namespace, topic, group, client, messagesPerSecond, bytesPerSecond, burstMs },
      direction: direction === sendDirection ? "send" : "receive",
    }),
  };
}
