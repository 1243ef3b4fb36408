import { FrameKind } from "../../../proto/frame/frame.ts";

/** What one upstream may have open; `CircuitLimits` of the cluster stage has these fields. */
export interface BrokerCoreLimits {
  /** Sends on the wire. */
  readonly sendsInFlightMax: number;
  /** Calls, receives apart, that wait for a connection, an opened name or a window. */
  readonly pendingMax: number;
  /** Bytes of sends that wait. */
  readonly pendingBytesMax: number;
}

/** Counts the calls that wait, so that they stay bounded. Receives are bounded elsewhere and counted apart. */
export class PendingCalls {
  readonly #limits: BrokerCoreLimits;
  #calls = 0;
  #receives = 0;
  #bytes = 0;

  constructor(limits: BrokerCoreLimits) {
    this.#limits = limits;
  }

  /** All that wait, receives included. */
  get count(): number {
    return this.#calls + this.#receives;
  }

  /** What there is too much of for one more; undefined when there is room. `bytes`: of a send, else 0. */
  excess(kind: number, bytes: number): "calls" | "bytes" | undefined {
    if (kind === FrameKind.Receive) return undefined;
    if (this.#calls >= this.#limits.pendingMax) return "calls";
    return this.#bytes + bytes > this.#limits.pendingBytesMax && this.#calls > 0 ? "bytes" : undefined;
  }

  enter(kind: number, bytes: number): void {
    if (kind === FrameKind.Receive) this.#receives++;
    else this.#calls++;
    this.#bytes += bytes;
  }

  leave(kind: number, bytes: number): void {
    if (kind === FrameKind.Receive) this.#receives--;
    else this.#calls--;
    this.#bytes -= bytes;
  }
}
