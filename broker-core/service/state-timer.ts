import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { BrokerPort, Now } from "../broker-port.ts";

/**
 * Calls `advance` of the state machine when it is due. One timer for all leases and waits: the state machine knows the
 * nearest, and is asked at the end of each turn that touched it.
 */
export class StateTimer {
  readonly #clock: Clock;
  readonly #port: BrokerPort;
  readonly #now: () => Now;
  readonly #look: () => void;
  readonly #advance: () => void;
  #lookScheduled = false;
  #timer: Timer | undefined;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #isStopped = false;

  constructor(clock: Clock, port: BrokerPort, now: () => Now) {
    this.#clock = clock;
    this.#port = port;
    this.#now = now;
    this.#look = () => {
      this.#lookScheduled = false;
      this.#arm();
    };
    this.#advance = () => {
      this.#timer = undefined;
      this.#timerDueMs = Number.POSITIVE_INFINITY;
      if (this.#isStopped) return;
      this.#port.advance(this.#now());
      this.touched();
    };
  }

  /** The state machine was called: its next time may have changed. */
  touched(): void {
    if (this.#lookScheduled || this.#isStopped) return;
    this.#lookScheduled = true;
    this.#clock.atTurnEnd(this.#look);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #arm(): void {
    if (this.#isStopped) return;
    const dueMs = this.#port.nextTimerMs();
    // An earlier timer finds out by itself that nothing is due yet; a later one is of no use.
    if (this.#timer !== undefined && this.#timerDueMs <= dueMs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const delayMs = dueMs - this.#now().monotonicMs;
    if (delayMs <= 0) {
      // An unfinished scan goes on after the I/O of this turn, not a millisecond later.
      this.#timerDueMs = dueMs;
      this.#timer = { cancel() {} };
      this.#clock.atTurnEnd(this.#advance);
      return;
    }
    this.#timerDueMs = dueMs;
    this.#timer = this.#clock.after(Math.min(Math.ceil(delayMs), timerMsMax), this.#advance);
  }
}

/** A lease may last 12 h, a timed message days; the timer of the system takes 2^31 - 1 ms. */
const timerMsMax = 3_600_000;
