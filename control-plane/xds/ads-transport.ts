import type { StreamEnd } from "./ads-stream.ts";

/** The way back to one client: gRPC (`ads-service.ts`), or anything else that carries messages in order. */
export interface AdsTransport {
  readonly peer: string;
  /** Hands over one encoded response. False: the client does not read; nothing more until `AdsConnection.drained`. */
  write(response: Uint8Array): boolean;
  /** The last word to the client: a gRPC status. */
  end(how: StreamEnd): void;
}

/** What the carrier of a stream tells the discovery server. */
export interface AdsConnection {
  /** One encoded request. */
  message(bytes: Buffer): void;
  /** The client reads again after a `write` that returned false. */
  drained(): void;
  /** The client says no more, in good order. */
  halfClosed(): void;
  /** The connection is lost. */
  gone(): void;
}
