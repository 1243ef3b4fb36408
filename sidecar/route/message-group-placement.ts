import type { RouteSegment } from "./topic-route.ts";

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

/** FNV-1a over UTF-16 units with a final mix (murmur3), which spreads short, similar names. 32 bits, unsigned. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
