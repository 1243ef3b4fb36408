import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../../proto/code.ts";
import { sendRequestBytesMax } from "../../../proto/codec/frame-body.ts";
import { FrameKind, frameBytesMax, frameHeaderBytes } from "../../../proto/frame/frame.ts";
import type { Clock, Timer } from "../../../proto/runtime/clock.ts";
import type {
  FailureReach,
  GroupRef,
  TopicRef,
  Upstream,
  UpstreamAck,
  UpstreamChange,
  UpstreamFailure,
  UpstreamReceive,
  UpstreamReceiveAnswer,
  UpstreamResults,
  UpstreamSend,
  UpstreamSendAnswer,
} from "../upstream.ts";
import {
  failure,
  nothingReceived,
  readFailure,
  readReceiveAnswer,
  readResults,
  readSendAnswer,
} from "./answer-reader.ts";
import type { BrokerConnection } from "./broker-connection.ts";
import { CallState, CallTable } from "./call-table.ts";
import { Connector, type ConnectorEvents, type ConnectorOptions } from "./connector.ts";
import { DeadlineWheel, deadlineTickMs } from "./deadline-wheel.ts";
import type { Opening } from "./opened-names.ts";
import { noRoom, openingsInUseMax, writeAck, writeChanges, writeReceive, writeSend } from "./request-frame.ts";
import { WaitQueue } from "./wait-queue.ts";

/** What one upstream may have open; `CircuitLimits` of the cluster stage has these fields. */
export interface BrokerCoreLimits {
  /** Sends on the wire. */
  readonly sendsInFlightMax: number;
  /** Calls, receives apart, that wait for a connection, an opened name or a window. */
  readonly pendingMax: number;
  /** Bytes of sends that wait. */
  readonly pendingBytesMax: number;
}

export interface BrokerCoreUpstreamOptions extends ConnectorOptions {
  readonly limits: BrokerCoreLimits;
}

/** A call that finds no connection waits this long for one, if its deadline allows; then it fails fast. */
export const unconnectedWaitMsMax = 3_000;
/** For the driver's own hand-backs. */
const handBackMsMax = 10_000;

const bodyBytesMax = frameBytesMax - frameHeaderBytes;

type Done<Answer> = (answer: Answer) => void;
type AnyDone = Done<UpstreamSendAnswer & UpstreamReceiveAnswer & UpstreamResults>;
type AnyOpening = Opening<TopicRef> | Opening<GroupRef>;

/**
 * The upstream port over frames (docs/upstream-port.md): one connection to one broker of ours. A call is a slot of
 * `CallTable`; it waits (for a connection, an opened name, a window), is sent, and is answered once. What the caller gave
 * up but the broker has not answered keeps its slot and its credit, so that both sides count the same.
 */
export class BrokerCoreUpstream implements Upstream {
  readonly brokerName: string;
  readonly #limits: BrokerCoreLimits;
  readonly #clock: Clock;
  readonly #connector: Connector;
  readonly #calls: CallTable;
  readonly #wheel: DeadlineWheel;
  /** Acks and changes go before sends, sends before receives: giving back must not wait behind new work. */
  readonly #settleQueue: WaitQueue;
  readonly #sendQueue: WaitQueue;
  readonly #receiveQueue: WaitQueue;
  /** Openings that wait for their share of the window. */
  #openingQueue: (() => void)[] = [];
  #openingsInUse = 0;
  #openRequests = 0;
  /** Calls in state Waiting, without receives, and the bytes of their copies. */
  #pending = 0;
  #pendingReceives = 0;
  #pendingBytes = 0;
  #isClosing = false;
  #whenEmpty: (() => void) | undefined;
  #deadlineTimer: Timer | undefined;
  #deadlineTimerMs = Number.POSITIVE_INFINITY;
  readonly #expireDue: () => void;
  readonly #expire: (slot: number) => void;

  constructor(options: BrokerCoreUpstreamOptions) {
    const { clock } = options;
    this.brokerName = options.brokerName;
    this.#limits = options.limits;
    this.#clock = clock;
    const wheel = new DeadlineWheel(clock.monotonicMs());
    this.#wheel = wheel;
    this.#calls = new CallTable((capacity) => wheel.grow(capacity));
    const isLive = (correlation: number): boolean => this.#waitingSlot(correlation) >= 0;
    this.#settleQueue = new WaitQueue(isLive);
    this.#sendQueue = new WaitQueue(isLive);
    this.#receiveQueue = new WaitQueue(isLive);
    this.#expire = (slot) => this.#expired(slot);
    this.#expireDue = () => {
      this.#deadlineTimerMs = Number.POSITIVE_INFINITY;
      this.#wheel.advance(this.#clock.monotonicMs(), this.#expire);
      this.#watchDeadlines();
    };
    const events: ConnectorEvents = {
      onReady: (connection) => this.#ready(connection),
      onUnready: (why) => this.#unready(why),
      onLost: (connection, reason) => this.#lost(connection, reason),
      onRoom: (connection) => this.#pump(connection),
      onAnswer: (connection, kind, status, correlation, bytes, start, end) =>
        this.#answered(connection, kind, status, correlation, bytes, start, end),
    };
    this.#connector = new Connector(options, events);
    this.#connector.start();
  }

  get openRequestCount(): number {
    return this.#openRequests;
  }

  get isReady(): boolean {
    return this.#connector.current !== undefined;
  }

  /** Why there is no connection; undefined while there is one. */
  get trouble(): string | undefined {
    return this.isReady ? undefined : this.#connector.trouble;
  }

  send(request: UpstreamSend, deadlineMs: number, done: Done<UpstreamSendAnswer>): void {
    const bytesMax = sendRequestBytesMax(request.laneMark, request.bornHost, request.messages);
    if (bytesMax > bodyBytesMax) {
      const message = `a send of over ${bodyBytesMax} bytes does not fit into a frame; send fewer messages at once`;
      this.#failLater(done, failure(Code.MessageBodyTooLarge, message, "refused"));
      return;
    }
    this.#begin(FrameKind.Send, request, bytesMax, deadlineMs, done);
  }

  receive(request: UpstreamReceive, deadlineMs: number, done: Done<UpstreamReceiveAnswer>): () => void {
    const correlation = this.#begin(FrameKind.Receive, request, 0, deadlineMs, done);
    return () => this.#giveUp(correlation);
  }

  ack(request: UpstreamAck, deadlineMs: number, done: Done<UpstreamResults>): void {
    this.#begin(FrameKind.Ack, request, 0, deadlineMs, done);
  }

  change(request: UpstreamChange, deadlineMs: number, done: Done<UpstreamResults>): void {
    this.#begin(FrameKind.Change, request, 0, deadlineMs, done);
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    this.#connector.stopConnecting();
    for (let slot = 0; slot < this.#calls.capacity; slot++) {
      if (this.#calls.kinds[slot] === FrameKind.Receive && this.#calls.states[slot] !== CallState.Free) {
        this.#giveUp(this.#calls.correlation(slot));
      }
    }
    if (this.#connector.current === undefined) this.#failWaiting("the sidecar leaves this broker");
    if (this.#calls.count > 0) {
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after(graceMs, resolve);
        this.#whenEmpty = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    this.#connector.destroy("the sidecar leaves this broker");
    this.#deadlineTimer?.cancel();
  }

  // ---- A call begins ----

  /** Returns the call's correlation id, 0 when it was refused (its callback follows). */
  #begin(kind: number, request: object, bytesMax: number, deadlineMs: number, done: unknown): number {
    const refusal = this.#refusal(kind, bytesMax, deadlineMs);
    const slot = refusal === undefined ? this.#calls.open(kind, request, deadlineMs, done) : -1;
    if (slot < 0) {
      this.#failLater(done as Done<UpstreamFailure>, refusal ?? this.#tooMany("calls"));
      return 0;
    }
    this.#calls.requestBytes[slot] = bytesMax;
    if (kind !== FrameKind.Receive) this.#openRequests++;
    const connection = this.#connector.current;
    if (connection !== undefined && this.#queueOf(kind).isEmpty && this.#trySend(connection, slot)) {
      this.#arm(slot, deadlineMs);
    } else {
      this.#wait(slot, kind);
    }
    return this.#calls.correlation(slot);
  }

  #refusal(kind: number, bytesMax: number, deadlineMs: number): UpstreamFailure | undefined {
    if (deadlineMs - this.#clock.monotonicMs() <= deadlineTickMs) {
      return failure(Code.ProxyTimeout, `no time is left to ask broker ${this.brokerName}`, "not-sent");
    }
    if (this.#isClosing && (kind === FrameKind.Send || kind === FrameKind.Receive)) {
      const message = `broker ${this.brokerName} left the configuration; ask another one`;
      return failure(Code.InternalServerError, message, "not-sent");
    }
    if (kind === FrameKind.Receive) return undefined;
    if (this.#pending >= this.#limits.pendingMax) return this.#tooMany("calls");
    return this.#pendingBytes + bytesMax > this.#limits.pendingBytesMax && this.#pending > 0
      ? this.#tooMany("bytes")
      : undefined;
  }

  #tooMany(what: string): UpstreamFailure {
    const message = `too many ${what} wait for broker ${this.brokerName} already; slow down and try again`;
    return failure(Code.TooManyRequests, message, "not-sent");
  }

  /** A callback is never called from inside the call that took it. */
  #failLater(done: Done<UpstreamFailure>, answer: UpstreamFailure): void {
    this.#clock.atTurnEnd(() => done(answer));
  }

  #wait(slot: number, kind: number): void {
    const calls = this.#calls;
    calls.states[slot] = CallState.Waiting;
    if (kind === FrameKind.Receive) this.#pendingReceives++;
    else this.#pending++;
    if (kind === FrameKind.Send) {
      // The caller's views end with its call.
      const request = calls.requests[slot] as UpstreamSend;
      calls.requests[slot] = { ...request, messages: request.messages.map((message) => Buffer.from(message)) };
      this.#pendingBytes += calls.requestBytes[slot]!;
    }
    this.#armWaiting(slot);
    this.#route(slot);
  }

  /** Without a connection a call fails sooner than its deadline says: elsewhere it might succeed. */
  #armWaiting(slot: number): void {
    const deadlineMs = this.#calls.deadlinesMs[slot]!;
    const isConnected = this.#connector.current !== undefined;
    const patienceEndMs = isConnected ? deadlineMs : this.#clock.monotonicMs() + unconnectedWaitMsMax;
    this.#arm(slot, Math.min(deadlineMs, patienceEndMs));
  }

  #queueOf(kind: number): WaitQueue {
    if (kind === FrameKind.Send) return this.#sendQueue;
    return kind === FrameKind.Receive ? this.#receiveQueue : this.#settleQueue;
  }

  /** The slot of a call that waits, or -1. */
  #waitingSlot(correlation: number): number {
    const slot = this.#calls.slotOf(correlation);
    return slot >= 0 && this.#calls.states[slot] === CallState.Waiting ? slot : -1;
  }

  // ---- From waiting to the wire ----

  /** Sends a waiting call, or puts it where it will be found: behind the opening of a name, or into its queue. */
  #route(slot: number): void {
    const connection = this.#connector.current;
    const queue = this.#queueOf(this.#calls.kinds[slot]!);
    if (connection !== undefined) {
      const opening = this.#missingName(connection, slot);
      if (opening !== undefined) {
        opening.waiting.push(this.#calls.correlation(slot));
        return;
      }
      if (queue.isEmpty && this.#trySend(connection, slot)) return;
    }
    queue.add(this.#calls.correlation(slot), this.#pending + this.#pendingReceives);
  }

  /** Sends what waits while there is room; a call whose names are not opened steps aside. */
  #pump(connection: BrokerConnection): void {
    if (connection !== this.#connector.current || this.#pending + this.#pendingReceives === 0) return;
    this.#pumpQueue(connection, this.#settleQueue);
    this.#pumpQueue(connection, this.#sendQueue);
    this.#pumpQueue(connection, this.#receiveQueue);
  }

  #pumpQueue(connection: BrokerConnection, queue: WaitQueue): void {
    for (let correlation = queue.first(); correlation !== undefined; correlation = queue.first()) {
      const slot = this.#waitingSlot(correlation);
      const opening = this.#missingName(connection, slot);
      if (opening !== undefined) opening.waiting.push(correlation);
      else if (!this.#trySend(connection, slot)) return;
      queue.shift();
    }
  }

  /** False when there is no room or a name is missing; nothing has happened then. */
  #trySend(connection: BrokerConnection, slot: number): boolean {
    const calls = this.#calls;
    const kind = calls.kinds[slot]!;
    const request = calls.requests[slot] as UpstreamSend & UpstreamReceive;
    if (kind === FrameKind.Send || kind === FrameKind.Receive) {
      if (!isOpen(connection.topics.find(request.topic))) return false;
    }
    if (kind !== FrameKind.Send && !isOpen(connection.groups.find(request.group))) return false;
    const position = this.#write(connection, kind, slot);
    if (position === noRoom) return false;
    if (kind === FrameKind.Send) calls.requests[slot] = request.topic;
    if (calls.states[slot] === CallState.Waiting) {
      this.#leavePending(slot);
      this.#arm(slot, calls.deadlinesMs[slot]!);
    }
    calls.states[slot] = CallState.Sent;
    calls.connections[slot] = connection;
    calls.positions[slot] = position;
    return true;
  }

  #write(connection: BrokerConnection, kind: number, slot: number): number {
    const request = this.#calls.requests[slot];
    const correlation = this.#calls.correlation(slot);
    switch (kind) {
      case FrameKind.Send:
        return writeSend(
          connection,
          correlation,
          request as UpstreamSend,
          this.#calls.requestBytes[slot]!,
          this.#limits.sendsInFlightMax,
        );
      case FrameKind.Receive:
        return writeReceive(connection, correlation, request as UpstreamReceive);
      case FrameKind.Ack:
        return writeAck(connection, correlation, request as UpstreamAck);
      default:
        return writeChanges(connection, correlation, request as UpstreamChange);
    }
  }

  #leavePending(slot: number): void {
    const kind = this.#calls.kinds[slot];
    if (kind === FrameKind.Receive) this.#pendingReceives--;
    else this.#pending--;
    if (kind === FrameKind.Send) this.#pendingBytes -= this.#calls.requestBytes[slot]!;
  }

  // ---- Names ----

  /** The opening a call must wait for; begins it. Undefined when all its names are open. */
  #missingName(connection: BrokerConnection, slot: number): AnyOpening | undefined {
    const { topic, group } = this.#calls.requests[slot] as { topic?: TopicRef; group?: GroupRef };
    if (topic !== undefined) {
      const opening = connection.topics.find(topic) ?? this.#openTopic(connection, topic);
      if (!isOpen(opening)) return opening;
    }
    if (group !== undefined) {
      const opening = connection.groups.find(group) ?? this.#openGroup(connection, group);
      if (!isOpen(opening)) return opening;
    }
    return undefined;
  }

  #openTopic(connection: BrokerConnection, ref: TopicRef): Opening<TopicRef> {
    const opening = connection.topics.begin(ref);
    const { name, incarnation, messageTypes, queueCount } = ref;
    const body = popmesh.v1.OpenTopic.encode({ name, incarnation, messageTypes, queueCount }).finish();
    this.#sendOpening(connection, FrameKind.OpenTopic, opening, body);
    return opening;
  }

  #openGroup(connection: BrokerConnection, ref: GroupRef): Opening<GroupRef> {
    const opening = connection.groups.begin(ref);
    const { name, generation, attemptsMax, inflightMax, backoff } = ref;
    const body = popmesh.v1.OpenGroup.encode({
      name,
      generation,
      attemptsMax,
      inflightMax,
      backoff:
        backoff.kind === "list"
          ? { delayMs: [...backoff.delaysMs] }
          : { initialMs: backoff.initialMs, maxMs: backoff.maxMs, multiplier: backoff.multiplier },
    }).finish();
    this.#sendOpening(connection, FrameKind.OpenGroup, opening, body);
    return opening;
  }

  /** An opening has no deadline of its own: those who wait for it have theirs, and the connection has its pings. */
  #sendOpening(connection: BrokerConnection, kind: number, opening: AnyOpening, body: Uint8Array): void {
    const reserve = Math.min(openingsInUseMax, Math.max(1, connection.requestWindow >> 1));
    if (this.#openingsInUse >= reserve) {
      this.#openingQueue.push(() => this.#sendOpening(connection, kind, opening, body));
      return;
    }
    if (connection.frames.isClosed) return;
    const slot = this.#calls.open(kind, opening, Number.POSITIVE_INFINITY, undefined);
    if (slot < 0) return;
    const { writer } = connection.frames;
    this.#openingsInUse++;
    connection.requestsInUse++;
    this.#calls.states[slot] = CallState.Sent;
    this.#calls.connections[slot] = connection;
    writer.write(kind, 0, this.#calls.correlation(slot), body);
  }

  #openingAnswered(
    connection: BrokerConnection,
    kind: number,
    opening: AnyOpening,
    status: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    this.#openingsInUse--;
    const waiting = opening.waiting.splice(0);
    if (status === Code.Ok) {
      const body = bytes.subarray(start, end);
      opening.id =
        kind === FrameKind.OpenTopic
          ? popmesh.v1.OpenTopicAnswer.decode(body).topicId
          : popmesh.v1.OpenGroupAnswer.decode(body).groupId;
      for (const correlation of waiting) {
        const slot = this.#waitingSlot(correlation);
        if (slot >= 0) this.#route(slot);
      }
    } else {
      const names = kind === FrameKind.OpenTopic ? connection.topics : connection.groups;
      names.forget(opening.ref.name);
      const answer = readFailure(status, bytes, start, end);
      for (const correlation of waiting) {
        const slot = this.#waitingSlot(correlation);
        if (slot >= 0) this.#finish(slot, answer);
      }
    }
    this.#openingQueue.shift()?.();
  }

  // ---- A call ends ----

  #answered(
    connection: BrokerConnection,
    kind: number,
    status: number,
    correlation: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const calls = this.#calls;
    const slot = calls.slotOf(correlation);
    // Answered twice, or by a broker that invents: nothing of ours.
    if (slot < 0 || calls.connections[slot] !== connection || calls.kinds[slot] !== kind) return;
    this.#giveBackCredit(connection, slot);
    const request = calls.requests[slot];
    if (kind === FrameKind.OpenTopic || kind === FrameKind.OpenGroup) {
      this.#closeSlot(slot);
      this.#openingAnswered(connection, kind, request as AnyOpening, status, bytes, start, end);
    } else {
      const done = calls.states[slot] === CallState.Sent ? (calls.dones[slot] as AnyDone) : undefined;
      if (done !== undefined) this.#settled(slot);
      this.#closeSlot(slot);
      if (status === Code.TopicNotFound && kind === FrameKind.Send)
        connection.topics.forget((request as TopicRef).name);
      else if (status !== Code.Ok) forgetNames(connection, status, request as { topic?: TopicRef; group?: GroupRef });
      this.#tell(kind, status, bytes, start, end, request, done);
    }
    this.#pump(connection);
  }

  /** Tells the caller; what it no longer waits for is handed back. */
  #tell(
    kind: number,
    status: number,
    bytes: Buffer,
    start: number,
    end: number,
    request: unknown,
    done: AnyDone | undefined,
  ): void {
    if (kind === FrameKind.Receive) {
      let answer: UpstreamReceiveAnswer;
      if (status === Code.Ok) answer = readReceiveAnswer(bytes, start, end);
      else if (status === Code.MessageNotFound) answer = nothingReceived;
      else answer = readFailure(status, bytes, start, end);
      if (done !== undefined) (done as Done<UpstreamReceiveAnswer>)(answer);
      else if (answer.ok && answer.deliveries.length > 0) this.#handBack(request as UpstreamReceive, answer);
      return;
    }
    if (done === undefined) return;
    if (status !== Code.Ok) (done as Done<UpstreamFailure>)(readFailure(status, bytes, start, end));
    else if (kind === FrameKind.Send) (done as Done<UpstreamSendAnswer>)(readSendAnswer(bytes, start, end));
    else (done as Done<UpstreamResults>)(readResults(bytes, start, end));
  }

  #handBack(request: UpstreamReceive, answer: UpstreamReceiveAnswer & { ok: true }): void {
    const changes = answer.deliveries.map(({ receipt }) => ({ receipt, kind: "hand-back" as const, invisibleMs: 0 }));
    this.change({ group: request.group, changes }, this.#clock.monotonicMs() + handBackMsMax, doNothing);
  }

  #giveBackCredit(connection: BrokerConnection, slot: number): void {
    const kind = this.#calls.kinds[slot];
    if (kind === FrameKind.Receive) {
      connection.receivesInUse--;
      return;
    }
    connection.requestsInUse--;
    if (kind !== FrameKind.Send) return;
    connection.sendsInUse--;
    connection.bytesInUse -= this.#calls.requestBytes[slot]!;
  }

  /** The caller's part is over. */
  #settled(slot: number): void {
    this.#wheel.disarm(slot);
    if (this.#calls.kinds[slot] !== FrameKind.Receive) this.#openRequests--;
  }

  #closeSlot(slot: number): void {
    this.#calls.close(slot);
    if (this.#calls.count === 0) this.#whenEmpty?.();
  }

  /** Answers a call that waits: nothing of it was sent. */
  #finish(slot: number, answer: UpstreamFailure | UpstreamReceiveAnswer): void {
    const done = this.#calls.dones[slot] as Done<typeof answer>;
    this.#leavePending(slot);
    this.#settled(slot);
    this.#closeSlot(slot);
    done(answer);
  }

  /** Answers a call whose frame was sent; the broker's own answer is still to come. */
  #abandon(slot: number, answer: UpstreamFailure | UpstreamReceiveAnswer): void {
    const calls = this.#calls;
    const done = calls.dones[slot] as Done<typeof answer>;
    this.#settled(slot);
    calls.dones[slot] = undefined;
    calls.states[slot] = CallState.Abandoned;
    const connection = calls.connections[slot]!;
    if (calls.kinds[slot] === FrameKind.Receive) {
      connection.frames.writer.write(FrameKind.Cancel, 0, calls.correlation(slot), nothing);
    }
    done(answer);
  }

  #giveUp(correlation: number): void {
    const slot = this.#calls.slotOf(correlation);
    if (slot < 0 || this.#calls.states[slot] === CallState.Abandoned) return;
    this.#clock.atTurnEnd(() => {
      const slotThen = this.#calls.slotOf(correlation);
      if (slotThen < 0) return;
      if (this.#calls.states[slotThen] === CallState.Waiting) this.#finish(slotThen, nothingReceived);
      else if (this.#calls.states[slotThen] === CallState.Sent) this.#abandon(slotThen, nothingReceived);
    });
  }

  // ---- Deadlines ----

  #arm(slot: number, deadlineMs: number): void {
    this.#wheel.arm(slot, deadlineMs);
    // A timer for later than this deadline would miss it.
    if (deadlineMs - deadlineTickMs < this.#deadlineTimerMs) this.#watchDeadlines();
  }

  #watchDeadlines(): void {
    const dueMs = this.#wheel.nextMs();
    if (dueMs >= this.#deadlineTimerMs) return;
    this.#deadlineTimer?.cancel();
    this.#deadlineTimerMs = dueMs;
    this.#deadlineTimer = this.#clock.after(Math.max(1, Math.ceil(dueMs - this.#clock.monotonicMs())), this.#expireDue);
  }

  #expired(slot: number): void {
    const calls = this.#calls;
    const isLate = this.#clock.monotonicMs() >= calls.deadlinesMs[slot]! - 2 * deadlineTickMs;
    if (calls.states[slot] === CallState.Waiting) {
      const why = this.trouble ?? "all its windows are taken";
      const message = `broker ${this.brokerName} could not be asked in time: ${why}`;
      if (calls.kinds[slot] === FrameKind.Receive && isLate && this.isReady) this.#finish(slot, nothingReceived);
      else this.#finish(slot, failure(isLate ? Code.ProxyTimeout : Code.InternalServerError, message, "not-sent"));
      return;
    }
    const message = `broker ${this.brokerName} did not answer before the deadline`;
    this.#abandon(slot, failure(Code.ProxyTimeout, message, "unknown"));
  }

  // ---- The connection comes and goes ----

  #ready(connection: BrokerConnection): void {
    for (let slot = 0; slot < this.#calls.capacity; slot++) {
      if (this.#calls.states[slot] === CallState.Waiting) this.#arm(slot, this.#calls.deadlinesMs[slot]!);
    }
    this.#pump(connection);
  }

  #unready(why: "broken" | "going away"): void {
    if (why === "broken") this.#failWaiting(this.#connector.trouble);
    else {
      for (let slot = 0; slot < this.#calls.capacity; slot++) {
        if (this.#calls.states[slot] === CallState.Waiting) this.#armWaiting(slot);
      }
    }
  }

  /** Another broker may still take them in the same call. */
  #failWaiting(reason: string): void {
    const answer = failure(
      Code.InternalServerError,
      `no connection to broker ${this.brokerName}: ${reason}`,
      "not-sent",
    );
    for (const slot of this.#slotsWhere((at) => this.#calls.states[at] === CallState.Waiting))
      this.#finish(slot, answer);
  }

  #lost(connection: BrokerConnection, reason: string): void {
    const calls = this.#calls;
    const { handedPosition } = connection.frames.writer;
    for (const slot of this.#slotsWhere((at) => calls.connections[at] === connection)) {
      const state = calls.states[slot];
      const kind = calls.kinds[slot]!;
      if (kind === FrameKind.OpenTopic || kind === FrameKind.OpenGroup) {
        this.#openingsInUse--;
        const opening = calls.requests[slot] as AnyOpening;
        this.#closeSlot(slot);
        // After a GoAway their callers wait on: for the next connection.
        for (const correlation of opening.waiting.splice(0)) {
          const waiting = this.#waitingSlot(correlation);
          if (waiting >= 0) this.#route(waiting);
        }
        continue;
      }
      const done = state === CallState.Sent ? (calls.dones[slot] as Done<UpstreamFailure>) : undefined;
      const reach: FailureReach = calls.positions[slot]! >= handedPosition ? "not-sent" : "unknown";
      if (done !== undefined) this.#settled(slot);
      this.#closeSlot(slot);
      const message = `the connection to broker ${this.brokerName} broke before it answered: ${reason}`;
      done?.(failure(Code.InternalServerError, message, reach));
    }
    const queued = this.#openingQueue;
    this.#openingQueue = [];
    for (const send of queued) send();
  }

  /** Slots as of now: what is done with them may open and close others. */
  #slotsWhere(holds: (slot: number) => boolean): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < this.#calls.capacity; slot++) {
      if (this.#calls.states[slot] !== CallState.Free && holds(slot)) slots.push(slot);
    }
    return slots;
  }
}

const nothing = new Uint8Array(0);

function doNothing(): void {}

function isOpen(opening: AnyOpening | undefined): boolean {
  return opening !== undefined && opening.id >= 0;
}

/** The broker does not know an id that it once gave: the name is opened again at the next call. */
function forgetNames(
  connection: BrokerConnection,
  status: number,
  request: { readonly topic?: TopicRef; readonly group?: GroupRef },
): void {
  if (status === Code.TopicNotFound && request.topic !== undefined) connection.topics.forget(request.topic.name);
  if (status === Code.ConsumerGroupNotFound && request.group !== undefined)
    connection.groups.forget(request.group.name);
}
