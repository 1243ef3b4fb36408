import type { HistoryEvent } from "./history.ts";

const chunkBytes = 4 * 1024 * 1024;
/** No event is longer. */
const eventBytesMax = 16 * 1024;

/**
 * The events of a load while it runs, kept as bytes: a heap of a million objects that live on would stop the clients for
 * milliseconds at a time, and the broker would be blamed.
 */
export class HistoryBook {
  readonly #chunks: Buffer[] = [];
  readonly #used: number[] = [];

  add(event: HistoryEvent): void {
    let last = this.#chunks.length - 1;
    if (last < 0 || this.#used[last]! + eventBytesMax > chunkBytes) {
      this.#chunks.push(Buffer.allocUnsafeSlow(chunkBytes));
      this.#used.push(0);
      last++;
    }
    this.#used[last]! += this.#chunks[last]!.write(`${JSON.stringify(event)}\n`, this.#used[last]!);
  }

  /** Everything so far, in the order of `add`. */
  read(): HistoryEvent[] {
    return this.#chunks.flatMap((chunk, i) => {
      const lines = chunk.toString("utf8", 0, this.#used[i]).split("\n");
      return lines.slice(0, -1).map((line) => JSON.parse(line) as HistoryEvent);
    });
  }
}
