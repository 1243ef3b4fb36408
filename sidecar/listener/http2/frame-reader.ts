import { connectionPreface, frameHeaderBytes } from "./frame.ts";

/** What a reader finds. Ranges are valid only during the call. */
export interface FrameSink {
  /** The 24 bytes of the client's preface came. */
  onPreface(): void;
  /** The first bytes are not that preface. `bytes` are those of the read that showed it. */
  onNoPreface(bytes: Buffer): void;
  /** One whole frame; its payload is `bytes[start, end)`. */
  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void;
  /** A frame whose length exceeds the limit; nothing after it can be read. */
  onOversizedFrame(type: number, payloadBytes: number): void;
  /** True when what follows is not to be looked at any more. */
  readonly isOver: boolean;
}

/**
 * Cuts the byte stream of a client into frames. A frame that lies wholly in a read is handed on in place; only one that
 * two reads share is put together in a buffer of its own, which is no larger than that frame.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #payloadBytesMax: number;
  #prefaceMatched = 0;
  /** The beginning of a frame whose rest has not come. */
  #partial: Buffer | undefined;
  #partialBytes = 0;

  constructor(sink: FrameSink, payloadBytesMax: number) {
    this.#sink = sink;
    this.#payloadBytesMax = payloadBytesMax;
  }

  /** Takes one read of the socket; keeps no reference to `bytes`. */
  read(bytes: Buffer): void {
    let at = 0;
    if (this.#prefaceMatched < connectionPreface.length) {
      at = this.#readPreface(bytes);
      if (at < 0) return;
    }
    if (this.#partialBytes > 0) at = this.#readPartial(bytes, at);
    const sink = this.#sink;
    const end = bytes.length;
    while (!sink.isOver && end - at >= frameHeaderBytes) {
      const payloadBytes = (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
      if (payloadBytes > this.#payloadBytesMax) {
        sink.onOversizedFrame(bytes[at + 3]!, payloadBytes);
        return;
      }
      const payload = at + frameHeaderBytes;
      if (payload + payloadBytes > end) break;
      this.#emit(bytes, at, payload + payloadBytes);
      at = payload + payloadBytes;
    }
    if (at < end && !sink.isOver) this.#keep(bytes, at);
  }

  #emit(bytes: Buffer, at: number, end: number): void {
    const streamId = ((bytes[at + 5]! & 0x7f) << 24) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 8) | bytes[at + 8]!;
    this.#sink.onFrame(bytes[at + 3]!, bytes[at + 4]!, streamId, bytes, at + frameHeaderBytes, end);
  }

  /** Answers where the frames begin, or -1 when there is nothing more to read. */
  #readPreface(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#prefaceMatched < connectionPreface.length) {
      if (bytes[at] !== connectionPreface[this.#prefaceMatched]) {
        this.#sink.onNoPreface(bytes);
        return -1;
      }
      at++;
      this.#prefaceMatched++;
    }
    if (this.#prefaceMatched < connectionPreface.length) return -1;
    this.#sink.onPreface();
    return at;
  }

  #keep(bytes: Buffer, at: number): void {
    const known = bytes.length - at;
    const needed =
      known < frameHeaderBytes
        ? frameHeaderBytes
        : frameHeaderBytes + ((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!);
    this.#partial = Buffer.allocUnsafe(needed);
    this.#partialBytes = bytes.copy(this.#partial, 0, at);
  }

  /** Completes the frame begun in an earlier read and answers the position behind it. */
  #readPartial(bytes: Buffer, from: number): number {
    let at = from;
    let partial = this.#partial!;
    if (this.#partialBytes < frameHeaderBytes) {
      at = this.#fill(partial, frameHeaderBytes, bytes, at);
      if (this.#partialBytes < frameHeaderBytes) return at;
    }
    const payloadBytes = (partial[0]! << 16) | (partial[1]! << 8) | partial[2]!;
    if (payloadBytes > this.#payloadBytesMax) {
      this.#sink.onOversizedFrame(partial[3]!, payloadBytes);
      return bytes.length;
    }
    const needed = frameHeaderBytes + payloadBytes;
    if (partial.length < needed) {
      const whole = Buffer.allocUnsafe(needed);
      partial.copy(whole, 0, 0, this.#partialBytes);
      this.#partial = partial = whole;
    }
    at = this.#fill(partial, needed, bytes, at);
    if (this.#partialBytes < needed) return at;
    this.#partial = undefined;
    this.#partialBytes = 0;
    this.#emit(partial, 0, needed);
    return at;
  }

  /** Copies up to a total of `wanted` bytes into `partial` and answers the position behind what was taken. */
  #fill(partial: Buffer, wanted: number, bytes: Buffer, at: number): number {
    const taken = bytes.copy(partial, this.#partialBytes, at, Math.min(bytes.length, at + wanted - this.#partialBytes));
    this.#partialBytes += taken;
    return at + taken;
  }
}
