import type { RouteSegment, TopicRoute } from "./topic-route.ts";

/**
 * The broker group that takes the messages of a message group: always the same while the topic has the same brokers, and
 * for most groups still the same when one is added. The SDKs each hash differently, so the sidecar decides (and ignores
 * `queue_id`). Undefined when nothing is writable.
 */
export function segmentOfMessageGroup(
  writable: readonly RouteSegment[],
  messageGroup: string,
): RouteSegment | undefined {
  if (writable.length <= 1) return writable[0];
  let best: RouteSegment | undefined;
  let bestWeight = -1;
  // Rendezvous hashing: the order of the segments does not matter, and removing one moves only its own groups.
  for (const segment of writable) {
    const weight = hash(`${segment.brokerName}\n${messageGroup}`);
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && segment.brokerName < best.brokerName)) {
      best = segment;
      bestWeight = weight;
    }
  }
  return best;
}

/**
 * Where the messages of a message group may have to go, while message groups leave a broker that is drained: each is asked in turn and
 * says whether it takes them, the last takes them. A broker takes those of a message group that is leaving it as long as earlier ones
 * are not consumed there, so that none is overtaken. Every sidecar asks in the same order, whatever it has seen.
 */
export function homesOfMessageGroup({ segments }: TopicRoute, messageGroup: string): RouteSegment[] {
  const homes: RouteSegment[] = [];
  const setMax = Math.max(0, ...segments.map(({ groupSet }) => groupSet));
  for (let set = 1; set <= setMax; set++) {
    let candidates = segments.filter(({ groupSet }) => groupSet === set);
    for (;;) {
      const home = segmentOfMessageGroup(candidates, messageGroup);
      if (home === undefined) break;
      homes.push(home);
      if (!home.isLeftByGroups) return homes;
      candidates = candidates.filter((other) => other !== home);
    }
  }
  return homes;
}

/** FNV-1a over UTF-16 units with a final mix (murmur3), which spreads short, similar names. 32 bits, unsigned. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
