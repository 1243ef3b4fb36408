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
    const weight = weightOf(segment.brokerName, messageGroup);
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && segment.brokerName < best.brokerName)) {
      best = segment;
      bestWeight = weight;
    }
  }
  return best;
}

/**
 * Where the messages of a message group may have to go when they are spread over other brokers than before: earlier homes, each of
 * which takes them while it has something of the group left, so that none is overtaken, and says so where it has not; then the home of
 * now. It is one broker in most cases. Every sidecar asks the same, whatever it has seen; empty: there is no home.
 */
export function homesOfMessageGroup(route: TopicRoute, messageGroup: string): RouteSegment[] {
  const { segments, groupSpread } = route;
  if (groupSpread === undefined) {
    const only = segmentOfMessageGroup(route.writable, messageGroup);
    return only === undefined ? [] : [only];
  }
  const [now = [], ...earlier] = groupSpread.sets;
  const name = homeIn(now, messageGroup);
  const home = segments.find(({ brokerName }) => brokerName === name);
  if (home === undefined) return [];
  const homes = new Set<RouteSegment>();
  for (const set of earlier) {
    const before = homeIn(set, messageGroup);
    const segment = segments.find(({ brokerName }) => brokerName === before);
    if (segment !== undefined && segment !== home && !groupSpread.gone.has(segment.brokerName)) homes.add(segment);
  }
  return [...homes, home];
}

/** As `segmentOfMessageGroup`, by names. */
function homeIn(brokerNames: readonly string[], messageGroup: string): string | undefined {
  let best: string | undefined;
  let bestWeight = -1;
  for (const name of brokerNames) {
    const weight = weightOf(name, messageGroup);
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && name < best)) {
      best = name;
      bestWeight = weight;
    }
  }
  return best;
}

function weightOf(brokerName: string, messageGroup: string): number {
  return hash(`${brokerName}\n${messageGroup}`);
}

/** FNV-1a over UTF-16 units with a final mix (murmur3), which spreads short, similar names. 32 bits, unsigned. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
