import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  connectionPreface,
  FrameFlag,
  FrameType,
  frameHeaderBytes,
  readUint31,
  Setting,
  windowBytesCeiling,
  windowBytesDefault,
  writeFrameHeader,
  writeUint32,
} from "../../sidecar/listener/http2/frame.ts";
import { HpackDecoder } from "../../sidecar/listener/http2/hpack-decoder.ts";
import { HpackEncoder, writeInteger } from "../../sidecar/listener/http2/hpack-encoder.ts";

/**
 * A load generator for unary gRPC calls over raw sockets: requests are encoded once and patched, a read's worth of them
 * leaves in one write. It spends a few microseconds per call, where a client library spends a hundred and measures itself.
 */
export interface LoadOptions {
  readonly host: string;
  readonly port: number;
  /** TLS with any certificate. */
  readonly isTls?: boolean;
  readonly connections: number;
  /** Calls in flight on each connection; the server's limit of concurrent streams (100) bounds it. */
  readonly streams: number;
  /** Full path of a unary method. */
  readonly path: string;
  /** The request message, without the gRPC prefix. */
  readonly message: Buffer;
  /** Further request headers, the same for all calls: they go into the server's table. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** With it each call carries this header with a value of its own (36 digits, as long as a UUID). */
  readonly requestIdHeader?: string;
  /** Changes the message of a call in place, for example an id in it: `request[at, at + message.length)`. */
  readonly patch?: (request: Buffer, at: number, sequence: number) => void;
  /** Ends when so many calls were answered. */
  readonly calls?: number;
  /** Ends after so long. Either this or `calls`. */
  readonly durationMs?: number;
  /**
   * Open loop: calls begin at random moments at this rate and latency counts from the moment a call was to begin, so that
   * a server that stalls is not measured by a client that waits for it. Left out: each answer begins the next call.
   */
  readonly callsPerSecond?: number;
}

export interface LoadResult {
  /** Calls answered with grpc-status 0. */
  readonly calls: number;
  /** Calls answered otherwise, by grpc-status; "reset" for those that were reset. */
  readonly failures: ReadonlyMap<string, number>;
  readonly seconds: number;
  readonly callsPerSecond: number;
  readonly latencyMs: {
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
    readonly p999: number;
    readonly max: number;
  };
  /** What the generator itself cost; near 1.0 cores it is the bottleneck and the rate above is its own. */
  readonly generatorCores: number;
}

const requestIdBytes = 36;
/** Response bytes after which the connection's window is renewed. */
const renewWindowBytes = 256 * 1024 * 1024;
const tickMs = 1;

/** Runs one load. Rejects when a connection cannot be made or breaks. */
export async function generateLoad(options: LoadOptions): Promise<LoadResult> {
  const run = new LoadRun(options);
  return run.finished;
}

class LoadRun {
  readonly options: LoadOptions;
  readonly finished: Promise<LoadResult>;
  readonly #failures = new Map<string, number>();
  #latencies = new Float64Array(1 << 16);
  #answered = 0;
  #succeeded = 0;
  #begun = 0;
  #sequence = 0;
  readonly #startedMs = performance.now();
  readonly #startedCpu = process.cpuUsage();
  readonly #connections: LoadConnection[] = [];
  readonly #callsMax: number;
  readonly #endMs: number;
  /** Open loop: when the next call is to begin. */
  #nextCallMs = 0;
  #nextConnection = 0;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #resolve: (result: LoadResult) => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(options: LoadOptions) {
    this.options = options;
    if ((options.calls === undefined) === (options.durationMs === undefined)) {
      throw new RangeError("a load ends either after `calls` or after `durationMs`");
    }
    this.#callsMax = options.calls ?? Number.POSITIVE_INFINITY;
    this.#endMs = options.durationMs === undefined ? Number.POSITIVE_INFINITY : this.#startedMs + options.durationMs;
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    for (let i = 0; i < options.connections; i++) this.#connections.push(new LoadConnection(this));
    if (options.callsPerSecond !== undefined) {
      this.#nextCallMs = performance.now();
      this.#timer = setInterval(() => this.#beginDue(options.callsPerSecond!), tickMs);
    } else if (options.durationMs !== undefined) {
      this.#timer = setTimeout(() => this.end(), options.durationMs);
    }
  }

  get isClosedLoop(): boolean {
    return this.options.callsPerSecond === undefined;
  }

  /** True when another call may begin; counts it. */
  take(): boolean {
    if (this.#isOver || this.#begun >= this.#callsMax) return false;
    this.#begun++;
    return true;
  }

  nextSequence(): number {
    return this.#sequence++;
  }

  note(beganMs: number, nowMs: number, failure: string | undefined): void {
    if (this.#isOver) return;
    if (failure === undefined) this.#succeeded++;
    else this.#failures.set(failure, (this.#failures.get(failure) ?? 0) + 1);
    if (this.#answered === this.#latencies.length) {
      const grown = new Float64Array(this.#latencies.length * 2);
      grown.set(this.#latencies);
      this.#latencies = grown;
    }
    this.#latencies[this.#answered++] = nowMs - beganMs;
    if (this.#answered >= this.#callsMax) this.end();
  }

  fail(error: Error): void {
    if (this.#isOver) return;
    this.#close();
    this.#reject(error);
  }

  end(): void {
    if (this.#isOver) return;
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const cpu = process.cpuUsage(this.#startedCpu);
    this.#close();
    const sorted = this.#latencies.subarray(0, this.#answered).sort();
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    this.#resolve({
      calls: this.#succeeded,
      failures: this.#failures,
      seconds,
      callsPerSecond: this.#succeeded / seconds,
      latencyMs: { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: at(1) },
      generatorCores: (cpu.user + cpu.system) / 1e6 / seconds,
    });
  }

  #beginDue(perSecond: number): void {
    const nowMs = performance.now();
    if (nowMs >= this.#endMs) {
      this.end();
      return;
    }
    while (this.#nextCallMs <= nowMs && this.take()) {
      this.#connections[this.#nextConnection++ % this.#connections.length]!.schedule(this.#nextCallMs);
      // Exponential gaps: arrivals that know nothing of each other.
      this.#nextCallMs += (-Math.log(1 - Math.random()) * 1000) / perSecond;
    }
    for (const connection of this.#connections) connection.flush();
  }

  #close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    for (const connection of this.#connections) connection.close();
  }
}

class LoadConnection {
  readonly #run: LoadRun;
  readonly #socket: Socket;
  readonly #decoder = new HpackDecoder(4096, 1 << 20, 1 << 10);
  /** The bytes of a request; stream ids, request id and message are patched into copies of it. */
  #request: Buffer;
  #dataAt = 0;
  #requestIdAt = -1;
  #messageAt = 0;
  readonly #firstRequest: Buffer;
  #out: Buffer = Buffer.allocUnsafeSlow(64 * 1024);
  #outBytes = 0;
  #nextStreamId = 1;
  #inFlight = 0;
  #received = 0;
  #isReady = false;
  /** Moments at which calls of an open loop were to begin and could not yet. */
  readonly #waiting: number[] = [];
  /** When the call of a stream began, by stream id. */
  readonly #began = new Map<number, number>();
  #partial: Buffer | undefined;

  constructor(run: LoadRun) {
    this.#run = run;
    const { host, port, isTls } = run.options;
    const encoder = new HpackEncoder();
    // The first block fills the server's table, the second one uses it and is then sent for ever.
    this.#firstRequest = this.#encodeRequest(encoder);
    this.#request = this.#encodeRequest(encoder);
    this.#socket = isTls
      ? connectTls({ host, port, rejectUnauthorized: false, ALPNProtocols: ["h2"] })
      : connectTcp({ host, port });
    this.#socket.setNoDelay(true);
    this.#socket.on(isTls ? "secureConnect" : "connect", () => this.#start());
    this.#socket.on("data", (bytes: Buffer) => this.#read(bytes));
    this.#socket.on("error", (error) => run.fail(error));
    this.#socket.on("close", () => run.fail(new Error("the server closed a connection under load")));
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Open loop: a call that was to begin at `atMs`. */
  schedule(atMs: number): void {
    if (this.#isReady && this.#inFlight < this.#run.options.streams) this.#begin(atMs);
    else this.#waiting.push(atMs);
  }

  flush(): void {
    if (this.#outBytes === 0) return;
    this.#socket.write(Buffer.from(this.#out.subarray(0, this.#outBytes)));
    this.#outBytes = 0;
  }

  #encodeRequest(encoder: HpackEncoder): Buffer {
    const { path, message, headers, requestIdHeader, host } = this.#run.options;
    const block = Buffer.allocUnsafe(8192);
    let to = encoder.begin(block, frameHeaderBytes);
    to = encoder.field(block, to, ":method", "POST");
    to = encoder.field(block, to, ":scheme", this.#run.options.isTls ? "https" : "http");
    to = encoder.field(block, to, ":path", path, true);
    to = encoder.field(block, to, ":authority", host, true);
    to = encoder.field(block, to, "te", "trailers", true);
    to = encoder.field(block, to, "content-type", "application/grpc", true);
    for (const [name, value] of headers ?? []) to = encoder.field(block, to, name, value, true);
    if (requestIdHeader !== undefined) {
      block[to++] = 0;
      to = writeInteger(block, to, 0, 7, requestIdHeader.length);
      to += block.write(requestIdHeader, to, "latin1");
      to = writeInteger(block, to, 0, 7, requestIdBytes);
      this.#requestIdAt = to;
      to += block.write("0".repeat(requestIdBytes), to, "latin1");
    }
    writeFrameHeader(block, 0, to - frameHeaderBytes, FrameType.Headers, FrameFlag.EndHeaders, 0);
    const framed = Buffer.allocUnsafe(5 + message.length);
    framed[0] = 0;
    writeUint32(framed, 1, message.length);
    message.copy(framed, 5);
    const frames: Buffer[] = [block.subarray(0, to)];
    const dataMax = 16_384;
    if (framed.length > dataMax) throw new RangeError(`a message of this generator fits one frame (${dataMax} bytes)`);
    const head = Buffer.allocUnsafe(frameHeaderBytes);
    writeFrameHeader(head, 0, framed.length, FrameType.Data, FrameFlag.EndStream, 0);
    frames.push(head, framed);
    this.#dataAt = to;
    this.#messageAt = to + frameHeaderBytes + 5;
    return Buffer.concat(frames);
  }

  #start(): void {
    const settings = Buffer.allocUnsafe(frameHeaderBytes + 12 + frameHeaderBytes + 4);
    let at = writeFrameHeader(settings, 0, 12, FrameType.Settings, 0, 0);
    at = writeSetting(settings, at, Setting.EnablePush, 0);
    at = writeSetting(settings, at, Setting.InitialWindowSize, windowBytesCeiling);
    at = writeFrameHeader(settings, at, 4, FrameType.WindowUpdate, 0, 0);
    writeUint32(settings, at, windowBytesCeiling - windowBytesDefault);
    this.#socket.write(Buffer.concat([connectionPreface, settings]));
    this.#isReady = true;
    if (this.#run.isClosedLoop) this.#refill(performance.now());
    else this.#beginWaiting();
    this.flush();
  }

  #refill(nowMs: number): void {
    while (this.#inFlight < this.#run.options.streams && this.#run.take()) this.#begin(nowMs);
  }

  #beginWaiting(): void {
    while (this.#waiting.length > 0 && this.#inFlight < this.#run.options.streams) this.#begin(this.#waiting.shift()!);
  }

  #begin(atMs: number): void {
    const isFirst = this.#nextStreamId === 1;
    const request = isFirst ? this.#firstRequest : this.#request;
    const { patch } = this.#run.options;
    if (this.#out.length - this.#outBytes < request.length) this.flush();
    const at = this.#outBytes;
    const streamId = this.#nextStreamId;
    this.#nextStreamId += 2;
    request.copy(this.#out, at);
    const shift = isFirst ? this.#firstRequest.length - this.#request.length : 0;
    writeUint32(this.#out, at + 5, streamId);
    writeUint32(this.#out, at + this.#dataAt + shift + 5, streamId);
    const sequence = this.#run.nextSequence();
    if (this.#requestIdAt >= 0) writeDigits(this.#out, at + this.#requestIdAt + shift, requestIdBytes, sequence);
    patch?.(this.#out, at + this.#messageAt + shift, sequence);
    this.#outBytes = at + request.length;
    this.#inFlight++;
    this.#began.set(streamId, atMs);
  }

  #read(read: Buffer): void {
    const bytes = this.#partial === undefined ? read : Buffer.concat([this.#partial, read]);
    const nowMs = performance.now();
    let at = 0;
    while (bytes.length - at >= frameHeaderBytes) {
      const payload = at + frameHeaderBytes;
      const end = payload + ((bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!);
      if (end > bytes.length) break;
      this.#onFrame(bytes[at + 3]!, bytes[at + 4]!, readUint31(bytes, at + 5), bytes, payload, end, nowMs);
      at = end;
    }
    this.#partial = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
    if (this.#run.isClosedLoop) this.#refill(nowMs);
    else this.#beginWaiting();
    this.flush();
  }

  #onFrame(type: number, flags: number, id: number, bytes: Buffer, start: number, end: number, nowMs: number): void {
    switch (type) {
      case FrameType.Data:
        this.#received += end - start;
        if (this.#received > renewWindowBytes) this.#renewWindow();
        break;
      case FrameType.Headers:
        if (!this.#decoder.decode(bytes, start, end)) this.#run.fail(new Error("the server's header block is broken"));
        if ((flags & FrameFlag.EndStream) !== 0) this.#onAnswer(id, nowMs, this.#failure());
        break;
      case FrameType.RstStream:
        this.#onAnswer(id, nowMs, "reset");
        break;
      case FrameType.GoAway: {
        const text = bytes.toString("utf8", start + 8, end);
        this.#run.fail(new Error(`the server sent GOAWAY ${bytes.readUInt32BE(start + 4)}: ${text}`));
        break;
      }
      case FrameType.Settings:
      case FrameType.Ping:
        if ((flags & FrameFlag.Ack) === 0) this.#acknowledge(type, bytes, start, end);
        break;
    }
  }

  /** The status of the trailers just decoded, or undefined when it is 0. */
  #failure(): string | undefined {
    const field = this.#decoder.fields.find(({ name }) => name.text === "grpc-status");
    return field === undefined ? "without grpc-status" : field.value === "0" ? undefined : field.value;
  }

  #onAnswer(streamId: number, nowMs: number, failure: string | undefined): void {
    const beganMs = this.#began.get(streamId);
    if (beganMs === undefined) return;
    this.#began.delete(streamId);
    this.#inFlight--;
    this.#run.note(beganMs, nowMs, failure);
  }

  #acknowledge(type: number, bytes: Buffer, start: number, end: number): void {
    const payload = type === FrameType.Ping ? bytes.subarray(start, end) : Buffer.alloc(0);
    const head = Buffer.allocUnsafe(frameHeaderBytes);
    writeFrameHeader(head, 0, payload.length, type, FrameFlag.Ack, 0);
    this.flush();
    this.#socket.write(Buffer.concat([head, payload]));
  }

  #renewWindow(): void {
    const frame = Buffer.allocUnsafe(frameHeaderBytes + 4);
    writeUint32(frame, writeFrameHeader(frame, 0, 4, FrameType.WindowUpdate, 0, 0), this.#received);
    this.#received = 0;
    this.flush();
    this.#socket.write(frame);
  }
}

function writeSetting(into: Buffer, at: number, setting: number, value: number): number {
  into[at] = setting >>> 8;
  into[at + 1] = setting;
  return writeUint32(into, at + 2, value);
}

/** Decimal digits, right-aligned, zeros in front. */
function writeDigits(into: Buffer, at: number, digits: number, value: number): void {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    into[i] = 0x30 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}
