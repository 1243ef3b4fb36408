import assert from "node:assert/strict";

/** What one sidecar may have open towards its brokers. Beyond it calls are answered at once instead of queued. */
export interface CircuitLimits {
  /** Sends on the wire per broker. */
  readonly sendsInFlightMax: number;
  /** Calls per broker that wait for a window, a connection or an opened name. */
  readonly pendingMax: number;
  /** Request bytes that wait, per broker. */
  readonly pendingBytesMax: number;
  /** Receives of the whole process that wait for messages. */
  readonly longPollsMax: number;
}

export const defaultCircuitLimits: CircuitLimits = Object.freeze({
  sendsInFlightMax: 256,
  pendingMax: 1024,
  pendingBytesMax: 32 * 1024 * 1024,
  longPollsMax: 100_000,
});

// A burst as large as what is in flight must be able to wait for its turn.
assert.ok(defaultCircuitLimits.pendingMax >= defaultCircuitLimits.sendsInFlightMax);

/** Share of the calls under way that may be retries ... */
export const retryShareMax = 0.2;
/** ... but this many always. */
export const retriesAlways = 3;

/** Keeps retries from turning an outage into a storm: they stay a share of the calls under way. */
export class RetryBudget {
  #calls = 0;
  #retries = 0;

  beginCall(): void {
    this.#calls++;
  }

  endCall(): void {
    this.#calls--;
    assert.ok(this.#calls >= 0, "a call ended that never began");
  }

  /** True: go on, and call `endRetry` after. A call retries at most once; its owner sees to that. */
  tryRetry(): boolean {
    if (this.#retries >= Math.max(retriesAlways, Math.floor(this.#calls * retryShareMax))) return false;
    this.#retries++;
    return true;
  }

  endRetry(): void {
    this.#retries--;
    assert.ok(this.#retries >= 0, "a retry ended that never began");
  }
}

/** A bounded number of places. */
export class PlaceLimit {
  readonly max: number;
  #taken = 0;

  constructor(max: number) {
    this.max = max;
  }

  get taken(): number {
    return this.#taken;
  }

  tryTake(): boolean {
    if (this.#taken >= this.max) return false;
    this.#taken++;
    return true;
  }

  giveBack(): void {
    this.#taken--;
    assert.ok(this.#taken >= 0, "a place was given back that nobody took");
  }
}
