import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { LogHistory, LogStretch } from "../commit-log/log-history.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import { type Storage, StorageError } from "../storage/storage.ts";
import { eachKey } from "./index-key.ts";
import { indexDirectory, indexPath, StretchIndex, StretchIndexBuilder } from "./stretch-index.ts";

/** How often it is looked whether a stretch was sealed. */
const lookMs = 1_000;
/** Bytes of the log that one turn indexes: about a millisecond with messages of 100 bytes, less with larger ones. */
const sliceBytes = 128 * 1024;
/**
 * The pause to the next slice, at least; and how many times as long as the slice it is, so that indexing takes a twentieth of the
 * broker's thread at most, whatever the messages are like. What is behind that is looked through by look-ups.
 */
const pauseMsMin = 5;
const pausePerSlice = 19;

/**
 * Indexes sealed stretches of the log in the background, oldest first, and removes the indexes of stretches that are gone.
 * Needs nothing to be right: what is not indexed is found by looking through the log.
 */
export class StretchIndexer {
  readonly #history: LogHistory;
  readonly #storage: Storage;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #timer: Timer;
  #pause: Timer | undefined;
  #work: { readonly stretch: LogStretch; readonly builder: StretchIndexBuilder; at: number } | undefined;
  /** Beginnings of stretches that have an index, or cannot get one. */
  readonly #done = new Set<number>();
  #isStopped = false;

  constructor(history: LogHistory, doors: { readonly storage: Storage; readonly clock: Clock; readonly log: Log }) {
    this.#history = history;
    this.#storage = doors.storage;
    this.#clock = doors.clock;
    this.#log = doors.log;
    this.#timer = doors.clock.every(lookMs, () => this.look());
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer.cancel();
    this.#pause?.cancel();
  }

  /** Begins with the oldest stretch that has no index, unless one is being worked on. */
  look(): void {
    if (this.#isStopped || this.#work !== undefined) return;
    const stretches = this.#history.stretches();
    this.#forgetGone(stretches);
    for (const stretch of stretches) {
      if (!stretch.isSealed || this.#done.has(stretch.from)) continue;
      const known = StretchIndex.open(this.#storage, stretch);
      if (known !== undefined) {
        known.close();
        this.#done.add(stretch.from);
        continue;
      }
      this.#work = { stretch, builder: new StretchIndexBuilder(stretch.from), at: stretch.from };
      this.#slice();
      return;
    }
  }

  #slice(): void {
    const work = this.#work;
    if (this.#isStopped || work === undefined) return;
    const { stretch, builder } = work;
    const begunMs = this.#clock.monotonicMs();
    try {
      work.at = this.#history.scan(work.at, stretch.to, sliceBytes, (record) =>
        eachKey(record, (key) => builder.add(key, record.position)),
      );
      if (work.at < stretch.to) {
        const pauseMs = Math.max(pauseMsMin, pausePerSlice * (this.#clock.monotonicMs() - begunMs));
        this.#pause = this.#clock.after(pauseMs, () => this.#slice());
        return;
      }
      builder.write(this.#storage, stretch);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      this.#log.warn({ err: error, from: stretch.from }, "a part of the log could not be indexed; look-ups scan it");
    }
    this.#done.add(stretch.from);
    this.#work = undefined;
    this.look();
  }

  #forgetGone(stretches: readonly LogStretch[]): void {
    const wanted = new Set(stretches.map((stretch) => indexPath(stretch)));
    for (const name of this.#storage.list(indexDirectory)) {
      if (!wanted.has(`${indexDirectory}/${name}`)) this.#remove(`${indexDirectory}/${name}`);
    }
    const [first] = stretches;
    for (const from of this.#done) if (first === undefined || from < first.from) this.#done.delete(from);
  }

  /** On a read-only disk it stays, and is tried again. */
  #remove(path: string): void {
    try {
      this.#storage.unlink(path);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#log.debug({ err: error, path }, "an index of a part of the log that is gone cannot be removed yet");
    }
  }
}
