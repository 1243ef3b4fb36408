import type { Clock } from "../runtime/clock.ts";
import { FrameError, FrameParser, type FrameSink } from "./frame-parser.ts";
import type { FrameSocket } from "./frame-socket.ts";
import { FrameWriter } from "./frame-writer.ts";

/** What the owner of a connection is told. */
export interface FrameConnectionHandler extends FrameSink {
  /** The connection is gone; called once, nothing follows. `reason` is for people. */
  onClosed(reason: string): void;
  /** Everything written below this position was taken by the system. */
  onTaken?(takenPosition: number): void;
  /** The socket takes more again after `writer.wantsMore` was false. */
  onDrained?(): void;
}

export interface FrameConnectionOptions {
  /**
   * What a full socket stops. "reading": the side that answers reads no further requests. "nothing": the side that asks
   * must go on reading answers, or both could wait for each other for ever; it looks at `writer.wantsMore` and asks less.
   */
  readonly fullStops: "reading" | "nothing";
}

/**
 * A socket that speaks frames: bytes in, frames out to the handler; frames in, one write per turn out. Both sides use it;
 * what the frames mean is theirs.
 */
export class FrameConnection {
  readonly writer: FrameWriter;
  readonly #socket: FrameSocket;
  readonly #clock: Clock;
  readonly #handler: FrameConnectionHandler;
  readonly #parser: FrameParser;
  readonly #stopsReading: boolean;
  #lastReceivedMs: number;
  #closed = false;
  #reason: string | undefined;

  constructor(socket: FrameSocket, clock: Clock, handler: FrameConnectionHandler, options: FrameConnectionOptions) {
    this.#socket = socket;
    this.#clock = clock;
    this.#handler = handler;
    this.#stopsReading = options.fullStops === "reading";
    this.#lastReceivedMs = clock.monotonicMs();
    this.#parser = new FrameParser(handler);
    this.writer = new FrameWriter(
      { write: (bytes, done) => this.#write(bytes, done) },
      clock,
      handler.onTaken === undefined ? undefined : (takenPosition) => handler.onTaken?.(takenPosition),
    );
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("drain", () => this.#drained());
    socket.on("end", () => this.destroy("the peer closed the connection"));
    socket.on("error", (error) => this.destroy(error.message));
    socket.on("close", () => this.destroy("the connection was closed"));
  }

  /** Monotonic time of the last bytes from the peer; the beginning, if none came. */
  get lastReceivedMs(): number {
    return this.#lastReceivedMs;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** For log lines. */
  get remoteAddress(): string {
    return this.#socket.remoteAddress === undefined
      ? "local"
      : `${this.#socket.remoteAddress}:${this.#socket.remotePort}`;
  }

  /** Cuts the connection at once; what was not taken by the system is lost. Idempotent. */
  destroy(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.writer.close();
    this.#parser.stop();
    this.#socket.destroy();
    this.#handler.onClosed(this.#reason ?? reason);
  }

  /** Writes what was collected, then closes. The handler hears `reason` when it is done. */
  end(reason: string): void {
    if (this.#closed) return;
    this.#reason ??= reason;
    this.#parser.stop();
    this.writer.flush();
    this.#socket.end(() => this.destroy(reason));
  }

  #receive(chunk: Buffer): void {
    this.#lastReceivedMs = this.#clock.monotonicMs();
    try {
      this.#parser.push(chunk);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.destroy(error.message);
    }
  }

  #write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean {
    const wantsMore = this.#socket.write(bytes, done);
    if (!wantsMore && this.#stopsReading) this.#socket.pause();
    return wantsMore;
  }

  #drained(): void {
    if (this.#closed) return;
    this.writer.resume();
    if (this.#stopsReading) this.#socket.resume();
    this.#handler.onDrained?.();
  }
}
