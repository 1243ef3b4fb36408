import { type Clock, sleep } from "../../../../../proto/runtime/clock.ts";
import { silentLog } from "../../../../../proto/runtime/log.ts";
import { NodeClock } from "../../../../../proto/runtime/node-clock.ts";
import {
  type CancelReason,
  type GrpcMethod,
  GrpcStatus,
  type ServerCall,
  type ServerConnection,
} from "../../../../../sidecar/listener/http2/grpc-method.ts";
import type { Http2Limits } from "../../../../../sidecar/listener/http2/limits.ts";
import { GrpcServer, type TlsMaterial } from "../../../../../sidecar/listener/http2/server.ts";

export const echoBytesMax = 4 * 1024 * 1024;

/** Paths of the methods that an `EchoEngine` serves. */
export const EchoPath = {
  /** unary: the message back. */
  Unary: "/test.Echo/Unary",
  /** unary: the same, in a later turn of the event loop. */
  Later: "/test.Echo/Later",
  /** server-streaming: the message five times. */
  Stream: "/test.Echo/Stream",
  /** bidi: every message back; OK when the client half-closes. */
  Bidi: "/test.Echo/Bidi",
  /** unary: never answers. */
  Park: "/test.Echo/Park",
  /** unary: the message names a header; its value comes back. */
  Header: "/test.Echo/Header",
  /** unary: "count size": so many messages of so many bytes, as fast as the client takes them. */
  Pour: "/test.Echo/Pour",
  /** unary: throws. */
  Throw: "/test.Echo/Throw",
  /** unary: the message is a status and a text: "5 not here". */
  Fail: "/test.Echo/Fail",
} as const;

export interface EchoEngineOptions {
  readonly clock?: Clock;
  readonly limits?: Partial<Http2Limits>;
  readonly tls?: TlsMaterial;
}

/** The engine with methods that do little, and notes of what they were told. */
export class EchoEngine {
  readonly server: GrpcServer;
  readonly parked: ServerCall[] = [];
  readonly cancelled: { readonly path: string; readonly reason: CancelReason }[] = [];
  readonly connections = new Set<ServerConnection>();
  readonly #messages = new Map<string, number>();
  /** How often `Pour` was told to wait. */
  waits = 0;
  /** Messages that `Pour` sent. */
  poured = 0;
  port = 0;
  readonly #clock: Clock;

  constructor(options: EchoEngineOptions = {}) {
    this.#clock = options.clock ?? new NodeClock();
    this.server = new GrpcServer({
      methods: this.#methods(),
      clock: this.#clock,
      log: silentLog,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      onConnection: (connection) => this.connections.add(connection),
      onConnectionClosed: (connection) => this.connections.delete(connection),
    });
  }

  static async start(options: EchoEngineOptions = {}): Promise<EchoEngine> {
    const engine = new EchoEngine(options);
    engine.port = await engine.server.listen({ host: "127.0.0.1", port: 0 });
    return engine;
  }

  /** Messages that reached the method of `path`. */
  messages(path: string): number {
    return this.#messages.get(path) ?? 0;
  }

  stop(): void {
    this.server.closeAll();
  }

  #methods(): GrpcMethod[] {
    const echo = (call: ServerCall, bytes: Buffer, start: number, end: number) => {
      call.sendWith(end - start, (into, at) => bytes.copy(into, at, start, end));
      call.finish(GrpcStatus.Ok);
    };
    const unary = (path: string, onMessage: GrpcMethod["onMessage"]) => this.#method(path, "unary", onMessage);
    return [
      unary(EchoPath.Unary, echo),
      unary(EchoPath.Later, (call, bytes, start, end) => {
        const message = Buffer.from(bytes.subarray(start, end));
        void sleep(this.#clock, 0).then(() => echo(call, message, 0, message.length));
      }),
      this.#method(EchoPath.Stream, "server-streaming", (call, bytes, start, end) => {
        for (let i = 0; i < 5; i++) call.send(bytes.subarray(start, end));
        call.finish(GrpcStatus.Ok);
      }),
      {
        ...this.#method(EchoPath.Bidi, "bidi", (call, bytes, start, end) => call.send(bytes.subarray(start, end))),
        onOpen: (call) => this.parked.push(call),
        onHalfClose: (call) => call.finish(GrpcStatus.Ok),
      },
      unary(EchoPath.Park, (call) => this.parked.push(call)),
      unary(EchoPath.Header, (call, bytes, start, end) => {
        call.send(Buffer.from(call.header(bytes.toString("latin1", start, end)) ?? "none", "latin1"));
        call.finish(GrpcStatus.Ok);
      }),
      unary(EchoPath.Pour, (call, bytes, start, end) => {
        const [count, size] = bytes.toString("latin1", start, end).split(" ").map(Number);
        this.#pour(call, count ?? 0, size ?? 0);
      }),
      unary(EchoPath.Throw, () => {
        throw new Error("a method that throws");
      }),
      unary(EchoPath.Fail, (call, bytes, start, end) => {
        const [, status, text] = /^(\d+) (.*)$/s.exec(bytes.toString("utf8", start, end)) ?? [];
        call.finish(Number(status) as GrpcStatus, text);
      }),
    ];
  }

  #method(path: string, kind: GrpcMethod["kind"], onMessage: GrpcMethod["onMessage"]): GrpcMethod {
    return {
      path,
      kind,
      requestBytesMax: echoBytesMax,
      onMessage: (call, bytes, start, end) => {
        this.#messages.set(path, this.messages(path) + 1);
        onMessage(call, bytes, start, end);
      },
      onCancel: (_call, reason) => this.cancelled.push({ path, reason }),
    };
  }

  #pour(call: ServerCall, count: number, size: number): void {
    const message = Buffer.alloc(size, "p");
    let left = count;
    const more = (): void => {
      while (left > 0) {
        left--;
        this.poured++;
        if (call.send(message)) continue;
        this.waits++;
        call.onWritable = more;
        return;
      }
      call.finish(GrpcStatus.Ok);
    };
    more();
  }
}
