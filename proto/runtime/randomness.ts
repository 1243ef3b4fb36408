/** The one door through which chance enters. Tests hand in a seeded source and replay a run exactly. */
export interface Randomness {
  /** Uniform in [0, 1). */
  fraction(): number;
  /** Uniform 32-bit unsigned integer. */
  uint32(): number;
  /** `count` random bytes; from `NodeRandomness` fit for keys and nonces. */
  bytes(count: number): Buffer;
}

/** A whole number, uniform in [0, bound). */
export function randomIndex(randomness: Randomness, bound: number): number {
  return Math.floor(randomness.fraction() * bound);
}

/** Uniform in [0, ceiling]: "full jitter", which spreads reconnects best. */
export function fullJitter(randomness: Randomness, ceilingMs: number): number {
  return randomness.fraction() * ceilingMs;
}
