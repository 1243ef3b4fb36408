import { Code } from "../../../proto/code.ts";
import { FrameKind } from "../../../proto/frame/frame.ts";
import type { Clock } from "../../../proto/runtime/clock.ts";
import type {
  FailureReach,
  OrphanedTransaction,
  UpstreamChange,
  UpstreamFailure,
  UpstreamReceive,
  UpstreamReceiveAnswer,
  UpstreamSend,
} from "../upstream.ts";
import { type AnyAnswer, failure, nothingReceived, readAnswer } from "./answer-reader.ts";
import type { BrokerConnection } from "./broker-connection.ts";
import { CallState, CallTable } from "./call-table.ts";
import { Connector, type ConnectorEvents, type ConnectorOptions } from "./connector.ts";
import { DeadlineWatch } from "./deadline-watch.ts";
import { deadlineTickMs } from "./deadline-wheel.ts";
import { type AnyOpening, forgetUnknownName, isOpening, NameOpener, type NamesOf, readOpening } from "./name-opener.ts";
import { type BrokerCoreLimits, PendingCalls } from "./pending-calls.ts";
import { type EncodedRequest, giveBackCredit, noRoom, withinTime, writeRequest } from "./request-frame.ts";
import { type WaitQueue, WaitQueues } from "./wait-queue.ts";

export interface BrokerCallsOptions extends ConnectorOptions {
  readonly limits: BrokerCoreLimits;
}

export interface BrokerCallsEvents {
  /** A connection takes calls from now on. */
  readonly onConnected: (connection: BrokerConnection) => void;
  readonly onDisconnected: () => void;
  readonly onOrphan: (orphan: OrphanedTransaction) => void;
}

/** A call that finds no connection waits this long for one, if its deadline allows; then it fails fast. */
const unconnectedWaitMsMax = 3_000;
/** For the driver's own hand-backs. */
const handBackMsMax = 10_000;

export type Done<Answer> = (answer: Answer) => void;
type AnyDone = Done<AnyAnswer>;

/**
 * The calls of one broker over one connection. A call is a slot of `CallTable`; it waits (for a connection, an opened name, a
 * window), is sent, and is answered once. What the caller gave up but the broker has not answered keeps its slot and its
 * credit, so that both sides count the same.
 */
export class BrokerCalls {
  readonly #brokerName: string;
  readonly #limits: BrokerCoreLimits;
  readonly #clock: Clock;
  readonly #events: BrokerCallsEvents;
  readonly #connector: Connector;
  readonly #calls: CallTable;
  readonly #deadlines: DeadlineWatch;
  readonly #names: NameOpener;
  readonly #queues: WaitQueues;
  #openRequests = 0;
  /** Calls in state Waiting, and the bytes of their copies. */
  readonly #pending: PendingCalls;
  #isClosing = false;
  #whenEmpty: (() => void) | undefined;

  constructor(options: BrokerCallsOptions, events: BrokerCallsEvents) {
    const { clock } = options;
    this.#brokerName = options.brokerName;
    this.#limits = options.limits;
    this.#clock = clock;
    this.#events = events;
    this.#pending = new PendingCalls(options.limits);
    const deadlines = new DeadlineWatch(clock, (slot) => this.#expired(slot));
    this.#deadlines = deadlines;
    this.#calls = new CallTable((capacity) => deadlines.grow(capacity));
    this.#names = new NameOpener(this.#calls, {
      onResolved: (correlation) => {
        const slot = this.#waitingSlot(correlation);
        if (slot >= 0) this.#route(slot);
      },
      onRefused: (correlation, answer) => {
        const slot = this.#waitingSlot(correlation);
        if (slot >= 0) this.#finish(slot, answer);
      },
    });
    this.#queues = new WaitQueues((correlation) => this.#waitingSlot(correlation) >= 0);
    const ofConnection: ConnectorEvents = {
      onReady: (connection) => this.#ready(connection),
      onUnready: (why) => this.#unready(why),
      onLost: (connection, reason) => this.#lost(connection, reason),
      onRoom: (connection) => this.#pump(connection),
      onOrphan: events.onOrphan,
      onAnswer: (connection, kind, status, correlation, bytes, start, end) =>
        this.#answered(connection, kind, status, correlation, bytes, start, end),
    };
    this.#connector = new Connector(options, ofConnection);
    this.#connector.start();
  }

  /** Calls without an answer, receives not counted. */
  get openRequestCount(): number {
    return this.#openRequests;
  }

  /** There is a connection that takes calls. */
  get isReady(): boolean {
    return this.#connector.current !== undefined;
  }

  /** Why there is no connection; undefined while there is one. */
  get trouble(): string | undefined {
    return this.isReady ? undefined : this.#connector.trouble;
  }

  /** Answers what waits, gives what was sent `graceMs` to be answered, and ends the connection. */
  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    this.#connector.stopConnecting();
    for (const slot of this.#calls.slotsWhere((at) => this.#calls.kinds[at] === FrameKind.Receive)) {
      this.giveUp(this.#calls.correlation(slot));
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
    this.#failWaiting("the sidecar leaves this broker");
    this.#deadlines.stop();
  }

  // ---- A call begins ----

  /**
   * Begins a call of frame kind `kind`. `done` is called once, before `deadlineMs` and never before this returns. Returns the call's
   * correlation id, 0 when it was refused. `bytesMax`: what its bytes take of the send window, 0 where there is none.
   */
  begin(kind: number, request: object, bytesMax: number, deadlineMs: number, done: unknown): number {
    const refusal = this.#refusal(kind, bytesMax, deadlineMs);
    const slot = refusal === undefined ? this.#calls.open(kind, request, deadlineMs, done) : -1;
    if (slot < 0) {
      this.answerLater(done as Done<UpstreamFailure>, refusal ?? this.#tooMany("calls"));
      return 0;
    }
    this.#calls.requestBytes[slot] = bytesMax;
    if (kind !== FrameKind.Receive) this.#openRequests++;
    const connection = this.#connector.current;
    if (connection !== undefined && this.#queues.of(kind).isEmpty && this.#trySend(connection, slot)) {
      this.#deadlines.arm(slot, deadlineMs);
    } else {
      this.#wait(slot, kind);
    }
    return this.#calls.correlation(slot);
  }

  #refusal(kind: number, bytesMax: number, deadlineMs: number): UpstreamFailure | undefined {
    if (deadlineMs - this.#clock.monotonicMs() <= deadlineTickMs) {
      return failure(Code.ProxyTimeout, `no time is left to ask broker ${this.#brokerName}`, "not-sent");
    }
    if (this.#isClosing && (kind === FrameKind.Send || kind === FrameKind.Receive)) {
      const message = `broker ${this.#brokerName} left the configuration; ask another one`;
      return failure(Code.InternalServerError, message, "not-sent");
    }
    const excess = this.#pending.excess(kind, bytesMax);
    return excess === undefined ? undefined : this.#tooMany(excess);
  }

  #tooMany(what: string): UpstreamFailure {
    const message = `too many ${what} wait for broker ${this.#brokerName} already; slow down and try again`;
    return failure(Code.TooManyRequests, message, "not-sent");
  }

  /** A callback is never called from inside the call that took it. */
  answerLater(done: Done<UpstreamFailure>, answer: UpstreamFailure): void {
    this.#clock.atTurnEnd(() => done(answer));
  }

  #wait(slot: number, kind: number): void {
    const calls = this.#calls;
    calls.states[slot] = CallState.Waiting;
    this.#pending.enter(kind, calls.requestBytes[slot]!);
    if (kind === FrameKind.Send) {
      // The caller's views end with its call.
      const request = calls.requests[slot] as UpstreamSend;
      calls.requests[slot] = { ...request, messages: request.messages.map((message) => Buffer.from(message)) };
    }
    this.#armWaiting(slot);
    this.#route(slot);
  }

  /** Without a connection a call fails sooner than its deadline says: elsewhere it might succeed. */
  #armWaiting(slot: number): void {
    const deadlineMs = this.#calls.deadlinesMs[slot]!;
    const isConnected = this.#connector.current !== undefined;
    const patienceEndMs = isConnected ? deadlineMs : this.#clock.monotonicMs() + unconnectedWaitMsMax;
    this.#deadlines.arm(slot, Math.min(deadlineMs, patienceEndMs));
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
    const queue = this.#queues.of(this.#calls.kinds[slot]!);
    if (connection !== undefined) {
      const opening = this.#names.missing(connection, this.#calls.requests[slot] as NamesOf);
      if (opening !== undefined) {
        opening.waiting.push(this.#calls.correlation(slot));
        return;
      }
      if (queue.isEmpty && this.#trySend(connection, slot)) return;
    }
    queue.add(this.#calls.correlation(slot), this.#pending.count);
  }

  /** Sends what waits while there is room; a call whose names are not opened steps aside. */
  #pump(connection: BrokerConnection): void {
    if (connection !== this.#connector.current || this.#pending.count === 0) return;
    for (const queue of this.#queues.inOrder) this.#pumpQueue(connection, queue);
  }

  #pumpQueue(connection: BrokerConnection, queue: WaitQueue): void {
    for (let correlation = queue.first(); correlation !== undefined; correlation = queue.first()) {
      const slot = this.#waitingSlot(correlation);
      const opening = this.#names.missing(connection, this.#calls.requests[slot] as NamesOf);
      if (opening !== undefined) opening.waiting.push(correlation);
      else if (!this.#trySend(connection, slot)) return;
      queue.shift();
    }
  }

  /** False when there is no room or a name is missing; nothing has happened then. */
  #trySend(connection: BrokerConnection, slot: number): boolean {
    const calls = this.#calls;
    const kind = calls.kinds[slot]!;
    if (kind === FrameKind.Receive && calls.states[slot] === CallState.Waiting) {
      const leftMs = calls.deadlinesMs[slot]! - this.#clock.monotonicMs();
      calls.requests[slot] = withinTime(calls.requests[slot] as UpstreamReceive, leftMs);
    }
    const request = calls.requests[slot] as UpstreamSend & UpstreamReceive & EncodedRequest;
    const { topic, group } = request as NamesOf;
    if (topic !== undefined && !isOpen(connection.topics.find(topic))) return false;
    if (group !== undefined && !isOpen(connection.groups.find(group))) return false;
    const position = writeRequest(
      connection,
      kind,
      calls.correlation(slot),
      request,
      calls.requestBytes[slot]!,
      this.#limits.sendsInFlightMax,
    );
    if (position === noRoom) return false;
    // The messages are in the frame; only the names are wanted again.
    if (kind === FrameKind.Send) calls.requests[slot] = { topic: request.topic };
    if (calls.states[slot] === CallState.Waiting) {
      this.#pending.leave(kind, calls.requestBytes[slot]!);
      this.#deadlines.arm(slot, calls.deadlinesMs[slot]!);
    }
    calls.states[slot] = CallState.Sent;
    calls.connections[slot] = connection;
    calls.positions[slot] = position;
    return true;
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
    // Read before anything is changed: bytes that are no answer end the connection, and the call with it.
    const request = calls.requests[slot];
    const hasCaller = calls.states[slot] === CallState.Sent;
    if (isOpening(kind)) {
      const outcome = readOpening(kind, status, bytes, start, end);
      giveBackCredit(connection, kind, 0);
      this.#closeSlot(slot);
      this.#names.answered(connection, kind, request as AnyOpening, outcome);
    } else {
      const answer = readAnswer(kind, status, bytes, start, end);
      const done = calls.dones[slot] as AnyDone;
      giveBackCredit(connection, kind, calls.requestBytes[slot]!);
      if (hasCaller) this.#settled(slot);
      this.#closeSlot(slot);
      if (status !== Code.Ok) forgetUnknownName(connection, status, request as NamesOf);
      if (hasCaller) done(answer);
      else if (kind === FrameKind.Receive) this.#handBack(request as UpstreamReceive, answer);
    }
    this.#pump(connection);
  }

  /** What a receive was given after its caller had gone; other late answers say nothing of use. */
  #handBack(request: UpstreamReceive, answer: UpstreamReceiveAnswer): void {
    if (!answer.ok || answer.deliveries.length === 0) return;
    const changes = answer.deliveries.map(({ receipt }) => ({ receipt, kind: "hand-back" as const, invisibleMs: 0 }));
    const handBack: UpstreamChange = { group: request.group, changes };
    this.begin(FrameKind.Change, handBack, 0, this.#clock.monotonicMs() + handBackMsMax, doNothing);
  }

  /** The caller's part is over. */
  #settled(slot: number): void {
    this.#deadlines.disarm(slot);
    if (this.#calls.kinds[slot] !== FrameKind.Receive) this.#openRequests--;
  }

  #closeSlot(slot: number): void {
    this.#calls.close(slot);
    if (this.#calls.count === 0) this.#whenEmpty?.();
  }

  /** Answers a call that waits: nothing of it was sent. */
  #finish(slot: number, answer: UpstreamFailure | UpstreamReceiveAnswer): void {
    const done = this.#calls.dones[slot] as Done<typeof answer>;
    this.#pending.leave(this.#calls.kinds[slot]!, this.#calls.requestBytes[slot]!);
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

  /** The caller of a receive does not want it any more: it is answered with nothing. */
  giveUp(correlation: number): void {
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

  #expired(slot: number): void {
    const calls = this.#calls;
    const isLate = this.#clock.monotonicMs() >= calls.deadlinesMs[slot]! - 2 * deadlineTickMs;
    if (calls.states[slot] === CallState.Waiting) {
      const why = this.trouble ?? "all its windows are taken";
      const message = `broker ${this.#brokerName} could not be asked in time: ${why}`;
      if (calls.kinds[slot] === FrameKind.Receive && isLate && this.isReady) this.#finish(slot, nothingReceived);
      else this.#finish(slot, failure(isLate ? Code.ProxyTimeout : Code.InternalServerError, message, "not-sent"));
      return;
    }
    const message = `broker ${this.#brokerName} did not answer before the deadline`;
    this.#abandon(slot, failure(Code.ProxyTimeout, message, "unknown"));
  }

  // ---- The connection comes and goes ----

  #ready(connection: BrokerConnection): void {
    this.#events.onConnected(connection);
    for (const slot of this.#waitingSlots()) this.#deadlines.arm(slot, this.#calls.deadlinesMs[slot]!);
    this.#pump(connection);
  }

  #unready(why: "broken" | "going away"): void {
    this.#events.onDisconnected();
    if (why === "broken") this.#failWaiting(this.#connector.trouble);
    else for (const slot of this.#waitingSlots()) this.#armWaiting(slot);
  }

  #waitingSlots(): number[] {
    return this.#calls.slotsWhere((slot) => this.#calls.states[slot] === CallState.Waiting);
  }

  /** Another broker may still take them in the same call. */
  #failWaiting(reason: string): void {
    const answer = failure(
      Code.InternalServerError,
      `no connection to broker ${this.#brokerName}: ${reason}`,
      "not-sent",
    );
    for (const slot of this.#calls.slotsWhere((at) => this.#calls.states[at] === CallState.Waiting))
      this.#finish(slot, answer);
  }

  #lost(connection: BrokerConnection, reason: string): void {
    const calls = this.#calls;
    const { handedPosition } = connection.frames.writer;
    for (const slot of calls.slotsWhere((at) => calls.connections[at] === connection)) {
      const state = calls.states[slot];
      const kind = calls.kinds[slot]!;
      if (isOpening(kind)) {
        const opening = calls.requests[slot] as AnyOpening;
        this.#closeSlot(slot);
        this.#names.lost(opening);
        continue;
      }
      const done = state === CallState.Sent ? (calls.dones[slot] as Done<UpstreamFailure>) : undefined;
      const reach: FailureReach = calls.positions[slot]! >= handedPosition ? "not-sent" : "unknown";
      if (done !== undefined) this.#settled(slot);
      this.#closeSlot(slot);
      const message = `the connection to broker ${this.#brokerName} broke before it answered: ${reason}`;
      done?.(failure(Code.InternalServerError, message, reach));
    }
    this.#names.drainQueue();
  }
}

const nothing = new Uint8Array(0);

function doNothing(): void {}

function isOpen(opening: { readonly id: number } | undefined): boolean {
  return opening !== undefined && opening.id >= 0;
}
