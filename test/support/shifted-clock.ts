import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";

/** The machine's clock, with the date of a test's choice, also while it runs, and of another boot. */
export class ShiftedClock implements Clock {
  readonly bootId: string;
  readonly #clock = new NodeClock();
  #shiftMs: number;

  constructor(wallMs: number, bootId: string) {
    this.bootId = bootId;
    this.#shiftMs = wallMs - this.#clock.wallMs();
  }

  wallMs(): number {
    return this.#clock.wallMs() + this.#shiftMs;
  }

  /** Somebody sets the wall clock; the monotonic one does not notice. */
  jumpWall(byMs: number): void {
    this.#shiftMs += byMs;
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs();
  }

  after(delayMs: number, action: () => void): Timer {
    return this.#clock.after(delayMs, action);
  }

  every(periodMs: number, action: () => void): Timer {
    return this.#clock.every(periodMs, action);
  }

  atTurnEnd(action: () => void): void {
    this.#clock.atTurnEnd(action);
  }
}
