import {
  status as GrpcStatus,
  type ServerDuplexStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../proto/runtime/metric.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import type { ResourceTable } from "../snapshot/resource-table.ts";
import type { AdsStream, HeldResource, StreamEnd, StreamEvents } from "./ads-stream.ts";
import { ChangeDebounce } from "./change-debounce.ts";
import { DeltaStream } from "./delta-stream.ts";
import { SotwStream } from "./sotw-stream.ts";
import { SubscriptionIndex } from "./subscription-index.ts";

const { DeltaDiscoveryRequest, DiscoveryRequest } = envoy.service.discovery.v3;

/** A client that leaves a response unanswered this long is cut off: it would hold back every later change. */
const answerMsMax = 30_000;
/** Streams end after this long, give or take a fifth, so that clients spread over replicas. They reconnect and resume. */
const streamAgeMsMax = 30 * 60_000;
const sweepMs = 5_000;

type Call = ServerDuplexStream<Buffer, Uint8Array>;

interface OpenStream {
  readonly id: number;
  readonly kind: "delta" | "sotw";
  readonly peer: string;
  readonly openedMs: number;
  readonly ageMsMax: number;
  readonly stream: AdsStream;
  readonly end: (end: StreamEnd) => void;
}

/** What `GET /v1/sidecars` and CSDS tell about one stream. */
export interface StreamReport {
  readonly node: envoy.config.core.v3.Node | undefined;
  readonly kind: "delta" | "sotw";
  readonly peer: string;
  readonly connectedForMs: number;
  readonly held: readonly HeldResource[];
}

/** The discovery service: both ADS methods over one resource table. Bodies pass gRPC as bytes; the codec is ours. */
export class AdsServer {
  readonly #table: ResourceTable;
  readonly #clock: Clock;
  readonly #randomness: Randomness;
  readonly #log: Log;
  readonly #metrics: MetricRegistry;
  readonly #identifier: string;
  readonly #index = new SubscriptionIndex();
  readonly #open = new Set<OpenStream>();
  readonly #touched = new Set<AdsStream>();
  readonly #debounce: ChangeDebounce;
  readonly #sweep: Timer;
  #streamIds = 0;

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
    this.#table = table;
    this.#identifier = identifier;
    this.#clock = deps.clock;
    this.#randomness = deps.randomness;
    this.#log = deps.log;
    this.#metrics = deps.metrics;
    this.#debounce = new ChangeDebounce(deps.clock, () => this.#flushTouched());
    this.#sweep = deps.clock.every(sweepMs, () => this.#endOverdue());
    table.onChange((typeUrl, name) => this.#onChange(typeUrl, name));
    this.#metrics.gaugeOf("popmesh_xds_streams", "Open discovery streams", () => this.#open.size);
  }

  /** For `Server.addService`. */
  get service(): { definition: ServiceDefinition; implementation: UntypedServiceImplementation } {
    const path = "/envoy.service.discovery.v3.AggregatedDiscoveryService";
    return {
      definition: {
        deltaAggregatedResources: rawBidi(`${path}/DeltaAggregatedResources`),
        streamAggregatedResources: rawBidi(`${path}/StreamAggregatedResources`),
      },
      implementation: {
        deltaAggregatedResources: (call: Call) => this.#serve(call, "delta"),
        streamAggregatedResources: (call: Call) => this.#serve(call, "sotw"),
      },
    };
  }

  reports(): StreamReport[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#open].map(({ stream, kind, peer, openedMs }) => ({
      node: stream.node,
      kind,
      peer,
      connectedForMs: Math.round(nowMs - openedMs),
      held: stream.held(),
    }));
  }

  /** Ends every stream in good order; clients reconnect to whoever listens next. */
  close(): void {
    this.#sweep.cancel();
    this.#debounce.close();
    for (const { end } of [...this.#open]) end({ code: GrpcStatus.UNAVAILABLE, details: "the control plane stops" });
  }

  #serve(call: Call, kind: "delta" | "sotw"): void {
    const events: StreamEvents = {
      send: (response) => void call.write(response),
      acked: (typeUrl) => this.#counter("popmesh_xds_acks_total", "Responses accepted", typeUrl).add(),
      nacked: (typeUrl, reason) => {
        this.#counter("popmesh_xds_nacks_total", "Responses refused by a client", typeUrl).add();
        this.#log.warn({ node: open.stream.node?.id, typeUrl, reason }, "a client refuses configuration");
      },
    };
    const options = {
      table: this.#table,
      index: this.#index,
      events,
      nowMs: () => this.#clock.monotonicMs(),
      identifier: this.#identifier,
    };
    let take: (bytes: Buffer) => StreamEnd | undefined;
    let stream: AdsStream;
    if (kind === "delta") {
      const delta = new DeltaStream(options);
      stream = delta;
      take = decodedBy(
        (bytes) => DeltaDiscoveryRequest.decode(bytes),
        (request) => delta.request(request),
      );
    } else {
      const sotw = new SotwStream(options);
      stream = sotw;
      take = decodedBy(
        (bytes) => DiscoveryRequest.decode(bytes),
        (request) => sotw.request(request),
      );
    }
    const end = (how: StreamEnd) => {
      if (!this.#forget(open)) return;
      if (how.code === GrpcStatus.OK) call.end();
      else call.emit("error", how);
    };
    const open: OpenStream = {
      id: ++this.#streamIds,
      kind,
      peer: call.getPeer(),
      openedMs: this.#clock.monotonicMs(),
      ageMsMax: streamAgeMsMax * (0.8 + 0.4 * this.#randomness.fraction()),
      stream,
      end,
    };
    this.#open.add(open);
    call.on("data", (bytes: Buffer) => {
      if (!this.#open.has(open)) return;
      const how = take(bytes);
      if (how === undefined) return;
      this.#log.warn({ node: stream.node?.id, peer: open.peer, reason: how.details }, "a discovery stream is refused");
      end(how);
    });
    call.on("end", () => end({ code: GrpcStatus.OK, details: "" }));
    call.on("cancelled", () => this.#forget(open));
    call.on("error", () => this.#forget(open));
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
    for (const stream of touched) stream.flush();
  }

  #endOverdue(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const open of [...this.#open]) {
      const sinceMs = open.stream.unansweredSinceMs();
      if (sinceMs !== undefined && nowMs - sinceMs > answerMsMax) {
        this.#log.warn({ node: open.stream.node?.id, peer: open.peer }, "a client does not answer; its stream ends");
        const details = `a response was not acknowledged within ${answerMsMax / 1000} s`;
        open.end({ code: GrpcStatus.DEADLINE_EXCEEDED, details });
      } else if (nowMs - open.openedMs > open.ageMsMax) {
        open.end({ code: GrpcStatus.OK, details: "" });
      }
    }
  }

  #counter(name: string, help: string, typeUrl: string) {
    return this.#metrics.counter(name, help, { type: typeUrl.slice(typeUrl.lastIndexOf(".") + 1) });
  }
}

/** Bytes that are no request end the stream; an error of ours while serving it is not mistaken for that. */
function decodedBy<R>(decode: (bytes: Buffer) => R, serve: (request: R) => StreamEnd | undefined) {
  return (bytes: Buffer): StreamEnd | undefined => {
    let request: R;
    try {
      request = decode(bytes);
    } catch (error) {
      const details = `the request cannot be decoded: ${error instanceof Error ? error.message : String(error)}`;
      return { code: GrpcStatus.INVALID_ARGUMENT, details };
    }
    return serve(request);
  };
}

function rawBidi(path: string) {
  return {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: (bytes: Buffer) => bytes,
    requestDeserialize: (bytes: Buffer) => bytes,
    responseSerialize: asBuffer,
    responseDeserialize: (bytes: Buffer) => bytes,
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
