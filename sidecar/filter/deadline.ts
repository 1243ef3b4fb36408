import { Code } from "../../proto/code.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { continueCall, type Filter, type FilterVerdict, type MeshCall } from "./filter.ts";

/** Patience granted to a call whose client sent no `grpc-timeout`. */
export const deadlineMsDefault = 30_000;

/** No call is served longer than this, whatever its client asks (streams that stay open are not calls in this sense). */
export const deadlineMsMax = 24 * 3_600_000;

/** When an answer must be out at the latest. `clientDeadlineMs` is Infinity where the client set none. Monotonic. */
export function effectiveDeadlineMs(nowMs: number, clientDeadlineMs: number, fallbackMs = deadlineMsDefault): number {
  if (clientDeadlineMs === Number.POSITIVE_INFINITY) return nowMs + fallbackMs;
  return Math.min(clientDeadlineMs, nowMs + deadlineMsMax);
}

/** Taken off a deadline when a broker is asked, so that the answer still reaches the client. */
export const answerReserveMs = 50;

/** Whether a broker may be asked once more for `call` and answer in time. */
export function hasTimeFor(call: MeshCall, clock: Clock): boolean {
  return clock.monotonicMs() + 2 * answerReserveMs < call.deadlineMs;
}

/** Answers calls that have no time left, before anything is done for them: after a stall there may be many. */
export class DeadlineFilter implements Filter {
  readonly name = "deadline";
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  onCall(call: MeshCall): FilterVerdict {
    return this.#clock.monotonicMs() < call.deadlineMs ? continueCall : expired;
  }
}

const expired: FilterVerdict = {
  kind: "answer",
  code: Code.ProxyTimeout,
  message: "the deadline of this call passed before the sidecar could serve it; allow more time or send less",
};
