/** The moment and boot in which this run of the broker began. Turns granted times of the log into times of this boot. */
export interface LeaseClock {
  /** `bootNumber` of this boot. */
  readonly boot: number;
  readonly startMonotonicMs: number;
  readonly startWallMs: number;
}

/**
 * Monotonic time at which a lease ends. Granted in this boot: counted by the monotonic clock, whatever the wall clock did
 * (B15). In an earlier one: what the wall clock says is left of it at our start, but never less than nothing nor more than
 * was granted.
 */
export function leaseEndMs(
  clock: LeaseClock,
  boot: number,
  grantedMonotonicMs: number,
  grantedWallMs: number,
  invisibleMs: number,
): number {
  if (boot === clock.boot) return grantedMonotonicMs + invisibleMs;
  const leftMs = grantedWallMs + invisibleMs - clock.startWallMs;
  return clock.startMonotonicMs + Math.min(Math.max(leftMs, 0), invisibleMs);
}
