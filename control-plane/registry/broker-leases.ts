import type { Clock, Timer } from "../../proto/runtime/clock.ts";

/**
 * Which brokers are alive: each lives as long as it renews its lease. Leases are memory only. A control plane that comes back
 * gives every broker it knows one whole lease, so that its own absence changes nothing on the data path.
 */
export class BrokerLeases {
  readonly #clock: Clock;
  readonly #onLapse: (brokerName: string) => void;
  readonly #timers = new Map<string, Timer>();
  /** How long a lease lasts, milliseconds. Brokers renew after a third of it. */
  readonly leaseMs: number;

  /** `onLapse` is called when a broker's lease ran out without renewal. */
  constructor(leaseMs: number, clock: Clock, onLapse: (brokerName: string) => void) {
    this.leaseMs = leaseMs;
    this.#clock = clock;
    this.#onLapse = onLapse;
  }

  isAlive(brokerName: string): boolean {
    return this.#timers.has(brokerName);
  }

  /** The lease starts anew. True when the broker was not alive before. */
  renew(brokerName: string): boolean {
    const before = this.#timers.get(brokerName);
    before?.cancel();
    this.#timers.set(
      brokerName,
      this.#clock.after(this.leaseMs, () => {
        this.#timers.delete(brokerName);
        this.#onLapse(brokerName);
      }),
    );
    return before === undefined;
  }

  /** The broker said goodbye: its lease ends without having lapsed. */
  end(brokerName: string): void {
    this.#timers.get(brokerName)?.cancel();
    this.#timers.delete(brokerName);
  }

  close(): void {
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }
}
