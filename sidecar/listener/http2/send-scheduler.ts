import type { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

/**
 * The streams of one connection that could not send all they have. Each gets its turn when a window opens or the socket
 * takes bytes again; what is left of one goes to the end of the line.
 */
export class SendScheduler {
  readonly #connection: { readonly output: Output; readonly sendWindow: number };
  readonly #queued = new Set<Stream>();
  readonly #awaitingWritable = new Set<Stream>();

  constructor(connection: { readonly output: Output; readonly sendWindow: number }) {
    this.#connection = connection;
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
    const connection = this.#connection;
    for (const stream of [...this.#queued]) {
      // Those that had no turn yet keep their place for the next time.
      if (connection.output.isBlocked || connection.sendWindow <= 0) break;
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
      if (this.#connection.output.isBlocked) return;
      if (stream.isQueued || !this.#awaitingWritable.delete(stream)) continue;
      const { onWritable } = stream;
      stream.onWritable = undefined;
      onWritable?.();
    }
  }
}
