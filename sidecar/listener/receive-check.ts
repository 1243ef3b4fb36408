import { Code } from "../../proto/code.ts";
import type { Refusal } from "../filter/resource-name.ts";
import { autoRenewInvisibleMs } from "./auto-renewal.ts";

/** Limits of the v2 API. */
export const batchMax = 32;
export const invisibleMsMin = 10_000;
export const invisibleMsMax = 12 * 3_600_000;
export const longPollMsMax = 20_000;
export const filterTagsMax = 128;
export const filterBytesMax = 2_048;

/** A poll ends this long before its caller's deadline, so that the answer, empty or not, is there in time. */
export const pollReserveMs = 200;

/** Numbers of enum FilterType. Unspecified counts as TAG. */
export const FilterType = { Tag: 1, Sql: 2 } as const;

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

/** Undefined when the filter can be applied. The broker looks at SQL more closely. */
export function refuseFilter(type: number, expression: string): Refusal | undefined {
  if (expression.length > filterBytesMax) {
    return illegalFilter(`is longer than ${filterBytesMax} characters`);
  }
  if (type === FilterType.Sql) {
    return expression.trim() === "" ? illegalFilter("is empty, which SQL does not allow") : undefined;
  }
  const trimmed = expression.trim();
  if (trimmed === "" || trimmed === "*") return undefined;
  const tags = trimmed.split("||").filter((tag) => tag.trim() !== "");
  if (tags.length === 0) return illegalFilter("holds separators but no tag");
  return tags.length > filterTagsMax
    ? illegalFilter(`names ${tags.length} tags, ${filterTagsMax} are allowed`)
    : undefined;
}

function illegalFilter(what: string): Refusal {
  return { code: Code.IllegalFilterExpression, message: `the filter expression ${what}` };
}
