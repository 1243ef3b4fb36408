import type { Connection } from "./connection.ts";
import { FrameFlag, Http2Error } from "./frame.ts";
import { GrpcStatus } from "./grpc-method.ts";
import { malformedTimeout, parseGrpcTimeout } from "./grpc-timeout.ts";
import type { HeaderField } from "./header-field.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import { Counted } from "./limits.ts";
import { areTrailers, RequestHead } from "./request-head.ts";
import { acceptIdentity } from "./response-writer.ts";
import type { Stream } from "./stream.ts";

/** The table size we announce for the client's encoder (the default of RFC 9113). */
export const headerTableBytes = 4096;

/** HEADERS and CONTINUATION of one connection: from header blocks to open calls. */
export class RequestReceiver {
  readonly #connection: Connection;
  readonly #decoder: HpackDecoder;
  readonly #head = new RequestHead();
  #lastFields: readonly HeaderField[] = [];

  // A header block that CONTINUATION frames complete.
  #blockStreamId = 0;
  #blockEndsStream = false;
  #blockParts: Buffer[] = [];
  #blockBytes = 0;

  constructor(connection: Connection) {
    const { limits } = connection.host;
    this.#connection = connection;
    this.#decoder = new HpackDecoder(headerTableBytes, limits.headerListBytesMax, limits.headerFieldsMax);
  }

  /** The stream whose header block is incomplete, or 0: until it is complete only its CONTINUATION may come. */
  get openBlockStreamId(): number {
    return this.#blockStreamId;
  }

  /** A HEADERS frame; `bytes[start, end)` is its payload. */
  onHeaders(streamId: number, flags: number, bytes: Buffer, start: number, end: number): void {
    let from = start;
    let to = end;
    if ((flags & FrameFlag.Padded) !== 0) {
      if (to - from < 1) {
        this.#connection.fail(Http2Error.FrameSizeError, "HEADERS without its pad length");
        return;
      }
      to -= bytes[from++]!;
    }
    let dependsOn = -1;
    if ((flags & FrameFlag.Priority) !== 0) {
      if (end - from < 5) {
        this.#connection.fail(Http2Error.FrameSizeError, "HEADERS without its priority");
        return;
      }
      dependsOn = bytes.readUInt32BE(from) & 0x7fff_ffff;
      from += 5;
    }
    if (from > to) {
      this.#connection.fail(Http2Error.ProtocolError, "HEADERS with more padding than payload");
      return;
    }
    if (dependsOn === streamId) {
      // RFC 7540 §5.3.1. A stream error would need the block decoded all the same; nobody honest sends this.
      this.#connection.fail(Http2Error.ProtocolError, `stream ${streamId} depends on itself`);
      return;
    }
    const endsStream = (flags & FrameFlag.EndStream) !== 0;
    if ((flags & FrameFlag.EndHeaders) !== 0) {
      this.#onBlock(streamId, endsStream, bytes, from, to);
      return;
    }
    this.#blockStreamId = streamId;
    this.#blockEndsStream = endsStream;
    this.#blockParts = [];
    this.#blockBytes = 0;
    this.#addPart(bytes, from, to);
  }

  /** A CONTINUATION frame of the open block. */
  onContinuation(flags: number, bytes: Buffer, start: number, end: number): void {
    if (!this.#addPart(bytes, start, end) || (flags & FrameFlag.EndHeaders) === 0) return;
    const block = Buffer.concat(this.#blockParts);
    const streamId = this.#blockStreamId;
    this.#blockParts = [];
    this.#blockStreamId = 0;
    this.#onBlock(streamId, this.#blockEndsStream, block, 0, block.length);
  }

  #addPart(bytes: Buffer, start: number, end: number): boolean {
    const { limits } = this.#connection.host;
    this.#blockBytes += end - start;
    // A block is never longer than the list it encodes: clients use Huffman code only where it is shorter.
    if (this.#blockBytes > limits.headerListBytesMax || this.#blockParts.length > limits.continuationsMax) {
      const text = `a header block exceeds ${limits.headerListBytesMax} bytes or ${limits.continuationsMax} continuations`;
      this.#connection.cut("header-block", text);
      return false;
    }
    this.#blockParts.push(Buffer.from(bytes.subarray(start, end)));
    return true;
  }

  #onBlock(streamId: number, endsStream: boolean, bytes: Buffer, start: number, end: number): void {
    const connection = this.#connection;
    if (!this.#decoder.decode(bytes, start, end)) {
      connection.fail(Http2Error.CompressionError, `the header block of stream ${streamId} is no valid HPACK`);
      return;
    }
    const stream = connection.streamOf(streamId);
    if (stream !== undefined) this.#onTrailers(stream, endsStream);
    else if (streamId > connection.lastStreamId) this.#onRequest(streamId, endsStream);
    else if (!connection.wasReset(streamId)) {
      connection.fail(Http2Error.StreamClosed, `HEADERS on stream ${streamId}, which is closed`);
    }
  }

  #onTrailers(stream: Stream, endsStream: boolean): void {
    const connection = this.#connection;
    if (stream.isRemoteClosed) {
      connection.streamError(stream.id, Http2Error.StreamClosed);
    } else if (!endsStream || this.#decoder.isOverLimit || !areTrailers(this.#decoder.fields)) {
      connection.streamError(stream.id, Http2Error.ProtocolError);
    } else {
      connection.bodies.onEnd(stream);
    }
  }

  #onRequest(streamId: number, endsStream: boolean): void {
    const connection = this.#connection;
    const { host } = connection;
    if ((streamId & 1) === 0) {
      connection.fail(Http2Error.ProtocolError, `a client cannot open the even stream ${streamId}`);
      return;
    }
    if (!connection.admitStream(streamId)) return;
    if (this.#decoder.isOverLimit) {
      host.counters.cut("header-list");
      connection.streamError(streamId, Http2Error.EnhanceYourCalm);
      return;
    }
    const head = this.#head;
    if (!head.read(this.#decoder.fields)) {
      connection.streamError(streamId, Http2Error.ProtocolError);
      return;
    }
    if (head.contentLength > 0 && endsStream) {
      connection.streamError(streamId, Http2Error.ProtocolError);
      return;
    }
    if (!head.isGrpc) {
      this.#openPlain(streamId, endsStream);
      return;
    }

    if (connection.seconds.count(Counted.Request) > host.limits.requestsPerSecondMax) {
      host.counters.cut("request-rate");
      const text = `more than ${host.limits.requestsPerSecondMax} calls in a second on one connection`;
      connection.refuse(streamId, endsStream, GrpcStatus.ResourceExhausted, text);
      return;
    }
    const path = head.path!.value;
    const method = host.methods.get(path);
    if (method === undefined) {
      connection.refuse(streamId, endsStream, GrpcStatus.Unimplemented, `${path} is not served here`);
      return;
    }
    const encoding = head.encoding?.value;
    if (encoding !== undefined && encoding !== "identity") {
      const text = `grpc-encoding ${encoding} is not accepted; send identity`;
      connection.refuse(streamId, endsStream, GrpcStatus.Unimplemented, text, acceptIdentity);
      return;
    }
    let deadlineMs = Number.POSITIVE_INFINITY;
    if (head.timeout !== undefined) {
      const timeoutMs = parseGrpcTimeout(head.timeout.bytes, head.timeout.start, head.timeout.end);
      if (timeoutMs === malformedTimeout) {
        const text = `grpc-timeout "${head.timeout.value}" is not one to eight digits and a unit of H M S m u n`;
        connection.refuse(streamId, endsStream, GrpcStatus.InvalidArgument, text);
        return;
      }
      if (timeoutMs === 0) {
        connection.refuse(streamId, endsStream, GrpcStatus.DeadlineExceeded, "the call came without time left");
        return;
      }
      deadlineMs = connection.nowMs + timeoutMs;
    }
    const stream = connection.open(streamId, method, this.#shareFields(), deadlineMs);
    stream.bodyBytesLeft = head.contentLength;
    connection.bodies.onOpen(stream, endsStream);
  }

  /** A request that is no gRPC is read to its end and then told so: HTTP status 415 as gRPC asks. */
  #openPlain(streamId: number, endsStream: boolean): void {
    const stream = this.#connection.open(streamId, undefined, this.#shareFields(), Number.POSITIVE_INFINITY);
    stream.bodyBytesLeft = this.#head.contentLength;
    if (endsStream) this.#connection.bodies.onEnd(stream);
  }

  /**
   * The fields of the block just decoded. Calls of one client mostly carry the very same table entries: then they share
   * one list.
   */
  #shareFields(): readonly HeaderField[] {
    const { fields } = this.#decoder;
    const last = this.#lastFields;
    let isSame = fields.length === last.length;
    for (let i = 0; isSame && i < fields.length; i++) isSame = fields[i] === last[i];
    if (!isSame) this.#lastFields = fields.slice();
    return this.#lastFields;
  }
}
