/** Buckets that a share is counted in: a hundredth of a percent each. */
export const bucketCount = 10_000;

/** Buckets of a share in percent. */
export function bucketsOf(percent: number): number {
  return Math.round((percent * bucketCount) / 100);
}

/**
 * The bucket of a text, 0 to 9 999. `salt` comes from the lane: the buckets of one lane say nothing about those of another, so a clause
 * behind another one gets its share of what that one left over, and a ramp of one lane moves nothing between others. It does not
 * come from the topic or the rule: who is in a lane for one topic is in it for all. A larger share holds all buckets of a smaller one.
 *
 * FNV-1a, then the finish of MurmurHash3, because the lower bits of FNV alone are not even enough. Messages are classified by it in
 * logs that exist: it must not change.
 */
export function bucketOf(bytes: Uint8Array, start: number, end: number, salt: number): number {
  let hash = 0x811c9dc5 ^ salt;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % bucketCount;
}

export function laneSalt(lane: string): number {
  const bytes = Buffer.from(lane);
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash | 0;
}
