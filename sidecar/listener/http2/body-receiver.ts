import type { Connection } from "./connection.ts";
import { FrameFlag, Http2Error } from "./frame.ts";
import { GrpcStatus } from "./grpc-method.ts";
import { Counted } from "./limits.ts";
import { MessageAssembly, messagePrefixBytes } from "./message-assembly.ts";
import { acceptIdentity } from "./response-writer.ts";
import type { Stream } from "./stream.ts";

const notGrpcBody = "This port speaks gRPC: POST with content-type application/grpc over HTTP/2.\n";

/**
 * DATA of one connection: flow control of what comes in, and gRPC messages out of it. A message that lies wholly in a
 * frame is handed to the method in place; only others are put together in memory, admitted beforehand.
 */
export class BodyReceiver {
  readonly #connection: Connection;
  /** Bytes used since the client was last told. */
  #untold = 0;
  #inflightBytes = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** A DATA frame; `bytes[start, end)` is its payload. */
  onData(streamId: number, flags: number, bytes: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    const { limits } = connection.host;
    const counted = end - start;
    let from = start;
    let to = end;
    if ((flags & FrameFlag.Padded) !== 0) {
      if (counted < 1) {
        connection.fail(Http2Error.FrameSizeError, "DATA without its pad length");
        return;
      }
      to -= bytes[from++]!;
      if (from > to) {
        connection.fail(Http2Error.ProtocolError, "DATA with more padding than payload");
        return;
      }
    }
    // What comes is used or refused at once, so the connection's window is renewed long before it ends: nobody can exceed it.
    this.#untold += counted;
    if (this.#untold > limits.connectionWindowBytes >>> 2) {
      connection.updateWindow(0, this.#untold);
      this.#untold = 0;
    }
    const endsStream = (flags & FrameFlag.EndStream) !== 0;
    if (from === to && !endsStream && connection.seconds.add(Counted.EmptyData) > limits.emptyDataPerSecondMax) {
      connection.cut("empty-data", "too many DATA frames without data");
      return;
    }
    const stream = connection.streamOf(streamId);
    if (stream === undefined) {
      this.#onUnknownStream(streamId);
      return;
    }
    if (stream.isRemoteClosed) {
      connection.streamError(streamId, Http2Error.StreamClosed);
      return;
    }
    stream.receiveWindow -= counted;
    if (stream.receiveWindow < 0) {
      connection.streamError(streamId, Http2Error.FlowControlError);
      return;
    }
    if (stream.bodyBytesLeft >= 0) {
      stream.bodyBytesLeft -= to - from;
      if (stream.bodyBytesLeft < 0 || (endsStream && stream.bodyBytesLeft > 0)) {
        connection.streamError(streamId, Http2Error.ProtocolError);
        return;
      }
    }
    if (stream.method !== undefined) {
      if (endsStream) stream.isRemoteClosed = true;
      else this.#refreshStreamWindow(stream, counted);
      this.#onBytes(stream, bytes, from, to, endsStream);
    }
    if (endsStream && connection.streamOf(streamId) === stream) this.onEnd(stream);
  }

  /** A call was opened: tells the method. */
  onOpen(stream: Stream, endsStream: boolean): void {
    try {
      stream.method?.onOpen?.(stream);
    } catch (error) {
      this.#onMethodError(stream, error);
    }
    if (endsStream && this.#connection.streamOf(stream.id) === stream) this.onEnd(stream);
  }

  /** The client half-closed. */
  onEnd(stream: Stream): void {
    if (stream.bodyBytesLeft > 0) {
      this.#connection.streamError(stream.id, Http2Error.ProtocolError);
      return;
    }
    stream.isRemoteClosed = true;
    const { method, assembly } = stream;
    if (method === undefined) {
      stream.answerPlain("415", notGrpcBody, stream.header(":method") === "HEAD");
      return;
    }
    if (assembly !== undefined && !assembly.isComplete) {
      stream.abort(GrpcStatus.Internal, "the request ended in the middle of a message", "client-reset");
      return;
    }
    try {
      if (method.kind === "bidi") {
        method.onHalfClose?.(stream);
      } else if (assembly !== undefined) {
        this.discard(stream);
        method.onMessage(stream, assembly.body, 0, assembly.length);
      } else if (!stream.isAnswerDue) {
        const text = `${method.path} takes exactly one request message, but none came`;
        stream.abort(GrpcStatus.Unimplemented, text, "client-reset");
      }
    } catch (error) {
      this.#onMethodError(stream, error);
    }
  }

  /** Gives back what an incomplete message was admitted. */
  discard(stream: Stream): void {
    const bytes = stream.assembly?.admittedBytes ?? 0;
    stream.assembly = undefined;
    if (bytes === 0) return;
    this.#inflightBytes -= bytes;
    this.#connection.host.inflight.giveBack(bytes);
  }

  /** Ends calls whose request message does not come. Called about once a second. */
  sweep(streams: Iterable<Stream>, nowMs: number): void {
    const { firstByteMsMax, messageMsMax } = this.#connection.host.limits;
    for (const stream of streams) {
      if (stream.isRemoteClosed || (stream.method?.kind === "bidi" && stream.assembly === undefined)) continue;
      const waitedMs = nowMs - stream.waitsSinceMs;
      if (waitedMs < (stream.hasFirstByte ? messageMsMax : firstByteMsMax)) continue;
      this.#connection.host.counters.cut("slow-request");
      if (stream.method === undefined) this.#connection.streamError(stream.id, Http2Error.Cancel);
      else {
        const text = `the request message was not complete after ${Math.round(waitedMs)} ms`;
        stream.abort(GrpcStatus.DeadlineExceeded, text, "deadline");
      }
    }
  }

  #onUnknownStream(streamId: number): void {
    const connection = this.#connection;
    if (streamId > connection.lastStreamId || (streamId & 1) === 0) {
      connection.fail(Http2Error.ProtocolError, `DATA on stream ${streamId}, which was never opened`);
    } else if (!connection.wasReset(streamId)) {
      connection.streamError(streamId, Http2Error.StreamClosed);
    }
  }

  #refreshStreamWindow(stream: Stream, bytes: number): void {
    stream.receivedUntold += bytes;
    if (stream.receivedUntold <= this.#connection.host.limits.streamWindowBytes >>> 1) return;
    this.#connection.updateWindow(stream.id, stream.receivedUntold);
    stream.receiveWindow += stream.receivedUntold;
    stream.receivedUntold = 0;
  }

  #onBytes(stream: Stream, bytes: Buffer, start: number, end: number, endsStream: boolean): void {
    let at = start;
    if (at < end) stream.hasFirstByte = true;
    while (at < end && stream.isOpen) {
      if (stream.assembly !== undefined) {
        at = this.#assemble(stream, stream.assembly, bytes, at, end);
        continue;
      }
      if (end - at >= messagePrefixBytes) {
        const length = bytes.readUInt32BE(at + 1);
        if (!this.#admits(stream, bytes[at]!, length)) return;
        const messageEnd = at + messagePrefixBytes + length;
        const isWhole = messageEnd <= end;
        if (isWhole && (stream.method!.kind === "bidi" || (endsStream && messageEnd === end))) {
          stream.isAnswerDue = true;
          this.#deliver(stream, bytes, at + messagePrefixBytes, messageEnd);
          at = messageEnd;
          continue;
        }
      }
      stream.assembly = new MessageAssembly();
      stream.waitsSinceMs = stream.method!.kind === "bidi" ? this.#connection.nowMs : stream.waitsSinceMs;
    }
  }

  /** Puts bytes into the message begun earlier; answers the position behind what was used. */
  #assemble(stream: Stream, assembly: MessageAssembly, bytes: Buffer, start: number, end: number): number {
    if (assembly.isComplete) {
      const text = `${stream.path} takes exactly one request message, but more came`;
      stream.abort(GrpcStatus.Unimplemented, text, "client-reset");
      return end;
    }
    let at = assembly.take(bytes, start, end);
    if (assembly.needsBody) {
      if (!this.#admits(stream, assembly.flag, assembly.length)) return end;
      if (!this.#takeMemory(stream, assembly)) return end;
      at = assembly.take(bytes, at, end);
    }
    if (assembly.isComplete && stream.method!.kind === "bidi") {
      this.discard(stream);
      this.#deliver(stream, assembly.body, 0, assembly.length);
    }
    return at;
  }

  /** Refuses a message by its prefix: before memory is taken, before its bytes are read. */
  #admits(stream: Stream, flag: number, length: number): boolean {
    const method = stream.method!;
    if (flag !== 0) {
      const isCompressed = flag === 1;
      const text = isCompressed
        ? "compressed messages are not accepted; send identity"
        : `message flag ${flag} is unknown`;
      stream.abort(isCompressed ? GrpcStatus.Unimplemented : GrpcStatus.Internal, text, "client-reset", acceptIdentity);
      return false;
    }
    if (length <= method.requestBytesMax) return true;
    this.#connection.host.counters.cut("message-size");
    const text = `the request message has ${length} bytes; ${method.path} takes at most ${method.requestBytesMax}`;
    stream.abort(GrpcStatus.ResourceExhausted, text, "client-reset");
    return false;
  }

  #takeMemory(stream: Stream, assembly: MessageAssembly): boolean {
    const { host } = this.#connection;
    const bytes = assembly.length;
    const fits = this.#inflightBytes + bytes <= host.limits.inflightBytesPerConnectionMax && host.inflight.take(bytes);
    if (!fits) {
      host.counters.cut("inflight-bytes");
      const text = "too many bytes of unfinished requests in flight; try again later";
      stream.abort(GrpcStatus.ResourceExhausted, text, "client-reset");
      return false;
    }
    this.#inflightBytes += bytes;
    assembly.admit();
    return true;
  }

  #deliver(stream: Stream, bytes: Buffer, start: number, end: number): void {
    try {
      stream.method!.onMessage(stream, bytes, start, end);
    } catch (error) {
      this.#onMethodError(stream, error);
    }
  }

  #onMethodError(stream: Stream, error: unknown): void {
    this.#connection.host.log.error({ err: error, path: stream.path }, "a method threw; its call is answered INTERNAL");
    stream.abort(GrpcStatus.Internal, "internal error; the server's log tells more", "client-reset");
  }
}
