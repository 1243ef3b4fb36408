import { envoy } from "#codec/xds-v3";
import type { AdsServer } from "../../control-plane/xds/ads-server.ts";
import type { StreamEnd } from "../../control-plane/xds/ads-stream.ts";
import type { AdsConnection } from "../../control-plane/xds/ads-transport.ts";

const { DeltaDiscoveryRequest, DeltaDiscoveryResponse } = envoy.service.discovery.v3;
type Request = envoy.service.discovery.v3.IDeltaDiscoveryRequest;
type Response = envoy.service.discovery.v3.DeltaDiscoveryResponse;

/** A delta client on the discovery server itself, without gRPC and sockets: each message is there when the call returns. */
export class MemoryAdsClient {
  readonly responses: Response[] = [];
  /** How the server ended the stream; at most one. */
  readonly ends: StreamEnd[] = [];
  /** The newest response as it came. */
  newest: Uint8Array = new Uint8Array();
  /** False: the client does not read any more; what is sent afterwards still comes, as from a socket's buffer. */
  isReading = true;
  readonly #connection: AdsConnection;
  #node: Request["node"];

  constructor(server: AdsServer, node: Request["node"] = { id: "memory-client" }) {
    this.#node = node;
    this.#connection = server.open("delta", {
      peer: "memory",
      write: (bytes) => {
        this.newest = bytes;
        this.responses.push(DeltaDiscoveryResponse.decode(bytes));
        return this.isReading;
      },
      end: (how) => void this.ends.push(how),
    });
  }

  send(request: Request): void {
    const first = this.#node === undefined ? {} : { node: this.#node };
    this.#node = undefined;
    this.#connection.message(Buffer.from(DeltaDiscoveryRequest.encode({ ...first, ...request }).finish()));
  }

  subscribe(typeUrl: string, ...names: string[]): void {
    this.send({ typeUrl, resourceNamesSubscribe: names });
  }

  ack({ typeUrl, nonce }: Response): void {
    this.send({ typeUrl, responseNonce: nonce });
  }

  /** The oldest response that was not taken yet. */
  next(): Response {
    const response = this.responses.shift();
    if (response === undefined) throw new Error("the server has said nothing");
    return response;
  }

  /** Takes the oldest response and acknowledges it. */
  take(): Response {
    const response = this.next();
    this.ack(response);
    return response;
  }

  readAgain(): void {
    this.isReading = true;
    this.#connection.drained();
  }

  close(): void {
    this.#connection.gone();
  }
}
