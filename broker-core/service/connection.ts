import { popmesh } from "#codec/popmesh-v1";
import { Code, type Code as CodeNumber } from "../../proto/code.ts";
import { answerBit, FrameKind } from "../../proto/frame/frame.ts";
import { FrameConnection, type FrameConnectionHandler } from "../../proto/frame/frame-connection.ts";
import type { FrameSocket } from "../../proto/frame/frame-socket.ts";
import { baseLane } from "../../proto/lane/lane-rule.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { serveAck, serveDeadLetter } from "./ack.ts";
import { serveCancel } from "./cancel.ts";
import { serveChange } from "./change.ts";
import { serveEndTransaction } from "./end-transaction.ts";
import { type HandedOut, handBack } from "./handed-out.ts";
import { serveHello } from "./hello.ts";
import { serveLanePresence } from "./lane-presence.ts";
import { serveLiteSync } from "./lite-sync.ts";
import { serveOpenGroup } from "./open-group.ts";
import { serveOpenTopic } from "./open-topic.ts";
import { serveOperate } from "./operate.ts";
import { serveProducers } from "./producers.ts";
import { serveOffset, servePull } from "./pull.ts";
import { serveRecall } from "./recall.ts";
import { serveReceive } from "./receive.ts";
import { serveSend } from "./send.ts";
import type { ServiceCore } from "./service-core.ts";
import { helloMsMax, silenceMsMax } from "./window.ts";

/**
 * One sidecar. Reads its requests, keeps its windows, and remembers what was handed out to it until the bytes are in the
 * system's hands: what breaks before is handed back at once.
 */
export class Connection implements FrameConnectionHandler {
  readonly frames: FrameConnection;
  /** Tickets of the receives that wait, by correlation id. */
  readonly receives = new Map<number, number>();
  readonly #core: ServiceCore;
  readonly #acceptedMs: number;
  readonly #onClosed: (connection: Connection) => void;
  /** Name the sidecar gave itself; undefined before its Hello. */
  sidecarId: string | undefined;
  /** Lane of the instance behind the sidecar, from its Hello. */
  lane: string = baseLane;
  #openRequests = 0;
  #openReceives = 0;
  #openBytes = 0;
  /** Hand-outs whose answer is not in the system's hands, oldest first, with the position behind their frame. */
  readonly #untaken: { readonly end: number; readonly handedOut: HandedOut }[] = [];

  constructor(core: ServiceCore, socket: FrameSocket, onClosed: (connection: Connection) => void) {
    this.#core = core;
    this.#onClosed = onClosed;
    this.#acceptedMs = core.clock.monotonicMs();
    this.frames = new FrameConnection(socket, core.clock, this, { fullStops: "reading" });
  }

  get isClosed(): boolean {
    return this.frames.isClosed;
  }

  /** Nothing is open, and everything answered was taken by the system. */
  get isIdle(): boolean {
    return (
      this.#openRequests + this.#openReceives === 0 && this.frames.writer.takenPosition === this.frames.writer.position
    );
  }

  onFrame(kind: number, _status: number, correlation: number, bytes: Buffer, start: number, end: number): void {
    if (this.sidecarId === undefined && kind !== FrameKind.Hello) {
      this.frames.destroy("the first frame was no Hello");
      return;
    }
    try {
      this.#serve(kind, correlation, bytes, start, end);
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.answerFailure(kind, correlation, error.code, error.message);
    }
  }

  #serve(kind: number, correlation: number, bytes: Buffer, start: number, end: number): void {
    const core = this.#core;
    switch (kind) {
      case FrameKind.Send:
        if (this.#takeRequest(kind, correlation)) serveSend(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.Receive:
        if (this.#takeReceive(correlation)) serveReceive(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.Ack:
        if (this.#takeRequest(kind, correlation)) serveAck(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.Change:
        if (this.#takeRequest(kind, correlation)) serveChange(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.EndTransaction:
        if (this.#takeRequest(kind, correlation)) serveEndTransaction(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.Recall:
        if (this.#takeRequest(kind, correlation)) serveRecall(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.OpenTopic:
        if (this.#takeRequest(kind, correlation)) serveOpenTopic(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.OpenGroup:
        if (this.#takeRequest(kind, correlation)) serveOpenGroup(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.DeadLetter:
        if (this.#takeRequest(kind, correlation)) serveDeadLetter(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.LiteSync:
        if (this.#takeRequest(kind, correlation)) serveLiteSync(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.Pull:
        if (this.#takeRequest(kind, correlation)) servePull(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.Offset:
        if (this.#takeRequest(kind, correlation)) serveOffset(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.Operate:
        if (this.#takeRequest(kind, correlation)) serveOperate(core, this, correlation, bytes, start, end);
        return;
      case FrameKind.Cancel:
        serveCancel(core, this, correlation);
        return;
      case FrameKind.Producers:
        serveProducers(core, this, bytes, start, end);
        return;
      case FrameKind.LanePresence:
        serveLanePresence(core, this, bytes, start, end);
        return;
      case FrameKind.Ping:
        this.frames.writer.write(FrameKind.Ping | answerBit, Code.Ok, correlation, nothing);
        return;
      case FrameKind.Hello:
        serveHello(core, this, correlation, bytes, start, end);
        return;
      default:
        // A newer sidecar asks for what this broker does not know. What is an answer, or wants none, is left alone.
        if ((kind & answerBit) !== 0 || correlation === 0) return;
        this.#openRequests++;
        this.answerFailure(
          kind,
          correlation,
          Code.NotImplemented,
          `this broker knows no request of kind ${kind}; it speaks an older version than the sidecar`,
        );
    }
  }

  /** Reserves window for the bytes of a send; they are given back with its answer. */
  takeBytes(count: number): boolean {
    if (this.#openBytes > 0 && this.#openBytes + count > this.#core.windows.requestBytes) return false;
    this.#openBytes += count;
    return true;
  }

  /** Begins an answer; returns where its body goes in `frames.writer.bytes`. `requestBytes` as given to `takeBytes`. */
  beginAnswer(
    kind: number,
    status: CodeNumber,
    correlation: number,
    bodyBytesMax: number,
    requestBytes: number,
  ): number {
    this.#giveBack(kind, requestBytes);
    return this.frames.writer.begin(kind | answerBit, status, correlation, bodyBytesMax);
  }

  /** Answers with a body that exists. `handedOut`: what its bytes hand out. */
  answer(kind: number, status: CodeNumber, correlation: number, body: Uint8Array, handedOut?: HandedOut): void {
    this.#giveBack(kind, 0);
    const { writer } = this.frames;
    writer.write(kind | answerBit, status, correlation, body);
    if (handedOut !== undefined) this.#untaken.push({ end: writer.position, handedOut });
    const untakenBytes = writer.position - writer.takenPosition;
    if (untakenBytes > this.#core.windows.untakenBytes) {
      this.frames.destroy(`${untakenBytes} bytes of answers wait to be read`);
    }
  }

  answerFailure(
    kind: number,
    correlation: number,
    code: CodeNumber,
    message: string,
    requestBytes = 0,
    moved = false,
  ): void {
    this.#core.metrics.refusals.add();
    this.#giveBack(kind, requestBytes);
    this.frames.writer.write(
      kind | answerBit,
      code,
      correlation,
      popmesh.v1.Failure.encode({ message, moved }).finish(),
    );
  }

  /** New requests shall go elsewhere; what is parked is answered at once. */
  goAway(): void {
    this.frames.writer.write(FrameKind.GoAway, 0, 0, nothing);
    for (const correlation of [...this.receives.keys()]) serveCancel(this.#core, this, correlation);
  }

  /** Cuts a peer that said no Hello or has fallen silent. */
  sweep(nowMs: number): void {
    if (nowMs - this.frames.lastReceivedMs >= silenceMsMax) {
      this.frames.destroy(`no byte for ${silenceMsMax} ms`);
    } else if (this.sidecarId === undefined && nowMs - this.#acceptedMs >= helloMsMax) {
      this.frames.destroy(`no Hello within ${helloMsMax} ms`);
    }
  }

  onTaken(takenPosition: number): void {
    const untaken = this.#untaken;
    let count = 0;
    while (count < untaken.length && untaken[count]!.end <= takenPosition) count++;
    if (count > 0) untaken.splice(0, count);
  }

  onClosed(reason: string): void {
    const core = this.#core;
    for (const ticket of [...this.receives.values()]) {
      core.receives.giveUp(ticket, core.port);
      core.receives.close(ticket);
    }
    core.producers.forget(this);
    core.presences.forget(this);
    for (const { handedOut } of this.#untaken.splice(0)) this.handBack(handedOut);
    this.#onClosed(this);
    core.diagnostics.debug({ sidecar: this.sidecarId, address: this.frames.remoteAddress, reason }, "sidecar left");
  }

  /** What was handed out to this connection will not arrive. */
  handBack(handedOut: HandedOut): void {
    this.#core.metrics.messagesHandedBack.add(handedOut.receipts.length);
    handBack(this.#core.port, handedOut, this.#core.now());
    this.#core.timer.touched();
  }

  #takeRequest(kind: number, correlation: number): boolean {
    this.#openRequests++;
    if (this.#openRequests <= this.#core.windows.requests) return true;
    this.#refuseForWindow(kind, correlation, `${this.#core.windows.requests} requests`);
    return false;
  }

  #takeReceive(correlation: number): boolean {
    this.#openReceives++;
    if (this.#openReceives <= this.#core.windows.receives) return true;
    this.#refuseForWindow(FrameKind.Receive, correlation, `${this.#core.windows.receives} receives`);
    return false;
  }

  #refuseForWindow(kind: number, correlation: number, window: string): void {
    const message = `this connection has more than ${window} open, which is its window; wait for answers`;
    this.answerFailure(kind, correlation, Code.TooManyRequests, message);
  }

  #giveBack(kind: number, requestBytes: number): void {
    if (kind === FrameKind.Receive) this.#openReceives--;
    else if (kind !== FrameKind.Hello) this.#openRequests--;
    this.#openBytes -= requestBytes;
  }
}

const nothing = new Uint8Array(0);
