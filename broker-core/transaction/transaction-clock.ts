import { type LeaseClock, leaseEndAfterReboot } from "../pop/lease-clock.ts";

/**
 * A transaction outlives restarts and reboots. Within one boot everything about it runs on the monotonic clock; over a reboot
 * the wall clock estimates what has passed, and an estimate is never taken at its word where a message is at stake.
 */

/** After a reboot an open transaction is not too old before this, so that its producers can come back and be asked. */
export const rebootGraceMs = 600_000;

/** When the next check is, as leases: what was left by the wall clock, not more than was granted. */
export const dueAfterReboot = leaseEndAfterReboot;

/** When a message of an earlier boot was stored, on this boot's scale. */
export function storedAfterReboot(clock: LeaseClock, storedWallMs: number): number {
  return clock.startMonotonicMs - Math.max(clock.startWallMs - storedWallMs, 0);
}

/** When a transaction becomes too old. */
export function expiryMs(clock: LeaseClock, storedMs: number, isOldStored: boolean, ageMsMax: number): number {
  const byAge = storedMs + ageMsMax;
  return isOldStored ? Math.max(byAge, clock.startMonotonicMs + Math.min(ageMsMax, rebootGraceMs)) : byAge;
}
