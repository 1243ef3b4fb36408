import { mix } from "./slot-index.ts";

/**
 * 53 bits that name a receive attempt of a client of a group in a topic; 0: none. Leases carry it instead of the attempt id's
 * text. Two attempts of one client in one group and topic would have to collide in 53 bits to be taken for each other.
 */
export function attemptKey(groupId: number, topicId: number, clientId: string, attemptId: string): number {
  if (attemptId === "") return 0;
  let high = mix(groupId, topicId);
  let low = mix(topicId, groupId ^ 0x93c7);
  for (let i = 0; i < clientId.length; i++) {
    high = Math.imul(high ^ clientId.charCodeAt(i), 0x01000193);
    low = Math.imul(low ^ clientId.charCodeAt(i), 0x85ebca6b) ^ (low >>> 15);
  }
  // Keeps ("ab", "c") and ("a", "bc") apart.
  high = Math.imul(high ^ 0x1ffff, 0x01000193);
  low = Math.imul(low ^ 0x1ffff, 0x85ebca6b);
  for (let i = 0; i < attemptId.length; i++) {
    high = Math.imul(high ^ attemptId.charCodeAt(i), 0x01000193);
    low = Math.imul(low ^ attemptId.charCodeAt(i), 0x85ebca6b) ^ (low >>> 15);
  }
  return (mix(high, low) >>> 11) * 0x1_0000_0000 + (mix(low, high) >>> 0) || 1;
}
