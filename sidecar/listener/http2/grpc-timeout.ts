/** Timers of JavaScript hold 31 bits of milliseconds (24.8 days); a client that waits longer has no deadline. */
const timeoutMsMax = 2 ** 31 - 1;

/** Answer of `parseGrpcTimeout` for a value that is none. */
export const malformedTimeout = -1;

/**
 * Parses a `grpc-timeout` value: one to eight digits and a unit (H M S m u n). Returns milliseconds, fractions included;
 * Infinity when it is beyond 2^31-1 ms (the Java SDK opens Telemetry with 31536000M); `malformedTimeout` otherwise.
 */
export function parseGrpcTimeout(bytes: Uint8Array, start: number, end: number): number {
  const digits = end - start - 1;
  if (digits < 1 || digits > 8) return malformedTimeout;
  let value = 0;
  for (let i = start; i < end - 1; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return malformedTimeout;
    value = value * 10 + digit;
  }
  const ms = value * unitMs(bytes[end - 1]!);
  if (Number.isNaN(ms)) return malformedTimeout;
  return ms > timeoutMsMax ? Number.POSITIVE_INFINITY : ms;
}

function unitMs(unit: number): number {
  switch (unit) {
    case 0x48: // H
      return 3_600_000;
    case 0x4d: // M
      return 60_000;
    case 0x53: // S
      return 1000;
    case 0x6d: // m
      return 1;
    case 0x75: // u
      return 1e-3;
    case 0x6e: // n
      return 1e-6;
    default:
      return Number.NaN;
  }
}
