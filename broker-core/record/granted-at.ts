/**
 * When a lease was granted, by both clocks and with the boot they belong to (B5, B15). After a restart within the same boot
 * the monotonic time counts; after a reboot it means nothing, and the planned end by the wall clock does.
 */
export const grantedAtBytes = 24;

/** 53 bits that name a boot; the id itself is a text of the operating system. */
export function bootNumber(bootId: string): number {
  let high = 0x811c9dc5;
  let low = 0x9e3779b9;
  for (let i = 0; i < bootId.length; i++) {
    high = Math.imul(high ^ bootId.charCodeAt(i), 0x01000193);
    low = Math.imul(low ^ (bootId.charCodeAt(i) + i), 0x85ebca6b);
    low ^= low >>> 13;
  }
  return (high >>> 11) * 0x1_0000_0000 + (low >>> 0);
}

export const grantedMonotonicMs = (from: Buffer, at: number): number => from.readDoubleLE(at);
export const grantedWallMs = (from: Buffer, at: number): number => from.readDoubleLE(at + 8);
export const grantedBoot = (from: Buffer, at: number): number => from.readDoubleLE(at + 16);

export function writeGrantedAt(into: Buffer, at: number, monotonicMs: number, wallMs: number, boot: number): void {
  into.writeDoubleLE(monotonicMs, at);
  into.writeDoubleLE(wallMs, at + 8);
  into.writeDoubleLE(boot, at + 16);
}
