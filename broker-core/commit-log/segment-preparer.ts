import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import { type Storage, StorageError } from "../storage/storage.ts";
import { Segment, SegmentDraft, type SegmentHeader } from "./segment.ts";

/** Zeros per step: about 0.2 ms of the event loop. */
const sliceBytes = 256 * 1024;
/** Pause between steps; together about 128 MB/s, and more while the log itself is written faster. */
const slicePauseMs = 2;
/** So many zeros are given to the disk at a time: one sync of them all would hold up the log's own for 100 ms. */
const syncEveryBytes = 4 * 1024 * 1024;

/** Makes the next segment while the current one fills, in slices, so that no append ever waits for it. */
export class SegmentPreparer {
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #onReady: () => void;
  readonly #onFailure: (error: unknown) => void;
  #header: SegmentHeader | undefined;
  #draft: SegmentDraft | undefined;
  #ready: Segment | undefined;
  #obstacle: StorageError | undefined;
  #timer: Timer | undefined;
  #sinceSyncBytes = 0;
  #syncing = false;
  #stopped = false;

  constructor(storage: Storage, clock: Clock, onReady: () => void, onFailure: (error: unknown) => void) {
    this.#storage = storage;
    this.#clock = clock;
    this.#onReady = onReady;
    this.#onFailure = onFailure;
  }

  get ready(): Segment | undefined {
    return this.#ready;
  }

  /** Why the disk does not give the next segment now; undefined while it does. */
  get obstacle(): StorageError | undefined {
    return this.#obstacle;
  }

  /** Begins with the next segment, or takes one that stands already. */
  start(header: SegmentHeader, existing?: Segment): void {
    this.#header = header;
    this.#ready = existing;
    if (existing === undefined) this.#schedule();
  }

  take(): Segment {
    const segment = this.#ready;
    if (segment === undefined) throw new Error("no segment is ready");
    this.#ready = undefined;
    return segment;
  }

  /** The log was written `bytes` further: stay twice as fast. */
  keepPace(bytes: number): void {
    if (this.#draft !== undefined && !this.#syncing) this.#step(Math.min(2 * bytes, 4 * sliceBytes));
  }

  /** Tries again after an obstacle; for a probe every second. */
  probe(): void {
    const header = this.#header;
    if (this.#obstacle === undefined || header === undefined || this.#stopped) return;
    if (this.#storage.freeBytes() >= header.capacityBytes) this.#step(sliceBytes);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    if (this.#syncing) return;
    this.#discard();
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(slicePauseMs, () => this.#step(sliceBytes));
  }

  #step(bytes: number): void {
    if (this.#stopped || this.#syncing || this.#ready !== undefined) return;
    try {
      this.#draft ??= this.#begin();
      this.#draft.fill(bytes);
      this.#obstacle = undefined;
      this.#sinceSyncBytes += bytes;
    } catch (error) {
      this.#meet(error);
      return;
    }
    if (this.#draft.isFilled) this.#finish(this.#draft);
    else if (this.#sinceSyncBytes >= syncEveryBytes) this.#syncSlice(this.#draft);
    else this.#schedule();
  }

  #begin(): SegmentDraft {
    const header = this.#header;
    if (header === undefined) throw new Error("nothing to prepare");
    this.#sinceSyncBytes = 0;
    return new SegmentDraft(this.#storage, header);
  }

  #syncSlice(draft: SegmentDraft): void {
    this.#sinceSyncBytes = 0;
    this.#await(draft.sync(), () => this.#schedule());
  }

  #finish(draft: SegmentDraft): void {
    this.#await(draft.finish(), (segment) => {
      this.#draft = undefined;
      this.#header = undefined;
      this.#ready = segment;
      this.#onReady();
    });
  }

  #await<T>(work: Promise<T>, then: (value: T) => void): void {
    this.#syncing = true;
    work.then(
      (value) => {
        this.#syncing = false;
        if (!this.#stopped) then(value);
        else if (value instanceof Segment) value.close();
        else this.#discard();
      },
      (error: unknown) => {
        this.#syncing = false;
        if (!this.#stopped) this.#meet(error);
      },
    );
  }

  /** No room, no descriptor, no writing: wait and give back what was taken. Anything else means a failing disk. */
  #meet(error: unknown): void {
    if (!(error instanceof StorageError) || error.kind === "io") {
      this.#stopped = true;
      this.#onFailure(error);
      return;
    }
    this.#obstacle = error;
    this.#discard();
  }

  #discard(): void {
    const draft = this.#draft;
    this.#draft = undefined;
    try {
      draft?.discard();
    } catch {
      // A leftover is removed at the next start.
    }
  }
}
