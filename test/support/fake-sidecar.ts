import { Client, type ClientDuplexStream, credentials, type StatusObject } from "@grpc/grpc-js";
import { envoy } from "#codec/xds-v3";
import { waitUntil } from "./wait-until.ts";

const { DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse } =
  envoy.service.discovery.v3;
type DeltaRequest = envoy.service.discovery.v3.IDeltaDiscoveryRequest;
type DeltaResponse = envoy.service.discovery.v3.DeltaDiscoveryResponse;
type SotwRequest = envoy.service.discovery.v3.IDiscoveryRequest;
type SotwResponse = envoy.service.discovery.v3.DiscoveryResponse;

const patienceMs = 15_000;
const adsPath = "/envoy.service.discovery.v3.AggregatedDiscoveryService";

/**
 * A client of the discovery service that says exactly what a test wants, right or wrong, and acknowledges only when told to.
 */
class RawStream<Q, A> {
  readonly #client: Client;
  readonly #stream: ClientDuplexStream<Q, A>;
  /** Every response so far. */
  readonly responses: A[] = [];
  ended: StatusObject | undefined;
  #taken = 0;
  #wake = () => {};

  constructor(port: number, method: string, encode: (request: Q) => Uint8Array, decode: (bytes: Buffer) => A) {
    // A connection of its own, as two sidecars would have.
    this.#client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
    });
    this.#stream = this.#client.makeBidiStreamRequest(
      `${adsPath}/${method}`,
      (request: Q) => Buffer.from(encode(request)),
      decode,
    );
    this.#stream.on("data", (response: A) => {
      this.responses.push(response);
      this.#wake();
    });
    this.#stream.on("error", () => {});
    this.#stream.on("status", (status) => {
      this.ended = status;
      this.#wake();
    });
  }

  send(request: Q): void {
    this.#stream.write(request);
  }

  /** The next response that was not taken yet. */
  async next(): Promise<A> {
    await this.#until("a response", () => this.responses.length > this.#taken || this.ended !== undefined);
    const response = this.responses[this.#taken++];
    if (response === undefined) throw new Error(`the stream ended: ${this.ended?.code} ${this.ended?.details}`);
    return response;
  }

  /** Looks when something arrives, not every few milliseconds: tests print how long an answer took. */
  async #until(what: string, condition: () => boolean): Promise<void> {
    const deadline = AbortSignal.timeout(patienceMs);
    while (!condition()) {
      if (deadline.aborted) throw new Error(`waited ${patienceMs} ms in vain for ${what}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        deadline.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  /** How many responses wait to be taken. */
  get untakenCount(): number {
    return this.responses.length - this.#taken;
  }

  /** How the server ended the stream. */
  async end(): Promise<StatusObject> {
    await waitUntil("the end of the stream", () => this.ended !== undefined);
    return this.ended as StatusObject;
  }

  close(): void {
    this.#stream.cancel();
    this.#client.close();
  }
}

/** One delta ADS stream. The node goes with the first request unless the test gives another. */
export class FakeSidecar extends RawStream<DeltaRequest, DeltaResponse> {
  #node: DeltaRequest["node"];
  #probes = 0;

  constructor(port: number, node: DeltaRequest["node"] = { id: "fake-sidecar" }) {
    super(
      port,
      "DeltaAggregatedResources",
      (request) => DeltaDiscoveryRequest.encode(request).finish(),
      (bytes) => DeltaDiscoveryResponse.decode(bytes),
    );
    this.#node = node;
  }

  override send(request: DeltaRequest): void {
    super.send(this.#node === undefined ? request : { node: this.#node, ...request });
    this.#node = undefined;
  }

  subscribe(typeUrl: string, ...names: string[]): void {
    this.send({ typeUrl, resourceNamesSubscribe: names });
  }

  unsubscribe(typeUrl: string, ...names: string[]): void {
    this.send({ typeUrl, resourceNamesUnsubscribe: names });
  }

  ack({ typeUrl, nonce }: DeltaResponse): void {
    this.send({ typeUrl, responseNonce: nonce });
  }

  nack({ typeUrl, nonce }: DeltaResponse, message: string): void {
    this.send({ typeUrl, responseNonce: nonce, errorDetail: { code: 13, message } });
  }

  /** Takes the next response and acknowledges it. */
  async take(): Promise<DeltaResponse> {
    const response = await this.next();
    this.ack(response);
    return response;
  }

  /**
   * Asks something that is always answered, of a type that is used for nothing else, and takes the answer: the server handles
   * requests in order, so whatever it had to say before has arrived by then.
   */
  async probe(): Promise<void> {
    const typeUrl = "type.googleapis.com/test.Probe";
    const name = `probe-${++this.#probes}`;
    this.subscribe(typeUrl, name);
    await waitUntil("the answer to a probe", () => this.responses.some((r) => r.removedResources.includes(name)));
    const at = this.responses.findIndex((response) => response.typeUrl === typeUrl);
    const [answer] = this.responses.splice(at, 1);
    if (answer !== undefined) this.ack(answer);
  }
}

/** One state-of-the-world ADS stream. */
export class FakeSotwClient extends RawStream<SotwRequest, SotwResponse> {
  #node: SotwRequest["node"];

  constructor(port: number, node: SotwRequest["node"] = { id: "fake-grpc-client" }) {
    super(
      port,
      "StreamAggregatedResources",
      (request) => DiscoveryRequest.encode(request).finish(),
      (bytes) => DiscoveryResponse.decode(bytes),
    );
    this.#node = node;
  }

  override send(request: SotwRequest): void {
    super.send(this.#node === undefined ? request : { node: this.#node, ...request });
    this.#node = undefined;
  }

  ask(typeUrl: string, names: string[], last?: SotwResponse): void {
    this.send({
      typeUrl,
      resourceNames: names,
      versionInfo: last?.versionInfo ?? "",
      responseNonce: last?.nonce ?? "",
    });
  }
}

/** What a delta response says, for comparing: names with versions, and removed names; both sorted. */
export function contentOf(response: DeltaResponse): { type: string; resources: string[]; removed: string[] } {
  return {
    type: response.typeUrl.slice(response.typeUrl.lastIndexOf(".") + 1),
    resources: response.resources.map(({ name }) => name).sort(),
    removed: [...response.removedResources].sort(),
  };
}
