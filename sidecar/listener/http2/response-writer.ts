import { FrameFlag, FrameType, frameHeaderBytes, writeFrameHeader } from "./frame.ts";
import { GrpcStatus } from "./grpc-method.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import type { Output } from "./output.ts";

const grpcContentType = "application/grpc";

/** Most bytes of a `grpc-message` on the wire; a longer text is cut. */
const grpcMessageBytesMax = 2048;

/** Room for any header block of ours: a frame header, a few short fields and a `grpc-message`. */
const blockBytesMax = 4096;

/** Fields beyond the status that an answer without a call may carry. */
export interface ExtraField {
  readonly name: string;
  readonly value: string;
}

/** Says which compression is understood, to a client that used another one. */
export const acceptIdentity: ExtraField = { name: "grpc-accept-encoding", value: "identity" };

/**
 * The header blocks of one connection's answers. Nearly all of them are one of two, the head of an answer and the
 * trailers of a success; these are kept encoded for as long as the peer's table stays as it is, one byte per field.
 */
export class ResponseWriter {
  readonly #output: Output;
  readonly #encoder = new HpackEncoder();
  #head = Buffer.alloc(0);
  #headVersion = -1;
  #success = Buffer.alloc(0);
  #successVersion = -1;

  constructor(output: Output) {
    this.#output = output;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setPeerTableBytes(bytes: number): void {
    this.#encoder.setTableBytes(bytes);
  }

  /** Bytes that the head needs at most when it shares a reservation with what follows. */
  static readonly headBytesMax = 64;

  /** Writes the head of an answer at `at` of a slab with room for `headBytesMax` and returns the position behind it. */
  head(into: Buffer, at: number, streamId: number): number {
    const body = at + frameHeaderBytes;
    let to: number;
    if (this.#headVersion === this.#encoder.version) {
      to = append(into, body, this.#head);
    } else {
      to = this.#encoder.begin(into, body);
      const from = to;
      to = this.#encoder.field(into, to, ":status", "200");
      to = this.#encoder.field(into, to, "content-type", grpcContentType, true);
      // The first block inserts and is not to be repeated; from the second on it is only indices.
      if (to - from <= 3) {
        this.#head = Buffer.from(into.subarray(from, to));
        this.#headVersion = this.#encoder.version;
      }
    }
    writeFrameHeader(into, at, to - body, FrameType.Headers, FrameFlag.EndHeaders, streamId);
    return to;
  }

  /** Ends a call whose head was sent. */
  trailers(streamId: number, status: GrpcStatus, message: string): void {
    const at = this.#output.reserve(blockBytesMax);
    const into = this.#output.slab;
    const body = at + frameHeaderBytes;
    const isSuccess = status === GrpcStatus.Ok && message === "";
    let to: number;
    if (isSuccess && this.#successVersion === this.#encoder.version) {
      to = append(into, body, this.#success);
    } else {
      const from = this.#encoder.begin(into, body);
      to = this.#status(into, from, status, message);
      if (isSuccess && to - from === 1) {
        this.#success = Buffer.from(into.subarray(from, to));
        this.#successVersion = this.#encoder.version;
      }
    }
    this.#finish(into, at, to, streamId);
  }

  /** Head and trailers in one: a call that ends without a message. */
  trailersOnly(streamId: number, status: GrpcStatus, message: string, extra?: ExtraField): void {
    const at = this.#output.reserve(blockBytesMax);
    const into = this.#output.slab;
    let to = this.#encoder.begin(into, at + frameHeaderBytes);
    to = this.#encoder.field(into, to, ":status", "200");
    to = this.#encoder.field(into, to, "content-type", grpcContentType, true);
    to = this.#status(into, to, status, message);
    if (extra !== undefined) to = this.#encoder.field(into, to, extra.name, extra.value);
    this.#finish(into, at, to, streamId);
  }

  /** The head of an answer to a request that is no gRPC. `isEnd`: no body follows. */
  plainHead(streamId: number, httpStatus: string, bodyBytes: number, isEnd: boolean): void {
    const at = this.#output.reserve(blockBytesMax);
    const into = this.#output.slab;
    let to = this.#encoder.begin(into, at + frameHeaderBytes);
    to = this.#encoder.field(into, to, ":status", httpStatus);
    to = this.#encoder.field(into, to, "content-type", "text/plain; charset=utf-8");
    to = this.#encoder.field(into, to, "content-length", String(bodyBytes));
    this.#finish(into, at, to, streamId, isEnd);
  }

  #status(into: Buffer, at: number, status: GrpcStatus, message: string): number {
    const to = this.#encoder.field(into, at, "grpc-status", String(status), status === GrpcStatus.Ok);
    return message === "" ? to : this.#encoder.field(into, to, "grpc-message", percentEncode(message));
  }

  #finish(into: Buffer, at: number, to: number, streamId: number, isEnd = true): void {
    const flags = FrameFlag.EndHeaders | (isEnd ? FrameFlag.EndStream : 0);
    writeFrameHeader(into, at, to - at - frameHeaderBytes, FrameType.Headers, flags, streamId);
    this.#output.advance(to);
  }
}

function append(into: Buffer, at: number, block: Buffer): number {
  let to = at;
  for (let i = 0; i < block.length; i++) into[to++] = block[i]!;
  return to;
}

/**
 * `grpc-message` as gRPC asks: UTF-8, everything but printable ASCII and "%" itself as %XX; a blank in front or behind too, for
 * HTTP strips those. A long text is cut between characters.
 */
export function percentEncode(text: string): string {
  let encoded = "";
  let at = 0;
  for (const character of text) {
    const code = character.codePointAt(0)!;
    const isAtEdge = at === 0 || at + 1 === text.length;
    at += character.length;
    let piece = character;
    if (code < 0x20 || code > 0x7e || code === 0x25 || (code === 0x20 && isAtEdge)) {
      piece = "";
      for (const byte of Buffer.from(character)) piece += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    }
    if (encoded.length + piece.length > grpcMessageBytesMax) break;
    encoded += piece;
  }
  return encoded;
}
