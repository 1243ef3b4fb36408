/**
 * Receives are never sent elsewhere, because a broker's messages are only there. While a broker cannot be reached they
 * are held back instead, with one probe at a time, so that a thousand polling clients are not a thousand attempts.
 * Pure: time and chance come in.
 */
export const receiveBackoffMinMs = 100;
export const receiveBackoffMaxMs = 10_000;
/** A probe that has not been reported on for this long no longer blocks the next one. */
export const probeLostAfterMs = 30_000;

export interface ReceiveBackoff {
  readonly consecutiveFailures: number;
  /** Monotonic time from which one receive may try. */
  readonly nextProbeMs: number;
}

export const noBackoff: ReceiveBackoff = { consecutiveFailures: 0, nextProbeMs: 0 };

export type ReceiveAdmission =
  | { readonly kind: "go" }
  /** This receive is the probe. */
  | { readonly kind: "probe"; readonly state: ReceiveBackoff }
  /** Ask again, or answer with nothing, in `waitMs`. */
  | { readonly kind: "wait"; readonly waitMs: number };

const go: ReceiveAdmission = { kind: "go" };

export function admitReceive(state: ReceiveBackoff, nowMs: number): ReceiveAdmission {
  if (state.consecutiveFailures === 0) return go;
  if (nowMs < state.nextProbeMs) return { kind: "wait", waitMs: state.nextProbeMs - nowMs };
  return { kind: "probe", state: { ...state, nextProbeMs: nowMs + probeLostAfterMs } };
}

export function afterReceiveSuccess(state: ReceiveBackoff): ReceiveBackoff {
  return state.consecutiveFailures === 0 ? state : noBackoff;
}

/** `fraction` is uniform in [0, 1). Failures of receives that were under way together count once per backoff step. */
export function afterReceiveFailure(
  state: ReceiveBackoff,
  nowMs: number,
  wasProbe: boolean,
  fraction: number,
): ReceiveBackoff {
  if (state.consecutiveFailures > 0 && !wasProbe) return state;
  const consecutiveFailures = state.consecutiveFailures + 1;
  const ceilingMs = Math.min(receiveBackoffMaxMs, receiveBackoffMinMs * 2 ** (consecutiveFailures - 1));
  return { consecutiveFailures, nextProbeMs: nowMs + Math.max(receiveBackoffMinMs / 2, fraction * ceilingMs) };
}
