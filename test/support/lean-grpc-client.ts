import { connect, type Socket } from "node:net";
import {
  connectionPreface,
  FrameFlag,
  FrameType,
  frameHeaderBytes,
  Http2Error,
  readUint31,
  readUint32,
  Setting,
  windowBytesCeiling,
  windowBytesDefault,
  writeFrameHeader,
  writeUint32,
} from "../../sidecar/listener/http2/frame.ts";
import { HpackDecoder } from "../../sidecar/listener/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../sidecar/listener/http2/hpack-encoder.ts";

/** How a call ended. Statuses of gRPC: 0 is OK, 4 a deadline that passed, 14 a connection that broke. */
export interface GrpcEnd {
  readonly status: number;
  readonly text: string;
}

const deadlineExceeded: GrpcEnd = { status: 4, text: "deadline exceeded" };
/** Calls in flight before the server has said how many it takes; ours and most others take 100. */
const streamsMaxDefault = 100;
/** Received bytes after which the connection's window is opened again. */
const renewWindowBytes = 256 * 1024 * 1024;
const readBytes = 256 * 1024;
/** DATA of a request is one frame. */
const requestBytesMax = 16_384;
const prefixBytes = 5;

interface OpenCall {
  readonly onMessage: (message: Buffer) => void;
  readonly end: (end: GrpcEnd) => void;
  readonly timer: NodeJS.Timeout;
  /** Begin of a message whose rest is still to come. */
  partial: Buffer | undefined;
}

interface WaitingCall {
  readonly path: string;
  readonly message: Uint8Array;
  readonly timeoutMs: number;
  readonly call: OpenCall;
}

/**
 * Unary and server-streaming gRPC calls over one cleartext connection. For load: it costs some ten microseconds per call,
 * where a client library takes a hundred and fifty and soon becomes what is measured. Calls above the server's limit of
 * streams or its window wait here. It does not connect again.
 */
export class LeanGrpcClient {
  readonly #socket: Socket;
  readonly #headers: readonly (readonly [name: string, value: string])[];
  readonly #authority: string;
  readonly #encoder = new HpackEncoder();
  readonly #decoder = new HpackDecoder(4096, 1 << 20, 1 << 10);
  readonly #calls = new Map<number, OpenCall>();
  readonly #waiting: WaitingCall[] = [];
  #out: Buffer = Buffer.allocUnsafeSlow(256 * 1024);
  #outBytes = 0;
  #nextStreamId = 1;
  #streamsMax = streamsMaxDefault;
  #sendWindow = windowBytesDefault;
  #received = 0;
  #partial: Buffer | undefined;
  #isFlushAsked = false;
  #broken: GrpcEnd | undefined;

  /** `address`: host:port. `headers` go with every call. */
  constructor(address: string, headers: Readonly<Record<string, string>>) {
    const [host, port] = address.split(":");
    this.#authority = address;
    this.#headers = Object.entries(headers);
    // Read into one piece of memory: a new one for every read makes V8 collect its whole heap several times a second.
    const callback = (count: number, into: Uint8Array): boolean => {
      this.#read(Buffer.from(into.buffer, into.byteOffset, count));
      return true;
    };
    this.#socket = connect({ host: host!, port: Number(port), onread: { buffer: Buffer.alloc(readBytes), callback } });
    this.#socket.setNoDelay(true);
    this.#socket.on("error", (error) => this.#break(error.message));
    this.#socket.on("close", () => this.#break("the connection is closed"));
    const settings = Buffer.allocUnsafe(2 * frameHeaderBytes + 16);
    let at = writeFrameHeader(settings, 0, 12, FrameType.Settings, 0, 0);
    at = writeSetting(settings, at, Setting.EnablePush, 0);
    at = writeSetting(settings, at, Setting.InitialWindowSize, windowBytesCeiling);
    at = writeFrameHeader(settings, at, 4, FrameType.WindowUpdate, 0, 0);
    writeUint32(settings, at, windowBytesCeiling - windowBytesDefault);
    this.#socket.write(Buffer.concat([connectionPreface, settings]));
  }

  close(): void {
    this.#socket.destroy();
    this.#break("closed by its owner");
  }

  /** `path`: of the method. `onMessage` gets each message of the answer, valid during the call only. Never rejects. */
  call(path: string, message: Uint8Array, timeoutMs: number, onMessage: (message: Buffer) => void): Promise<GrpcEnd> {
    if (message.length + prefixBytes > requestBytesMax) {
      throw new RangeError(`a request of this client has at most ${requestBytesMax - prefixBytes} bytes`);
    }
    return new Promise((resolve) => {
      if (this.#broken !== undefined) {
        resolve(this.#broken);
        return;
      }
      const call: OpenCall = {
        onMessage,
        end: resolve,
        timer: setTimeout(() => this.#giveUp(call), timeoutMs),
        partial: undefined,
      };
      const waiting = { path, message, timeoutMs, call };
      if (this.#waiting.length > 0 || !this.#mayBegin(message)) this.#waiting.push(waiting);
      else this.#begin(waiting);
    });
  }

  #mayBegin(message: Uint8Array): boolean {
    return this.#calls.size < this.#streamsMax && this.#sendWindow >= message.length + prefixBytes;
  }

  #beginWaiting(): void {
    while (this.#waiting.length > 0 && this.#mayBegin(this.#waiting[0]!.message)) this.#begin(this.#waiting.shift()!);
  }

  #begin({ path, message, timeoutMs, call }: WaitingCall): void {
    const streamId = this.#nextStreamId;
    this.#nextStreamId += 2;
    this.#calls.set(streamId, call);
    if (this.#out.length - this.#outBytes < message.length + 4096) this.#flush();
    const out = this.#out;
    const headersAt = this.#outBytes;
    const encoder = this.#encoder;
    let to = encoder.begin(out, headersAt + frameHeaderBytes);
    to = encoder.field(out, to, ":method", "POST");
    to = encoder.field(out, to, ":scheme", "http");
    to = encoder.field(out, to, ":path", path, true);
    to = encoder.field(out, to, ":authority", this.#authority, true);
    to = encoder.field(out, to, "te", "trailers", true);
    to = encoder.field(out, to, "content-type", "application/grpc", true);
    to = encoder.field(out, to, "grpc-timeout", `${timeoutMs}m`, true);
    for (const [name, value] of this.#headers) to = encoder.field(out, to, name, value, true);
    const blockBytes = to - headersAt - frameHeaderBytes;
    writeFrameHeader(out, headersAt, blockBytes, FrameType.Headers, FrameFlag.EndHeaders, streamId);
    const dataBytes = prefixBytes + message.length;
    to = writeFrameHeader(out, to, dataBytes, FrameType.Data, FrameFlag.EndStream, streamId);
    out[to++] = 0;
    to = writeUint32(out, to, message.length);
    out.set(message, to);
    this.#outBytes = to + message.length;
    this.#sendWindow -= dataBytes;
    this.#askFlush();
  }

  /** What one turn has to say leaves in one write. */
  #askFlush(): void {
    if (this.#isFlushAsked) return;
    this.#isFlushAsked = true;
    queueMicrotask(() => {
      this.#isFlushAsked = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#outBytes === 0) return;
    this.#socket.write(Buffer.from(this.#out.subarray(0, this.#outBytes)));
    this.#outBytes = 0;
  }

  #read(read: Buffer): void {
    const bytes = this.#partial === undefined ? read : Buffer.concat([this.#partial, read]);
    let at = 0;
    while (bytes.length - at >= frameHeaderBytes) {
      const payload = at + frameHeaderBytes;
      const end = payload + ((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!);
      if (end > bytes.length) break;
      this.#onFrame(bytes[at + 3]!, bytes[at + 4]!, readUint31(bytes, at + 5), bytes, payload, end);
      at = end;
    }
    this.#partial = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
    this.#beginWaiting();
  }

  #onFrame(type: number, flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case FrameType.Data:
        this.#received += end - start;
        if (this.#received > renewWindowBytes) this.#renewWindow();
        this.#onData(streamId, bytes.subarray(start, end));
        break;
      case FrameType.Headers:
        if (!this.#decoder.decode(bytes, start, end)) this.#break("the server's header block is broken");
        else if ((flags & FrameFlag.EndStream) !== 0) this.#end(streamId, this.#trailers());
        break;
      case FrameType.RstStream:
        this.#end(streamId, { status: 13, text: `reset by the server (${readUint32(bytes, start)})` });
        break;
      case FrameType.GoAway:
        this.#break(`GOAWAY ${readUint32(bytes, start + 4)}: ${bytes.toString("utf8", start + 8, end)}`);
        break;
      case FrameType.WindowUpdate:
        if (streamId === 0) this.#sendWindow += readUint31(bytes, start);
        break;
      case FrameType.Settings:
        if ((flags & FrameFlag.Ack) === 0) this.#onSettings(bytes, start, end);
        break;
      case FrameType.Ping:
        if ((flags & FrameFlag.Ack) === 0) this.#acknowledge(type, bytes.subarray(start, end));
        break;
    }
  }

  #onSettings(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; at += 6) {
      const setting = (bytes[at]! << 8) | bytes[at + 1]!;
      if (setting === Setting.MaxConcurrentStreams) this.#streamsMax = readUint32(bytes, at + 2);
      if (setting === Setting.HeaderTableSize) this.#encoder.setTableBytes(readUint32(bytes, at + 2));
    }
    this.#acknowledge(FrameType.Settings, Buffer.alloc(0));
  }

  #onData(streamId: number, data: Buffer): void {
    const call = this.#calls.get(streamId);
    if (call === undefined) return;
    const bytes = call.partial === undefined ? data : Buffer.concat([call.partial, data]);
    let at = 0;
    while (bytes.length - at >= prefixBytes) {
      const end = at + prefixBytes + readUint32(bytes, at + 1);
      if (end > bytes.length) break;
      call.onMessage(bytes.subarray(at + prefixBytes, end));
      at = end;
    }
    call.partial = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
  }

  #trailers(): GrpcEnd {
    const field = (wanted: string) => this.#decoder.fields.find(({ name }) => name.text === wanted)?.value;
    const status = field("grpc-status");
    return { status: status === undefined ? 2 : Number(status), text: field("grpc-message") ?? "" };
  }

  #end(streamId: number, end: GrpcEnd): void {
    const call = this.#calls.get(streamId);
    if (call === undefined) return;
    this.#calls.delete(streamId);
    clearTimeout(call.timer);
    call.end(end);
  }

  #giveUp(call: OpenCall): void {
    const waiting = this.#waiting.findIndex((one) => one.call === call);
    if (waiting >= 0) this.#waiting.splice(waiting, 1);
    for (const [streamId, open] of this.#calls) {
      if (open !== call) continue;
      this.#calls.delete(streamId);
      const reset = Buffer.allocUnsafe(frameHeaderBytes + 4);
      writeUint32(reset, writeFrameHeader(reset, 0, 4, FrameType.RstStream, 0, streamId), Http2Error.Cancel);
      this.#flush();
      this.#socket.write(reset);
    }
    call.end(deadlineExceeded);
    this.#beginWaiting();
  }

  #acknowledge(type: number, payload: Buffer): void {
    const head = Buffer.allocUnsafe(frameHeaderBytes);
    writeFrameHeader(head, 0, payload.length, type, FrameFlag.Ack, 0);
    this.#flush();
    this.#socket.write(Buffer.concat([head, payload]));
  }

  #renewWindow(): void {
    const frame = Buffer.allocUnsafe(frameHeaderBytes + 4);
    writeUint32(frame, writeFrameHeader(frame, 0, 4, FrameType.WindowUpdate, 0, 0), this.#received);
    this.#received = 0;
    this.#flush();
    this.#socket.write(frame);
  }

  /** Every call that is open ends; what of it was done is not known. */
  #break(text: string): void {
    if (this.#broken !== undefined) return;
    this.#broken = { status: 14, text };
    const calls = [...this.#calls.values(), ...this.#waiting.map(({ call }) => call)];
    this.#calls.clear();
    this.#waiting.length = 0;
    for (const { timer, end } of calls) {
      clearTimeout(timer);
      end(this.#broken);
    }
  }
}

function writeSetting(into: Buffer, at: number, setting: number, value: number): number {
  into[at] = setting >>> 8;
  into[at + 1] = setting;
  return writeUint32(into, at + 2, value);
}
