import type { Code } from "../../proto/code.ts";

/** What a filter sees of a call: a plain value made at the edge; no HTTP object gets further than the listener. */
export interface MeshCall {
  /** Method name, for example "SendMessage". */
  readonly rpc: string;
  readonly clientId: string;
  readonly remoteAddress: string;
  /** Effective namespace, topic and group; "" where the call names none. */
  readonly namespace: string;
  readonly topic: string;
  readonly group: string;
  /** Size of the request message in bytes. */
  readonly requestBytes: number;
  /** Messages that a send holds; 0 of any other call, and of one that could not be read. */
  readonly messageCount: number;
  /** Monotonic. */
  readonly startedMs: number;
  readonly deadlineMs: number;
  /** Filled in by the stages that decide it; read by the access log. "" until then. */
  lane: string;
  cluster: string;
  attempts: number;
}

/** What a filter decides about a call on its way in. */
export type FilterVerdict =
  | { readonly kind: "continue" }
  | {
      readonly kind: "answer";
      readonly code: Code;
      readonly message: string;
      /** How long the answer to a call that is to come again later is held back at least. */
      readonly delayMs?: number;
    };

export const continueCall: FilterVerdict = { kind: "continue" };

/**
 * One step of request handling (docs/filter-chain.md). Filters run in order on the way in and in reverse on the way out; one
 * that answers itself ends the way in. They are synchronous and keep no state of a call outside `MeshCall`.
 */
export interface Filter {
  readonly name: string;
  onCall(call: MeshCall): FilterVerdict;
  /** The call's answer, whoever gave it. */
  onAnswer?(call: MeshCall, code: Code): void;
}
