/** How far a wall clock was from the world's time, from a moment on. */
interface Setting {
  readonly fromMs: number;
  readonly offsetMs: number;
}

/** What a wall clock has shown, however often it was set: tells when it stood where. */
export class WallClockHistory {
  readonly #settings: Setting[] = [];

  /** From `fromMs` of the world on it shows `offsetMs` more than the world's time. Called in the order of time. */
  set(fromMs: number, offsetMs: number): void {
    this.#settings.push({ fromMs, offsetMs });
  }

  /** The first moment of the world, not before `sinceMs`, at which the clock was not before `wallMs`; Infinity: never. */
  firstReached(wallMs: number, sinceMs: number): number {
    for (const [fromMs, endMs, offsetMs] of this.#stretches(sinceMs)) {
      const reachedMs = Math.max(fromMs, wallMs - offsetMs);
      if (reachedMs < endMs) return reachedMs;
    }
    return Number.POSITIVE_INFINITY;
  }

  /** The first moment from which the clock was not before `wallMs` any more; Infinity: it is still, or again. */
  reachedForGood(wallMs: number, sinceMs: number): number {
    let forGoodMs = Number.POSITIVE_INFINITY;
    for (const [fromMs, endMs, offsetMs] of this.#stretches(sinceMs)) {
      const reachedMs = wallMs - offsetMs;
      if (reachedMs >= endMs) forGoodMs = Number.POSITIVE_INFINITY;
      else if (reachedMs > fromMs) forGoodMs = reachedMs;
      else forGoodMs = Math.min(forGoodMs, fromMs);
    }
    return forGoodMs;
  }

  /** Whether it stood before `wallMs` at any moment from `fromMs` to `toMs`. */
  wasBefore(wallMs: number, fromMs: number, toMs: number): boolean {
    for (const [startMs, , offsetMs] of this.#stretches(fromMs)) {
      if (startMs <= toMs && startMs + offsetMs < wallMs) return true;
    }
    return false;
  }

  /** From, end (not in it) and offset of each setting that was in force at or after `sinceMs`. */
  *#stretches(sinceMs: number): Generator<readonly [number, number, number]> {
    for (const [i, { fromMs, offsetMs }] of this.#settings.entries()) {
      const endMs = this.#settings[i + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
      if (endMs > sinceMs) yield [Math.max(fromMs, sinceMs), endMs, offsetMs];
    }
  }
}
