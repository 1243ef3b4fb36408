const tickMs = 5;
/** What one tick counts at most: a process that was given no processor for half a second has not waited for half a second. */
const tickMsMax = 2 * tickMs;

/**
 * Tells "at once" from "when some timer ran out" on a busy machine too: milliseconds in which this process could run. Where the tested
 * code runs in the process of the test, its timers and its work have been held up as much as this clock was. Never more than the
 * time on the wall, so it is for upper bounds only.
 */
export class Stopwatch {
  #ms = 0;
  #lastMs = performance.now();
  readonly #timer = setInterval(() => this.#tick(), tickMs);

  /** Ends it; the milliseconds that ran. */
  stop(): number {
    this.#tick();
    clearInterval(this.#timer);
    return this.#ms;
  }

  #tick(): void {
    const now = performance.now();
    this.#ms += Math.min(now - this.#lastMs, tickMsMax);
    this.#lastMs = now;
  }
}
