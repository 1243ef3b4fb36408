/** Of one read: as many as a filtered scan looks at in one go. */
const placesMax = 512;
/** What is read ahead for one read; the rest is read when it is needed. */
const placesBytesMax = 4 * 1024 * 1024;

/** Where in the log a read is going to look, oldest first or not. Reused; filled by whoever knows the index. */
export class LogPlaces {
  count = 0;
  readonly positions = new Float64Array(placesMax);
  /** Bytes from the position on that the read may want, about. */
  readonly lengths = new Float64Array(placesMax);
  readonly #isCold: (position: number) => boolean;
  #bytes = 0;

  /** `isCold`: whether a position needs reading ahead. Where the first one does not, none is asked for. */
  constructor(isCold: (position: number) => boolean) {
    this.#isCold = isCold;
  }

  /** There is something, and it is old. */
  get areCold(): boolean {
    return this.count > 0 && this.#isCold(this.positions[0]!);
  }

  clear(): void {
    this.count = 0;
    this.#bytes = 0;
  }

  /** False when no more is taken. */
  add(position: number, length: number): boolean {
    this.positions[this.count] = position;
    this.lengths[this.count++] = length;
    this.#bytes += length;
    if (this.count === 1 && !this.#isCold(position)) return false;
    return this.count < placesMax && this.#bytes < placesBytesMax;
  }
}
