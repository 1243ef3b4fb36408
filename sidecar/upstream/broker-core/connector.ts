import { connect } from "node:net";
import type { OpenSocket } from "../../../proto/frame/frame-socket.ts";
import type { Clock, Timer } from "../../../proto/runtime/clock.ts";
import type { Log } from "../../../proto/runtime/log.ts";
import type { Randomness } from "../../../proto/runtime/randomness.ts";
import type { OrphanedTransaction } from "../upstream.ts";
import { BrokerConnection, type BrokerConnectionOwner, type HelloFields } from "./broker-connection.ts";
import { afterConnection, freshBackoff, nextAttempt, type ReconnectBackoff } from "./reconnect-backoff.ts";

/** From the attempt to the Welcome. */
export const connectMsMax = 1_000;
/** How often connections are looked at for pings and silence. */
const keepAliveTickMs = 1_000;
/** A tick this late means that this process was stopped or stalled: what the broker sent meanwhile is still unread. */
const tickLatenessMsMax = 1_000;

export interface ConnectorOptions {
  readonly brokerName: string;
  readonly host: string;
  readonly port: number;
  readonly hello: HelloFields;
  readonly clock: Clock;
  readonly randomness: Randomness;
  readonly log: Log;
  /** Left out: TCP. */
  readonly openSocket?: OpenSocket;
}

/** What becomes of the connection, as the driver sees it. */
export interface ConnectorEvents extends Pick<BrokerConnectionOwner, "onAnswer" | "onRoom" | "onOrphan"> {
  /** There is a connection for new requests. */
  onReady(connection: BrokerConnection): void;
  /** There is none any more: lost ("broken"), or the broker asked to leave it ("going away", what is open finishes). */
  onUnready(why: "broken" | "going away"): void;
  /** A connection that had been ready is gone, with whatever was open on it. */
  onLost(connection: BrokerConnection, reason: string): void;
}

/**
 * Keeps one connection to a broker: connects, welcomes, watches, reconnects with full jitter. After a GoAway the old
 * connection finishes what it has while a new one is sought.
 */
export class Connector implements BrokerConnectionOwner {
  /** Takes new requests. */
  current: BrokerConnection | undefined;
  /** Why there is no connection, for people. */
  trouble = "the first attempt is under way";
  readonly #options: ConnectorOptions;
  readonly #events: ConnectorEvents;
  readonly #connections = new Set<BrokerConnection>();
  readonly #keepAlive: Timer;
  #nextTickMs: number;
  #backoff: ReconnectBackoff = freshBackoff;
  #connecting: BrokerConnection | undefined;
  #connectTimeout: Timer | undefined;
  #retry: Timer | undefined;
  #isStopped = false;

  constructor(options: ConnectorOptions, events: ConnectorEvents) {
    this.#options = options;
    this.#events = events;
    this.#nextTickMs = options.clock.monotonicMs() + keepAliveTickMs;
    this.#keepAlive = options.clock.every(keepAliveTickMs, () => this.#tick());
  }

  /** Begins the first attempt. */
  start(): void {
    this.#connect();
  }

  /** No further attempts; open connections go on. */
  stopConnecting(): void {
    this.#isStopped = true;
    this.#retry?.cancel();
    this.#retry = undefined;
  }

  destroy(reason: string): void {
    this.stopConnecting();
    this.#keepAlive.cancel();
    for (const connection of [...this.#connections]) connection.frames.destroy(reason);
  }

  onAnswer: BrokerConnectionOwner["onAnswer"] = (connection, kind, status, correlation, bytes, start, end) => {
    this.#events.onAnswer(connection, kind, status, correlation, bytes, start, end);
    if (connection.isGoingAway && connection.isIdle) connection.frames.end("everything was answered after the GoAway");
  };

  onRoom(connection: BrokerConnection): void {
    this.#events.onRoom(connection);
  }

  onOrphan(orphan: OrphanedTransaction): void {
    this.#events.onOrphan(orphan);
  }

  onWelcome(connection: BrokerConnection): void {
    this.#connectTimeout?.cancel();
    this.#connecting = undefined;
    this.current = connection;
    this.#options.log.info(this.#fields(), "connected to the broker");
    this.#events.onReady(connection);
  }

  onGoAway(connection: BrokerConnection): void {
    if (connection === this.current) {
      this.current = undefined;
      this.trouble = "the broker is stopping";
      this.#events.onUnready("going away");
      // The broker may be one that restarts at once, or one behind an address that moves.
      this.#retryLater();
    }
    if (connection.isIdle) connection.frames.end("nothing was open at the GoAway");
  }

  onClosed(connection: BrokerConnection, reason: string): void {
    this.#connections.delete(connection);
    if (connection === this.#connecting) {
      this.#connecting = undefined;
      this.#connectTimeout?.cancel();
      this.trouble = reason;
      this.#options.log.warn({ ...this.#fields(), reason }, "no connection to the broker");
      this.#retryLater();
      return;
    }
    const nowMs = this.#options.clock.monotonicMs();
    this.#backoff = afterConnection(this.#backoff, nowMs - (connection.welcomedMs ?? nowMs));
    const wasCurrent = connection === this.current;
    if (wasCurrent) {
      this.current = undefined;
      this.trouble = reason;
      if (!this.#isStopped) this.#options.log.warn({ ...this.#fields(), reason }, "the connection to the broker broke");
    }
    this.#events.onLost(connection, reason);
    if (!wasCurrent) return;
    this.#events.onUnready("broken");
    this.#retryLater();
  }

  #connect(): void {
    const { clock, host, port, brokerName, hello, openSocket = connect } = this.#options;
    const connection = new BrokerConnection(openSocket({ host, port }), clock, brokerName, hello, this);
    this.#connecting = connection;
    this.#connections.add(connection);
    this.#connectTimeout = clock.after(connectMsMax, () =>
      connection.frames.destroy(`no Welcome in ${connectMsMax} ms`),
    );
  }

  #retryLater(): void {
    if (this.#isStopped || this.#retry !== undefined || this.#connecting !== undefined) return;
    const { clock, randomness } = this.#options;
    const { delayMs, backoff } = nextAttempt(this.#backoff, randomness.fraction());
    this.#backoff = backoff;
    this.#retry = clock.after(delayMs, () => {
      this.#retry = undefined;
      this.#connect();
    });
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const latenessMs = nowMs - this.#nextTickMs;
    this.#nextTickMs = nowMs + keepAliveTickMs;
    if (latenessMs > tickLatenessMsMax) return;
    for (const connection of this.#connections) if (connection !== this.#connecting) connection.keepAlive();
  }

  #fields(): object {
    const { brokerName, host, port } = this.#options;
    return { broker: brokerName, address: `${host}:${port}` };
  }
}
