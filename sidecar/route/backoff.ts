import type { BackoffPolicy } from "../upstream/upstream.ts";

/** The delay before the next hand-out of a message that was handed out `attempt` times, in milliseconds. */
export function backoffMs(policy: BackoffPolicy, attempt: number): number {
  const step = Math.max(0, attempt - 1);
  if (policy.kind === "list") return policy.delaysMs[Math.min(step, policy.delaysMs.length - 1)] ?? 0;
  return Math.min(policy.maxMs, Math.round(policy.initialMs * policy.multiplier ** step));
}

/** The same policy as a list, for clients that know no other form: until it stops growing, at most `countMax` entries. */
export function backoffList(policy: BackoffPolicy, countMax: number): number[] {
  if (policy.kind === "list") return policy.delaysMs.slice(0, countMax);
  const delays: number[] = [];
  for (let attempt = 1; attempt <= countMax; attempt++) {
    const delayMs = backoffMs(policy, attempt);
    delays.push(delayMs);
    if (delayMs >= policy.maxMs || policy.multiplier <= 1) break;
  }
  return delays;
}

/** The same policy as growth, for clients that know no other form: from the first delay to the longest, doubling. */
export function backoffGrowth(policy: BackoffPolicy): { initialMs: number; maxMs: number; multiplier: number } {
  if (policy.kind === "exponential") return policy;
  const initialMs = policy.delaysMs[0] ?? 1_000;
  return { initialMs, maxMs: Math.max(initialMs, ...policy.delaysMs), multiplier: 2 };
}
