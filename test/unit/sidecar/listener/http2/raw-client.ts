import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import {
  connectionPreface,
  FrameFlag,
  FrameType,
  writeFrameHeader,
} from "../../../../../sidecar/listener/http2/frame.ts";
import { HpackDecoder } from "../../../../../sidecar/listener/http2/hpack-decoder.ts";

/** A frame as it came. `fields` holds the decoded headers of a HEADERS frame. */
export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
  readonly fields: Readonly<Record<string, string>>;
}

export type Fields = readonly (readonly [name: string, value: string])[];

/** One frame as bytes. */
export function frame(type: number, flags: number, streamId: number, payload: Buffer | string = ""): Buffer {
  const body = typeof payload === "string" ? Buffer.from(payload, "latin1") : payload;
  const bytes = Buffer.alloc(9 + body.length);
  body.copy(bytes, writeFrameHeader(bytes, 0, body.length, type, flags, streamId));
  return bytes;
}

/** A header block of literals without indexing and without Huffman code: the same bytes whatever came before. */
export function headerBlock(fields: Fields): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of fields) parts.push(Buffer.of(0), literal(name), literal(value));
  return Buffer.concat(parts);
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const length: number[] = [];
  if (bytes.length < 127) {
    length.push(bytes.length);
  } else {
    length.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) | 128);
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** The headers of a call. */
export function callFields(path: string, more: Fields = []): Fields {
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "localhost"],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
    ...more,
  ];
}

export function headersFrame(streamId: number, fields: Fields, flags: number = FrameFlag.EndHeaders): Buffer {
  return frame(FrameType.Headers, flags, streamId, headerBlock(fields));
}

/** A message with its gRPC prefix. */
export function grpcMessage(message: Buffer | string, flag = 0): Buffer {
  const body = typeof message === "string" ? Buffer.from(message) : message;
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
}

/** Headers and one message with END_STREAM: a whole unary call, for a message that fits a frame. */
export function wholeCall(streamId: number, path: string, message: Buffer | string, more: Fields = []): Buffer {
  return Buffer.concat([
    headersFrame(streamId, callFields(path, more)),
    frame(FrameType.Data, FrameFlag.EndStream, streamId, grpcMessage(message)),
  ]);
}

export function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value, 0);
  return bytes;
}

export interface RawClientOptions {
  readonly isTls?: boolean;
  /** Sent in the first SETTINGS. */
  readonly settings?: Buffer;
  /** False: nothing is sent by itself. */
  readonly hasPreface?: boolean;
  /** False: the socket is not read until `resume`. */
  readonly isReading?: boolean;
}

/** A client that sends exactly what it is told and writes down every frame that comes. */
export class RawClient {
  readonly socket: Socket;
  readonly frames: RawFrame[] = [];
  /** Everything received, for answers that are no HTTP/2. */
  received: Buffer = Buffer.alloc(0);
  isClosed = false;
  #unparsed: Buffer = Buffer.alloc(0);
  readonly #decoder = new HpackDecoder(4096, 1 << 20, 1000);
  readonly #waiting = new Set<() => void>();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (bytes: Buffer) => this.#onData(bytes));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isClosed = true;
      this.#look();
    });
  }

  static async connect(port: number, options: RawClientOptions = {}): Promise<RawClient> {
    const socket = options.isTls
      ? connectTls({ port, host: "127.0.0.1", rejectUnauthorized: false, ALPNProtocols: ["h2"] })
      : connect({ port, host: "127.0.0.1" });
    await new Promise<void>((resolve, reject) => {
      socket.once(options.isTls ? "secureConnect" : "connect", resolve);
      socket.once("error", reject);
    });
    const client = new RawClient(socket);
    if (options.isReading === false) socket.pause();
    if (options.hasPreface !== false) {
      client.send(Buffer.concat([connectionPreface, frame(FrameType.Settings, 0, 0, options.settings ?? "")]));
    }
    return client;
  }

  send(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  close(): void {
    this.socket.destroy();
  }

  /** Resolves when `condition` holds; looks at every frame that comes. Fails when the connection closes before. */
  async until(what: string, condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.isClosed) throw new Error(`the connection closed before: ${what}; got ${this.summary()}`);
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.isClosed) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  async frame(what: string, match: (frame: RawFrame) => boolean): Promise<RawFrame> {
    await this.until(what, () => this.frames.some(match));
    return this.frames.find(match)!;
  }

  /** The end of a stream: its trailers, or its reset. */
  async end(streamId: number): Promise<RawFrame> {
    return this.frame(
      `the end of stream ${streamId}`,
      ({ streamId: id, type, flags }) =>
        id === streamId &&
        (type === FrameType.RstStream || (isStreamFrame(type) && (flags & FrameFlag.EndStream) !== 0)),
    );
  }

  /** grpc-status of a call that ended with trailers; "reset N" for one that was reset. */
  async status(streamId: number): Promise<string> {
    const end = await this.end(streamId);
    if (end.type === FrameType.RstStream) return `reset ${end.payload.readUInt32BE(0)}`;
    return end.fields["grpc-status"] ?? `HTTP ${end.fields[":status"] ?? "without status"}`;
  }

  /** Error code of the GOAWAY that ended the connection. */
  async goAwayCode(): Promise<number> {
    const { payload } = await this.frame("GOAWAY", ({ type }) => type === FrameType.GoAway);
    return payload.readUInt32BE(4);
  }

  /** The DATA of a stream so far. */
  body(streamId: number): Buffer {
    return Buffer.concat(
      this.frames.filter((f) => f.type === FrameType.Data && f.streamId === streamId).map((f) => f.payload),
    );
  }

  /** The messages of a stream so far. */
  messages(streamId: number): Buffer[] {
    const body = this.body(streamId);
    const messages: Buffer[] = [];
    for (let at = 0; at + 5 <= body.length; ) {
      const end = at + 5 + body.readUInt32BE(at + 1);
      if (end > body.length) break;
      messages.push(body.subarray(at + 5, end));
      at = end;
    }
    return messages;
  }

  summary(): string {
    return this.frames
      .slice(-10)
      .map(
        (f) =>
          `${f.type}/${f.streamId}${f.type === 7 ? ` code ${f.payload.readUInt32BE(4)} ${f.payload.subarray(8)}` : ""}`,
      )
      .join(", ");
  }

  #onData(bytes: Buffer): void {
    if (this.received.length < 4096) this.received = Buffer.concat([this.received, bytes]);
    this.#unparsed = this.#unparsed.length === 0 ? bytes : Buffer.concat([this.#unparsed, bytes]);
    let at = 0;
    while (this.#unparsed.length - at >= 9) {
      const end = at + 9 + this.#unparsed.readUIntBE(at, 3);
      if (end > this.#unparsed.length) break;
      this.#onFrame(this.#unparsed.subarray(at, end));
      at = end;
    }
    this.#unparsed = this.#unparsed.subarray(at);
    this.#look();
  }

  #onFrame(bytes: Buffer): void {
    const payload = Buffer.from(bytes.subarray(9));
    const type = bytes[3]!;
    const fields: Record<string, string> = {};
    if (type === FrameType.Headers) {
      if (!this.#decoder.decode(payload, 0, payload.length)) throw new Error("the server's header block is broken");
      for (const field of this.#decoder.fields) fields[field.name.text] = field.value;
    }
    this.frames.push({ type, flags: bytes[4]!, streamId: bytes.readUInt32BE(5) & 0x7fff_ffff, payload, fields });
  }

  #look(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }
}

function isStreamFrame(type: number): boolean {
  return type === FrameType.Data || type === FrameType.Headers;
}
