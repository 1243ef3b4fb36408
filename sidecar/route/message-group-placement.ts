import type { RouteSegment, TopicRoute } from "./topic-route.ts";

/**
 * The broker group that takes the messages of a message group, of those with these names: always the same while they are the same, and
 * for most groups still the same when one is added. The SDKs each hash differently, so the sidecar decides (and ignores `queue_id`).
 * Undefined when there are none.
 */
export function homeOfMessageGroup(brokerNames: readonly string[], messageGroup: string): string | undefined {
  let best: string | undefined;
  let bestWeight = -1;
  // Rendezvous hashing: the order of the names does not matter, and removing one moves only its own groups.
  for (const name of brokerNames) {
    const weight = weightOf(name, messageGroup);
    if (weight > bestWeight || (weight === bestWeight && best !== undefined && name < best)) {
      best = name;
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
  const [now = [], ...earlier] = groupSpread?.sets ?? [route.writable.map(({ brokerName }) => brokerName)];
  const name = homeOfMessageGroup(now, messageGroup);
  const home = segments.find(({ brokerName }) => brokerName === name);
  if (home === undefined) return [];
  const homes = new Set<RouteSegment>();
  for (const set of earlier) {
    const before = homeOfMessageGroup(set, messageGroup);
    const segment = segments.find(({ brokerName }) => brokerName === before);
    if (segment !== undefined && segment !== home && groupSpread?.gone.has(segment.brokerName) !== true)
      homes.add(segment);
  }
  return [...homes, home];
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
