import type { Socket } from "node:net";
import type { Clock } from "../../../proto/runtime/clock.ts";
import type { Log } from "../../../proto/runtime/log.ts";
import { BodyReceiver } from "./body-receiver.ts";
import { ControlReceiver } from "./control-receiver.ts";
import type { Http2Counters, LimitName } from "./counters.ts";
import type { DeadlineWheel } from "./deadline-wheel.ts";
import { FrameFlag, FrameType, frameBytesDefault, Http2Error, readUint31, windowBytesDefault } from "./frame.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import type { CancelReason, GrpcMethod, GrpcStatus } from "./grpc-method.ts";
import type { HeaderField } from "./header-field.ts";
import { type ByteBudget, Counted, type Http2Limits, SecondCounter } from "./limits.ts";
import { Output, type OutputOwner, type SlabPool } from "./output.ts";
import { RequestReceiver } from "./request-receiver.ts";
import { type ExtraField, ResponseWriter } from "./response-writer.ts";
import { SendScheduler } from "./send-scheduler.ts";
import { Stream, type StreamOwner } from "./stream.ts";

/** What all connections of a server share. */
export interface ConnectionHost {
  readonly limits: Http2Limits;
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Http2Counters;
  readonly slabs: SlabPool;
  readonly inflight: ByteBudget;
  readonly wheel: DeadlineWheel;
  /** Calls `connection.flush()` at the end of this turn of the event loop. */
  flushAtTurnEnd(connection: Connection): void;
  onClosed(connection: Connection): void;
}

/** Streams that were reset while the client may still have had frames of them under way; older ones are forgotten. */
const resetStreamsRemembered = 256;

/**
 * One client connection: the streams, the windows towards the client, and the life of the whole. Headers, bodies and
 * control frames have a receiver each. All frames of a read are handled before anything is written, then all that they
 * caused leaves in one write.
 */
export class Connection implements StreamOwner, FrameSink, OutputOwner {
  readonly host: ConnectionHost;
  readonly id: number;
  readonly remoteAddress: string;
  readonly isTls: boolean;
  readonly output: Output;
  readonly responses: ResponseWriter;
  readonly bodies: BodyReceiver;
  readonly seconds = new SecondCounter();
  context: unknown;

  /** Nothing more is read from the client: the connection failed, or it is gone. */
  isOver = false;
  /** Highest stream the client opened. */
  lastStreamId = 0;
  /** Monotonic time of the last read. */
  nowMs: number;
  sendWindow = windowBytesDefault;
  peerFrameBytes = frameBytesDefault;
  /** Send window that a new stream starts with. */
  peerStreamWindow = windowBytesDefault;

  readonly #socket: Socket;
  readonly #reader: FrameReader;
  readonly #requests: RequestReceiver;
  readonly #control: ControlReceiver;
  readonly #streams = new Map<number, Stream>();
  readonly #scheduler: SendScheduler;
  readonly #resetIds = new Int32Array(resetStreamsRemembered);
  #resets = 0;
  #isReading = false;
  #isGone = false;
  /** The last stream this side will serve; set by the final GOAWAY. */
  #lastServedId = Number.POSITIVE_INFINITY;
  #failedSinceMs = Number.POSITIVE_INFINITY;

  constructor(host: ConnectionHost, id: number, socket: Socket, remoteAddress: string, isTls: boolean) {
    this.host = host;
    this.id = id;
    this.remoteAddress = remoteAddress;
    this.isTls = isTls;
    this.#socket = socket;
    this.nowMs = host.clock.monotonicMs();
    this.output = new Output(socket, host.slabs, this);
    this.#scheduler = new SendScheduler(this);
    this.responses = new ResponseWriter(this.output);
    this.bodies = new BodyReceiver(this);
    this.#requests = new RequestReceiver(this);
    this.#control = new ControlReceiver(this);
    this.#reader = new FrameReader(this, host.limits.frameBytesMax);
    socket.on("data", (bytes: Buffer) => this.read(bytes));
    socket.on("error", (error) => host.log.debug({ err: error, connection: id }, "connection error"));
    socket.on("end", () => this.destroy("connection-closed"));
    socket.on("close", () => this.#onClose("connection-closed"));
  }

  get queuedBytesPerCallMax(): number {
    return this.host.limits.queuedBytesPerCallMax;
  }

  /** Calls in progress. */
  get streamCount(): number {
    return this.#streams.size;
  }

  streamOf(streamId: number): Stream | undefined {
    return this.#streams.get(streamId);
  }

  streams(): IterableIterator<Stream> {
    return this.#streams.values();
  }

  /** Takes one read of the socket. */
  read(bytes: Buffer): void {
    if (this.isOver) return;
    this.nowMs = this.host.clock.monotonicMs();
    this.seconds.advance(this.nowMs);
    this.#control.onRead(this.nowMs);
    this.#isReading = true;
    this.#reader.read(bytes);
    this.#isReading = false;
    this.flush();
  }

  // Frames

  onPreface(): void {
    this.#control.sendSettings();
  }

  onNoPreface(bytes: Buffer): void {
    if (/^(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH) /.test(bytes.toString("latin1", 0, 8))) {
      const body = "This port speaks gRPC over HTTP/2 only.\n";
      const head = `HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: ${body.length}\r\n`;
      this.isOver = true;
      this.#failedSinceMs = this.nowMs;
      this.#socket.write(`${head}connection: close\r\n\r\n${body}`);
      this.output.end();
      return;
    }
    this.fail(Http2Error.ProtocolError, "the connection does not begin with the HTTP/2 preface");
  }

  onOversizedFrame(type: number, payloadBytes: number): void {
    const text = `a frame of type ${type} has ${payloadBytes} bytes; at most ${this.host.limits.frameBytesMax} are allowed`;
    this.fail(Http2Error.FrameSizeError, text);
  }

  onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const openBlock = this.#requests.openBlockStreamId;
    if (openBlock !== 0 && (type !== FrameType.Continuation || streamId !== openBlock)) {
      this.fail(Http2Error.ProtocolError, `the header block of stream ${openBlock} was interrupted`);
      return;
    }
    if (!this.#control.hasPeerSettings && (type !== FrameType.Settings || (flags & FrameFlag.Ack) !== 0)) {
      this.fail(Http2Error.ProtocolError, "the first frame was not SETTINGS");
      return;
    }
    switch (type) {
      case FrameType.Data:
        this.bodies.onData(streamId, flags, bytes, start, end);
        break;
      case FrameType.Headers:
        if (streamId === 0) this.fail(Http2Error.ProtocolError, "HEADERS on stream 0");
        else this.#requests.onHeaders(streamId, flags, bytes, start, end);
        break;
      case FrameType.Continuation:
        if (openBlock === 0) this.fail(Http2Error.ProtocolError, "CONTINUATION without HEADERS");
        else this.#requests.onContinuation(flags, bytes, start, end);
        break;
      case FrameType.RstStream:
        this.#onReset(streamId, end - start);
        break;
      case FrameType.WindowUpdate:
        this.#onWindowUpdate(streamId, bytes, start, end);
        break;
      default:
        this.#control.onFrame(type, flags, streamId, bytes, start, end);
    }
  }

  #onReset(streamId: number, payloadBytes: number): void {
    if (payloadBytes !== 4) {
      this.fail(Http2Error.FrameSizeError, "RST_STREAM without exactly 4 bytes");
      return;
    }
    if (streamId === 0 || streamId > this.lastStreamId) {
      this.fail(Http2Error.ProtocolError, `RST_STREAM on stream ${streamId}, which was never opened`);
      return;
    }
    const resets = this.seconds.add(Counted.Reset);
    const calls = this.seconds.count(Counted.Request);
    if (resets >= this.host.limits.rapidResetCallsMin && resets * 2 > calls) {
      this.cut("rapid-reset", `${resets} of ${calls} calls were reset within a second`);
      return;
    }
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return;
    this.release(stream);
    stream.cancel("client-reset");
  }

  #onWindowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) {
      this.fail(Http2Error.FrameSizeError, "WINDOW_UPDATE without exactly 4 bytes");
      return;
    }
    if (this.seconds.add(Counted.WindowUpdate) > this.host.limits.windowUpdatesPerSecondMax) {
      this.cut("window-update", "too many WINDOW_UPDATE frames");
      return;
    }
    const increment = readUint31(bytes, start);
    if (streamId === 0) {
      if (increment === 0) {
        this.fail(Http2Error.ProtocolError, "WINDOW_UPDATE of 0 on the connection");
        return;
      }
      this.sendWindow += increment;
      if (this.sendWindow > 0x7fff_ffff) {
        this.fail(Http2Error.FlowControlError, "send window above 2^31-1");
        return;
      }
      this.pumpQueued();
      return;
    }
    if (streamId > this.lastStreamId) {
      this.fail(Http2Error.ProtocolError, `WINDOW_UPDATE on stream ${streamId}, which was never opened`);
      return;
    }
    const stream = this.#streams.get(streamId);
    if (increment === 0) {
      this.streamError(streamId, Http2Error.ProtocolError);
      return;
    }
    if (stream === undefined) return;
    stream.sendWindow += increment;
    if (stream.sendWindow > 0x7fff_ffff) {
      this.streamError(streamId, Http2Error.FlowControlError);
      return;
    }
    this.#scheduler.pump(stream);
  }

  // Streams

  /** Counts a new stream. False when it was refused; the client was told. */
  admitStream(streamId: number): boolean {
    this.lastStreamId = streamId;
    this.seconds.add(Counted.Request);
    if (this.#streams.size < this.host.limits.streamsMax && streamId <= this.#lastServedId) return true;
    this.reset(streamId, Http2Error.RefusedStream);
    if (streamId > this.#lastServedId) return false;
    this.host.counters.cut("streams");
    // Until the client has seen our SETTINGS it cannot know how many streams are allowed.
    const refused = this.#control.isSettled ? this.seconds.add(Counted.RefusedCall) : 0;
    if (refused > this.host.limits.refusedCallsPerSecondMax) {
      this.cut("streams", `${refused} calls beyond the ${this.host.limits.streamsMax} allowed at once`);
    }
    return false;
  }

  open(streamId: number, method: GrpcMethod | undefined, fields: readonly HeaderField[], deadlineMs: number): Stream {
    const { limits } = this.host;
    const stream = new Stream(
      this,
      streamId,
      method,
      fields,
      deadlineMs,
      this.peerStreamWindow,
      limits.streamWindowBytes,
      this.nowMs,
    );
    this.#streams.set(streamId, stream);
    this.host.counters.calls.value++;
    if (deadlineMs !== Number.POSITIVE_INFINITY) this.host.wheel.add(stream);
    return stream;
  }

  /** Answers a request that never becomes a call. */
  refuse(streamId: number, endsStream: boolean, status: GrpcStatus, message: string, extra?: ExtraField): void {
    this.responses.trailersOnly(streamId, status, message, extra);
    if (!endsStream) this.reset(streamId, Http2Error.NoError);
  }

  release(stream: Stream): void {
    if (!this.#streams.delete(stream.id)) return;
    this.host.wheel.remove(stream);
    if (stream.assembly !== undefined) this.bodies.discard(stream);
    this.#scheduler.forget(stream);
    if (this.#streams.size === 0) this.#control.onIdle();
  }

  reset(streamId: number, code: Http2Error): void {
    this.#resetIds[this.#resets++ % resetStreamsRemembered] = streamId;
    this.#control.sendReset(streamId, code);
  }

  /** This side reset the stream a short while ago: frames that were under way then are to be ignored. */
  wasReset(streamId: number): boolean {
    return this.#resetIds.includes(streamId);
  }

  /** The client broke the rules of one stream: the stream is reset, the call cancelled. */
  streamError(streamId: number, code: Http2Error): void {
    if (this.seconds.add(Counted.StreamError) > this.host.limits.streamErrorsPerSecondMax) {
      this.cut("stream-errors", "too many broken streams");
      return;
    }
    const stream = this.#streams.get(streamId);
    this.reset(streamId, code);
    if (stream === undefined) return;
    this.release(stream);
    stream.cancel("client-reset");
  }

  // Output

  enqueue(stream: Stream): void {
    this.#scheduler.enqueue(stream);
  }

  awaitWritable(stream: Stream): void {
    this.#scheduler.awaitWritable(stream);
  }

  /** Sends what was queued, as far as the windows and the socket go. */
  pumpQueued(): void {
    this.#scheduler.pumpAll();
  }

  updateWindow(streamId: number, bytes: number): void {
    this.#control.sendWindowUpdate(streamId, bytes);
  }

  onOutput(): void {
    if (!this.#isReading) this.host.flushAtTurnEnd(this);
  }

  onUnblocked(): void {
    if (this.#isGone) return;
    this.#socket.resume();
    this.pumpQueued();
  }

  /** Hands everything written so far to the socket. A client that does not take it is not read from either. */
  flush(): void {
    this.output.flush();
    if (this.output.isBlocked) this.#socket.pause();
  }

  // Life

  /** Adds `delta` to the send windows of all streams; false when one exceeds the largest window. */
  shiftStreamWindows(delta: number): boolean {
    for (const stream of this.#streams.values()) {
      stream.sendWindow += delta;
      if (stream.sendWindow > 0x7fff_ffff) return false;
    }
    return true;
  }

  /** From now on no stream above `lastServedId` is served; closes when the last one ends. */
  goAway(): void {
    this.#control.startDrain();
  }

  /** The final GOAWAY is out. */
  serveUpTo(streamId: number): void {
    this.#lastServedId = streamId;
  }

  /** The client broke the protocol: GOAWAY with the reason, then the end. */
  fail(code: Http2Error, reason: string): void {
    if (this.isOver) return;
    this.host.counters.protocolErrors.value++;
    this.#end(code, reason);
  }

  /** The client exceeded a limit: GOAWAY ENHANCE_YOUR_CALM, then the end. */
  cut(limit: LimitName, reason: string): void {
    if (this.isOver) return;
    this.host.counters.cut(limit);
    this.#end(Http2Error.EnhanceYourCalm, reason);
  }

  #end(code: Http2Error, reason: string): void {
    this.host.log.info({ connection: this.id, remote: this.remoteAddress, code, reason }, "connection ended");
    this.#control.sendGoAway(this.lastStreamId, code, reason);
    this.isOver = true;
    this.#failedSinceMs = this.nowMs;
    this.#cancelAll("connection-closed");
    // Reading goes on into nothing until the client closes: unread bytes would make the kernel reset the connection
    // and the GOAWAY could be lost.
    this.output.end();
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  /** No call is left after a GOAWAY: closes in order. */
  close(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#failedSinceMs = this.host.clock.monotonicMs();
    this.output.end();
  }

  /** Ends at once, without a word. */
  destroy(reason: CancelReason): void {
    this.#onClose(reason);
    this.#socket.destroy();
  }

  /** Looks for what took too long. Called about once a second. */
  sweep(nowMs: number): void {
    const { limits } = this.host;
    if (nowMs - this.#failedSinceMs >= limits.lingerMsMax) {
      this.destroy("connection-closed");
      return;
    }
    if (this.isOver) return;
    this.#control.sweep(nowMs);
    if (!this.isOver) this.bodies.sweep(this.#streams.values(), nowMs);
  }

  #onClose(reason: CancelReason): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.isOver = true;
    this.output.abandon();
    this.#cancelAll(reason);
    this.host.onClosed(this);
  }

  #cancelAll(reason: CancelReason): void {
    for (const stream of [...this.#streams.values()]) {
      this.release(stream);
      stream.cancel(reason);
    }
  }
}
