import { frameBytesMax, frameHeaderBytes } from "./frame.ts";

/** What a parser hands whole frames to. */
export interface FrameSink {
  /**
   * One whole frame. The body is `bytes[start, end)`; it is valid until the call returns, copy what is kept. `status` is
   * meaningful in answers only.
   */
  onFrame(kind: number, status: number, correlation: number, bytes: Buffer, start: number, end: number): void;
}

/** The peer sent what is no frame. The connection is of no further use: nothing behind this point can be trusted. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** Bytes of the header that count towards the length field. */
const lengthMin = frameHeaderBytes - 4;
/** A held frame starts in a buffer of this size, which grows only as bytes really arrive, never by what a length claims. */
const heldBytesInitial = 4 * 1024;
/** A larger buffer is given back after the frame that needed it. */
const heldBytesKept = 256 * 1024;

/**
 * Cuts a stream of bytes into frames, whatever the splits. A frame that lies whole within one chunk is handed on in place;
 * one that is spread over several is collected in a buffer of its own first.
 */
export class FrameParser {
  readonly #sink: FrameSink;
  readonly #bytesMax: number;
  /** The beginning of a frame whose rest has not come yet; filled up to `#heldBytes`. */
  #held: Buffer = emptyBuffer;
  #heldBytes = 0;
  #stopped = false;

  /** `bytesMax` bounds a frame with its header. */
  constructor(sink: FrameSink, bytesMax: number = frameBytesMax) {
    this.#sink = sink;
    this.#bytesMax = bytesMax;
  }

  /** Bytes of an unfinished frame kept for its rest. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** No more frames are handed on, not even those of the chunk that is being parsed. For a sink that closes. */
  stop(): void {
    this.#stopped = true;
    this.#held = emptyBuffer;
    this.#heldBytes = 0;
  }

  /**
   * Takes `chunk[start, end)`. Throws `FrameError` on a length that no frame can have; the parser is stopped then. The
   * sink must not call back into the parser, except `stop`.
   */
  push(chunk: Buffer, start = 0, end: number = chunk.length): void {
    let at = start;
    if (this.#heldBytes > 0) at = this.#completeHeld(chunk, at, end);
    while (!this.#stopped && end - at >= 4) {
      const frameBytes = this.#frameBytes(chunk, at);
      if (end - at < frameBytes) break;
      this.#handOn(chunk, at, at + frameBytes);
      at += frameBytes;
    }
    if (at < end && !this.#stopped) this.#hold(chunk, at, end);
  }

  /** Adds to the held frame what it lacks; hands it on when it is whole. Returns where the chunk goes on. */
  #completeHeld(chunk: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#heldBytes < 4) {
      const taken = Math.min(4 - this.#heldBytes, end - at);
      this.#hold(chunk, at, at + taken);
      at += taken;
      if (this.#heldBytes < 4) return at;
    }
    const frameBytes = this.#frameBytes(this.#held, 0);
    const taken = Math.min(frameBytes - this.#heldBytes, end - at);
    this.#hold(chunk, at, at + taken);
    at += taken;
    if (this.#heldBytes < frameBytes) return at;
    this.#heldBytes = 0;
    this.#handOn(this.#held, 0, frameBytes);
    if (this.#held.length > heldBytesKept) this.#held = emptyBuffer;
    return at;
  }

  #handOn(bytes: Buffer, start: number, end: number): void {
    this.#sink.onFrame(
      bytes[start + 4]!,
      bytes.readUInt16BE(start + 6),
      bytes.readUInt32BE(start + 8),
      bytes,
      start + frameHeaderBytes,
      end,
    );
  }

  #hold(chunk: Buffer, start: number, end: number): void {
    const needed = this.#heldBytes + end - start;
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(heldBytesInitial, this.#held.length * 2, needed));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    chunk.copy(this.#held, this.#heldBytes, start, end);
    this.#heldBytes = needed;
  }

  /** Size of the frame whose length field is at `at`. */
  #frameBytes(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32BE(at);
    if (length >= lengthMin && length <= this.#bytesMax - 4) return 4 + length;
    this.stop();
    throw new FrameError(
      `a frame of ${length} bytes was announced, allowed are ${lengthMin} to ${this.#bytesMax - 4}; is the peer a popmesh process?`,
    );
  }
}

const emptyBuffer = Buffer.alloc(0);
