import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { Storage } from "../storage/storage.ts";
import { writeCheckpoint } from "./checkpoint-store.ts";

/** How often it is looked whether a checkpoint is due. */
const lookMs = 1_000;

/**
 * A large state (a million queues, millions of waiting messages) is written when the log has grown by so many times its size: what
 * checkpoints add to the bytes that are written stays below a half, and what a start replays below two images.
 */
export const imagesPerStretch = 2;

/** What a checkpoint is made of. */
export interface CheckpointSource {
  /** Log position behind the last record the state contains. */
  appliedPosition(): number;
  snapshot(): Buffer;
  /** Everything below is on disk, whatever the flush mode says. */
  syncedPosition(): number;
  /** What snapshots name beside themselves. */
  readonly index: SnapshotIndex;
}

/** The part of the state that lies on disk already. */
export interface SnapshotIndex {
  /** Puts what the snapshots so far name on disk; resolves to the number of the last one. Rejects with `StorageError`. */
  sync(): Promise<number>;
  /** A checkpoint with that snapshot was written; only it and the one before are kept. */
  checkpointWritten(snapshot: number): void;
}

export interface CheckpointerOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: Log;
  /** Bytes of log between two checkpoints, or twice as many as the last one had: what a start replays at most. */
  readonly everyBytes: number;
  /** Position of the checkpoint this process started from. */
  readonly lastPosition: number;
}

/**
 * Writes the derived state down now and then, so that a start replays little. A checkpoint that fails costs time at the next
 * start and nothing else.
 */
export class Checkpointer {
  readonly #source: CheckpointSource;
  readonly #options: CheckpointerOptions;
  readonly #timer: Timer;
  #lastPosition: number;
  /** Bytes of the last checkpoint. */
  #lastBytes = 0;
  /** Taken, waiting for its position to be on disk, or being written. */
  #running: Promise<void> | undefined;
  #taken: { readonly position: number; readonly bytes: Buffer } | undefined;

  constructor(source: CheckpointSource, options: CheckpointerOptions) {
    this.#source = source;
    this.#options = options;
    this.#lastPosition = options.lastPosition;
    this.#timer = options.clock.every(lookMs, () => this.#look());
  }

  /** Position of the newest checkpoint. */
  get lastPosition(): number {
    return this.#lastPosition;
  }

  /** Waits for one that is being written; no more follow. */
  async stop(): Promise<void> {
    this.#timer.cancel();
    this.#taken = undefined;
    await this.#running;
  }

  /**
   * Writes one more after `stop`: the state as of the end of the log, which must be on disk. A failure costs time at the next
   * start and nothing else.
   */
  async writeLast(position: number, bytes: Buffer): Promise<void> {
    if (position > this.#lastPosition) await this.#write(position, bytes);
  }

  #look(): void {
    if (this.#running !== undefined) return;
    if (this.#taken === undefined) {
      const position = this.#source.appliedPosition();
      const stretchBytes = Math.max(this.#options.everyBytes, imagesPerStretch * this.#lastBytes);
      if (position - this.#lastPosition < stretchBytes) return;
      this.#taken = { position, bytes: this.#source.snapshot() };
    }
    // A checkpoint ahead of the log would contain records that a power cut takes away.
    if (this.#source.syncedPosition() < this.#taken.position) return;
    const { position, bytes } = this.#taken;
    this.#taken = undefined;
    this.#lastBytes = bytes.length;
    this.#running = this.#write(position, bytes).finally(() => {
      this.#running = undefined;
    });
  }

  async #write(position: number, bytes: Buffer): Promise<void> {
    const { storage, clock, log } = this.#options;
    try {
      const snapshot = await this.#source.index.sync();
      await writeCheckpoint(storage, clock, position, bytes);
      this.#source.index.checkpointWritten(snapshot);
      log.debug({ position, bytes: bytes.length }, "checkpoint written");
    } catch (error) {
      log.warn({ err: error, position }, "a checkpoint could not be written; the next start takes longer");
    }
    // Also after a failure: the next try comes with the next stretch of log, not every second.
    this.#lastPosition = position;
  }
}
