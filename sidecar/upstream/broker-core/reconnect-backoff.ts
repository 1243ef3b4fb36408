/**
 * When the next connection is tried: full jitter under a ceiling that doubles from 100 ms to 4 s, and begins anew after
 * 30 s of health. A connection that was welcomed and broke sooner takes the ceiling back to 800 ms at most: the broker is
 * there and restarts, or flaps; neither deserves 4 s, nor a storm. Pure: time and chance come in.
 *
 * The ceiling, decided on 2026-11-25: 10 s, which is common, leaves a broker that is back after half a minute unused for up to
 * 10 s, and C11 promises sends within 5 s. With 4 s, and 1 s for the connection itself, it holds; a sidecar then tries a broker
 * that is away every 2 s on average, with one connection, which is no storm.
 */
export const reconnectMinMs = 100;
export const reconnectMaxMs = 4_000;
export const healthyAfterMs = 30_000;

/** Attempts that are remembered after a connection of less than `healthyAfterMs`. */
const attemptsAfterFlap = 3;

export interface ReconnectBackoff {
  /** Attempts since the last time of health. */
  readonly attempts: number;
}

export const freshBackoff: ReconnectBackoff = { attempts: 0 };

/** The delay before the next attempt, and the state after it. `fraction` is uniform in [0, 1). */
export function nextAttempt(
  backoff: ReconnectBackoff,
  fraction: number,
): { readonly delayMs: number; readonly backoff: ReconnectBackoff } {
  const ceilingMs = Math.min(reconnectMaxMs, reconnectMinMs * 2 ** Math.min(backoff.attempts, 16));
  return { delayMs: fraction * ceilingMs, backoff: { attempts: backoff.attempts + 1 } };
}

/** A connection that was welcomed `connectedMs` ago ended. */
export function afterConnection(backoff: ReconnectBackoff, connectedMs: number): ReconnectBackoff {
  if (connectedMs >= healthyAfterMs) return freshBackoff;
  return { attempts: Math.min(backoff.attempts, attemptsAfterFlap) };
}
