import { popmesh } from "#codec/popmesh-v1";
import { brokerNameOf, clusterNamePrefix } from "../cluster/cluster-snapshot.ts";
import type { RouteSegment, TopicRoute } from "../route/topic-route.ts";
import { type Decoded, decodeNamed, missingFeatures } from "./resource-type.ts";

/** Number of enum TopicState; an unspecified or unknown state counts as active. */
const readOnlyState = 2;
const drainingState = 3;

/** Refused: no protobuf, another name, an active topic without segments, a segment that names no broker group. */
export function decodeTopicRoute(name: string, bytes: Uint8Array): Decoded<TopicRoute> {
  const decoded = decodeNamed(
    name,
    () => popmesh.v1.TopicRoute.decode(bytes),
    (message) => message.name,
  );
  if (!decoded.ok) return decoded;
  const message = decoded.value;
  const missing = missingFeatures(message.requiredFeatures);
  if (missing !== undefined) return { ok: false, reason: missing };
  const isWritableState = message.state !== readOnlyState && message.state !== drainingState;
  if (isWritableState && message.segment.length === 0) return { ok: false, reason: "is active but has no segments" };
  const segments: RouteSegment[] = [];
  for (const segment of message.segment) {
    if (!segment.cluster.startsWith(clusterNamePrefix) || segment.cluster.length === clusterNamePrefix.length) {
      return { ok: false, reason: `has a segment in "${segment.cluster}", which is no broker group` };
    }
    segments.push({
      cluster: segment.cluster,
      brokerName: brokerNameOf(segment.cluster),
      queueCount: Math.max(1, segment.queueCount),
      isReadable: segment.readable,
      isWritable: segment.writable,
    });
  }
  const writable = isWritableState ? segments.filter((segment) => segment.isWritable) : [];
  const spread = message.groupSpread;
  return {
    ok: true,
    value: Object.freeze({
      ref: Object.freeze({
        name,
        incarnation: message.incarnation,
        messageTypes: message.messageTypes,
        queueCount: segments.reduce((most, segment) => Math.max(most, segment.queueCount), 1),
      }),
      segments,
      writable,
      readable: segments.filter((segment) => segment.isReadable),
      maxMessageBytes: message.maxMessageBytes,
      rateLimits: message.rateLimits,
      groupSpread: spread
        ? { number: spread.number, sets: spread.set.map(({ broker }) => broker), gone: new Set(spread.gone) }
        : undefined,
    }),
  };
}
