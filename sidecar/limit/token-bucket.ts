/** Sums of small steps must not miss a whole token by a rounding error. */
const slack = 1e-9;

/**
 * A token bucket: `ratePerSecond` tokens come in each second, `capacity` at most are kept. Something that costs more than the bucket
 * holds passes when it is full and leaves a debt, so that no size is shut out for ever and the rate holds in the long run. A pure
 * function of the times it is given (monotonic milliseconds); it makes nothing per call.
 *
 * What is not known beforehand is reserved and settled later: reserved tokens are still in the bucket, so what was reserved and
 * what is taken meanwhile never exceed its capacity together, but for one token of each reservation that found all others reserved.
 */
export class TokenBucket {
  #ratePerMs = 0;
  #capacity = 0;
  #tokens: number;
  #reserved = 0;
  #atMs: number;

  /** Begins with `tokens`, of which it keeps what its first rate allows. */
  constructor(tokens: number, nowMs: number) {
    this.#tokens = tokens;
    this.#atMs = nowMs;
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Another rate from now on. What is in the bucket stays, up to the new capacity: a rate that rises gives nothing for the past. */
  setRate(ratePerSecond: number, burstMs: number, nowMs: number): void {
    this.#refill(nowMs);
    this.#ratePerMs = ratePerSecond / 1_000;
    this.#capacity = this.#ratePerMs * burstMs;
    // Without a rate nothing passes; what comes first when there is one again need not wait.
    this.#tokens = Math.min(this.#tokens, ratePerSecond === 0 ? 1 : this.#capacity);
  }

  /** Whether `cost` may pass now. */
  admits(cost: number, nowMs: number): boolean {
    this.#refill(nowMs);
    return this.#capacity > 0 && this.#tokens >= Math.min(cost, this.#capacity) - slack;
  }

  take(cost: number): void {
    this.#tokens -= cost;
  }

  /** How long until `cost` may pass if nothing else does; Infinity without a rate. */
  waitMs(cost: number, nowMs: number): number {
    this.#refill(nowMs);
    const missing = Math.min(cost, this.#capacity) - this.#tokens;
    if (this.#ratePerMs === 0) return Number.POSITIVE_INFINITY;
    return missing <= slack ? 0 : missing / this.#ratePerMs;
  }

  /**
   * How much of `most` (1 or more) may be reserved now; 0: nothing. Half of what is free, so that whoever comes next finds
   * something too; one where everything is reserved but nothing came of it yet.
   */
  reservable(most: number, nowMs: number): number {
    this.#refill(nowMs);
    const least = Math.min(1, this.#capacity);
    if (this.#capacity === 0 || this.#tokens < least - slack) return 0;
    return Math.min(most, Math.max(1, Math.floor((this.#tokens - this.#reserved) / 2)));
  }

  reserve(amount: number): void {
    this.#reserved += amount;
  }

  /** What was reserved is over; `used` of it, or more, was needed. */
  settle(reserved: number, used: number): void {
    this.#reserved -= reserved;
    this.#tokens -= used;
  }

  #refill(nowMs: number): void {
    if (nowMs <= this.#atMs) return;
    if (this.#ratePerMs > 0) {
      this.#tokens = Math.min(this.#capacity, this.#tokens + (nowMs - this.#atMs) * this.#ratePerMs);
    }
    this.#atMs = nowMs;
  }
}
