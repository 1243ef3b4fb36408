import { Code } from "../../proto/code.ts";
import { FilterCache } from "../../proto/filter/filter-cache.ts";
import { readFilterExpression } from "../../proto/filter/filter-expression.ts";
import type { Refusal } from "../filter/resource-name.ts";
import { autoRenewInvisibleMs } from "./auto-renewal.ts";

/** Limits of the v2 API. */
export const batchMax = 32;
export const invisibleMsMin = 10_000;
export const invisibleMsMax = 12 * 3_600_000;
export const longPollMsMax = 20_000;

/** A poll ends this long before its caller's deadline, so that the answer, empty or not, is there in time. */
export const pollReserveMs = 200;

export function batchOf(requested: number): number {
  return Math.min(batchMax, Math.max(1, requested));
}

/** The time granted, or why not. `requestedMs` undefined: the request names none. */
export function invisibleMsOf(autoRenew: boolean, requestedMs: number | undefined): number | Refusal {
  if (autoRenew) return autoRenewInvisibleMs;
  if (requestedMs === undefined || requestedMs < invisibleMsMin || requestedMs > invisibleMsMax) {
    return {
      code: Code.IllegalInvisibleTime,
      message: `the invisible duration must be from 10 s to 12 h${requestedMs === undefined ? "; the request has none" : `, not ${requestedMs} ms`}`,
    };
  }
  return requestedMs;
}

/** Undefined when a change of the invisible time may have this duration. */
export function refuseChangedInvisibleMs(requestedMs: number): Refusal | undefined {
  if (requestedMs >= 0 && requestedMs <= invisibleMsMax) return undefined;
  return {
    code: Code.IllegalInvisibleTime,
    message: `the invisible duration must be from 0 to 12 h, not ${requestedMs} ms`,
  };
}

/**
 * How long a poll waits for messages. As asked; SDKs that do not ask leave it to be derived from their deadline, which is
 * the poll plus the time of an ordinary call. Only ever shortened: to 20 s, and so that it ends before the caller gives up.
 *
 * @param remainingMs until the caller's deadline; Infinity without one
 */
export function pollMsOf(requestedMs: number | undefined, remainingMs: number, requestTimeoutMs: number): number {
  let pollMs = longPollMsMax;
  if (requestedMs !== undefined) pollMs = requestedMs;
  else if (remainingMs !== Number.POSITIVE_INFINITY) pollMs = remainingMs - requestTimeoutMs / 2;
  return Math.max(0, Math.floor(Math.min(pollMs, longPollMsMax, remainingMs - pollReserveMs)));
}

/** What was said of each expression: clients send theirs with every poll. */
const filterRefusals = new FilterCache((type, expression): Refusal | "fine" => {
  const read = readFilterExpression(type, expression);
  return read.ok ? "fine" : { code: Code.IllegalFilterExpression, message: read.message };
});

/** Undefined when the filter can be applied. The broker reads it with the same code and refuses the same. */
export function refuseFilter(type: number, expression: string): Refusal | undefined {
  const refusal = filterRefusals.get("", type, expression);
  return refusal === "fine" ? undefined : refusal;
}
