/** The moment and boot in which this run of the broker began. Turns granted times of the log into times of this boot. */
export interface LeaseClock {
  /** `bootNumber` of this boot. */
  readonly boot: number;
  readonly startMonotonicMs: number;
  readonly startWallMs: number;
}

/**
 * Monotonic time at which a lease ends. Granted in this boot: counted by the monotonic clock, whatever the wall clock did
 * (B15). In an earlier one the monotonic times mean nothing: see `leaseEndAfterReboot`.
 */
export function leaseEndMs(
  clock: LeaseClock,
  boot: number,
  grantedMonotonicMs: number,
  grantedWallMs: number,
  invisibleMs: number,
): number {
  if (boot === clock.boot) return grantedMonotonicMs + invisibleMs;
  return leaseEndAfterReboot(clock, grantedWallMs + invisibleMs, invisibleMs);
}

/** What was left of the lease by the wall clock when we started, but not less than nothing nor more than was granted. */
export function leaseEndAfterReboot(clock: LeaseClock, endWallMs: number, invisibleMs: number): number {
  return clock.startMonotonicMs + Math.min(Math.max(endWallMs - clock.startWallMs, 0), invisibleMs);
}
