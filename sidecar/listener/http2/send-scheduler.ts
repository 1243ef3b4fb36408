import type { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

/**
 * The streams of one connection that could not send all they have. Each gets its turn when a window opens or the socket
 * takes bytes again; what is left of one goes to the end of the line.
 */
export class SendScheduler {
  readonly #output: Output;
  readonly #queued = new Set<Stream>();
  readonly #awaitingWritable = new Set<Stream>();

  constructor(output: Output) {
    this.#output = output;
  }

  /** `stream` has bytes that wait. */
  enqueue(stream: Stream): void {
    this.#queued.add(stream);
  }

  /** The method of `stream` waits for room. */
  awaitWritable(stream: Stream): void {
    this.#awaitingWritable.add(stream);
  }

  forget(stream: Stream): void {
    if (this.#queued.size > 0) this.#queued.delete(stream);
    if (this.#awaitingWritable.size > 0) this.#awaitingWritable.delete(stream);
  }

  /** The window of one stream opened. */
  pump(stream: Stream): void {
    if (!stream.isQueued) return;
    this.#turn(stream);
    this.#tellWritable();
  }

  /** The window of the connection opened, or the socket takes bytes again. */
  pumpAll(): void {
    for (const stream of [...this.#queued]) {
      if (this.#output.isBlocked) break;
      this.#turn(stream);
    }
    this.#tellWritable();
  }

  #turn(stream: Stream): void {
    this.#queued.delete(stream);
    stream.pump();
    if (stream.isQueued) this.#queued.add(stream);
  }

  #tellWritable(): void {
    if (this.#awaitingWritable.size === 0) return;
    for (const stream of [...this.#awaitingWritable]) {
      if (this.#output.isBlocked) return;
      if (stream.isQueued || !this.#awaitingWritable.delete(stream)) continue;
      const { onWritable } = stream;
      stream.onWritable = undefined;
      onWritable?.();
    }
  }
}
