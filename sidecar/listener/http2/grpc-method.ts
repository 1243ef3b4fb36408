/**
 * The port between the HTTP/2 engine and whoever answers calls. The engine knows nothing of messaging; a method knows
 * nothing of frames. Byte ranges handed to a method are valid only until the function returns: keep copies, not views.
 */

/** gRPC status codes (the transport's own, not those of the v2 API). */
export const GrpcStatus = {
  Ok: 0,
  Cancelled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  ResourceExhausted: 8,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
} as const;
export type GrpcStatus = (typeof GrpcStatus)[keyof typeof GrpcStatus];

/** Why a call ended before it was answered. */
export type CancelReason = "client-reset" | "connection-closed" | "deadline" | "shutdown";

/** One method as the engine sees it. All functions are called synchronously from the read of a connection. */
export interface GrpcMethod {
  /** Full path, for example "/apache.rocketmq.v2.MessagingService/SendMessage". */
  readonly path: string;
  /** "unary": exactly one request message, delivered when the client half-closed; "bidi": each message as it comes. */
  readonly kind: "unary" | "server-streaming" | "bidi";
  /** A longer message is refused with RESOURCE_EXHAUSTED before it is assembled. */
  readonly requestBytesMax: number;
  /** Headers arrived. Optional: a unary method usually waits for `onMessage`. */
  onOpen?(call: ServerCall): void;
  /** A whole request message: `bytes[start, end)`, prefix already taken off. */
  onMessage(call: ServerCall, bytes: Buffer, start: number, end: number): void;
  /** The client will send no more (bidi only; unary and server-streaming learn it by `onMessage`). */
  onHalfClose?(call: ServerCall): void;
  /** The call is over without our `finish`: nothing can be written any more. Called at most once. */
  onCancel?(call: ServerCall, reason: CancelReason): void;
}

/** One call in progress. */
export interface ServerCall {
  readonly connection: ServerConnection;
  readonly path: string;
  /** Monotonic time at which the client's patience ends; Infinity without a `grpc-timeout` or beyond 2^31-1 ms. */
  readonly deadlineMs: number;
  /** Value of a request header by lower-case name, or undefined. Decoded on demand. */
  header(name: string): string | undefined;
  /** False once finished or cancelled. */
  readonly isOpen: boolean;
  /** A place for the method's own state of this call. */
  context: unknown;
  /**
   * Writes one response message; the bytes are copied or queued before it returns. False when the peer does not take
   * more just now: wait for `onWritable`. Ignored on a call that is not open.
   */
  send(message: Uint8Array): boolean;
  /**
   * The same without an intermediate copy: reserves `length` bytes of the connection's output slab, with the gRPC prefix
   * already in front, and lets `write` fill exactly those.
   */
  sendWith(length: number, write: (into: Buffer, at: number) => void): boolean;
  /** Called once when `send` answered false and there is room again. */
  onWritable: (() => void) | undefined;
  /** Ends the call with trailers. `message` is percent-encoded as gRPC asks. Idempotent. */
  finish(status: GrpcStatus, message?: string): void;
}

/** One client connection. */
export interface ServerConnection {
  /** Unique within the process. */
  readonly id: number;
  readonly remoteAddress: string;
  readonly isTls: boolean;
  /** A place for the owner's state of this connection. */
  context: unknown;
}
