import { apache } from "#codec/rocketmq-v2";
import { Code, codeName } from "../../proto/code.ts";
import { GeneralCodec } from "../../proto/codec/general-codec.ts";
import { qualifiedName } from "../../proto/resource-name.ts";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { NamespaceBinding } from "../filter/namespace-binding.ts";
import { effectiveNamespace, type Refusal, refuseNamespace } from "../filter/resource-name.ts";
import type { Router } from "../filter/router.ts";
import { isFifoTopic } from "../route/route-match.ts";
import type { GroupPolicy } from "../route/topic-route.ts";
import { clientIdOf } from "./call-entry.ts";
import type { ClientSession, ClientSessions, CommandStream } from "./client-session.ts";
import { type GrpcMethod, GrpcStatus, type ServerCall } from "./http2/grpc-method.ts";
import type { LaneConsumers } from "./lane-consumers.ts";
import type { LiveProducers } from "./live-producers.ts";
import { methodPath } from "./method-path.ts";
import { refuseSettings } from "./settings-check.ts";
import { settingsReply } from "./settings-reply.ts";

const commandCodec = new GeneralCodec<apache.rocketmq.v2.TelemetryCommand, apache.rocketmq.v2.ITelemetryCommand>(
  apache.rocketmq.v2.TelemetryCommand,
  "apache.rocketmq.v2.TelemetryCommand",
);
type Command = apache.rocketmq.v2.TelemetryCommand;
type Settings = apache.rocketmq.v2.ISettings;

const requestBytesMax = 256 * 1024;

/** A consumer's settings wait this long for its group's policy and its topics, then are answered with defaults. */
const policyWaitMs = 2_000;

/**
 * A Node.js client that declares several topics hangs in its start when the answer comes before its last route: it drops the
 * answer and waits for the next, for minutes. Saying it again is harmless to every SDK.
 */
const nodeJsRepeatsMs: readonly number[] = [300, 1_000, 3_000];
const nodeJsAfterRouteMs = 100;
const nodeJsStartMsMax = 30_000;

/** Telemetry of broken clients comes back every second, for ever. */
const refusalLogPeriodMs = 10_000;

export interface TelemetryDeps {
  readonly sessions: ClientSessions;
  readonly router: Router;
  readonly clock: Clock;
  readonly log: Log;
  readonly producers: LiveProducers;
  readonly consumers: LaneConsumers | undefined;
  readonly namespaces: NamespaceBinding;
  /** Of a group about which the control plane says nothing. */
  readonly defaultPolicy: (name: string) => GroupPolicy;
}

/** Telemetry: one stream per client object. It says who it is and what it subscribes to, and is told how to behave. */
export class TelemetryMethod implements GrpcMethod {
  readonly path = methodPath("Telemetry");
  readonly kind = "bidi";
  readonly requestBytesMax = requestBytesMax;
  readonly #deps: TelemetryDeps;
  readonly #streams = new Set<TelemetryStream>();
  #lastRefusalLogMs = Number.NEGATIVE_INFINITY;

  constructor(deps: TelemetryDeps) {
    this.#deps = deps;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  onOpen(server: ServerCall): void {
    const clientId = clientIdOf(server);
    if (clientId === "") {
      const message = "the header x-mq-client-id is missing or blank; every RocketMQ SDK sets it";
      writeCommand(server, { status: { code: Code.ClientIdRequired, message } });
      server.finish(GrpcStatus.Ok);
      return;
    }
    const stream = new TelemetryStream(this.#deps, server, clientId, (refusal) => this.#noteRefusal(clientId, refusal));
    server.context = stream;
    this.#streams.add(stream);
  }

  onMessage(server: ServerCall, bytes: Buffer, start: number, end: number): void {
    const stream = streamOf(server);
    if (stream === undefined || !server.isOpen) return;
    let command: Command;
    try {
      command = commandCodec.decode(bytes, start, end);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      stream.fail(error);
      this.#streams.delete(stream);
      return;
    }
    stream.onCommand(command);
    if (!server.isOpen) this.#streams.delete(stream);
  }

  onHalfClose(server: ServerCall): void {
    server.finish(GrpcStatus.Ok);
    this.#close(server);
  }

  onCancel(server: ServerCall): void {
    this.#close(server);
  }

  /** A client has just been given a route; see `nodeJsRepeatsMs`. */
  onRouteAnswered(clientId: string): void {
    const stream = this.#deps.sessions.get(clientId)?.stream;
    if (stream instanceof TelemetryStream) stream.onRouteAnswered();
  }

  /** Tells the consumers of a group when its policy has changed. */
  pushToGroups(groups: ReadonlySet<string>): void {
    for (const session of this.#deps.sessions) {
      if (session.group !== "" && groups.has(session.group)) session.stream?.pushSettings();
    }
  }

  /** Ends all streams in order: an open one would keep a connection for ever. */
  endAll(): void {
    for (const stream of [...this.#streams]) stream.end();
    this.#streams.clear();
  }

  #close(server: ServerCall): void {
    const stream = streamOf(server);
    if (stream === undefined) return;
    this.#streams.delete(stream);
    stream.onClosed();
  }

  #noteRefusal(clientId: string, refusal: { readonly code: Code; readonly message: string }): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - this.#lastRefusalLogMs < refusalLogPeriodMs) return;
    this.#lastRefusalLogMs = nowMs;
    this.#deps.log.warn(
      { client: clientId, code: codeName(refusal.code), reason: refusal.message },
      "settings of a client refused; it cannot start",
    );
  }
}

function streamOf(server: ServerCall): TelemetryStream | undefined {
  return server.context instanceof TelemetryStream ? server.context : undefined;
}

/** One open stream. */
class TelemetryStream implements CommandStream {
  readonly #deps: TelemetryDeps;
  readonly #server: ServerCall;
  readonly #clientId: string;
  readonly #onRefused: (refusal: { readonly code: Code; readonly message: string }) => void;
  readonly #openedMs: number;
  #session: ClientSession | undefined;
  #repeatsPlanned = false;
  #takesMore = true;
  #afterRoute: { cancel(): void } | undefined;

  constructor(
    deps: TelemetryDeps,
    server: ServerCall,
    clientId: string,
    onRefused: (refusal: { readonly code: Code; readonly message: string }) => void,
  ) {
    this.#deps = deps;
    this.#server = server;
    this.#clientId = clientId;
    this.#onRefused = onRefused;
    this.#openedMs = deps.clock.monotonicMs();
  }

  onCommand(command: Command): void {
    // Any message is a sign of life.
    const session = this.#deps.sessions.touch(this.#clientId, this.#deps.clock.monotonicMs());
    // What else clients send here are results of commands; none is sent yet.
    if (command.settings != null) this.#onSettings(session, command.settings);
  }

  onRouteAnswered(): void {
    const session = this.#session;
    if (session?.settings === undefined || !session.isNodeJs) return;
    if (this.#deps.clock.monotonicMs() - this.#openedMs > nodeJsStartMsMax) return;
    this.#afterRoute?.cancel();
    this.#afterRoute = this.#deps.clock.after(nodeJsAfterRouteMs, () => this.pushSettings());
  }

  get takesMore(): boolean {
    return this.#takesMore;
  }

  sendCommand(length: number, write: (into: Buffer, at: number) => void): void {
    if (!this.#server.isOpen) return;
    this.#takesMore = this.#server.sendWith(length, write);
    if (this.#takesMore) return;
    this.#server.onWritable = () => {
      this.#takesMore = true;
    };
  }

  pushSettings(): void {
    const session = this.#session;
    if (session?.settings !== undefined && this.#server.isOpen) this.#reply(session, session.settings);
  }

  end(): void {
    this.#server.finish(GrpcStatus.Ok);
    this.onClosed();
  }

  /** The stream is over. Closing an older stream of a client leaves the newer one in charge. */
  onClosed(): void {
    this.#afterRoute?.cancel();
    const session = this.#session;
    if (session?.stream === this) {
      session.stream = undefined;
      session.lastSeenMs = this.#deps.clock.monotonicMs();
      this.#deps.producers.update(session);
      this.#deps.consumers?.forget(session);
    }
  }

  /**
   * Makes the client's start fail: the status-only command rejects the start of Node.js, the gRPC error that of Java; the stream
   * must end at once, or a later shutdown of the client raises an uncaught error.
   */
  fail(refusal: { readonly code: Code; readonly message: string }): void {
    const { code, message } = refusal;
    this.#onRefused(refusal);
    writeCommand(this.#server, { status: { code, message } });
    const isClientsFault = code >= 40_000 && code < 50_000;
    this.#server.finish(
      isClientsFault ? GrpcStatus.InvalidArgument : GrpcStatus.Internal,
      `process client telemetryCommand failed. ${codeName(code)}: ${message}`,
    );
    this.onClosed();
  }

  #onSettings(session: ClientSession, settings: Settings): void {
    const refusal = refuseSettings(settings) ?? this.#refuseNamespaces(settings);
    if (refusal !== undefined) {
      this.fail(refusal);
      return;
    }
    this.#learn(session, settings);
    this.#session = session;
    session.stream = this;
    this.#deps.producers.update(session);
    this.#reply(session, settings);
    if (!session.isNodeJs || this.#repeatsPlanned) return;
    this.#repeatsPlanned = true;
    for (const afterMs of nodeJsRepeatsMs) this.#deps.clock.after(afterMs, () => this.pushSettings());
  }

  #learn(session: ClientSession, settings: Settings): void {
    session.settings = settings;
    session.clientType = settings.clientType ?? session.clientType;
    session.language = settings.userAgent?.language ?? 0;
    const timeout = settings.requestTimeout;
    const timeoutMs = timeout == null ? 0 : (timeout.seconds ?? 0) * 1000 + Math.floor((timeout.nanos ?? 0) / 1e6);
    if (timeoutMs > 0) session.requestTimeoutMs = timeoutMs;
    const topics = [
      ...(settings.publishing?.topics ?? []),
      ...(settings.subscription?.subscriptions ?? []).map(({ topic }) => topic),
    ];
    session.topics = topics.map((topic) => this.#qualified(topic)).filter((name) => name !== "");
    for (const topic of settings.publishing?.topics ?? []) {
      const name = this.#qualified(topic);
      if (name !== "") session.noteProduced(name);
    }
    session.group = this.#qualified(settings.subscription?.group);
  }

  #qualified(resource: apache.rocketmq.v2.IResource | null | undefined): string {
    if ((resource?.name ?? "") === "") return "";
    return qualifiedName(this.#namespaceOf(resource), resource?.name ?? "");
  }

  #namespaceOf(resource: apache.rocketmq.v2.IResource | null | undefined): string {
    const header = this.#server.header("x-mq-namespace") ?? "";
    return effectiveNamespace(resource?.resourceNamespace ?? "", header, this.#deps.namespaces.fallback);
  }

  /** Undefined when all that a client declares is of namespaces that are served here. */
  #refuseNamespaces(settings: Settings): Refusal | undefined {
    const resources = [
      ...(settings.publishing?.topics ?? []),
      ...(settings.subscription?.subscriptions ?? []).map(({ topic }) => topic),
      ...(settings.subscription == null ? [] : [settings.subscription.group]),
    ];
    for (const resource of resources) {
      const namespace = this.#namespaceOf(resource);
      const refusal = refuseNamespace(namespace) ?? this.#deps.namespaces.refuse(namespace);
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  #reply(session: ClientSession, settings: Settings): void {
    if (session.group === "") {
      writeCommand(this.#server, settingsReply(settings, undefined, false));
      return;
    }
    const { router, clock, defaultPolicy } = this.#deps;
    const { group, topics } = session;
    const deadlineMs = clock.monotonicMs() + policyWaitMs;
    router.group(group, deadlineMs, (found) => {
      const policy = found.ok ? found.value : defaultPolicy(group);
      this.#askWhetherFifo(topics, deadlineMs, (isFifo) => {
        writeCommand(this.#server, settingsReply(settings, policy, isFifo));
      });
    });
  }

  /** Whether all these topics are FIFO topics, as far as is known by then. SDKs read the answer once, at their start. */
  #askWhetherFifo(topics: readonly string[], deadlineMs: number, done: (isFifo: boolean) => void): void {
    let open = topics.length;
    let isFifo = open > 0;
    if (open === 0) done(false);
    for (const topic of topics) {
      this.#deps.router.topic(topic, deadlineMs, (found) => {
        if (!found.ok || !isFifoTopic(found.value.ref.messageTypes)) isFifo = false;
        if (--open === 0) done(isFifo);
      });
    }
  }
}

function writeCommand(server: ServerCall, command: apache.rocketmq.v2.ITelemetryCommand): void {
  if (server.isOpen) server.send(commandCodec.encode(command));
}
