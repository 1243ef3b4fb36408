import type {
  ChangeCall,
  HandOut,
  Now,
  OrphanedTransaction,
  ReceiveCall,
  Settled,
} from "../../../broker-core/broker-port.ts";
import { BrokerState } from "../../../broker-core/broker-state.ts";
import type { Connection } from "../../../broker-core/service/connection.ts";
import { LanePresences } from "../../../broker-core/service/lane-presences.ts";
import type { LaneConsumer } from "../../../sidecar/upstream/upstream.ts";
import type { LaneJudge } from "./lane-judge.ts";
import { LaneLog } from "./lane-log.ts";
import { messageNumber } from "./lane-message.ts";
import { groupNames, orderedTopic, topicNames } from "./lane-schedule.ts";
import { LogFollower } from "./log-follower.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** How long the disk takes, in milliseconds: until then a power cut takes what was written. */
const syncMs = 2;
const receiptKey = Buffer.alloc(32, 7);
const queueCount = 3;

/** One message as a consumer is given it. */
export interface Delivered {
  readonly message: number;
  readonly receipt: Buffer;
  readonly attempt: number;
  /** Names the hand-out. */
  readonly hold: number;
  /** Of a message that is marked with a lane: its bytes, which the sidecar looks into. */
  readonly bytes: Buffer | undefined;
  readonly mark: string;
}

export interface Batch {
  readonly deliveries: readonly Delivered[];
  readonly position: number;
  /** When the leases began. */
  readonly grantedMs: number;
}

/** Who asks: told once, when its answer may leave. */
export type Receiver = (batch: Batch | undefined) => void;

export interface BrokerHabits {
  /** By group; 0: no limit. */
  readonly attemptsMax: readonly number[];
  /** Asked about an open transaction. */
  readonly onOrphan: (orphan: OrphanedTransaction) => void;
}

/** The broker's real state machine and its real table of presences, over a log in memory; dies and starts again. */
export class LaneBroker {
  readonly log = new LaneLog();
  readonly follower: LogFollower;
  readonly topicIds: number[] = [];
  readonly groupIds: number[] = [];
  /** Undefined: it is down. */
  state: BrokerState | undefined;
  presences: LanePresences | undefined;
  /** Called when it is up again. */
  onStart: () => void = () => {};
  readonly counts = { starts: 0, fromImage: 0 };
  readonly #time: VirtualTime;
  readonly #habits: BrokerHabits;
  #receivers = new Map<number, Receiver>();
  #nextTicket = 1;
  #holds = 0;
  #run = 1;
  #boot = 1;
  #isSyncPlanned = false;
  #timerMs = Number.POSITIVE_INFINITY;
  #image: { readonly bytes: Buffer; readonly position: number } | undefined;

  constructor(time: VirtualTime, judge: LaneJudge, habits: BrokerHabits) {
    this.#time = time;
    this.#habits = habits;
    this.follower = new LogFollower(this.log, judge, {
      topics: topicNames,
      groups: groupNames,
      numberOf: (bytes) => messageNumber(bytes, bytes.length),
    });
    this.start();
    const now = this.now;
    for (const [i, name] of topicNames.entries()) {
      // All types but lite and priority; FIFO makes it one that keeps order.
      const messageTypes = i === orderedTopic ? 0b11110 : 0b11010;
      const opened = this.state!.openTopic({ name, incarnation: 1, queueCount, messageTypes }, now);
      if (!opened.ok) throw new Error(opened.message);
      this.topicIds.push(opened.id);
    }
    for (const [i, name] of groupNames.entries()) {
      const backoff = { delaysMs: [100], initialMs: 0, maxMs: 0, multiplier: 0 };
      const opening = { name, generation: 1, attemptsMax: habits.attemptsMax[i]!, inflightMax: 0, backoff };
      const opened = this.state!.openGroup(opening, now);
      if (!opened.ok) throw new Error(opened.message);
      this.groupIds.push(opened.id);
    }
    this.log.sync();
  }

  get now(): Now {
    return { monotonicMs: 1_000 + this.#time.nowMs, wallMs: this.#time.wallMs };
  }

  start(): void {
    if (this.state !== undefined) return;
    const { now } = this;
    const options = {
      ...{ brokerName: "broker-a", receiptKey, runId: ++this.#run, bootId: `boot-${this.#boot}`, start: now },
      groupStart: "beginning" as const,
      orphans: { canAsk: () => true, ask: this.#habits.onOrphan, givenUp: () => {} },
      checkPolicy: { firstCheckMs: 400, checkIntervalMs: 600, checksMax: 100, ageMsMax: 3_600_000 },
    };
    const sink = {
      receiveAnswered: (ticket: number, handOut: HandOut) => this.#answered(ticket, handOut),
      receiveRefused: (ticket: number) => this.#take(ticket)?.(undefined),
    };
    const state = new BrokerState(this.log, sink, options, this.#image?.bytes);
    const from = state.replayFrom ?? 0;
    for (let i = 0; i < this.log.count; i++) {
      const record = this.log.record(i)!;
      if (record.position >= from) state.replay(record);
    }
    state.goLive(now);
    this.state = state;
    this.presences = new LanePresences(({ group, topic, lane }, isThere) =>
      state.lanePresence(group, topic, lane, isThere, this.now),
    );
    this.log.onDurable = (position) => {
      this.follower.follow(position);
      state.onDurable(position, this.now);
    };
    this.#expire(state);
    this.counts.starts++;
    if (this.#image !== undefined) this.counts.fromImage++;
    this.onStart();
  }

  /** "kill": what is written stays; "power": what is durable. */
  die(kind: "kill" | "power"): void {
    if (this.state === undefined) return;
    // A turn ends before anybody can look: what it appended is written.
    this.log.write();
    this.state = undefined;
    this.presences = undefined;
    this.#receivers = new Map();
    this.log.crash(kind);
    if (kind === "power") this.#boot++;
    if (this.#image !== undefined && this.#image.position > this.log.endPosition) this.#image = undefined;
    this.follower.follow(this.log.durablePosition);
  }

  /** A checkpoint for the next start. */
  checkpoint(): void {
    if (this.state === undefined || this.log.durablePosition !== this.log.endPosition) return;
    this.#image = { bytes: this.state.snapshot(), position: this.state.appliedPosition };
  }

  receive(call: ReceiveCall, receiver: Receiver): { readonly cancel: () => void } {
    const ticket = this.#nextTicket++;
    const state = this.state!;
    this.#receivers.set(ticket, receiver);
    const handle = state.receive(call, ticket, this.now);
    return {
      cancel: () => {
        if (this.#receivers.delete(ticket) && this.state === state && handle >= 0) state.cancelReceive(handle);
      },
    };
  }

  ack(group: number, receipts: readonly Buffer[]): Settled {
    return this.state!.ack(this.groupIds[group]!, receipts, this.now);
  }

  change(group: number, changes: readonly ChangeCall[]): Settled {
    return this.state!.change(this.groupIds[group]!, changes, this.now);
  }

  forward(group: number, receipts: readonly Buffer[]): Settled {
    return this.state!.deadLetter(this.groupIds[group]!, receipts, this.now);
  }

  /** An operator's call that is answered at once; the broker must be up. */
  operate<R>(method: string, parameters: object): R {
    const operated = this.state!.operate(method, parameters, this.now);
    if (operated instanceof Promise) throw new Error(`${method} answers later`);
    if (!operated.ok) throw new Error(`${method}: ${operated.message}`);
    return operated.result as R;
  }

  /** A sidecar says who consumes in its lane. */
  say(connection: object, lane: string, consumers: readonly LaneConsumer[], leaseMs: number): void {
    const all = consumers.map(({ group, topic }) => ({ lane, group, topic }));
    this.presences?.say(connection as Connection, all, this.#time.nowMs + leaseMs);
  }

  forget(connection: object): void {
    this.presences?.forget(connection as Connection);
  }

  /** The turn is over: what was appended is written, and synced soon. */
  endTurn(): void {
    const { state, log } = this;
    if (state === undefined) return;
    log.write();
    if (log.durablePosition < log.endPosition && !this.#isSyncPlanned) {
      this.#isSyncPlanned = true;
      this.#time.after(syncMs, () => {
        this.#isSyncPlanned = false;
        if (this.state !== undefined) log.sync();
      });
    }
    const atMs = Math.max(state.nextTimerMs() - 1_000, this.#time.nowMs);
    if (atMs >= this.#timerMs || !Number.isFinite(atMs)) return;
    this.#timerMs = atMs;
    this.#time.at(Math.max(atMs, this.#time.nowMs + 0.25), () => {
      this.#timerMs = Number.POSITIVE_INFINITY;
      this.state?.advance(this.now);
    });
  }

  /** Presences that are not said again end. */
  #expire(state: BrokerState): void {
    this.#time.after(500, () => {
      if (this.state !== state) return;
      this.presences?.expire(this.#time.nowMs);
      this.#expire(state);
    });
  }

  #take(ticket: number): Receiver | undefined {
    const receiver = this.#receivers.get(ticket);
    this.#receivers.delete(ticket);
    return receiver;
  }

  #answered(ticket: number, handOut: HandOut): void {
    const receiver = this.#receivers.get(ticket);
    if (receiver === undefined) return;
    const deliveries: Delivered[] = [];
    const hold = ++this.#holds;
    const { delivery, position, mustBeDurable } = handOut;
    for (let i = 0; i < handOut.count; i++) {
      if (!handOut.load(i)) throw new Error("a log in memory has no damage");
      const { laneMark, attempt } = delivery;
      const isMarked = laneMark !== "" && laneMark !== "base";
      deliveries.push({
        message: messageNumber(delivery.bytes, delivery.messageEnd),
        receipt: Buffer.from(delivery.receipt),
        attempt,
        hold,
        bytes: isMarked ? delivery.bytes.subarray(delivery.messageStart, delivery.messageEnd) : undefined,
        mark: laneMark,
      });
    }
    const grantedMs = this.#time.nowMs;
    const leave = (): void => this.#take(ticket)?.({ deliveries, position, grantedMs });
    if (mustBeDurable) this.log.whenDurable(position, leave);
    else if (deliveries.length === 0) leave();
    else this.log.whenWritten(position, leave);
  }
}
