/** How a transaction ended. 0: it has not, or nobody knows any more. Part of state images: must not change. */
export const Resolution = {
  None: 0,
  Committed: 1,
  /** As RollbackReason, shifted by one. */
  RolledBack: 2,
  RolledBackAfterCheck: 3,
  ChecksExhausted: 4,
  TooOld: 5,
  /** Its topic was deleted. */
  TopicGone: 6,
  /** Its half message is lost with a damaged part of the log. */
  Lost: 7,
} as const;
export type Resolution = (typeof Resolution)[keyof typeof Resolution];

/** Resolutions remembered: a byte each, in memory and in every checkpoint. At 1 000 transactions/s the last 17 minutes. */
export const resolutionsKept = 1 << 20;
const capacityInitial = 1 << 10;
const unknownRun = 0;

/**
 * How the youngest transactions ended, by number, so that a repeated commit or rollback gets a true answer. Numbers are dense
 * and rise; the ring holds the last `kept` of them. What is older and not open any more is resolved all the same, only how is
 * forgotten.
 *
 * Also which run of the broker gave which number out: a power cut can take half messages whose ids clients hold (with
 * `--flush async`), and the next run gives the same numbers out again.
 */
export class ResolutionRing {
  readonly #kept: number;
  #outcomes = new Uint8Array(capacityInitial);
  /** Numbers from `#low` to below `#next` are in the ring. */
  #low = 1;
  #next = 1;
  /** First number of each run that still has numbers here, and its random number. */
  readonly #firsts: number[] = [];
  readonly #runs: number[] = [];

  /** `kept`: a power of two from 1024 on. */
  constructor(kept = resolutionsKept) {
    this.#kept = kept;
  }

  /** The number that the next transaction gets. */
  get nextNumber(): number {
    return this.#next;
  }

  /** Numbers below are forgotten. */
  get lowNumber(): number {
    return this.#low;
  }

  /** A transaction of this run begins with the next number. */
  begin(run: number): void {
    const number = this.#next;
    if (number - this.#low === this.#outcomes.length) this.#makeRoom();
    this.#next = number + 1;
    this.#outcomes[number & (this.#outcomes.length - 1)] = Resolution.None;
    const last = this.#runs.length - 1;
    // Those before were given out by a run that nobody knew: most likely by this one.
    if (this.#runs[last] === unknownRun) this.#runs[last] = run;
    if (this.#runs.at(-1) !== run) {
      this.#firsts.push(number);
      this.#runs.push(run);
    }
  }

  /** Numbers below `number` were given out by records that are lost, by all that is known by the run before or after them. */
  skipTo(number: number): void {
    // More than is remembered need not be gone through one by one.
    if (number - this.#next > this.#kept) {
      this.#next = number - this.#kept;
      this.#low = this.#next;
      this.#firsts.length = 0;
      this.#runs.length = 0;
    }
    while (this.#next < number) {
      const lost = this.#next;
      this.begin(this.#runs.at(-1) ?? unknownRun);
      this.resolve(lost, Resolution.Lost);
    }
  }

  /** The run that gave a number out, as far as that is known; 0: it is not. */
  runOf(number: number): number {
    let at = this.#firsts.length - 1;
    while (at >= 0 && this.#firsts[at]! > number) at--;
    return this.#runs[at] ?? unknownRun;
  }

  /** Forgotten numbers are ignored. */
  resolve(number: number, resolution: Resolution): void {
    if (number >= this.#low && number < this.#next) this.#outcomes[number & (this.#outcomes.length - 1)] = resolution;
  }

  /** `Resolution.None` for what is open or forgotten. */
  resolution(number: number): Resolution {
    if (number < this.#low || number >= this.#next) return Resolution.None;
    return this.#outcomes[number & (this.#outcomes.length - 1)] as Resolution;
  }

  /** Whether `run` gave `number` out, as far as that is known. */
  isOfRun(number: number, run: number): boolean {
    if (number >= this.#next) return false;
    if (number < this.#low) return true;
    let at = this.#firsts.length - 1;
    while (at > 0 && this.#firsts[at]! > number) at--;
    return this.#runs[at] === run;
  }

  /** The parts of a state image, oldest number first. */
  image(): { readonly low: number; readonly next: number; readonly runs: readonly (readonly [number, number])[] } {
    return { low: this.#low, next: this.#next, runs: this.#firsts.map((first, i) => [first, this.#runs[i]!] as const) };
  }

  copyOutcomes(into: Buffer, at: number): void {
    for (let number = this.#low; number < this.#next; number++) into[at++] = this.resolution(number);
  }

  /** Fills an empty ring with what an image holds. */
  restore(low: number, runs: readonly (readonly [number, number])[], outcomes: Uint8Array): void {
    let length = capacityInitial;
    while (length < outcomes.length) length *= 2;
    this.#outcomes = new Uint8Array(length);
    this.#low = low;
    this.#next = low + outcomes.length;
    for (let i = 0; i < outcomes.length; i++) this.#outcomes[(low + i) & (length - 1)] = outcomes[i]!;
    for (const [first, run] of runs) {
      this.#firsts.push(first);
      this.#runs.push(run);
    }
  }

  #makeRoom(): void {
    const length = this.#outcomes.length;
    if (length < this.#kept) {
      const wider = new Uint8Array(length * 2);
      for (let number = this.#low; number < this.#next; number++) {
        wider[number & (wider.length - 1)] = this.#outcomes[number & (length - 1)]!;
      }
      this.#outcomes = wider;
      return;
    }
    this.#low++;
    while (this.#firsts.length > 1 && this.#firsts[1]! <= this.#low) {
      this.#firsts.shift();
      this.#runs.shift();
    }
  }
}
