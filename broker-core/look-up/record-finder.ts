import { Code } from "../../proto/code.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { LogReader, LogRecord } from "../commit-log/log.ts";
import type { LogHistory } from "../commit-log/log-history.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { Storage } from "../storage/storage.ts";
import { eachKey } from "./index-key.ts";
import { StretchIndex } from "./stretch-index.ts";

/** Bytes of unindexed log that one turn looks through: about a millisecond. */
const sliceBytes = 512 * 1024;
/** Look-ups at the same time: each reads much, and messages come first. */
const lookUpsMax = 4;
/** A few syncs of a disk. */
const pauseMs = 20;
/** Records that one key gives at most; a key that everybody uses is no key to look for. */
const recordsMax = 10_000;

/** Finds records by key: through the indexes of sealed stretches, and by looking through what has none yet. */
export class RecordFinder {
  readonly #history: () => LogHistory;
  readonly #reader: LogReader;
  readonly #storage: Storage;
  readonly #clock: Clock;
  #running = 0;

  constructor(history: () => LogHistory, reader: LogReader, storage: Storage, clock: Clock) {
    this.#history = history;
    this.#reader = reader;
    this.#storage = storage;
    this.#clock = clock;
  }

  /**
   * Runs one look-up that may call `each` several times. Rejects with TOO_MANY_REQUESTS when enough are running.
   */
  async session<T>(lookUp: () => Promise<T>): Promise<T> {
    if (this.#running >= lookUpsMax) {
      throw new MeshError(Code.TooManyRequests, `${lookUpsMax} look-ups run already; try again in a moment`);
    }
    this.#running++;
    try {
      return await lookUp();
    } finally {
      this.#running--;
    }
  }

  /**
   * Visits the records that have one of `keys`, in order of position, from `from` on. Other records with the same hash come
   * too. `visit` answers false when it has enough. Messages are served between the slices.
   */
  async each(keys: readonly number[], from: number, visit: (record: LogRecord) => boolean): Promise<void> {
    const wanted = new Set(keys);
    const history = this.#history();
    for (const stretch of history.stretches()) {
      if (stretch.to <= from) continue;
      const index = stretch.isSealed ? StretchIndex.open(this.#storage, stretch) : undefined;
      if (index === undefined) {
        for (let at = stretch.from; at < stretch.to; ) {
          const found: number[] = [];
          try {
            at = history.scan(at, stretch.to, sliceBytes, (record) => {
              let isWanted = false;
              eachKey(record, (key) => {
                isWanted ||= wanted.has(key);
              });
              if (isWanted && record.position >= from) found.push(record.position);
            });
          } catch (error) {
            // Removed by retention between two turns, or its file is lost: there is nothing to find.
            if (!isUnreadable(error)) throw error;
            break;
          }
          if (!this.#visitAll(found, visit)) return;
          await this.#turn();
        }
        continue;
      }
      let positions: number[];
      try {
        positions = [...new Set(keys.flatMap((key) => index.positions(key)))].sort((a, b) => a - b);
      } finally {
        index.close();
      }
      if (!this.#visitAll(positions.slice(0, recordsMax), (record) => record.position < from || visit(record))) return;
      await this.#turn();
    }
  }

  #visitAll(positions: readonly number[], visit: (record: LogRecord) => boolean): boolean {
    for (const position of positions) {
      let record: LogRecord;
      try {
        record = this.#reader.read(position);
      } catch (error) {
        // Damaged, reported by the log; or gone with its segment between two turns.
        if (isUnreadable(error)) continue;
        throw error;
      }
      if (!visit(record)) return false;
    }
    return true;
  }

  /** Long enough for what was decided to be written. */
  pause(): Promise<void> {
    return new Promise((resolve) => this.#clock.after(pauseMs, resolve));
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#clock.atTurnEnd(resolve));
  }
}
