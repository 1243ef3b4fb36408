/**
 * Decides which endpoints get no sends for a while. Pure: time comes in, verdicts go out. Receives are never ejected, the
 * messages of a broker are only there.
 */

/** Consecutive transport failures that eject an endpoint. */
export const ejectAfterFailures = 5;
/** The n-th ejection lasts n times this long ... */
export const ejectionBaseMs = 30_000;
/** ... but never longer than this. */
export const ejectionMaxMs = 300_000;
/** Share of all endpoints that may be ejected at the same time. */
export const ejectedShareMax = 0.5;

/** What the detector remembers of one endpoint. Replaced, never edited. */
export interface OutlierState {
  readonly consecutiveFailures: number;
  /** Ejections so far; falls by one for each `ejectionBaseMs` spent without being ejected. */
  readonly ejections: number;
  /** Monotonic; in the past: not ejected. */
  readonly ejectedUntilMs: number;
}

export const innocent: OutlierState = { consecutiveFailures: 0, ejections: 0, ejectedUntilMs: 0 };

export function isEjected(state: OutlierState, nowMs: number): boolean {
  return nowMs < state.ejectedUntilMs;
}

/** Whether one more of `endpointCount` endpoints may be ejected while `ejectedCount` are: never the last, at most half. */
export function mayEject(endpointCount: number, ejectedCount: number): boolean {
  return ejectedCount + 1 < endpointCount && (ejectedCount + 1) / endpointCount <= ejectedShareMax;
}

/** The endpoint answered, whatever the answer says. */
export function afterSuccess(state: OutlierState): OutlierState {
  return state.consecutiveFailures === 0 ? state : { ...state, consecutiveFailures: 0 };
}

/**
 * A send failed on the way: no connection, connection lost, no answer in time. `mayEjectNow` is asked only when the
 * endpoint has failed often enough; if it says no, the next failure asks again.
 */
export function afterFailure(state: OutlierState, nowMs: number, mayEjectNow: () => boolean): OutlierState {
  const consecutiveFailures = state.consecutiveFailures + 1;
  // Calls that were under way when the endpoint was ejected do not make it worse.
  if (isEjected(state, nowMs)) return state;
  if (consecutiveFailures < ejectAfterFailures || !mayEjectNow()) return { ...state, consecutiveFailures };
  const ejections = forgiven(state, nowMs) + 1;
  const durationMs = Math.min(ejectionBaseMs * ejections, ejectionMaxMs);
  return { consecutiveFailures: 0, ejections, ejectedUntilMs: nowMs + durationMs };
}

/** Ejections that still count. */
function forgiven(state: OutlierState, nowMs: number): number {
  if (state.ejections === 0) return 0;
  return Math.max(0, state.ejections - Math.floor((nowMs - state.ejectedUntilMs) / ejectionBaseMs));
}
