/**
 * Buckets of the time from hand-out to ack, shared by the broker that counts and the control plane that takes quantiles: four to an
 * octave, so that a bound is at most 19 % above what it stands for, from a millisecond to 17 minutes.
 */
const perOctave = 4;

/** The last one holds whatever is longer than the bound of the one before, 2^20 ms (17 minutes). */
export const processingBucketCount = 20 * perOctave + 2;

/** Bucket of a duration in milliseconds. */
export function processingBucket(ms: number): number {
  if (!(ms > 1)) return 0;
  return Math.min(processingBucketCount - 1, Math.ceil(Math.log2(ms) * perOctave));
}

/** Longest duration in a bucket, in milliseconds; of the last one: Infinity. */
export function processingBoundMs(bucket: number): number {
  return bucket >= processingBucketCount - 1 ? Number.POSITIVE_INFINITY : 2 ** (bucket / perOctave);
}

/**
 * The duration, in milliseconds, that a share of the counted ones does not exceed: the bound of the bucket it falls into; undefined
 * when nothing was counted. `share`: 0.99 for the 99th percentile.
 */
export function processingQuantileMs(counts: readonly number[], share: number): number | undefined {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  const wanted = share * total;
  let seen = 0;
  for (const [bucket, count] of counts.entries()) {
    seen += count;
    if (seen >= wanted) return processingBoundMs(bucket);
  }
  return Number.POSITIVE_INFINITY;
}
