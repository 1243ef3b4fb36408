import type { WheelEntry } from "./deadline-wheel.ts";
import { FrameFlag, FrameType, frameHeaderBytes, Http2Error, writeFrameHeader, writeUint32 } from "./frame.ts";
import {
  type CancelReason,
  type GrpcMethod,
  GrpcStatus,
  type ServerCall,
  type ServerConnection,
} from "./grpc-method.ts";
import type { HeaderField } from "./header-field.ts";
import { type MessageAssembly, messagePrefixBytes } from "./message-assembly.ts";
import { type Output, slabBytes } from "./output.ts";
import { type ExtraField, ResponseWriter } from "./response-writer.ts";

/** What a stream needs of its connection. */
export interface StreamOwner extends ServerConnection {
  readonly output: Output;
  readonly responses: ResponseWriter;
  /** Bytes of DATA the client still takes on the whole connection. */
  sendWindow: number;
  /** Largest payload of a frame the client takes. */
  readonly peerFrameBytes: number;
  readonly queuedBytesPerCallMax: number;
  /** The stream has bytes queued: pump it when the window or the socket opens. */
  enqueue(stream: Stream): void;
  /** The stream's method waits for room. */
  awaitWritable(stream: Stream): void;
  /** Both sides are done, or the stream was reset: forget it. */
  release(stream: Stream): void;
  /** Sends RST_STREAM for a stream of ours and remembers that frames of it may still come. */
  reset(streamId: number, code: Http2Error): void;
}

/** Message bytes that wait for the client's window. */
interface QueuedBytes {
  readonly bytes: Buffer;
  at: number;
}

/**
 * One call: an HTTP/2 stream with gRPC on it. A new object for each call, never reused: a method that answers late holds
 * its own closed call and cannot hit somebody else's.
 */
export class Stream implements ServerCall, WheelEntry {
  readonly connection: StreamOwner;
  readonly id: number;
  readonly method: GrpcMethod | undefined;
  readonly deadlineMs: number;
  readonly #fields: readonly HeaderField[];

  context: unknown;
  onWritable: (() => void) | undefined;

  /** False once the method finished the call or it was cancelled. */
  isOpen = true;
  /** The client half-closed: nothing more comes. */
  isRemoteClosed = false;
  /** Bytes of DATA the client still takes on this stream; may be negative after a SETTINGS that shrank it. */
  sendWindow: number;
  /** Bytes of DATA the client may still send, and those used since it was last told. */
  receiveWindow: number;
  receivedUntold = 0;
  /** Bytes of body that `content-length` still promises, or -1 without one. */
  bodyBytesLeft = -1;
  /** The message being put together; undefined between messages. */
  assembly: MessageAssembly | undefined;
  /** Monotonic time since which the call waits for bytes of a request message. */
  waitsSinceMs: number;
  hasFirstByte = false;
  /** The only request message of a unary call was delivered. */
  isAnswerDue = false;
  isAwaitingWritable = false;

  wheelNext: WheelEntry | undefined;
  wheelPrevious: WheelEntry | undefined;
  wheelSlot = -1;

  #hasHead = false;
  #queue: QueuedBytes[] | undefined;
  #queuedBytes = 0;
  #trailers: { readonly status: GrpcStatus; readonly message: string } | undefined;
  /** The queue holds a plain body: its last frame ends the stream, no trailers follow. */
  #isPlain = false;
  #isLocalClosed = false;

  constructor(
    connection: StreamOwner,
    id: number,
    method: GrpcMethod | undefined,
    fields: readonly HeaderField[],
    deadlineMs: number,
    sendWindow: number,
    receiveWindow: number,
    nowMs: number,
  ) {
    this.connection = connection;
    this.id = id;
    this.method = method;
    this.#fields = fields;
    this.deadlineMs = deadlineMs;
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
    this.waitsSinceMs = nowMs;
  }

  get path(): string {
    return this.method?.path ?? "";
  }

  /** Response bytes that wait for the client. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  header(name: string): string | undefined {
    for (const field of this.#fields) if (field.name.text === name) return field.value;
    return undefined;
  }

  send(message: Uint8Array): boolean {
    return this.sendWith(message.length, (into, at) => into.set(message, at));
  }

  sendWith(length: number, write: (into: Buffer, at: number) => void): boolean {
    if (!this.isOpen) return false;
    const { connection } = this;
    const framed = messagePrefixBytes + length;
    const fitsWindows = framed <= this.sendWindow && framed <= connection.sendWindow;
    const fitsFrame = framed <= connection.peerFrameBytes && framed <= slabBytes - 2 * ResponseWriter.headBytesMax;
    if (this.#queue === undefined && fitsWindows && fitsFrame) {
      const { output } = connection;
      let at = output.reserve(ResponseWriter.headBytesMax + frameHeaderBytes + framed);
      const into = output.slab;
      if (!this.#hasHead) {
        at = connection.responses.head(into, at, this.id);
        this.#hasHead = true;
        output.advance(at);
      }
      at = writeFrameHeader(into, at, framed, FrameType.Data, 0, this.id);
      into[at] = 0;
      at = writeUint32(into, at + 1, length);
      write(into, at);
      output.advance(at + length);
      this.sendWindow -= framed;
      connection.sendWindow -= framed;
      return !output.isBlocked || this.#waitForRoom();
    }
    return this.#sendQueued(length, write);
  }

  finish(status: GrpcStatus, message = ""): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    if (this.#queue !== undefined) this.#trailers = { status, message };
    else this.#writeTrailers(status, message);
  }

  /** Writes queued bytes as far as the windows, the socket and the queue go; then the trailers if they wait. */
  pump(): void {
    const { connection } = this;
    const { output } = connection;
    while (this.#queue !== undefined && !output.isBlocked) {
      const first = this.#queue[0]!;
      const room = Math.min(this.sendWindow, connection.sendWindow, connection.peerFrameBytes, slabBytes / 2);
      const count = Math.min(room, first.bytes.length - first.at);
      if (count <= 0) return;
      let at = output.reserve(ResponseWriter.headBytesMax + frameHeaderBytes + count);
      if (!this.#hasHead) {
        at = connection.responses.head(output.slab, at, this.id);
        this.#hasHead = true;
      }
      const isLast = this.#isPlain && count === first.bytes.length - first.at;
      at = writeFrameHeader(output.slab, at, count, FrameType.Data, isLast ? FrameFlag.EndStream : 0, this.id);
      first.bytes.copy(output.slab, at, first.at, first.at + count);
      output.advance(at + count);
      first.at += count;
      this.sendWindow -= count;
      connection.sendWindow -= count;
      this.#queuedBytes -= count;
      if (first.at === first.bytes.length) {
        this.#queue.shift();
        if (this.#queue.length === 0) this.#queue = undefined;
      }
    }
    if (this.#queue !== undefined) return;
    if (this.#isPlain && !this.#isLocalClosed) this.#closeLocal();
    if (this.#trailers !== undefined) {
      const { status, message } = this.#trailers;
      this.#trailers = undefined;
      this.#writeTrailers(status, message);
    }
  }

  /** True when bytes wait for the client's window or the socket. */
  get isQueued(): boolean {
    return this.#queue !== undefined;
  }

  /**
   * Answers a request that is no gRPC: a status and a line of text. Ends our side.
   * @param body printable ASCII; left out for HEAD.
   */
  answerPlain(httpStatus: string, body: string, isHead: boolean): void {
    this.isOpen = false;
    this.#hasHead = true;
    const bytes = Buffer.from(body, "latin1");
    const isEmpty = isHead || bytes.length === 0;
    this.connection.responses.plainHead(this.id, httpStatus, bytes.length, isEmpty);
    if (isEmpty) {
      this.#closeLocal();
    } else {
      this.#isPlain = true;
      this.#enqueue(bytes);
    }
  }

  /** The call is over without an answer of the method; drops what is queued and tells the method. Sends nothing. */
  cancel(reason: CancelReason): void {
    const wasOpen = this.isOpen;
    this.isOpen = false;
    this.#isLocalClosed = true;
    this.#queue = undefined;
    this.#queuedBytes = 0;
    this.#trailers = undefined;
    this.onWritable = undefined;
    if (wasOpen) this.method?.onCancel?.(this, reason);
  }

  /**
   * Ends an open call with a status of the engine's own, for example when its deadline passed, and tells the method.
   * What the method had queued is dropped: the client gets a prompt status, not late bytes.
   */
  abort(status: GrpcStatus, message: string, reason: CancelReason, extra?: ExtraField): void {
    if (!this.isOpen) {
      // Finished by the method, but the client did not take the bytes in time.
      if (this.#isLocalClosed) return;
      this.cancel(reason);
      this.connection.reset(this.id, Http2Error.Cancel);
      this.connection.release(this);
      return;
    }
    const isCut = this.#queue !== undefined && this.#queue[0]!.at > 0;
    this.cancel(reason);
    if (isCut) {
      // Half a message is out: trailers now would be a broken answer.
      this.connection.reset(this.id, Http2Error.Cancel);
      this.connection.release(this);
    } else {
      this.#writeTrailers(status, message, extra);
    }
  }

  #sendQueued(length: number, write: (into: Buffer, at: number) => void): boolean {
    const framed = messagePrefixBytes + length;
    if (this.#queue !== undefined && this.#queuedBytes + framed > this.connection.queuedBytesPerCallMax) {
      const text = `the client does not take its answers: ${this.#queuedBytes} bytes wait already`;
      this.abort(GrpcStatus.ResourceExhausted, text, "client-reset");
      return false;
    }
    const bytes = Buffer.allocUnsafe(framed);
    bytes[0] = 0;
    writeUint32(bytes, 1, length);
    write(bytes, messagePrefixBytes);
    this.#enqueue(bytes);
    return (this.#queue === undefined && !this.connection.output.isBlocked) || this.#waitForRoom();
  }

  #enqueue(bytes: Buffer): void {
    this.#queue ??= [];
    this.#queue.push({ bytes, at: 0 });
    this.#queuedBytes += bytes.length;
    this.pump();
    if (this.#queue !== undefined) this.connection.enqueue(this);
  }

  #waitForRoom(): false {
    this.connection.awaitWritable(this);
    return false;
  }

  #writeTrailers(status: GrpcStatus, message: string, extra?: ExtraField): void {
    const { responses } = this.connection;
    if (this.#hasHead) responses.trailers(this.id, status, message);
    else responses.trailersOnly(this.id, status, message, extra);
    this.#closeLocal();
  }

  #closeLocal(): void {
    this.#isLocalClosed = true;
    // A client that still sends is told to stop: its request was answered without the rest of it.
    if (!this.isRemoteClosed) this.connection.reset(this.id, Http2Error.NoError);
    this.connection.release(this);
  }
}
