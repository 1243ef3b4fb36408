import { popmesh } from "#codec/popmesh-v1";
import { Code, codeName } from "../../../proto/code.ts";
import { answerBit, FrameKind, frameVersionMax, frameVersionMin } from "../../../proto/frame/frame.ts";
import { FrameConnection, type FrameConnectionHandler } from "../../../proto/frame/frame-connection.ts";
import type { FrameSocket } from "../../../proto/frame/frame-socket.ts";
import type { Clock } from "../../../proto/runtime/clock.ts";
import { MeshError } from "../../../proto/runtime/mesh-error.ts";
import type { GroupRef, OrphanedTransaction, TopicRef } from "../upstream.ts";
import { decodeRare } from "./answer-reader.ts";
import { groupReplaces, OpenedNames, topicReplaces } from "./opened-names.ts";

/** Correlation ids of frames that belong to no call; no slot is that high. */
const helloCorrelation = 0xffff_ffff;
const pingCorrelation = 0xffff_fffe;
/** A ping leaves this often ... */
export const pingMs = 10_000;
/** ... and a peer that sent nothing for this long is gone: 10 s for the ping, 5 s for its answer. */
export const silenceMsMax = 15_000;

/** What the driver is told of a connection. */
export interface BrokerConnectionOwner {
  onWelcome(connection: BrokerConnection): void;
  /** The answer to a call. The body is valid until the call returns; a `MeshError` ends the connection. */
  onAnswer(
    connection: BrokerConnection,
    kind: number,
    status: number,
    correlation: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void;
  /** The broker takes no new requests here. */
  onGoAway(connection: BrokerConnection): void;
  /** There may be room for waiting calls: larger windows, or a socket that takes more. */
  onRoom(connection: BrokerConnection): void;
  /** The broker asks about an open transaction. */
  onOrphan(orphan: OrphanedTransaction): void;
  onClosed(connection: BrokerConnection, reason: string): void;
}

/** One connection to a broker: its handshake, its windows, the names opened on it, and whether the peer still lives. */
export class BrokerConnection implements FrameConnectionHandler {
  readonly frames: FrameConnection;
  readonly topics = new OpenedNames<TopicRef>(topicReplaces);
  readonly groups = new OpenedNames<GroupRef>(groupReplaces);
  /** Monotonic time of the Welcome; undefined before. */
  welcomedMs: number | undefined;
  isGoingAway = false;
  /** What the broker takes beyond its version, as its Welcome says. */
  peerFeatures: readonly string[] = [];
  /** Credits in use: given back by the broker's answers, never by a deadline. */
  requestsInUse = 0;
  receivesInUse = 0;
  bytesInUse = 0;
  sendsInUse = 0;
  requestWindow = 0;
  receiveWindow = 0;
  byteWindow = 0;
  readonly #clock: Clock;
  readonly #owner: BrokerConnectionOwner;
  readonly #brokerName: string;
  #pingedMs: number;

  constructor(socket: FrameSocket, clock: Clock, brokerName: string, hello: HelloFields, owner: BrokerConnectionOwner) {
    this.#clock = clock;
    this.#owner = owner;
    this.#brokerName = brokerName;
    this.#pingedMs = clock.monotonicMs();
    this.frames = new FrameConnection(socket, clock, this, { fullStops: "nothing" });
    const body = popmesh.v1.Hello.encode({
      versionMin: frameVersionMin,
      versionMax: frameVersionMax,
      sidecarId: hello.sidecarId,
      lane: hello.lane,
    }).finish();
    this.frames.writer.write(FrameKind.Hello, 0, helloCorrelation, body);
  }

  /** Nothing is outstanding. */
  get isIdle(): boolean {
    return this.requestsInUse + this.receivesInUse === 0;
  }

  onFrame(kind: number, status: number, correlation: number, bytes: Buffer, start: number, end: number): void {
    try {
      this.#dispatch(kind, status, correlation, bytes, start, end);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.frames.destroy(`the broker sent a frame that cannot be read: ${error.message}`);
    }
  }

  onDrained(): void {
    this.#owner.onRoom(this);
  }

  onClosed(reason: string): void {
    this.#owner.onClosed(this, reason);
  }

  /** Pings when it is time, and cuts a silent peer. To be called about every second. */
  keepAlive(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.frames.lastReceivedMs >= silenceMsMax) {
      this.frames.destroy(`the broker has sent nothing for ${silenceMsMax} ms`);
    } else if (nowMs - this.#pingedMs >= pingMs) {
      this.#pingedMs = nowMs;
      this.frames.writer.write(FrameKind.Ping, 0, pingCorrelation, nothing);
    }
  }

  #dispatch(kind: number, status: number, correlation: number, bytes: Buffer, start: number, end: number): void {
    switch (kind) {
      case FrameKind.Hello | answerBit:
        this.#welcome(status, bytes, start, end);
        return;
      case FrameKind.Ping | answerBit:
        return;
      case FrameKind.Window: {
        const window = decodeRare(popmesh.v1.Window.decode, bytes.subarray(start, end));
        this.#setWindows(window.requestWindow, window.receiveWindow, window.byteWindow);
        this.#owner.onRoom(this);
        return;
      }
      case FrameKind.GoAway:
        if (this.isGoingAway) return;
        this.isGoingAway = true;
        this.#owner.onGoAway(this);
        return;
      case FrameKind.CheckBack: {
        const check = decodeRare(popmesh.v1.CheckBack.decode, bytes.subarray(start, end));
        const { topic, transactionId, storeMs, bornHost, laneMark: lane } = check;
        this.#owner.onOrphan({ topic, transactionId, message: Buffer.from(check.message), storeMs, bornHost, lane });
        return;
      }
      default:
        // What a newer broker says beyond that is of no concern; what it would ask is never answered.
        if ((kind & answerBit) === 0) return;
        this.#owner.onAnswer(this, kind & ~answerBit, status, correlation, bytes, start, end);
    }
  }

  #welcome(status: number, bytes: Buffer, start: number, end: number): void {
    if (status !== Code.Ok) {
      const { message } = decodeRare(popmesh.v1.Failure.decode, bytes.subarray(start, end));
      this.frames.destroy(`the broker refused the connection (${codeName(status)}): ${message}`);
      return;
    }
    const welcome = decodeRare(popmesh.v1.Welcome.decode, bytes.subarray(start, end));
    if (welcome.brokerName !== this.#brokerName) {
      this.frames.destroy(
        `this is broker "${welcome.brokerName}", not "${this.#brokerName}"; is its address registered under two names?`,
      );
      return;
    }
    this.welcomedMs = this.#clock.monotonicMs();
    this.peerFeatures = welcome.features;
    this.#setWindows(welcome.requestWindow, welcome.receiveWindow, welcome.byteWindow);
    this.#owner.onWelcome(this);
  }

  #setWindows(requests: number, receives: number, bytes: number): void {
    this.requestWindow = requests;
    this.receiveWindow = receives;
    this.byteWindow = bytes;
  }
}

export interface HelloFields {
  readonly sidecarId: string;
  readonly lane: string;
}

const nothing = new Uint8Array(0);
