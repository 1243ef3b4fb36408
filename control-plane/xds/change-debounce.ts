import type { Clock, Timer } from "../../proto/runtime/clock.ts";

/** A change alone leaves at the end of its turn; others that follow within this time leave together, this long after the last. */
const quietMs = 50;
/** Under continuous change something leaves this often. */
const delayMsMax = 1_000;

/** Turns many changes into few flushes: the first one at once, what follows closely in one go. */
export class ChangeDebounce {
  readonly #clock: Clock;
  readonly #flush: () => void;
  /** Runs while the last flush is recent or changes wait. */
  #timer: Timer | undefined;
  #isScheduled = false;
  #isDirty = false;
  #firstWaitingMs = 0;
  #isClosed = false;

  constructor(clock: Clock, flush: () => void) {
    this.#clock = clock;
    this.#flush = flush;
  }

  /** Something changed. */
  touch(): void {
    if (this.#isClosed) return;
    if (this.#isScheduled) return;
    if (this.#timer === undefined) {
      this.#isScheduled = true;
      this.#clock.atTurnEnd(() => {
        this.#isScheduled = false;
        this.#run();
      });
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    if (!this.#isDirty) this.#firstWaitingMs = nowMs;
    this.#isDirty = true;
    this.#timer.cancel();
    this.#wait(Math.max(0, Math.min(quietMs, this.#firstWaitingMs + delayMsMax - nowMs)));
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #run(): void {
    if (this.#isClosed) return;
    this.#isDirty = false;
    this.#wait(quietMs);
    this.#flush();
  }

  #wait(delayMs: number): void {
    this.#timer = this.#clock.after(Math.ceil(delayMs), () => {
      this.#timer = undefined;
      if (this.#isDirty) this.#run();
    });
  }
}
