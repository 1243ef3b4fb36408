import type { Segment } from "./segment.ts";

/**
 * Group commit: exactly one fdatasync at a time; whatever is written meanwhile is the next group. Files are synced in the
 * order of the log, so that "durable" always means everything below a position.
 */
export class GroupSync {
  /** Written and not known to be on disk: an older file first, the one in use last. */
  readonly #unsynced: { segment: Segment; end: number }[] = [];
  readonly #onDurable: (position: number) => void;
  readonly #onFailure: (error: unknown) => void;
  #durable: number;
  #target = 0;
  #busy = false;
  #stopped = false;
  #idle: (() => void) | undefined;

  constructor(durable: number, onDurable: (position: number) => void, onFailure: (error: unknown) => void) {
    this.#durable = durable;
    this.#onDurable = onDurable;
    this.#onFailure = onFailure;
  }

  /** Everything below is on disk. */
  get durable(): number {
    return this.#durable;
  }

  get isBusy(): boolean {
    return this.#busy;
  }

  get isIdle(): boolean {
    return !this.#busy && this.#unsynced.length === 0;
  }

  /** `segment` now holds the log up to `end`. Nothing is synced before `start`. */
  wrote(segment: Segment, end: number): void {
    const last = this.#unsynced.at(-1);
    if (last?.segment === segment) last.end = end;
    else this.#unsynced.push({ segment, end });
  }

  /** Begins a sync unless one is under way; that one then begins the next itself. */
  start(): void {
    const first = this.#unsynced[0];
    if (first === undefined || this.#busy || this.#stopped) return;
    this.#busy = true;
    // Taken before the call: what is written while the disk works may or may not be covered by it.
    this.#target = first.end;
    first.segment.file.sync().then(this.#synced, this.#failed);
  }

  /** Nothing is called back any more. */
  stop(): void {
    this.#stopped = true;
  }

  /** Resolves when everything written so far is on disk. */
  drain(): Promise<void> {
    this.start();
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => (this.#idle = resolve));
  }

  readonly #synced = (): void => {
    this.#busy = false;
    if (this.#stopped) return;
    this.#durable = this.#target;
    if (this.#unsynced[0]!.end === this.#target) this.#unsynced.shift();
    this.start();
    this.#onDurable(this.#durable);
    if (this.isIdle) this.#idle?.();
  };

  /** Never tried again: the kernel may have dropped the pages and would answer the next call with success (B12). */
  readonly #failed = (error: unknown): void => {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#onFailure(error);
  };
}
