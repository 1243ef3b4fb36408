/** A part of the log that is lost for good: it was on disk once and cannot be read any more. */
export interface DamageRange {
  /** First lost position. */
  readonly from: number;
  /** Position behind the last lost one. */
  readonly to: number;
  /** Lost records, counted from the numbers of those around; undefined where nothing behind the range tells. */
  readonly recordCount: number | undefined;
  /** The file that should hold it. */
  readonly path: string;
}

/**
 * A lost part that an earlier start has found. It stays lost, whatever its bytes look like today: the broker has gone on without
 * it, and what it wrote since then (queue offsets that it gave out again, for one) fits to a log without that part.
 */
export interface KnownDamage extends DamageRange {
  /** Records from here on were written by a broker that knew. */
  readonly knownFrom: number;
}

/** What the replay tells of damage, between the records around it. */
export interface DamageListener {
  /** These positions are lost. */
  lost(from: number, to: number): void;
  /** What follows was written in knowledge of all that was told as lost so far. */
  known(): void;
}
