/**
 * Questions, and rollbacks of what is given up, in one window: 1 000 a second, so that a fleet that left a million transactions
 * open is not buried in questions, and no turn of the broker becomes long.
 */
export const checksPerWindowMax = 100;
export const checkWindowMs = 100;

/** How fast that goes. Not part of the derived state: it decides when, never whether. */
export class CheckPace {
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #count = 0;

  /** Whether another one may go now. */
  allows(nowMs: number): boolean {
    if (nowMs - this.#windowStartMs >= checkWindowMs) {
      this.#windowStartMs = nowMs;
      this.#count = 0;
    }
    return this.#count < checksPerWindowMax;
  }

  counted(): void {
    this.#count++;
  }

  /** Before this nothing may go; in the past unless the window is used up. */
  get nextMs(): number {
    return this.#count < checksPerWindowMax ? Number.NEGATIVE_INFINITY : this.#windowStartMs + checkWindowMs;
  }
}
