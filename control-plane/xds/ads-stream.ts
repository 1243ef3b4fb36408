import type { envoy } from "#codec/xds-v3";

/** Why the server ends a stream: a gRPC status. */
export interface StreamEnd {
  readonly code: number;
  readonly details: string;
}

/** The server's view of one resource on one stream; the words of CSDS. */
export interface HeldResource {
  readonly typeUrl: string;
  readonly name: string;
  /** What the client was last told: a version; "" when it was told that there is none, or nothing yet. */
  readonly version: string;
  /** SYNCED: acknowledged; NOT_SENT: nothing told yet; STALE: sent, no answer yet; ERROR: refused. */
  readonly status: "SYNCED" | "NOT_SENT" | "STALE" | "ERROR";
  readonly exists: boolean;
  /** Of an ERROR: what the client said. */
  readonly reason: string;
}

/** A stream of either kind, as the server handles it. */
export interface AdsStream {
  readonly node: envoy.config.core.v3.Node | undefined;
  /** The content under this name changed; the next `flush` deals with it. */
  changed(typeUrl: string, name: string): void;
  /** Sends what is due and may be sent now. */
  flush(): void;
  /** Monotonic time of the oldest response that has no answer yet; undefined when all are answered. */
  unansweredSinceMs(): number | undefined;
  /** What the client holds or waits for. */
  held(): HeldResource[];
  /** Forgets everything; nothing is sent any more. */
  close(): void;
}

/** What a stream tells its server. */
export interface StreamEvents {
  /** False while the client does not read; then nothing is sent until the next `flush`. */
  readonly isWritable: boolean;
  send(response: Uint8Array): void;
  acked(typeUrl: string): void;
  nacked(typeUrl: string, reason: string): void;
}

/** Limits of one stream; beyond them it ends with RESOURCE_EXHAUSTED or INVALID_ARGUMENT. */
export const streamLimits = Object.freeze({
  /** Names subscribed to on one stream, all types together. */
  names: 10_000,
  /** Names in one request; the first one of a type may hold all of the stream's, as the protocol wants it to. */
  namesPerRequest: 2_000,
  /** Bytes of a name; a longer one, or one with control characters, cannot exist and is answered so. */
  nameBytes: 255,
  types: 32,
  /** A NACK's text beyond this is cut. */
  reasonLength: 1_000,
});

/** Delta responses are cut at about this many bytes: well below the 4 MiB a gRPC client takes. */
export const responseBytesTarget = 1024 * 1024;

/** Whether a name is one that some resource could have. */
export function isPossibleName(name: string): boolean {
  if (name.length > streamLimits.nameBytes || Buffer.byteLength(name) > streamLimits.nameBytes) return false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return false;
  }
  return true;
}
