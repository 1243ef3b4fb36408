import { join } from "node:path";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import { readIfThere, writeDurably } from "./durable-file.ts";

/** The marker may lag behind a growing store by this much; it never exceeds the store. */
const writeDelayMs = 1_000;

/**
 * Remembers beside the store how much was in it, so that a store that lost its content is told from one that never had any.
 * The marker must never be higher than the truth, or a crash would look like a loss: before the store shrinks the marker
 * does; after it has grown the marker follows when there is time.
 */
export class CountMarker {
  readonly #path: string;
  readonly #clock: Clock;
  #written: number;
  /** What the store will hold when all that was asked for is written. */
  #count: number;
  /** What it holds for sure. */
  #durable: number;
  #pending: Timer | undefined;

  /** `count` is what the store holds now. */
  constructor(directory: string, count: number, clock: Clock) {
    this.#path = markerPath(directory);
    this.#clock = clock;
    this.#count = count;
    this.#durable = count;
    this.#written = -1;
    this.#write();
  }

  /** Call before the change is written. `count` is what the store will hold. */
  beforeChange(count: number): void {
    this.#count = count;
    if (count < this.#written) this.#write();
  }

  /** Call after the change is durable, with the count that was given before it. */
  afterChange(count: number): void {
    this.#durable = count;
    if (this.#pending !== undefined || this.#count === this.#written) return;
    this.#pending = this.#clock.after(writeDelayMs, () => {
      this.#pending = undefined;
      this.#write();
    });
  }

  close(): void {
    this.#pending?.cancel();
    this.#pending = undefined;
    this.#write();
  }

  #write(): void {
    const count = Math.min(this.#count, this.#durable);
    if (count === this.#written) return;
    writeDurably(this.#path, `${JSON.stringify({ resourceCount: count })}\n`);
    this.#written = count;
  }
}

/** Undefined when there is no marker. Throws when there is one that cannot be read. */
export function readCountMarker(directory: string): number | undefined {
  const text = readIfThere(markerPath(directory));
  if (text === undefined) return undefined;
  try {
    const count = (JSON.parse(text) as { resourceCount?: unknown }).resourceCount;
    if (typeof count === "number" && Number.isInteger(count) && count >= 0) return count;
  } catch {
    // Reported below.
  }
  throw new Error(`${markerPath(directory)} is damaged; delete it if the store beside it is complete`);
}

function markerPath(directory: string): string {
  return join(directory, "last-count.json");
}
