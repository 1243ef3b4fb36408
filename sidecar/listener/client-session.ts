import type { apache } from "#codec/rocketmq-v2";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import type { GroupRef } from "../upstream/upstream.ts";

/** Numbers of enum ClientType. */
export const ClientType = {
  Producer: 1,
  PushConsumer: 2,
  SimpleConsumer: 3,
  LitePushConsumer: 5,
  LiteSimpleConsumer: 6,
} as const;

/** Numbers of enum Language. */
export const Language = { Python: 6, NodeJs: 8 } as const;

/** A receipt that the sidecar keeps alive for a push consumer. */
export interface HeldReceipt {
  readonly receipt: string;
  readonly brokerName: string;
  readonly group: GroupRef;
  readonly attempt: number;
  readonly heldSinceMs: number;
  /** Monotonic time at which the broker would hand the message out again. */
  expiresMs: number;
}

/** A receive that waits. */
export interface OpenPoll {
  /** Answer now, with what there is. */
  end(): void;
}

/** Where commands for a client go. */
export interface CommandStream {
  /** The client reads what it is sent: there is room for another command. */
  readonly takesMore: boolean;
  /** Writes a TelemetryCommand of `length` bytes. */
  sendCommand(length: number, write: (into: Buffer, at: number) => void): void;
  pushSettings(): void;
  end(): void;
}

/**
 * What is known of one client object of an application. Soft state only: all of it can be lost at any time (a restarted
 * sidecar knows nobody) and the client is still served, with defaults.
 */
export class ClientSession {
  readonly clientId: string;
  readonly firstSeenMs: number;
  lastSeenMs: number;
  /** False of a client that is served but not remembered: each of its calls has a session of its own. */
  isKept = false;
  /** A number of enum ClientType; 0 until the client says. */
  clientType = 0;
  /** A number of enum Language; 0 until the client says. */
  language = 0;
  /** How long the client gives a call, from its settings. */
  requestTimeoutMs = 3_000;
  /** As the client sent them last. */
  settings: apache.rocketmq.v2.ISettings | undefined;
  /** "<namespace>/<group>", "" for producers. */
  group = "";
  /** "<namespace>/<topic>" of each topic it declared. */
  topics: readonly string[] = [];
  readonly #produces = new Set<string>();
  /** The newest Telemetry stream; an older one is never a target again. */
  stream: CommandStream | undefined;
  /** Connection by which its last receive came; 0: there was none. */
  connectionId = 0;
  readonly held = new Map<string, HeldReceipt>();
  readonly polls = new Set<OpenPoll>();

  constructor(clientId: string, nowMs: number) {
    this.clientId = clientId;
    this.firstSeenMs = nowMs;
    this.lastSeenMs = nowMs;
  }

  /** "<namespace>/<topic>" of each topic it declared as a producer or sent half messages to, up to `producedTopicsMax`. */
  get produces(): ReadonlySet<string> {
    return this.#produces;
  }

  /** False when that is known, or is one topic too many. */
  noteProduced(topic: string): boolean {
    if (this.#produces.has(topic) || this.#produces.size >= producedTopicsMax) return false;
    this.#produces.add(topic);
    return true;
  }

  /** It asks for messages itself, one receive at a time, and not for those of one broker. */
  get isSimpleConsumer(): boolean {
    return this.clientType === ClientType.SimpleConsumer || this.clientType === ClientType.LiteSimpleConsumer;
  }

  get isNodeJs(): boolean {
    return this.language === Language.NodeJs;
  }
}

/** Topics remembered of one producer; one settings command declares at most as many. */
export const producedTopicsMax = 1_024;

/** A client that was not heard of for this long is gone, unless its Telemetry stream is open. */
export const clientGoneMs = 120_000;
const sweepPeriodMs = 5_000;
/** Clients remembered; more are served all the same, but forgotten at once. */
const sessionsMax = 20_000;

/** All clients of this sidecar, by their id. */
export class ClientSessions {
  readonly #clock: Clock;
  readonly #sessions = new Map<string, ClientSession>();
  #sweepTimer: Timer | undefined;
  /** Called when a client is gone without having said so. */
  onGone: (session: ClientSession) => void = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get count(): number {
    return this.#sessions.size;
  }

  start(): void {
    this.#sweepTimer = this.#clock.every(sweepPeriodMs, () => this.sweep());
  }

  stop(): void {
    this.#sweepTimer?.cancel();
  }

  [Symbol.iterator](): IterableIterator<ClientSession> {
    return this.#sessions.values();
  }

  get(clientId: string): ClientSession | undefined {
    return this.#sessions.get(clientId);
  }

  /** Any call is a sign of life. Makes a session on first sight. */
  touch(clientId: string, nowMs: number): ClientSession {
    let session = this.#sessions.get(clientId);
    if (session === undefined) {
      session = new ClientSession(clientId, nowMs);
      session.isKept = this.#sessions.size < sessionsMax;
      if (session.isKept) this.#sessions.set(clientId, session);
    }
    session.lastSeenMs = nowMs;
    return session;
  }

  /** The client said that it ends. */
  forget(session: ClientSession): void {
    if (this.#sessions.get(session.clientId) === session) this.#sessions.delete(session.clientId);
  }

  /** Ends the sessions of clients that are gone. */
  sweep(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const session of this.#sessions.values()) {
      const isAlive = session.stream !== undefined || session.polls.size > 0;
      if (isAlive || nowMs - session.lastSeenMs < clientGoneMs) continue;
      this.#sessions.delete(session.clientId);
      this.onGone(session);
    }
  }
}
