import { Code } from "../../proto/code.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { LimitTable } from "../limit/limit-table.ts";
import { continueCall, type Filter, type FilterVerdict, type MeshCall } from "./filter.ts";

/**
 * A refusal is held back until its client may send again, within this: SDKs send again at once, three times in all, and would
 * otherwise use up their attempts in no time. Well below the 3 s that they wait for an answer.
 */
export const refusalDelayMsMax = 300;

/** Soon this sidecar has its share. */
const noShareDelayMs = 50;

/**
 * Refuses sends that a rate limit does not let through (docs/rate-limits.md). All limits that match must let it through, and
 * only then is anything taken of any. Receives are not refused but paced: sidecar/limit/receive-pace.ts.
 */
export class RateLimitFilter implements Filter {
  readonly name = "rate-limit";
  readonly #limits: LimitTable;
  readonly #clock: Clock;

  constructor(limits: LimitTable, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  onCall(call: MeshCall): FilterVerdict {
    if (this.#limits.isEmpty || call.rpc !== "SendMessage") return continueCall;
    const limiters = this.#limits.forSend(call.namespace, call.topic);
    if (limiters.length === 0) return continueCall;
    const { clientId, messageCount, requestBytes } = call;
    const nowMs = this.#clock.monotonicMs();
    for (let i = 0; i < limiters.length; i++) {
      const limiter = limiters[i]!;
      if (!limiter.isFor(clientId) || limiter.admits(messageCount, requestBytes, nowMs)) continue;
      limiter.refuse(messageCount, requestBytes);
      const waitMs = limiter.waitMs(messageCount, requestBytes, nowMs);
      return {
        kind: "answer",
        code: Code.TooManyRequests,
        message: limiter.refusalText(waitMs),
        delayMs: Number.isFinite(waitMs) ? Math.min(refusalDelayMsMax, Math.ceil(waitMs)) : noShareDelayMs,
      };
    }
    for (let i = 0; i < limiters.length; i++) {
      const limiter = limiters[i]!;
      if (limiter.isFor(clientId)) limiter.take(messageCount, requestBytes);
    }
    return continueCall;
  }
}
