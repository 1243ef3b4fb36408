import { createServer, type Server, type Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import type { Clock, Timer } from "../../../proto/runtime/clock.ts";
import type { Log } from "../../../proto/runtime/log.ts";
import type { MetricRegistry } from "../../../proto/runtime/metric.ts";
import { Connection, type ConnectionHost } from "./connection.ts";
import { Http2Counters } from "./counters.ts";
import { DeadlineWheel, type WheelEntry } from "./deadline-wheel.ts";
import { type GrpcMethod, GrpcStatus, type ServerConnection } from "./grpc-method.ts";
import { ByteBudget, completeLimits, type Http2Limits } from "./limits.ts";
import { SlabPool } from "./output.ts";
import type { Stream } from "./stream.ts";

/** Certificate chain and private key, PEM. */
export interface TlsMaterial {
  readonly certificate: string;
  readonly privateKey: string;
}

export interface GrpcServerOptions {
  readonly methods: readonly GrpcMethod[];
  readonly clock: Clock;
  readonly log: Log;
  /** What differs from `defaultHttp2Limits`. */
  readonly limits?: Partial<Http2Limits>;
  readonly metrics?: MetricRegistry;
  /** With it the port takes TLS beside cleartext; without it a TLS client is turned away. */
  readonly tls?: TlsMaterial;
  /** A client finished its preface. */
  readonly onConnection?: (connection: ServerConnection) => void;
  /** Told once for each connection told to `onConnection`, after its calls were cancelled. */
  readonly onConnectionClosed?: (connection: ServerConnection) => void;
}

/** Where to listen: an address, or a Unix socket. Port 0 takes a free one. */
export type ListenAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** How often the connections are looked through for what took too long. */
const sweepMs = 1000;

/** Remote address of the clients of a Unix socket, which have none. */
const localPeer = "local";

/** First byte of a TLS record that carries a handshake; HTTP/2 begins with "P". */
const tlsHandshakeByte = 0x16;

/**
 * A gRPC server over HTTP/2, cleartext and TLS on the same port. It knows paths and bytes; what a method means is for its
 * `GrpcMethod` to know.
 */
export class GrpcServer implements ConnectionHost {
  readonly limits: Http2Limits;
  readonly methods: ReadonlyMap<string, GrpcMethod>;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Http2Counters;
  readonly slabs = new SlabPool();
  readonly inflight: ByteBudget;
  readonly wheel: DeadlineWheel;

  readonly #options: GrpcServerOptions;
  #secureContext: SecureContext | undefined;
  readonly #listeners: Server[] = [];
  readonly #connections = new Set<Connection>();
  /** Sockets that have not shown yet what they speak, or are in their TLS handshake; with the time they were accepted. */
  readonly #arriving = new Map<Socket, number>();
  readonly #openPerPeer = new Map<string, number>();
  #openSockets = 0;
  #nextConnectionId = 1;
  #dirty: Connection[] = [];
  #sweeper: Timer | undefined;
  #isDraining = false;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.limits = completeLimits(options.limits);
    this.methods = byPath(options.methods);
    this.clock = options.clock;
    this.log = options.log;
    this.counters = new Http2Counters(options.metrics);
    this.inflight = new ByteBudget(this.limits.inflightBytesMax);
    this.wheel = new DeadlineWheel(options.clock, (entry) => this.#onDeadline(entry));
    if (options.tls !== undefined) this.setTls(options.tls);
    options.metrics?.gaugeOf(
      "popmesh_http2_connections",
      "Open connections of the data port.",
      () => this.#openSockets,
    );
  }

  /** Open connections, those that are still arriving included. */
  get connectionCount(): number {
    return this.#openSockets;
  }

  /** Calls in progress on all connections. */
  get callCount(): number {
    let count = 0;
    for (const connection of this.#connections) count += connection.streamCount;
    return count;
  }

  /** Ports listened on, in the order of the `listen` calls; Unix sockets have none. */
  get ports(): readonly number[] {
    return this.#listeners.flatMap((listener) => {
      const address = listener.address();
      return typeof address === "object" && address !== null ? [address.port] : [];
    });
  }

  /** Uses other certificate material for connections from now on. Throws when OpenSSL does not take it. */
  setTls(material: TlsMaterial): void {
    this.#secureContext = createSecureContext({
      cert: material.certificate,
      key: material.privateKey,
      minVersion: "TLSv1.2",
    });
  }

  /** Starts to listen; may be called for several addresses. Resolves with the port (0 for a Unix socket). */
  listen(at: ListenAddress): Promise<number> {
    const listener = createServer({ noDelay: true, allowHalfOpen: false }, (socket) =>
      this.#onSocket(socket, "path" in at ? localPeer : (socket.remoteAddress ?? "")),
    );
    this.#sweeper ??= this.clock.every(sweepMs, () => this.#sweep());
    return new Promise((resolve, reject) => {
      listener.once("error", reject);
      listener.listen(at, () => {
        listener.off("error", reject);
        listener.on("error", (error) => this.log.error({ err: error }, "the data port cannot accept"));
        this.#listeners.push(listener);
        const address = listener.address();
        resolve(typeof address === "object" && address !== null ? address.port : 0);
      });
    });
  }

  /** Takes no new connections; those that exist go on. */
  stopAccepting(): void {
    for (const listener of this.#listeners) listener.close();
  }

  /**
   * Asks all clients to go: GOAWAY first without, a round trip later with the last stream that is served. Calls that are
   * open finish; a connection without calls closes. Later connections are told the same at once.
   */
  goAway(): void {
    this.#isDraining = true;
    for (const connection of [...this.#connections]) connection.goAway();
  }

  /** Ends everything now: listeners, connections, calls (cancelled with "shutdown"), timers. */
  closeAll(): void {
    this.stopAccepting();
    this.#sweeper?.cancel();
    this.#sweeper = undefined;
    for (const socket of [...this.#arriving.keys()]) socket.destroy();
    for (const connection of [...this.#connections]) connection.destroy("shutdown");
    this.wheel.close();
  }

  // ConnectionHost

  flushAtTurnEnd(connection: Connection): void {
    if (this.#dirty.length === 0) this.clock.atTurnEnd(this.#flushDirty);
    this.#dirty.push(connection);
  }

  readonly #flushDirty = (): void => {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const connection of dirty) connection.flush();
  };

  onClosed(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    this.#options.onConnectionClosed?.(connection);
  }

  #onDeadline(entry: WheelEntry): void {
    this.counters.deadlines.value++;
    (entry as Stream).abort(GrpcStatus.DeadlineExceeded, "the deadline of the call passed", "deadline");
  }

  #onSocket(socket: Socket, peer: string): void {
    // Gone before it was accepted.
    if (peer === "") {
      socket.destroy();
      return;
    }
    const openOfPeer = this.#openPerPeer.get(peer) ?? 0;
    if (this.#openSockets >= this.limits.connectionsMax) {
      this.#turnAway(socket, "connections");
      return;
    }
    // Clients of a Unix socket have no address; the file's permissions are their limit.
    if (openOfPeer >= this.limits.connectionsPerPeerMax && peer !== localPeer) {
      this.#turnAway(socket, "connections-per-peer");
      return;
    }
    this.#openSockets++;
    this.#openPerPeer.set(peer, openOfPeer + 1);
    socket.once("close", () => {
      this.#openSockets--;
      this.#arriving.delete(socket);
      const left = (this.#openPerPeer.get(peer) ?? 1) - 1;
      if (left > 0) this.#openPerPeer.set(peer, left);
      else this.#openPerPeer.delete(peer);
    });
    socket.on("error", () => socket.destroy());
    this.#arriving.set(socket, this.clock.monotonicMs());
    socket.once("data", (first: Buffer) => {
      if (first[0] === tlsHandshakeByte) this.#startTls(socket, first, peer);
      else this.#start(socket, peer, false).read(first);
    });
  }

  #turnAway(socket: Socket, limit: "connections" | "connections-per-peer"): void {
    this.counters.cut(limit);
    socket.on("error", () => {});
    socket.destroy();
  }

  #startTls(socket: Socket, first: Buffer, peer: string): void {
    if (this.#secureContext === undefined) {
      this.log.info({ remote: peer }, "a TLS client was turned away: no certificate is configured");
      socket.destroy();
      return;
    }
    socket.pause();
    socket.unshift(first);
    const secured = new TLSSocket(socket, {
      isServer: true,
      secureContext: this.#secureContext,
      ALPNProtocols: ["h2"],
    });
    secured.on("error", (error) => {
      this.log.debug({ err: error, remote: peer }, "TLS failed");
      socket.destroy();
    });
    secured.once("secure", () => this.#start(secured, peer, true, socket));
  }

  #start(socket: Socket, remoteAddress: string, isTls: boolean, accepted: Socket = socket): Connection {
    this.#arriving.delete(accepted);
    const connection = new Connection(this, this.#nextConnectionId++, socket, remoteAddress, isTls);
    this.#connections.add(connection);
    this.counters.connections.value++;
    this.#options.onConnection?.(connection);
    if (this.#isDraining) connection.goAway();
    return connection;
  }

  #sweep(): void {
    const nowMs = this.clock.monotonicMs();
    for (const [socket, acceptedMs] of this.#arriving) {
      if (nowMs - acceptedMs < this.limits.handshakeMsMax) continue;
      this.counters.cut("handshake-time");
      socket.destroy();
    }
    for (const connection of [...this.#connections]) connection.sweep(nowMs);
  }
}

function byPath(methods: readonly GrpcMethod[]): ReadonlyMap<string, GrpcMethod> {
  const map = new Map<string, GrpcMethod>();
  for (const method of methods) {
    if (map.has(method.path)) throw new RangeError(`two methods have the path ${method.path}`);
    map.set(method.path, method);
  }
  return map;
}
