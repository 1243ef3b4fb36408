import { Client, type ClientDuplexStream, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { apache } from "#codec/rocketmq-v2";

const v2 = apache.rocketmq.v2;

/** Request and response classes of the unary RPCs. */
const unary = {
  QueryRoute: [v2.QueryRouteRequest, v2.QueryRouteResponse],
  QueryAssignment: [v2.QueryAssignmentRequest, v2.QueryAssignmentResponse],
  Heartbeat: [v2.HeartbeatRequest, v2.HeartbeatResponse],
  SendMessage: [v2.SendMessageRequest, v2.SendMessageResponse],
  AckMessage: [v2.AckMessageRequest, v2.AckMessageResponse],
  ChangeInvisibleDuration: [v2.ChangeInvisibleDurationRequest, v2.ChangeInvisibleDurationResponse],
  NotifyClientTermination: [v2.NotifyClientTerminationRequest, v2.NotifyClientTerminationResponse],
  ForwardMessageToDeadLetterQueue: [
    v2.ForwardMessageToDeadLetterQueueRequest,
    v2.ForwardMessageToDeadLetterQueueResponse,
  ],
  EndTransaction: [v2.EndTransactionRequest, v2.EndTransactionResponse],
  RecallMessage: [v2.RecallMessageRequest, v2.RecallMessageResponse],
  SyncLiteSubscription: [v2.SyncLiteSubscriptionRequest, v2.SyncLiteSubscriptionResponse],
  UpdateOffset: [v2.UpdateOffsetRequest, v2.UpdateOffsetResponse],
  GetOffset: [v2.GetOffsetRequest, v2.GetOffsetResponse],
  QueryOffset: [v2.QueryOffsetRequest, v2.QueryOffsetResponse],
} as const;
type UnaryTable = typeof unary;
export type UnaryRpc = keyof UnaryTable;
export const unaryRpcs = Object.keys(unary) as UnaryRpc[];

export type RequestOf<R extends UnaryRpc> = Parameters<UnaryTable[R][0]["encode"]>[0];
export type ResponseOf<R extends UnaryRpc> = ReturnType<UnaryTable[R][1]["decode"]>;

/** How requests and answers of a unary RPC become bytes and back. */
export function codecOf<R extends UnaryRpc>(
  rpc: R,
): { encode(request: RequestOf<R>): Uint8Array; decode(bytes: Uint8Array): ResponseOf<R> } {
  const [Request, Response] = unary[rpc] as unknown as [
    { encode(value: RequestOf<R>): { finish(): Uint8Array } },
    { decode(bytes: Uint8Array): ResponseOf<R> },
  ];
  return { encode: (request) => Request.encode(request).finish(), decode: (bytes) => Response.decode(bytes) };
}

export interface CallOptions {
  readonly deadlineMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** What came of a receive. */
export interface Received {
  readonly code: number;
  readonly message: string;
  readonly messages: apache.rocketmq.v2.Message[];
  /** The order of what came: "status", "message", "deliveryTimestamp". */
  readonly order: readonly string[];
  readonly tookMs: number;
}

/** Collects the responses of one receive. */
export class ReceivedParts {
  readonly #startedMs = performance.now();
  readonly #messages: apache.rocketmq.v2.Message[] = [];
  readonly #order: string[] = [];
  #code = 0;
  #message = "";

  add(response: apache.rocketmq.v2.ReceiveMessageResponse): void {
    if (response.content !== undefined) this.#order.push(response.content);
    if (response.status != null) {
      this.#code = response.status.code;
      this.#message = response.status.message;
    }
    if (response.message != null) this.#messages.push(response.message);
  }

  received(): Received {
    const tookMs = performance.now() - this.#startedMs;
    return { code: this.#code, message: this.#message, messages: this.#messages, order: this.#order, tookMs };
  }
}

/** A Telemetry stream with everything that came on it. */
export interface TelemetryLine {
  readonly commands: apache.rocketmq.v2.TelemetryCommand[];
  readonly raw: Buffer[];
  send(command: apache.rocketmq.v2.ITelemetryCommand): void;
  halfClose(): void;
  cancel(): void;
  /** gRPC status of the end. */
  readonly ended: Promise<{ readonly code: number; readonly details: string }>;
}

export const methodPath = (rpc: string) => `/apache.rocketmq.v2.MessagingService/${rpc}`;

/** A client of the v2 API that does exactly what a test tells it: grpc-js and our general codec. */
export class RawV2Client {
  readonly clientId: string;
  readonly #client: Client;
  readonly #headers: Readonly<Record<string, string>>;

  constructor(address: string, clientId: string, headers: Readonly<Record<string, string>> = {}) {
    this.clientId = clientId;
    this.#headers = clientId === "" ? headers : { "x-mq-client-id": clientId, ...headers };
    this.#client = new Client(address, credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
      "grpc.use_local_subchannel_pool": 1,
    });
  }

  close(): void {
    this.#client.close();
  }

  call<R extends UnaryRpc>(rpc: R, request: RequestOf<R>, options: CallOptions = {}): Promise<ResponseOf<R>> {
    const { encode, decode } = codecOf(rpc);
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        methodPath(rpc),
        (value: RequestOf<R>) => Buffer.from(encode(value)),
        decode,
        request,
        this.#metadata(options),
        deadlineOf(options.deadlineMs ?? 5_000),
        (error: ServiceError | null, response?: ResponseOf<R>) => {
          if (error !== null || response === undefined) reject(error ?? new Error("no response"));
          else resolve(response);
        },
      );
      options.signal?.addEventListener("abort", () => call.cancel());
    });
  }

  /** The bytes of the answer, for comparisons byte by byte. */
  callRaw(rpc: UnaryRpc, request: Uint8Array, options: CallOptions = {}): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        methodPath(rpc),
        (value: Uint8Array) => Buffer.from(value),
        (bytes: Buffer) => Buffer.from(bytes),
        request,
        this.#metadata(options),
        deadlineOf(options.deadlineMs ?? 5_000),
        (error: ServiceError | null, response?: Buffer) => {
          if (error !== null || response === undefined) reject(error ?? new Error("no response"));
          else resolve(response);
        },
      );
    });
  }

  pull(
    request: apache.rocketmq.v2.IPullMessageRequest,
    options: CallOptions = {},
  ): Promise<Omit<Received, "tookMs"> & { readonly nextOffset: number | undefined }> {
    const messages: apache.rocketmq.v2.Message[] = [];
    const order: string[] = [];
    let code = 0;
    let message = "";
    let nextOffset: number | undefined;
    return new Promise((resolve, reject) => {
      const call = this.#client.makeServerStreamRequest(
        methodPath("PullMessage"),
        (value: apache.rocketmq.v2.IPullMessageRequest) => Buffer.from(v2.PullMessageRequest.encode(value).finish()),
        (bytes: Buffer) => v2.PullMessageResponse.decode(bytes),
        request,
        this.#metadata(options),
        deadlineOf(options.deadlineMs ?? 30_000),
      );
      call.on("data", (response: apache.rocketmq.v2.PullMessageResponse) => {
        if (response.content !== undefined) order.push(response.content);
        if (response.status != null) ({ code, message } = response.status);
        if (response.message != null) messages.push(response.message);
        if (response.nextOffset != null) nextOffset = response.nextOffset;
      });
      call.on("error", reject);
      call.on("end", () => resolve({ code, message, messages, order, nextOffset }));
    });
  }

  receive(request: apache.rocketmq.v2.IReceiveMessageRequest, options: CallOptions = {}): Promise<Received> {
    const parts = new ReceivedParts();
    return new Promise((resolve, reject) => {
      const call = this.#client.makeServerStreamRequest(
        methodPath("ReceiveMessage"),
        (value: apache.rocketmq.v2.IReceiveMessageRequest) =>
          Buffer.from(v2.ReceiveMessageRequest.encode(value).finish()),
        (bytes: Buffer) => v2.ReceiveMessageResponse.decode(bytes),
        request,
        this.#metadata(options),
        options.deadlineMs === undefined ? deadlineOf(30_000) : deadlineOf(options.deadlineMs),
      );
      call.on("data", (response: apache.rocketmq.v2.ReceiveMessageResponse) => parts.add(response));
      call.on("error", reject);
      call.on("end", () => resolve(parts.received()));
      options.signal?.addEventListener("abort", () => call.cancel());
    });
  }

  telemetry(options: CallOptions = {}): TelemetryLine {
    const commands: apache.rocketmq.v2.TelemetryCommand[] = [];
    const raw: Buffer[] = [];
    const call: ClientDuplexStream<apache.rocketmq.v2.ITelemetryCommand, Buffer> = this.#client.makeBidiStreamRequest(
      methodPath("Telemetry"),
      (value: apache.rocketmq.v2.ITelemetryCommand) => Buffer.from(v2.TelemetryCommand.encode(value).finish()),
      (bytes: Buffer) => Buffer.from(bytes),
      this.#metadata(options),
    );
    call.on("data", (bytes: Buffer) => {
      raw.push(bytes);
      commands.push(v2.TelemetryCommand.decode(bytes));
    });
    call.on("error", () => {});
    const ended = new Promise<{ code: number; details: string }>((resolve) => {
      call.on("status", ({ code, details }) => resolve({ code, details }));
    });
    return {
      commands,
      raw,
      ended,
      send: (command) => void call.write(command),
      halfClose: () => void call.end(),
      cancel: () => call.cancel(),
    };
  }

  #metadata(options: CallOptions): Metadata {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries({ ...this.#headers, ...options.headers })) metadata.set(name, value);
    return metadata;
  }
}

function deadlineOf(afterMs: number): { deadline?: number } {
  return afterMs === Number.POSITIVE_INFINITY ? {} : { deadline: Date.now() + afterMs };
}

let messageCount = 0;

/** A message as an SDK makes it; `system` and the rest are laid over. */
export function message(
  topic: string,
  body: string | Uint8Array,
  system: apache.rocketmq.v2.ISystemProperties = {},
  rest: apache.rocketmq.v2.IMessage = {},
): apache.rocketmq.v2.IMessage {
  return {
    topic: { name: topic },
    body: typeof body === "string" ? Buffer.from(body) : body,
    systemProperties: {
      messageId: `01${(++messageCount).toString(16).toUpperCase().padStart(32, "0")}`,
      bornTimestamp: { seconds: Math.floor(Date.now() / 1000), nanos: 0 },
      bornHost: "test-host",
      bodyEncoding: 1,
      messageType: 1,
      ...system,
    },
    ...rest,
  };
}

/** A receive as a simple consumer makes it. */
export function receiveRequest(
  topic: string,
  group: string,
  over: apache.rocketmq.v2.IReceiveMessageRequest = {},
): apache.rocketmq.v2.IReceiveMessageRequest {
  return {
    group: { name: group },
    messageQueue: { topic: { name: topic } },
    filterExpression: { type: 1, expression: "*" },
    batchSize: 32,
    invisibleDuration: { seconds: 30, nanos: 0 },
    longPollingTimeout: { seconds: 1, nanos: 0 },
    ...over,
  };
}
