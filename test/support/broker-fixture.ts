import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import {
  type ChangeKind,
  type DeadLetterOrigin,
  type Ended,
  type GivenUpTransaction,
  type HandOut,
  type Now,
  noPosition,
  type OrphanedTransaction,
  type Recalled,
  type ReceiveCall,
  type SettleResult,
} from "../../broker-core/broker-port.ts";
import { BrokerState, type BrokerStateOptions } from "../../broker-core/broker-state.ts";
import { type Code, Code as Codes } from "../../proto/code.ts";
import { MemoryLog } from "./memory-log.ts";

/** A delivery as a consumer keeps it. */
export interface Got {
  readonly id: string;
  readonly body: string;
  readonly receipt: Buffer;
  readonly queueId: number;
  readonly offset: number;
  readonly attempt: number;
  readonly bornHost: string;
  readonly laneMark: string;
  readonly storeMs: number;
  /** Delivery time that the message carries; undefined: none. */
  readonly dueMs: number | undefined;
  readonly mirrorOf: string;
  readonly deadLetter: DeadLetterOrigin | undefined;
  /** Message group; "" for none. */
  readonly group: string;
}

/** What the sink was told for one ticket. */
export type Answer =
  | {
      readonly kind: "batch";
      readonly got: readonly Got[];
      readonly position: number;
      readonly mustBeDurable: boolean;
      readonly damagedCount: number;
    }
  | { readonly kind: "refused"; readonly code: Code; readonly message: string };

export interface MessageParts {
  readonly id?: string;
  readonly body?: string;
  readonly tag?: string;
  readonly group?: string;
  /** user_properties. */
  readonly properties?: Readonly<Record<string, string>>;
  /** A number of enum MessageType. */
  readonly type?: number;
  readonly priority?: number;
  readonly lite?: string;
  /** Earliest check of a transaction. */
  readonly recoveryMs?: number;
  /** Delivery time, wall clock. */
  readonly dueMs?: number;
}

export const transactional = 4;

const resolutions = { UNKNOWN: 0, COMMIT: 1, ROLLBACK: 2 } as const;

export const receiptKey = Buffer.alloc(32, 7);

/** The client's bytes of a message. */
export function messageBytes(parts: MessageParts): Buffer {
  const { id = "id", body = "body", tag, group, properties = {}, type, priority, lite, recoveryMs, dueMs } = parts;
  const systemProperties: apache.rocketmq.v2.ISystemProperties = { messageId: id };
  if (tag !== undefined) systemProperties.tag = tag;
  if (group !== undefined) systemProperties.messageGroup = group;
  if (type !== undefined) systemProperties.messageType = type;
  if (priority !== undefined) systemProperties.priority = priority;
  if (lite !== undefined) systemProperties.liteTopic = lite;
  if (recoveryMs !== undefined) {
    const seconds = Math.floor(recoveryMs / 1000);
    systemProperties.orphanedTransactionRecoveryDuration = { seconds, nanos: (recoveryMs % 1000) * 1e6 };
  }
  if (dueMs !== undefined) {
    const seconds = Math.floor(dueMs / 1000);
    systemProperties.deliveryTimestamp = { seconds, nanos: Math.round((dueMs - 1000 * seconds) * 1e6) };
  }
  const { Message } = apache.rocketmq.v2;
  const userProperties = { ...properties };
  return Buffer.from(
    Message.encode({
      topic: { resourceNamespace: "ns", name: "orders" },
      userProperties,
      systemProperties,
      body: Buffer.from(body),
    }).finish(),
  );
}

/** A broker state over a log in memory, with a clock that a test moves. */
export class BrokerFixture {
  readonly log: MemoryLog;
  monotonicMs = 1_000_000;
  wallMs = 1_700_000_000_000;
  bootId = "boot-1";
  state!: BrokerState;
  readonly answers = new Map<number, Answer>();
  /** Sends that leave their answer, in order: what the sink was told. */
  readonly answeredTickets: number[] = [];
  /** Topics of which a live producer can be asked. */
  readonly askable = new Set<string>();
  readonly asked: OrphanedTransaction[] = [];
  readonly givenUp: GivenUpTransaction[] = [];
  /** A state is being built for a comparison: it must ask nobody. */
  #isComparing = false;
  /** After each call the log is synced, unless a test wants to do that itself. */
  isAutoSync = true;
  #nextTicket = 1;
  #runId = 77;
  #nextId = 1;
  readonly #options: Partial<BrokerStateOptions>;

  constructor(options: Partial<BrokerStateOptions> = {}, log = new MemoryLog()) {
    this.#options = options;
    this.log = log;
    this.start();
  }

  get now(): Now {
    return { monotonicMs: this.monotonicMs, wallMs: this.wallMs };
  }

  #makeState(image: Buffer | undefined): BrokerState {
    const sink = {
      receiveAnswered: (ticket: number, handOut: HandOut) => this.#answer(ticket, readHandOut(handOut)),
      receiveRefused: (ticket: number, code: Code, message: string) =>
        this.#answer(ticket, { kind: "refused", code, message }),
    };
    const options = {
      brokerName: "broker-a",
      receiptKey,
      runId: this.#runId,
      bootId: this.bootId,
      start: this.#anchor,
      orphans: {
        canAsk: (topic: string) => !this.#isComparing && this.askable.has(topic),
        ask: (orphan: OrphanedTransaction) => void this.asked.push(orphan),
        givenUp: (transaction: GivenUpTransaction) => void this.givenUp.push(transaction),
      },
      // Whatever is idle is put away between any two calls.
      topicsInUseMin: 1,
      // What does not fit into one slab goes to the index pages.
      indexBytes: 1,
      ...this.#options,
    };
    return new BrokerState(this.log, sink, options, image);
  }

  #anchor: Now = { monotonicMs: 0, wallMs: 0 };

  /** Starts a broker on the log as it is. */
  start(image?: Buffer): void {
    this.#anchor = this.now;
    this.#runId++;
    this.state = this.rebuild(image);
    this.log.onDurable = (position) => this.state.onDurable(position, this.now);
  }

  /** Positions of records that a start finds lost. */
  readonly lost = new Set<number>();
  /** What lies from here on was written by a broker that knew what was lost. */
  knownFrom = Number.POSITIVE_INFINITY;

  /** The image that the log needs to be read from its beginning, once it does not begin at 0. */
  base: Buffer | undefined;

  /** Another state from the same log; it must equal the live one. */
  rebuild(image?: Buffer): BrokerState {
    const state = this.#makeState(image ?? this.base);
    for (const record of this.log.records(state.replayFrom ?? 0)) {
      if (record.position >= this.knownFrom) state.known();
      if (this.lost.has(record.position)) state.lost(record.position, record.nextPosition);
      else state.replay(record);
    }
    state.goLive(this.now);
    return state;
  }

  crash(kind: "kill" | "power", image?: Buffer): void {
    this.log.crash(kind);
    this.start(image);
  }

  sync(): void {
    this.log.sync();
  }

  #settle(): void {
    if (this.isAutoSync) this.log.sync();
  }

  #answer(ticket: number, answer: Answer): void {
    assert.equal(this.answers.has(ticket), false, `ticket ${ticket} is answered twice`);
    this.answers.set(ticket, answer);
    this.answeredTickets.push(ticket);
  }

  /** Lets time pass on both clocks. */
  pass(ms: number): void {
    this.monotonicMs += ms;
    this.wallMs += ms;
    this.advance();
  }

  advance(): void {
    do this.state.advance(this.now);
    while (this.state.nextTimerMs() <= this.monotonicMs);
    this.#settle();
  }

  topic(
    name = "ns/orders",
    options: { incarnation?: number; queueCount?: number; messageTypes?: number } = {},
  ): number {
    const { incarnation = 1, queueCount = 1, messageTypes = 0b11111 } = options;
    const opened = this.state.openTopic({ name, incarnation, queueCount, messageTypes }, this.now);
    assert.ok(opened.ok, opened.ok ? "" : opened.message);
    this.#settle();
    return opened.id;
  }

  group(
    name = "ns/billing",
    options: { generation?: number; attemptsMax?: number; inflightMax?: number } = {},
  ): number {
    const { generation = 1, attemptsMax = 0, inflightMax = 0 } = options;
    const backoff = { delaysMs: [1000, 5000], initialMs: 0, maxMs: 0, multiplier: 0 };
    const opened = this.state.openGroup({ name, generation, attemptsMax, inflightMax, backoff }, this.now);
    assert.ok(opened.ok, opened.ok ? "" : opened.message);
    this.#settle();
    return opened.id;
  }

  /** Sends one message and returns its id. */
  send(topicId: number, parts: MessageParts = {}): string {
    const id = parts.id ?? `m${this.#nextId++}`;
    const sent = this.state.send(
      { topicId, laneMark: "", bornHost: "10.0.0.1:1", messages: [messageBytes({ ...parts, id })] },
      this.now,
    );
    assert.ok(sent.ok, sent.ok ? "" : sent.message);
    this.#settle();
    return id;
  }

  /** Sends a half message and returns the id of its transaction. */
  sendHalf(topicId: number, parts: MessageParts = {}): string {
    const message = messageBytes({ ...parts, id: parts.id ?? `m${this.#nextId++}`, type: transactional });
    const call = { topicId, laneMark: "gray", bornHost: "10.0.0.1:1", messages: [message] };
    const sent = this.state.send(call, this.now);
    assert.ok(sent.ok, sent.ok ? "" : sent.message);
    assert.notEqual(sent.transactionId, "");
    this.#settle();
    return sent.transactionId;
  }

  /** Ends a transaction; "UNKNOWN" is what a producer says that does not know yet. */
  end(
    transactionId: string,
    resolution: keyof typeof resolutions,
    parts: { readonly topic?: string; readonly isAnswer?: boolean } = {},
  ): Ended {
    const { topic = "ns/orders", isAnswer = false } = parts;
    const call = { topic, transactionId, resolution: resolutions[resolution], source: isAnswer ? 2 : 1 };
    const ended = this.state.endTransaction(call, this.now);
    this.#settle();
    return ended;
  }

  /** Ends a transaction and requires success. */
  endOk(...args: Parameters<BrokerFixture["end"]>): void {
    const ended = this.end(...args);
    assert.ok(ended.ok, ended.ok ? "" : ended.message);
  }

  /** A producer of the topic comes, as a sidecar says. */
  producerCame(topic = "ns/orders"): void {
    this.askable.add(topic);
    this.state.producersCame(topic, this.now);
    this.advance();
  }

  openCount(topic = "ns/orders"): number {
    return this.state.topics().find(({ name }) => name === topic)?.openTransactions ?? 0;
  }

  sendMany(topicId: number, count: number, parts: MessageParts = {}): string[] {
    return Array.from({ length: count }, () => this.send(topicId, parts));
  }

  /** Sends one message that is to be delivered at `dueMs`, and returns its recall handle. */
  sendTimed(topicId: number, dueMs: number, parts: MessageParts & { readonly laneMark?: string } = {}): string {
    const { laneMark = "", ...rest } = parts;
    const messages = [messageBytes({ ...rest, dueMs })];
    const sent = this.state.send({ topicId, laneMark, bornHost: "10.0.0.1:1", messages }, this.now);
    assert.ok(sent.ok, sent.ok ? "" : sent.message);
    this.#settle();
    return sent.recallHandles?.[0] ?? "";
  }

  recall(topicId: number, handle: string): Recalled {
    const recalled = this.state.recall(topicId, handle, this.now);
    this.#settle();
    return recalled;
  }

  /** Asks for messages; the answer may come later. */
  ask(topicId: number, groupId: number, call: Partial<ReceiveCall> = {}): { ticket: number; handle: number } {
    const ticket = this.#nextTicket++;
    const whole: ReceiveCall = {
      topicId,
      groupId,
      batch: 32,
      invisibleMs: 10_000,
      waitMs: 0,
      filterType: 1,
      filter: "*",
      clientId: "client-1",
      attemptId: "",
      lane: "",
      bytesMax: 0,
      ...call,
    };
    const handle = this.state.receive(whole, ticket, this.now);
    this.#settle();
    return { ticket, handle };
  }

  /** Asks for messages that are there now. */
  receive(topicId: number, groupId: number, call: Partial<ReceiveCall> = {}): readonly Got[] {
    const { ticket } = this.ask(topicId, groupId, call);
    return this.got(ticket);
  }

  got(ticket: number): readonly Got[] {
    const answer = this.answers.get(ticket);
    assert.ok(answer !== undefined, `ticket ${ticket} is not answered`);
    assert.ok(answer.kind === "batch", answer.kind === "refused" ? answer.message : "");
    return answer.got;
  }

  refusal(ticket: number): { code: Code; message: string } {
    const answer = this.answers.get(ticket);
    assert.ok(answer?.kind === "refused", `ticket ${ticket} is not refused`);
    return answer;
  }

  ack(groupId: number, receipt: Buffer): SettleResult {
    const settled = this.state.ack(groupId, [receipt], this.now);
    assert.ok(settled.ok, settled.ok ? "" : settled.message);
    assert.ok(settled.position === noPosition || settled.results[0]?.code === Codes.Ok);
    this.#settle();
    return settled.results[0]!;
  }

  deadLetter(groupId: number, receipt: Buffer): SettleResult {
    const settled = this.state.deadLetter(groupId, [receipt], this.now);
    assert.ok(settled.ok, settled.ok ? "" : settled.message);
    this.#settle();
    return settled.results[0]!;
  }

  change(groupId: number, receipt: Buffer, kind: ChangeKind, invisibleMs: number): SettleResult {
    const settled = this.state.change(groupId, [{ receipt, kind, invisibleMs }], this.now);
    assert.ok(settled.ok, settled.ok ? "" : settled.message);
    this.#settle();
    return settled.results[0]!;
  }

  /** An operator's call that is answered at once. */
  operate<R = Record<string, unknown>>(method: string, parameters: object): R {
    const operated = this.state.operate(method, parameters, this.now);
    assert.ok(!(operated instanceof Promise), `${method} answers later`);
    assert.ok(operated.ok, operated.ok ? "" : operated.message);
    this.#settle();
    return operated.result as R;
  }

  figures(group = "ns/billing", topic = "ns/orders") {
    const figures = this.state.subscriptions().find((s) => s.group === group && s.topic === topic);
    assert.ok(figures !== undefined, `${group} does not read ${topic}`);
    return figures;
  }

  /** B11: rebuilt from the log, whole and from a snapshot, the state is the same byte for byte. */
  assertRebuilt(image?: Buffer): void {
    this.advance();
    const live = this.state.dump();
    assert.deepEqual(this.#rebuiltDump(undefined), live, "the state rebuilt from the log differs");
    assert.deepEqual(this.#rebuiltDump(this.state.snapshot()), live, "the state restored from a snapshot differs");
    if (image !== undefined) assert.deepEqual(this.#rebuiltDump(image), live, "an older snapshot and the tail differ");
  }

  #rebuiltDump(image: Buffer | undefined): Buffer {
    const records = this.log.recordCount;
    this.#isComparing = true;
    const dump = this.rebuild(image).dump();
    this.#isComparing = false;
    assert.equal(this.log.recordCount, records, "a start-up without anything due wrote records");
    return dump;
  }
}

function readHandOut(handOut: HandOut): Answer {
  const got: Got[] = [];
  let damagedCount = 0;
  for (let i = 0; i < handOut.count; i++) {
    if (!handOut.load(i)) {
      damagedCount++;
      continue;
    }
    const { delivery } = handOut;
    const message = apache.rocketmq.v2.Message.decode(
      delivery.bytes.subarray(delivery.messageStart, delivery.messageEnd),
    );
    got.push({
      id: message.systemProperties?.messageId ?? "",
      body: Buffer.from(message.body).toString(),
      receipt: Buffer.from(delivery.receipt),
      queueId: delivery.queueId,
      offset: delivery.offset,
      attempt: delivery.attempt,
      bornHost: delivery.bornHost,
      laneMark: delivery.laneMark,
      storeMs: delivery.storeMs,
      dueMs: timeOf(message.systemProperties?.deliveryTimestamp),
      mirrorOf: delivery.mirrorOf,
      deadLetter: delivery.deadLetter,
      group: message.systemProperties?.messageGroup ?? "",
    });
  }
  const { position, mustBeDurable } = handOut;
  return { kind: "batch", got, position, mustBeDurable, damagedCount };
}

function timeOf(time: apache.rocketmq.v2.ISystemProperties["deliveryTimestamp"]): number | undefined {
  return time ? Number(time.seconds ?? 0) * 1000 + (time.nanos ?? 0) / 1e6 : undefined;
}
