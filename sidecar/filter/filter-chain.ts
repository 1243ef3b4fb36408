import type { Code } from "../../proto/code.ts";
import { continueCall, type Filter, type FilterVerdict, type MeshCall } from "./filter.ts";

/**
 * The fixed list of filters of a sidecar (docs/filter-chain.md). `enter` runs them in order; `leave` tells those that were
 * passed, in reverse. One chain serves all calls and keeps nothing of them.
 */
export class FilterChain {
  readonly #filters: readonly Filter[];

  constructor(filters: readonly Filter[]) {
    this.#filters = filters;
  }

  /** When a filter answers, the filters passed before it have been told already: do not `leave` such a call. */
  enter(call: MeshCall): FilterVerdict {
    const filters = this.#filters;
    for (let i = 0; i < filters.length; i++) {
      const verdict = filters[i]!.onCall(call);
      if (verdict.kind === "answer") {
        this.#leaveFrom(i - 1, call, verdict.code);
        return verdict;
      }
    }
    return continueCall;
  }

  /** Exactly once per call that `enter` let through, also when the client gave up (`Code.RequestTimeout`). */
  leave(call: MeshCall, code: Code): void {
    this.#leaveFrom(this.#filters.length - 1, call, code);
  }

  #leaveFrom(last: number, call: MeshCall, code: Code): void {
    for (let i = last; i >= 0; i--) this.#filters[i]!.onAnswer?.(call, code);
  }
}
