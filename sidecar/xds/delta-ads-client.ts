import type { Client, ClientDuplexStream } from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { fullJitter, type Randomness } from "../../proto/runtime/randomness.ts";
import type { Received, TypeSubscription } from "./type-subscription.ts";

const { DeltaDiscoveryRequest, DeltaDiscoveryResponse } = envoy.service.discovery.v3;
type Request = envoy.service.discovery.v3.IDeltaDiscoveryRequest;
type Response = envoy.service.discovery.v3.DeltaDiscoveryResponse;

const methodPath = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/** Names asked for within this time leave in one request. */
const batchMs = 5;
/** Ceiling of the first pause; it doubles with each stream that did not answer. */
const reconnectMsMin = 500;
const reconnectMsMax = 30_000;
/** No pause is shorter. It comes before the jitter: as a lower bound it would send a fifth of a crowd back at one moment. */
const reconnectFloorMs = 100;

/** Who this sidecar is, for the control plane's log and rules. */
/** Node metadata that tells the admin port. */
const adminMetadata = "popmesh.admin";

export interface AdsNode {
  readonly id: string;
  readonly cluster: string;
  readonly version: string;
  /** "host:port" of its admin port, for those who operate it; left out: none. */
  readonly admin?: string;
}

/** What the owner of the subscriptions learns. */
export interface AdsEvents {
  onReceived(typeUrl: string, received: Received<unknown>): void;
  /** The first response of a stream has come: the control plane is there and has loaded its store. */
  onUp(): void;
  /** The stream ended. */
  onDown(reason: string): void;
}

/**
 * Keeps one delta ADS stream to the control plane open and lets the subscriptions speak on it. Reconnects for ever with full
 * jitter, 0.5 s to 30 s; the pause starts over after a stream that answered.
 */
export class DeltaAdsClient {
  readonly #channel: Client;
  readonly #node: AdsNode;
  readonly #subscriptions: readonly TypeSubscription<unknown>[];
  readonly #events: AdsEvents;
  readonly #clock: Clock;
  readonly #randomness: Randomness;
  readonly #log: Log;
  #stream: ClientDuplexStream<Request, Response> | undefined;
  #isUp = false;
  #isStopped = true;
  #failures = 0;
  #reconnect: Timer | undefined;
  #flush: Timer | undefined;
  #nodeSent = false;
  /** For the metrics and the admin port. */
  streamsOpened = 0;
  nacks = 0;
  lastError = "";

  /** `subscriptions` in the order in which a new stream asks for them: what is referred to before what refers to it. */
  constructor(
    channel: Client,
    node: AdsNode,
    subscriptions: readonly TypeSubscription<unknown>[],
    events: AdsEvents,
    deps: { readonly clock: Clock; readonly randomness: Randomness; readonly log: Log },
  ) {
    this.#channel = channel;
    this.#node = node;
    this.#subscriptions = subscriptions;
    this.#events = events;
    this.#clock = deps.clock;
    this.#randomness = deps.randomness;
    this.#log = deps.log;
  }

  /** Whether the control plane has answered on the current stream. */
  get isUp(): boolean {
    return this.#isUp;
  }

  start(): void {
    this.#isStopped = false;
    this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    this.#reconnect?.cancel();
    this.#flush?.cancel();
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  /** Sends pending subscription changes, together with those of the next few milliseconds. */
  flushSoon(): void {
    if (this.#flush !== undefined || this.#stream === undefined) return;
    this.#flush = this.#clock.after(batchMs, () => {
      this.#flush = undefined;
      this.#sendChanges();
    });
  }

  #connect(): void {
    this.#reconnect = undefined;
    if (this.#isStopped) return;
    for (const subscription of this.#subscriptions) subscription.streamStarted();
    this.#nodeSent = false;
    this.streamsOpened++;
    const stream = this.#channel.makeBidiStreamRequest(methodPath, encodeRequest, decodeResponse);
    this.#stream = stream;
    stream.on("data", (response: Response) => {
      if (this.#stream === stream) this.#onResponse(response);
    });
    // grpc-js reports every end, good or bad, as "status"; "error" comes too and must have a listener.
    stream.on("error", () => {});
    stream.on("status", (status) => {
      if (this.#stream === stream) this.#onEnd(`${status.details || "stream ended"} (gRPC status ${status.code})`);
    });
    this.#sendChanges();
  }

  #sendChanges(): void {
    for (const subscription of this.#subscriptions) {
      const request = subscription.nextRequest();
      if (request !== undefined) this.#write(request);
    }
  }

  #onResponse(response: Response): void {
    const subscription = this.#subscriptions.find((candidate) => candidate.typeUrl === response.typeUrl);
    if (subscription === undefined) {
      const message = `this sidecar did not ask for ${response.typeUrl}`;
      this.nacks++;
      this.#write({ typeUrl: response.typeUrl, responseNonce: response.nonce, errorDetail: { code: 13, message } });
      return;
    }
    this.#failures = 0;
    const received = subscription.receive(response, this.#clock.monotonicMs());
    if (received.nackReason !== undefined) {
      this.nacks++;
      this.#log.warn({ typeUrl: response.typeUrl, reason: received.nackReason }, "configuration refused");
    }
    this.#write(received.reply);
    if (!this.#isUp) {
      this.#isUp = true;
      this.lastError = "";
      this.#log.info({ controlPlane: response.controlPlane?.identifier ?? "" }, "control plane answers");
      this.#events.onUp();
    }
    this.#events.onReceived(response.typeUrl, received);
    // What arrived may refer to more; its names leave at once, not in 5 ms: somebody may be waiting.
    this.#sendChanges();
  }

  #onEnd(reason: string): void {
    this.#stream = undefined;
    this.lastError = reason;
    if (this.#isUp) {
      this.#isUp = false;
      this.#log.warn({ reason }, "control plane lost; going on with what is known");
    }
    this.#events.onDown(reason);
    if (this.#isStopped) return;
    const ceilingMs = Math.min(reconnectMsMax, reconnectMsMin * 2 ** Math.min(this.#failures, 10));
    this.#failures++;
    const pauseMs = reconnectFloorMs + fullJitter(this.#randomness, ceilingMs - reconnectFloorMs);
    this.#reconnect = this.#clock.after(Math.round(pauseMs), () => this.#connect());
  }

  #write(request: Request): void {
    if (!this.#nodeSent) {
      this.#nodeSent = true;
      request.node = {
        id: this.#node.id,
        cluster: this.#node.cluster,
        userAgentName: "popmesh-sidecar",
        userAgentVersion: this.#node.version,
        ...(this.#node.admin === undefined
          ? {}
          : { metadata: { fields: { [adminMetadata]: { stringValue: this.#node.admin } } } }),
        clientFeatures: ["popmesh.prefetch"],
      };
    }
    this.#stream?.write(request);
  }
}

function encodeRequest(request: Request): Buffer {
  const bytes = DeltaDiscoveryRequest.encode(request).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function decodeResponse(bytes: Buffer): Response {
  return DeltaDiscoveryResponse.decode(bytes);
}
