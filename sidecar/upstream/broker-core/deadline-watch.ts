import type { Clock, Timer } from "../../../proto/runtime/clock.ts";
import { DeadlineWheel, deadlineTickMs } from "./deadline-wheel.ts";

/** The wheel of deadlines with the one timer that turns it; the timer rests while nothing is armed. */
export class DeadlineWatch {
  readonly #clock: Clock;
  readonly #wheel: DeadlineWheel;
  readonly #turn: () => void;
  #timer: Timer | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  /** `fire` is called for each slot whose deadline is about to be missed. */
  constructor(clock: Clock, fire: (slot: number) => void) {
    this.#clock = clock;
    this.#wheel = new DeadlineWheel(clock.monotonicMs());
    this.#turn = () => {
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.#wheel.advance(this.#clock.monotonicMs(), fire);
      this.#setTimer();
    };
  }

  grow(capacity: number): void {
    this.#wheel.grow(capacity);
  }

  /** Arms `slot`, or moves its deadline. */
  arm(slot: number, deadlineMs: number): void {
    this.#wheel.arm(slot, deadlineMs);
    // A timer set for later than this deadline would miss it.
    if (deadlineMs - deadlineTickMs < this.#timerMs) this.#setTimer();
  }

  disarm(slot: number): void {
    this.#wheel.disarm(slot);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #setTimer(): void {
    const dueMs = this.#wheel.nextMs();
    if (dueMs >= this.#timerMs) return;
    this.#timer?.cancel();
    this.#timerMs = dueMs;
    const delayMs = Math.max(1, Math.ceil(dueMs - this.#clock.monotonicMs()));
    this.#timer = this.#clock.after(delayMs, this.#turn);
  }
}
