import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Segment } from "./segment.ts";

export interface GroupSyncEvents {
  /**
   * A sync has ended after `seconds`. What is written in this call goes with the sync that begins next, if one is wanted, and
   * does not have to wait for the one after.
   */
  ended(seconds: number): void;
  /** Everything below `position` is on disk. */
  durable(position: number): void;
  failed(error: unknown): void;
}

/**
 * Group commit: exactly one fdatasync at a time; whatever is written meanwhile is the next group. Files are synced in the
 * order of the log, so that "durable" always means everything below a position. A sync begins at once only for what somebody
 * wants on disk: one for a hand-out alone, which nobody waits for, would hold up the ack that follows it by its whole length.
 */
export class GroupSync {
  /** Written and not known to be on disk: an older file first, the one in use last. */
  readonly #unsynced: { segment: Segment; end: number }[] = [];
  readonly #clock: Clock;
  readonly #lazyMs: number;
  readonly #events: GroupSyncEvents;
  #durable: number;
  #wanted = 0;
  #target = 0;
  #busy = false;
  #stopped = false;
  #startedMs = 0;
  #lazyTimer: Timer | undefined;
  #idle: (() => void) | undefined;

  /** `lazyMs`: so long what nobody wants on disk may stay in the page cache. */
  constructor(durable: number, clock: Clock, lazyMs: number, events: GroupSyncEvents) {
    this.#durable = durable;
    this.#clock = clock;
    this.#lazyMs = lazyMs;
    this.#events = events;
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

  /** Something is wanted on disk that is not there. */
  get isWanted(): boolean {
    return this.#wanted > this.#durable;
  }

  /** How long the sync under way has taken; 0 when there is none. */
  get ageMs(): number {
    return this.#busy ? this.#clock.monotonicMs() - this.#startedMs : 0;
  }

  /** `segment` now holds the log up to `end`. Nothing is synced before `start`. */
  wrote(segment: Segment, end: number): void {
    const last = this.#unsynced.at(-1);
    if (last?.segment === segment) last.end = end;
    else this.#unsynced.push({ segment, end });
  }

  /** Everything below `position` shall be on disk as soon as it is written and `start` is called. */
  want(position: number): void {
    if (position > this.#wanted) this.#wanted = position;
  }

  /**
   * Begins a sync if one is wanted, unless one is under way; that one then begins the next itself. What is written and not
   * wanted is synced within `lazyMs`.
   */
  start(): void {
    const first = this.#unsynced[0];
    if (first === undefined || this.#busy || this.#stopped) return;
    if (!this.isWanted) {
      this.#lazyTimer ??= this.#clock.after(this.#lazyMs, this.#startLazily);
      return;
    }
    this.#busy = true;
    this.#startedMs = this.#clock.monotonicMs();
    // Taken before the call: what is written while the disk works may or may not be covered by it.
    this.#target = first.end;
    first.segment.file.sync().then(this.#synced, this.#failed);
  }

  /** The same for everything written so far. */
  startAll(): void {
    this.want(this.#unsynced.at(-1)?.end ?? 0);
    this.start();
  }

  /** Nothing is called back any more. */
  stop(): void {
    this.#stopped = true;
    this.#lazyTimer?.cancel();
  }

  /** Resolves when everything written so far is on disk. */
  drain(): Promise<void> {
    this.startAll();
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => (this.#idle = resolve));
  }

  readonly #startLazily = (): void => {
    this.#lazyTimer = undefined;
    this.startAll();
  };

  readonly #synced = (): void => {
    if (this.#stopped) return;
    const seconds = this.ageMs / 1000;
    this.#busy = false;
    this.#durable = this.#target;
    if (this.#unsynced[0]!.end === this.#target) this.#unsynced.shift();
    this.#events.ended(seconds);
    // It wrote, and the disk failed.
    if (this.#stopped) return;
    this.start();
    this.#events.durable(this.#durable);
    if (this.isIdle) this.#idle?.();
  };

  /** Never tried again: the kernel may have dropped the pages and would answer the next call with success (B12). */
  readonly #failed = (error: unknown): void => {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#lazyTimer?.cancel();
    this.#events.failed(error);
  };
}
