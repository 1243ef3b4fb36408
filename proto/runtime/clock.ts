/**
 * The one door through which time enters. No other file reads a clock or sets a timer; a test that hands in a
 * manual clock therefore controls all of a process' time.
 */
export interface Clock {
  /** Wall clock, milliseconds since 1970. Only for store timestamps, delay targets and what people read. */
  wallMs(): number;
  /** Monotonic clock, milliseconds since the machine booted; never steps back. Deadlines and leases run on it. */
  monotonicMs(): number;
  /** Names this boot of the machine. Monotonic times of two boots must not be compared. */
  readonly bootId: string;
  /** Runs `action` once, `delayMs` from now (0 to 2^31-1). */
  after(delayMs: number, action: () => void): Timer;
  /** Runs `action` every `periodMs` until cancelled. */
  every(periodMs: number, action: () => void): Timer;
  /** Runs `action` after the I/O callbacks of this turn of the event loop: the point at which a turn's output leaves. */
  atTurnEnd(action: () => void): void;
}

/** A pending timer. */
export interface Timer {
  /** Idempotent; does nothing once the timer has fired. */
  cancel(): void;
}

/** Resolves after `delayMs` of `clock`. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.after(delayMs, resolve));
}
