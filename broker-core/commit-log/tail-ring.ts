/**
 * The youngest bytes of the log in memory: what consumers read most is what was written a moment ago, and a read from here
 * takes 0.1 us instead of 1-2. A byte's place is its log position modulo the size, so gaps in the log need no care.
 */
export class TailRing {
  readonly #bytes: Buffer;
  /** Positions at and above are in the ring unless overwritten. */
  readonly #start: number;
  #end: number;

  /** `sizeBytes` 0 keeps nothing. `start` is where the log goes on. */
  constructor(sizeBytes: number, start: number) {
    this.#bytes = Buffer.allocUnsafeSlow(sizeBytes);
    this.#start = start;
    this.#end = start;
  }

  /** Keeps `bytes[0, count)`, which the log holds from `position` on. */
  put(bytes: Buffer, count: number, position: number): void {
    const size = this.#bytes.length;
    const skipped = Math.max(0, count - size);
    let from = skipped;
    while (from < count) {
      const at = (position + from) % size;
      const length = Math.min(count - from, size - at);
      bytes.copy(this.#bytes, at, from, from + length);
      from += length;
    }
    this.#end = position + count;
  }

  /** Where `count` bytes from `position` on stand in `bytes` in one piece; -1 when they do not. */
  indexOf(position: number, count: number): number {
    const size = this.#bytes.length;
    if (position < this.#start || position < this.#end - size || position + count > this.#end) return -1;
    const at = position % size;
    return at + count <= size ? at : -1;
  }

  /** Nothing below is here. */
  get begin(): number {
    return Math.max(this.#start, this.#end - this.#bytes.length);
  }

  get bytes(): Buffer {
    return this.#bytes;
  }
}
