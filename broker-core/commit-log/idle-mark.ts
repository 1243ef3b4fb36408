import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import { StorageError } from "../storage/storage.ts";
import type { DurableMark } from "./durable-mark.ts";
import type { GroupSync } from "./group-sync.ts";

/** The mark is written when nothing became durable for one such period: at most 100 ms after the log came to rest. */
const periodMs = 45;

/** Writes the durable mark whenever the log comes to rest; under load every batch carries the same knowledge. */
export class IdleMark {
  readonly #mark: DurableMark;
  readonly #clock: Clock;
  readonly #sync: GroupSync;
  readonly #onFailure: (error: unknown) => void;
  #timer: Timer | undefined;
  #durableAtArming = 0;
  #writing: Promise<void> | undefined;
  #stopped = false;

  constructor(mark: DurableMark, clock: Clock, sync: GroupSync, onFailure: (error: unknown) => void) {
    this.#mark = mark;
    this.#clock = clock;
    this.#sync = sync;
    this.#onFailure = onFailure;
  }

  /** Something became durable. */
  arm(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    this.#durableAtArming = this.#sync.durable;
    this.#timer = this.#clock.after(periodMs, () => {
      this.#timer = undefined;
      if (this.#sync.durable !== this.#durableAtArming) this.arm();
      else if (this.#sync.isIdle && this.#writing === undefined) this.#write(this.#sync.durable);
    });
  }

  /** The mark of a clean end. Rejects with `StorageError`. */
  async writeNow(): Promise<void> {
    this.stop();
    await this.#writing;
    await this.#mark.write(this.#sync.durable);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  close(): void {
    this.#mark.close();
  }

  #write(position: number): void {
    this.#writing = this.#mark.write(position).then(
      () => {
        this.#writing = undefined;
        if (this.#sync.durable !== position) this.arm();
      },
      (error: unknown) => {
        this.#writing = undefined;
        // A disk that is merely full may keep an old mark: that costs a rewrite at the next start, nothing else.
        if (!(error instanceof StorageError) || error.kind === "io") this.#onFailure(error);
      },
    );
  }
}
