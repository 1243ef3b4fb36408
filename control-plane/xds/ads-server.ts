import { status as GrpcStatus } from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { Counter, MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import type { ResourceTable } from "../snapshot/resource-table.ts";
import type { AdsStream, HeldResource, StreamEnd, StreamEvents } from "./ads-stream.ts";
import type { AdsConnection, AdsTransport } from "./ads-transport.ts";
import { ChangeDebounce } from "./change-debounce.ts";
import { DeltaStream, type DeltaStreamOptions } from "./delta-stream.ts";
import { ResponseEncoder } from "./response-encoder.ts";
import { SotwStream } from "./sotw-stream.ts";
import { SubscriptionIndex } from "./subscription-index.ts";

const { DeltaDiscoveryRequest, DiscoveryRequest } = envoy.service.discovery.v3;

/** A client that leaves a response unanswered or unread this long is cut off: it would hold back every later change. */
const answerMsMax = 30_000;
/** Streams end after this long, give or take a fifth, so that clients spread over replicas. They reconnect and resume. */
const streamAgeMsMax = 30 * 60_000;
const sweepMs = 5_000;
const countedTypesMax = 64;

export type StreamKind = "delta" | "sotw";

/** What `GET /v1/sidecars` and CSDS tell about one stream. */
export interface StreamReport {
  readonly node: envoy.config.core.v3.Node | undefined;
  readonly kind: StreamKind;
  readonly peer: string;
  readonly connectedForMs: number;
  readonly held: readonly HeldResource[];
}

/** The discovery service, whatever carries its streams: delta and state of the world over one resource table. */
export class AdsServer {
  readonly #clock: Clock;
  readonly #randomness: Randomness;
  readonly #log: Log;
  readonly #metrics: MetricRegistry;
  readonly #identifier: string;
  readonly #index = new SubscriptionIndex();
  readonly #open = new Set<OpenStream>();
  readonly #touched = new Set<AdsStream>();
  readonly #streamOptions: DeltaStreamOptions;
  readonly #host: Host;
  /** By type URL. */
  readonly #acks = new Map<string, Counter>();
  readonly #nacks = new Map<string, Counter>();
  readonly #debounce: ChangeDebounce;
  readonly #sweep: Timer;

  constructor(
    table: ResourceTable,
    identifier: string,
    deps: {
      readonly clock: Clock;
      readonly randomness: Randomness;
      readonly log: Log;
      readonly metrics: MetricRegistry;
    },
  ) {
    this.#identifier = identifier;
    this.#clock = deps.clock;
    this.#randomness = deps.randomness;
    this.#log = deps.log;
    this.#metrics = deps.metrics;
    this.#streamOptions = {
      table,
      index: this.#index,
      encoder: new ResponseEncoder(table, identifier),
      nowMs: () => deps.clock.monotonicMs(),
    };
    this.#host = {
      nowMs: this.#streamOptions.nowMs,
      message: (open, bytes) => this.#message(open, bytes),
      flush: (open) => {
        if (this.#open.has(open)) open.stream.flush();
      },
      end: (open, how) => this.#end(open, how),
      forget: (open) => void this.#forget(open),
      acked: (typeUrl) => this.#counter(this.#acks, "popmesh_xds_acks_total", "Responses accepted", typeUrl).add(),
      nacked: (open, typeUrl, reason) => {
        const help = "Responses refused by a client";
        this.#counter(this.#nacks, "popmesh_xds_nacks_total", help, typeUrl).add();
        this.#log.warn({ node: open.stream.node?.id, typeUrl, reason }, "a client refuses configuration");
      },
    };
    this.#debounce = new ChangeDebounce(deps.clock, () => this.#flushTouched());
    this.#sweep = deps.clock.every(sweepMs, () => this.#endOverdue());
    table.onChange((typeUrl, name) => this.#onChange(typeUrl, name));
    this.#metrics.gaugeOf("popmesh_xds_streams", "Open discovery streams", () => this.#open.size);
  }

  /** A client opened a stream. It is told by `transport`; what it says, and how it ends, comes in by the result. */
  open(kind: StreamKind, transport: AdsTransport): AdsConnection {
    const open = new OpenStream(this.#host, kind, transport, this.#clock.monotonicMs());
    open.ageMsMax = streamAgeMsMax * (0.8 + 0.4 * this.#randomness.fraction());
    if (kind === "delta") {
      const stream = new DeltaStream(this.#streamOptions, open);
      open.stream = stream;
      open.take = (bytes) => decoded(DeltaDiscoveryRequest, bytes, (request) => stream.request(request));
    } else {
      const { table, index, nowMs } = this.#streamOptions;
      const stream = new SotwStream({ table, index, nowMs, events: open, identifier: this.#identifier });
      open.stream = stream;
      open.take = (bytes) => decoded(DiscoveryRequest, bytes, (request) => stream.request(request));
    }
    this.#open.add(open);
    return open;
  }

  reports(): StreamReport[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#open].map(({ stream, kind, transport, openedMs }) => ({
      node: stream.node,
      kind,
      peer: transport.peer,
      connectedForMs: Math.round(nowMs - openedMs),
      held: stream.held(),
    }));
  }

  /** Ends every stream in good order; clients reconnect to whoever listens next. */
  close(): void {
    this.#sweep.cancel();
    this.#debounce.close();
    const how = { code: GrpcStatus.UNAVAILABLE, details: "the control plane stops" };
    for (const open of [...this.#open]) this.#end(open, how);
  }

  #message(open: OpenStream, bytes: Buffer): void {
    const how = this.#open.has(open) ? open.take(bytes) : undefined;
    if (how === undefined) return;
    const { stream, transport } = open;
    const who = { node: stream.node?.id, peer: transport.peer };
    this.#log.warn({ ...who, reason: how.details }, "a discovery stream is refused");
    this.#end(open, how);
  }

  #end(open: OpenStream, how: StreamEnd): void {
    if (this.#forget(open)) open.transport.end(how);
  }

  /** True when the stream was open. */
  #forget(open: OpenStream): boolean {
    if (!this.#open.delete(open)) return false;
    this.#touched.delete(open.stream);
    open.stream.close();
    return true;
  }

  #onChange(typeUrl: string, name: string): void {
    this.#index.forEach(typeUrl, name, (stream) => {
      stream.changed(typeUrl, name);
      this.#touched.add(stream);
    });
    if (this.#touched.size > 0) this.#debounce.touch();
  }

  #flushTouched(): void {
    const touched = [...this.#touched];
    this.#touched.clear();
    this.#streamOptions.encoder.share(() => {
      for (const stream of touched) stream.flush();
    });
  }

  #endOverdue(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const open of [...this.#open]) {
      const { fullSinceMs, stream } = open;
      const unansweredMs = nowMs - (stream.unansweredSinceMs() ?? nowMs);
      const unreadMs = nowMs - (fullSinceMs ?? nowMs);
      if (unansweredMs > answerMsMax || unreadMs > answerMsMax) {
        this.#log.warn(
          { node: stream.node?.id, peer: open.transport.peer },
          "a client does not answer; its stream ends",
        );
        const what = unansweredMs > answerMsMax ? "acknowledged" : "read";
        const details = `a response was not ${what} within ${answerMsMax / 1000} s`;
        this.#end(open, { code: GrpcStatus.DEADLINE_EXCEEDED, details });
      } else if (nowMs - open.openedMs > open.ageMsMax) {
        this.#end(open, { code: GrpcStatus.OK, details: "" });
      }
    }
  }

  /** Looked up once per type: there are as many answers as pushes. */
  #counter(known: Map<string, Counter>, name: string, help: string, typeUrl: string): Counter {
    let counter = known.get(typeUrl);
    if (counter === undefined) {
      counter = this.#metrics.counter(name, help, { type: typeUrl.slice(typeUrl.lastIndexOf(".") + 1) });
      // A client can name as many types as it likes.
      if (known.size < countedTypesMax) known.set(typeUrl, counter);
    }
    return counter;
  }
}

/** What the streams of a server have of it. */
interface Host {
  nowMs(): number;
  message(open: OpenStream, bytes: Buffer): void;
  flush(open: OpenStream): void;
  end(open: OpenStream, how: StreamEnd): void;
  forget(open: OpenStream): void;
  acked(typeUrl: string): void;
  nacked(open: OpenStream, typeUrl: string, reason: string): void;
}

/** A stream with its way to the client. */
class OpenStream implements StreamEvents, AdsConnection {
  readonly #host: Host;
  readonly kind: StreamKind;
  readonly transport: AdsTransport;
  readonly openedMs: number;
  ageMsMax = 0;
  /** Set while the client does not read what was sent. */
  fullSinceMs: number | undefined;
  stream!: AdsStream;
  take!: (bytes: Buffer) => StreamEnd | undefined;

  constructor(host: Host, kind: StreamKind, transport: AdsTransport, openedMs: number) {
    this.#host = host;
    this.kind = kind;
    this.transport = transport;
    this.openedMs = openedMs;
  }

  get isWritable(): boolean {
    return this.fullSinceMs === undefined;
  }

  send(response: Uint8Array): void {
    if (!this.transport.write(response)) this.fullSinceMs = this.#host.nowMs();
  }

  acked(typeUrl: string): void {
    this.#host.acked(typeUrl);
  }

  nacked(typeUrl: string, reason: string): void {
    this.#host.nacked(this, typeUrl, reason);
  }

  message(bytes: Buffer): void {
    this.#host.message(this, bytes);
  }

  drained(): void {
    this.fullSinceMs = undefined;
    this.#host.flush(this);
  }

  halfClosed(): void {
    this.#host.end(this, { code: GrpcStatus.OK, details: "" });
  }

  gone(): void {
    this.#host.forget(this);
  }
}

/** Bytes that are no request end the stream; an error of ours while serving it is not mistaken for that. */
function decoded<R>(
  codec: { decode(bytes: Uint8Array): R },
  bytes: Buffer,
  serve: (request: R) => StreamEnd | undefined,
): StreamEnd | undefined {
  let request: R;
  try {
    request = codec.decode(bytes);
  } catch (error) {
    const details = `the request cannot be decoded: ${error instanceof Error ? error.message : String(error)}`;
    return { code: GrpcStatus.INVALID_ARGUMENT, details };
  }
  return serve(request);
}
