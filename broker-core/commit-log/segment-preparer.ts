import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import { type Storage, StorageError } from "../storage/storage.ts";
import type { LogCounters } from "./log-counters.ts";
import { Segment, SegmentDraft, type SegmentHeader, segmentHeaderBytes } from "./segment.ts";
import type { SegmentPool } from "./segment-pool.ts";

/** Zeros per step: about 0.2 ms of the event loop. */
const sliceBytes = 256 * 1024;
/** Pause between steps: 32 MB/s, which leaves the disk to the log; `keepPace` hurries when the log does. */
const slicePauseMs = 8;
/** So many zeros are given to the disk at a time: one sync of them all would hold up the log's own for 100 ms. */
const syncEveryBytes = 4 * 1024 * 1024;
/** With so many zeros not synced the disk is the limit, and filling pauses. */
const unsyncedBytesMax = 2 * syncEveryBytes;

/**
 * Makes the next segment while the current one fills: of a spare file where there is one, else of zeros, in slices, so that no
 * append ever waits for it.
 */
export class SegmentPreparer {
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #pool: SegmentPool;
  readonly #counters: LogCounters;
  readonly #onReady: () => void;
  readonly #onFailure: (error: unknown) => void;
  #header: SegmentHeader | undefined;
  #draft: SegmentDraft | undefined;
  #ready: Segment | undefined;
  #obstacle: StorageError | undefined;
  #timer: Timer | undefined;
  #unsyncedBytes = 0;
  #syncing = false;
  #hurries = false;
  #stopped = false;

  constructor(
    storage: Storage,
    clock: Clock,
    pool: SegmentPool,
    counters: LogCounters,
    onReady: () => void,
    onFailure: (error: unknown) => void,
  ) {
    this.#storage = storage;
    this.#clock = clock;
    this.#pool = pool;
    this.#counters = counters;
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
    this.#hurries = false;
    this.#ready = existing;
    if (existing === undefined) this.#schedule();
  }

  take(): Segment {
    const segment = this.#ready;
    if (segment === undefined) throw new Error("no segment is ready");
    this.#ready = undefined;
    return segment;
  }

  /** The log was written `bytes` further: stay twice as fast, so that half a segment before its end the next one stands. */
  keepPace(bytes: number): void {
    if (this.#draft !== undefined) this.#step(Math.min(2 * bytes, 4 * sliceBytes));
  }

  /** Nothing goes on without the next segment. */
  hurry(): void {
    if (this.#hurries || this.#header === undefined || this.#ready !== undefined || this.#obstacle !== undefined)
      return;
    this.#hurries = true;
    if (this.#timer !== undefined && !this.#stopped) this.#schedule();
  }

  /** Tries again after an obstacle; for a probe every second. */
  probe(): void {
    const header = this.#header;
    if (this.#obstacle === undefined || header === undefined || this.#stopped) return;
    if (this.#storage.freeBytes() >= header.capacityBytes) this.#step(sliceBytes);
  }

  /** Ends all work; a segment that stands ready stays with its owner. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#discard();
  }

  #schedule(): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(this.#hurries ? 0 : slicePauseMs, () => {
      this.#timer = undefined;
      this.#step(sliceBytes);
    });
  }

  #step(bytes: number): void {
    if (this.#stopped || this.#ready !== undefined) return;
    // Either the disk is the limit, or a draft that was given up is not closed yet.
    if (this.#syncing && (this.#draft === undefined || this.#unsyncedBytes >= unsyncedBytesMax)) return;
    // Filled already: its finish is under way.
    if (this.#draft?.isFilled === true) return;
    try {
      this.#draft ??= this.#begin();
      const filledBytes = this.#draft.fill(bytes);
      this.#counters.zeroedBytes.add(filledBytes);
      this.#unsyncedBytes += filledBytes;
    } catch (error) {
      this.#meet(error);
      return;
    }
    this.#obstacle = undefined;
    this.#goOn(this.#draft);
  }

  #begin(): SegmentDraft {
    const header = this.#header;
    if (header === undefined) throw new Error("nothing to prepare");
    this.#unsyncedBytes = 0;
    const spare = this.#pool.take(segmentHeaderBytes + header.capacityBytes);
    try {
      return new SegmentDraft(this.#storage, header, spare);
    } catch (error) {
      this.#giveBack(spare);
      throw error;
    }
  }

  #goOn(draft: SegmentDraft): void {
    if (!draft.isFilled) this.#schedule();
    if (this.#syncing) return;
    if (draft.isFilled) this.#await(draft, draft.finish(), (segment) => this.#stands(segment));
    else if (this.#unsyncedBytes >= syncEveryBytes) {
      const covered = this.#unsyncedBytes;
      this.#await(draft, draft.sync(), () => {
        this.#unsyncedBytes -= covered;
        this.#goOn(draft);
      });
    }
  }

  #stands(segment: Segment): void {
    if (this.#draft?.spare !== undefined) this.#counters.recycledSegments.add();
    this.#draft = undefined;
    this.#header = undefined;
    this.#ready = segment;
    this.#onReady();
  }

  /** One sync at a time. A draft that was given up meanwhile is closed only now: its descriptor was in use. */
  #await<T>(draft: SegmentDraft, work: Promise<T>, then: (value: T) => void): void {
    this.#syncing = true;
    const isCurrent = (): boolean => {
      this.#syncing = false;
      return !this.#stopped && this.#draft === draft;
    };
    work.then(
      (value) => {
        if (isCurrent()) then(value);
        else if (value instanceof Segment) value.close();
        else this.#throwAway(draft);
      },
      (error: unknown) => {
        if (isCurrent()) this.#meet(error);
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
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#discard();
  }

  #discard(): void {
    const draft = this.#draft;
    this.#draft = undefined;
    if (draft !== undefined && !this.#syncing) this.#throwAway(draft);
  }

  #throwAway(draft: SegmentDraft): void {
    try {
      draft.discard();
    } catch {
      // A leftover is removed at the next start.
    }
    this.#giveBack(draft.spare);
  }

  /** Unless it has its new name already: then it is replaced by what is made next. */
  #giveBack(spare: string | undefined): void {
    if (spare !== undefined && this.#storage.exists(spare)) this.#pool.giveBack(spare);
  }
}
