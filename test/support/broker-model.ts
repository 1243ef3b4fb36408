import assert from "node:assert/strict";
import { ChangeKind } from "../../broker-core/broker-port.ts";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import type { Unconsumed } from "../../broker-core/dispatch/log-trimming.ts";
import { readDeadLetterRecord } from "../../broker-core/record/dead-letter-record.ts";
import { TrimReason } from "../../broker-core/record/log-trimmed-record.ts";
import { Code } from "../../proto/code.ts";
import { type Answer, BrokerFixture, type Got, messageBytes } from "./broker-fixture.ts";
import { type ModelTimed, TimedModel, type TimedState, timedCountsBlank, timedStateBlank } from "./timed-model.ts";
import {
  type ModelTransaction,
  modelCheckPolicy,
  TransactionModel,
  transactionCountsBlank,
} from "./transaction-model.ts";

/**
 * What the broker promises, as plain maps: the model of T06. It predicts who gets which message, how often, and what every
 * receipt is worth; `BrokerRun` below does the same to the real thing and compares after every step.
 */
interface ModelMessage {
  readonly id: string;
  readonly queueId: number;
  readonly offset: number;
  readonly tag: string;
  /** Message group; "" for none. */
  readonly key: string;
  /** In the log. */
  readonly position: number;
}

interface ModelLease {
  state: "in-flight" | "ready" | "acked" | "dead";
  attempt: number;
  endMs: number;
  endWallMs: number;
  invisibleMs: number;
  isOfEarlierBoot: boolean;
  receipt: string;
  attemptKey: string;
  isUncounted: boolean;
  /** Answers of this run that gave it out again to the same attempt, and were not handed back. */
  copies: number;
  holder: string;
  /** Redriven while another message of its message group was out: it waits for that. */
  isQueued: boolean;
  /** It has lost its turn in its message group. */
  wasRedriven: boolean;
}

interface ModelGroup {
  readonly name: string;
  readonly id: number;
  readonly attemptsMax: number;
  readonly inFlightMax: number;
  /** "*" or one tag. */
  readonly filter: string;
  /** First offset by queue; undefined before the first receive. */
  start: number[] | undefined;
  /** By message id. */
  leases: Map<string, ModelLease>;
  dead: { id: string; attempts: number; holder: string }[];
  /** How many of the dead letters retention has removed. */
  deadRemoved: number;
}

/** All that the log knows: rolled back by a crash. */
interface ModelState {
  topicId: number;
  incarnation: number;
  messages: ModelMessage[];
  groups: ModelGroup[];
  transactions: ModelTransaction[];
  timed: TimedState;
  /** The log begins here; messages below are gone. */
  logBegin: number;
}

interface ModelWaiter {
  readonly ticket: number;
  readonly handle: number;
  readonly batch: number;
  readonly invisibleMs: number;
  readonly clientId: string;
  readonly deadlineMs: number;
}

/** A batch that took turns in message groups: its client sees it when it is on disk. */
interface UnseenBatch {
  readonly groupIndex: number;
  readonly held: readonly HeldReceipt[];
}

interface HeldReceipt {
  readonly groupIndex: number;
  readonly topicId: number;
  readonly messageId: string;
  readonly receipt: Buffer;
}

export const queueCount = 3;
export const topicName = "ns/orders";
export const tags = ["red", "blue"] as const;
/** Message groups. */
export const keys = ["ann", "bob", "cat", "dan"] as const;

interface BaseImage {
  readonly bytes: Buffer;
  readonly position: number;
}

/** What runs did. */
export const countsBlank = {
  ...transactionCountsBlank,
  ...timedCountsBlank,
  ...{
    delivered: 0,
    acked: 0,
    dead: 0,
    forwarded: 0,
    redriven: 0,
    resets: 0,
    crashes: 0,
    repeated: 0,
    stale: 0,
    parked: 0,
  },
  /** Messages that retention removed before a group had consumed them. */
  expired: 0,
  /** Messages of a message group that a client saw, each after all before it were settled. */
  inOrder: 0,
};
export type ModelCounts = typeof countsBlank;

/** How a message stands at a group, by the model. */
export interface MessageStanding {
  readonly id: string;
  readonly queueId: number;
  readonly offset: number;
  readonly key: string;
  /** Of the record by which it is in its queue. */
  readonly position: number;
  readonly standing: "pending" | "acked" | "dead" | "outside";
}

export interface GroupTruth {
  readonly name: string;
  readonly id: number;
  readonly attemptsMax: number;
  readonly inFlightMax: number;
  readonly filter: string;
  readonly messages: readonly MessageStanding[];
}

export interface BrokerTruth {
  readonly topicId: number;
  readonly incarnation: number;
  readonly groups: readonly GroupTruth[];
  readonly timed: readonly ModelTimed[];
}

function isLive({ state }: ModelLease): boolean {
  return state === "in-flight" || state === "ready";
}

/** The model and the real state machine, side by side. */
export class BrokerRun {
  readonly real = new BrokerFixture({ checkPolicy: modelCheckPolicy });
  readonly #transactions = new TransactionModel(this.real, topicName);
  readonly #timed = new TimedModel(this.real);
  #model: ModelState;
  #writtenModel: ModelState;
  #durableModel: ModelState;
  /** Messages consumers can see: a prefix of `messages`. */
  #visibleCount = 0;
  #waiters: ModelWaiter[][] = [[], [], []];
  readonly receipts: HeldReceipt[] = [];
  #unseen: UnseenBatch[] = [];
  #image: { readonly bytes: Buffer; readonly position: number } | undefined;
  #base: BaseImage | undefined;
  #trimmed: (BaseImage & { readonly recordPosition: number }) | undefined;
  /** By group: dead letters that lay in segments that are removed. */
  readonly #deadGone = new Map<string, number>();
  #lastAttempt: Parameters<BrokerRun["receive"]> | undefined;
  #checkedAnswers = 0;
  #nextId = 1;
  /** So that a run that did nothing is seen. */
  readonly counts = { ...countsBlank };

  constructor() {
    this.real.isAutoSync = false;
    const { real } = this;
    const topicId = real.topic(topicName, { queueCount });
    const group = (name: string, attemptsMax: number, inflightMax: number, filter: string): ModelGroup => ({
      name,
      id: real.group(name, { attemptsMax, inflightMax }),
      attemptsMax,
      inFlightMax: inflightMax || 20_000,
      filter,
      start: undefined,
      leases: new Map(),
      dead: [],
      deadRemoved: 0,
    });
    const groups = [group("ns/limited", 2, 0, "*"), group("ns/narrow", 0, 4, "*"), group("ns/picky", 1, 0, "red")];
    this.#model = {
      topicId,
      incarnation: 1,
      messages: [],
      groups,
      transactions: [],
      timed: timedStateBlank(),
      logBegin: 0,
    };
    real.sync();
    this.#writtenModel = structuredClone(this.#model);
    this.#durableModel = structuredClone(this.#model);
    this.real.askable.add(topicName);
    // The third group comes to the topic whenever its first receive is drawn.
    this.receive(0, 1, 1, "client-1", "", 0);
    this.receive(1, 1, 1, "client-1", "", 0);
    this.sync();
  }

  /** Half messages sent so far. */
  get halfCount(): number {
    return this.#transactions.counts.halves;
  }

  /** Recall handles of timed messages given out so far. */
  get handleCount(): number {
    return this.#timed.givenCount;
  }

  /** What the history did, transactions and timed messages included. */
  get allCounts(): ModelCounts {
    return { ...this.counts, ...this.#transactions.counts, ...this.#timed.counts };
  }

  /** Everything is on disk: what each group that reads the topic is to get, and what it must not get again. */
  truth(): BrokerTruth {
    const { topicId, incarnation, messages, groups, logBegin, timed } = this.#model;
    const reading = groups.filter(({ start }) => start !== undefined);
    return {
      topicId,
      incarnation,
      timed: structuredClone(timed.messages),
      groups: reading.map((group) => {
        const pending = new Set(this.#pending(group).map(({ id }) => id));
        const standingOf = ({ id, position }: ModelMessage): MessageStanding["standing"] => {
          if (pending.has(id)) return "pending";
          const state = position < logBegin ? undefined : group.leases.get(id)?.state;
          return state === "acked" || state === "dead" ? state : "outside";
        };
        const { name, id, attemptsMax, inFlightMax, filter } = group;
        return {
          name,
          id,
          attemptsMax,
          inFlightMax,
          filter,
          messages: messages.map((m) => ({ ...m, standing: standingOf(m) })),
        };
      }),
    };
  }

  get parkedCount(): number {
    return this.#waiters.flat().length;
  }

  send(tag: string, key = ""): void {
    const id = `m${this.#nextId++}`;
    const { topicId, messages } = this.#model;
    const sent = this.real.state.send(
      { topicId, laneMark: "", bornHost: "h", messages: [this.#bytes(id, tag, key)] },
      this.real.now,
    );
    assert.ok(sent.ok);
    const before = messages.filter(({ queueId }) => queueId === sent.queueId).length;
    assert.equal(sent.firstOffset, before, "offsets are dense");
    const known = messages.find((message) => key !== "" && message.key === key);
    if (known !== undefined) assert.equal(sent.queueId, known.queueId, "a message group keeps its queue");
    messages.push({ id, queueId: sent.queueId, offset: sent.firstOffset, tag, key, position: sent.position });
    this.#check();
  }

  #bytes(id: string, tag: string, key: string): Buffer {
    const body = `body of ${id}`;
    return messageBytes(key === "" ? { id, tag, body } : { id, tag, body, group: key });
  }

  sendHalf(tag: string, recoveryMs: number | undefined): void {
    const id = `m${this.#nextId++}`;
    const parts = { id, tag, body: `body of ${id}`, ...(recoveryMs === undefined ? {} : { recoveryMs }) };
    this.#model.transactions.push(this.#transactions.begin(this.#model.topicId, parts));
    this.#check();
  }

  sendTimed(tag: string, aheadMs: number): void {
    this.#timed.send(this.#model.timed, this.#model.topicId, `m${this.#nextId++}`, tag, aheadMs);
    this.#check();
  }

  /** Recalls any timed message there ever was. */
  recall(index: number): void {
    this.#timed.recall(this.#model.timed, this.#model.topicId, index);
    this.#check();
  }

  /**
   * A power cut takes a timed message whose handle is known, and the next one gets its number and has its time: the handle means
   * the first one all the same.
   */
  reuseNumber(tag: string, aheadMs: number): void {
    this.sync();
    this.sendTimed(tag, aheadMs);
    this.write();
    const lost = this.#timed.givenCount - 1;
    this.crash("power", false);
    this.sendTimed(tag, aheadMs);
    this.write();
    this.recall(lost);
    this.#timed.counts.numbersReused++;
  }

  /** What the broker has released since the last look enters the queues. */
  #release(): void {
    const { messages, timed } = this.#model;
    for (const { messageId: id, tag, queueId, offset, position } of this.#timed.look(timed)) {
      const before = messages.filter((message) => message.queueId === queueId).length;
      assert.equal(offset, before, "offsets are dense");
      messages.push({ id, queueId, offset, tag, key: "", position });
    }
  }

  /** Ends any transaction there ever was, mostly one that has ended. */
  endTransaction(index: number, resolution: "COMMIT" | "ROLLBACK" | "UNKNOWN", isAnswer: boolean): void {
    const committed = this.#transactions.end(this.#model.transactions, index, resolution, isAnswer);
    if (committed !== undefined) {
      const { transaction, queueId, offset } = committed;
      const before = this.#model.messages.filter((message) => message.queueId === queueId).length;
      assert.equal(offset, before, "offsets are dense");
      const { messageId: id, tag } = transaction;
      // Of the commit, which is the last record.
      const position = this.real.state.appliedPosition - 1;
      this.#model.messages.push({ id, queueId, offset, tag, key: "", position });
    }
    this.#check();
  }

  /** Producers of the topic can be asked from now on, or cannot. */
  setAskable(isAskable: boolean): void {
    this.#transactions.setAskable(this.#model.transactions, isAskable);
    this.real.advance();
    this.#timePassed();
  }

  /** The segments so far are old: half messages in them are carried, or taken along by their commits. */
  grow(isCarried: boolean): void {
    const { log, state, now } = this.real;
    if (!isCarried) log.youngPosition = log.writtenPosition;
    else {
      while (!state.carryBefore(log.endPosition, now).isFinished);
      this.#transactions.carried(this.#model.transactions);
      this.#timed.carried(this.#model.timed, log.writtenPosition);
    }
    this.#check();
  }

  write(): void {
    this.real.log.write();
    this.#timed.written();
    this.#writtenModel = structuredClone(this.#model);
    this.#check();
  }

  sync(): void {
    // Whom the sync wakes, it answers from within; what is popped there is not part of what became durable.
    this.#writtenModel = structuredClone(this.#model);
    this.#durableModel = structuredClone(this.#model);
    this.#visibleCount = this.#model.messages.length;
    const seen = this.#unseen;
    this.#unseen = [];
    for (const batch of seen) this.#see(batch);
    this.real.sync();
    this.#timed.written();
    this.#transactions.synced();
    this.#serve();
    this.#check();
  }

  /** What a client sees of a message group it may build on: what came before must be settled, and no power cut undoes that. */
  #see({ groupIndex, held }: UnseenBatch): void {
    const { messages, groups } = this.#durableModel;
    const { start, filter, leases } = groups[groupIndex]!;
    for (const { messageId, topicId } of held) {
      const message = messages.find(({ id }) => id === messageId);
      if (topicId !== this.#durableModel.topicId || message === undefined || message.key === "") continue;
      for (const before of messages) {
        if (before.key !== message.key || before.offset >= message.offset) continue;
        if (before.position < this.#durableModel.logBegin) continue;
        if (before.offset < start![before.queueId]! || (filter !== "*" && filter !== before.tag)) continue;
        const lease = leases.get(before.id);
        if (lease?.wasRedriven === true) continue;
        const state = lease?.state;
        assert.ok(state === "acked" || state === "dead", `${messageId} is seen while ${before.id} is ${state} (C7)`);
      }
      this.counts.inOrder++;
    }
    this.receipts.push(...held);
  }

  receive(groupIndex: number, batch: number, invisibleMs: number, clientId: string, attemptId: string, waitMs: number) {
    const group = this.#model.groups[groupIndex]!;
    const { ticket, handle } = this.real.ask(this.#model.topicId, group.id, {
      batch,
      invisibleMs,
      waitMs,
      clientId,
      attemptId,
      filter: group.filter,
    });
    if (attemptId !== "") this.#lastAttempt = [groupIndex, batch, invisibleMs, clientId, attemptId, 0];
    group.start ??= this.#visibleEnds();
    const attemptKey = attemptId === "" ? "" : `${clientId}/${attemptId}`;
    const repeated = this.#batchOf(group, attemptKey);
    if (repeated.length > 0) {
      const got = this.#takeBatch(ticket);
      assert.deepEqual(
        got.map((d) => [d.id, d.receipt.toString(), d.attempt]),
        repeated.map((id) => [id, group.leases.get(id)!.receipt, group.leases.get(id)!.attempt]),
        "the same attempt gets the same batch",
      );
      this.#checkDurability(ticket, got);
      for (const id of repeated) group.leases.get(id)!.copies++;
      this.counts.repeated++;
    } else if (this.#room(group) === 0) {
      assert.equal(this.real.refusal(ticket).code, Code.TooManyRequests, "a full group is refused");
      this.#checkedAnswers++;
    } else if (this.#available(group).length === 0 && waitMs > 0) {
      assert.equal(this.real.answers.has(ticket), false, "a receive with nothing to get waits");
      const deadlineMs = this.real.monotonicMs + waitMs;
      this.#waiters[groupIndex]!.push({ ticket, handle, batch, invisibleMs, clientId, deadlineMs });
      this.counts.parked++;
    } else this.#takeFresh(groupIndex, ticket, batch, invisibleMs, clientId, attemptKey);
    this.#check();
  }

  /** The last attempt with an id is made again, as a client does that never saw the answer. */
  repeatAttempt(): void {
    if (this.#lastAttempt !== undefined) this.receive(...this.#lastAttempt);
  }

  cancel(index: number): void {
    const all = this.#waiters.flatMap((waiters) => waiters.map((waiter) => ({ waiters, waiter })));
    const chosen = all[index % Math.max(all.length, 1)];
    if (chosen === undefined) return;
    assert.equal(this.real.state.cancelReceive(chosen.waiter.handle), true);
    assert.equal(this.real.state.cancelReceive(chosen.waiter.handle), false, "a handle is good once");
    chosen.waiters.splice(chosen.waiters.indexOf(chosen.waiter), 1);
    this.#check();
  }

  /** Acks with any receipt ever handed out, mostly one that is stale by now; maybe by the wrong group. */
  ack(index: number, asOtherGroup: boolean): void {
    const held = this.receipts[index % Math.max(this.receipts.length, 1)];
    if (held === undefined) return;
    const groups = this.#model.groups;
    const group = groups[asOtherGroup ? (held.groupIndex + 1) % groups.length : held.groupIndex]!;
    const result = this.real.ack(group.id, held.receipt);
    const expected = asOtherGroup ? "void" : this.#worth(held);
    assert.equal(
      result.code,
      expected === "void" ? Code.InvalidReceiptHandle : Code.Ok,
      `ack of ${held.messageId}: ${result.message}`,
    );
    if (expected === "void") {
      assert.notEqual(result.message, "");
      this.counts.stale++;
    }
    if (expected === "held") {
      group.leases.get(held.messageId)!.state = "acked";
      this.#promote(group);
      this.counts.acked++;
    }
    this.#serve();
    this.#check();
  }

  change(index: number, kind: ChangeKind, invisibleMs: number): void {
    const held = this.receipts[index % Math.max(this.receipts.length, 1)];
    if (held === undefined) return;
    const group = this.#model.groups[held.groupIndex]!;
    const result = this.real.change(group.id, held.receipt, kind, invisibleMs);
    if (this.#worth(held) !== "held") {
      assert.equal(result.code, Code.InvalidReceiptHandle, `change of ${held.messageId}`);
      this.counts.stale++;
      this.#check();
      return;
    }
    assert.equal(result.code, Code.Ok, result.message);
    const lease = group.leases.get(held.messageId)!;
    const isHandBack = kind === ChangeKind.HandBack;
    if (isHandBack && lease.copies > 0) {
      lease.copies--;
      this.#endDue();
      this.#serve();
      this.#check();
      return;
    }
    const ms = isHandBack ? 0 : invisibleMs;
    lease.endMs = this.real.monotonicMs + ms;
    lease.endWallMs = this.real.wallMs + ms;
    lease.invisibleMs = ms;
    lease.isOfEarlierBoot = false;
    if (kind === ChangeKind.Extend) {
      assert.deepEqual(result.receipt, held.receipt, "an extension keeps the receipt");
    } else {
      lease.attemptKey = "";
      lease.copies = 0;
      if ((isHandBack || kind === ChangeKind.Suspend) && !lease.isUncounted) {
        lease.attempt--;
        lease.isUncounted = true;
      }
      assert.equal(result.receipt === undefined, isHandBack);
      lease.receipt = result.receipt?.toString() ?? "nobody's";
      if (result.receipt !== undefined) this.receipts.push({ ...held, receipt: result.receipt });
    }
    this.#endDue();
    this.#serve();
    this.#check();
  }

  /** The holder gives a message up. */
  forward(index: number): void {
    const held = this.receipts[index % Math.max(this.receipts.length, 1)];
    if (held === undefined) return;
    const group = this.#model.groups[held.groupIndex]!;
    const worth = this.#worth(held);
    const lease = held.topicId === this.#model.topicId ? group.leases.get(held.messageId) : undefined;
    const isDeadByThis = lease?.state === "dead" && lease.receipt === held.receipt.toString();
    const result = this.real.deadLetter(group.id, held.receipt);
    const isVoid = worth === "void" && !isDeadByThis;
    assert.equal(result.code, isVoid ? Code.InvalidReceiptHandle : Code.Ok, `forward of ${held.messageId}`);
    if (worth === "held") {
      this.#bury(group, held.messageId, lease!);
      this.counts.forwarded++;
    }
    this.#serve();
    this.#check();
  }

  /** An operator gives a dead letter back to its group. */
  redrive(groupIndex: number, index: number): void {
    // The dead-letter queue shows what is on disk.
    this.sync();
    const group = this.#model.groups[groupIndex]!;
    const dead = [...group.leases].filter(([, { state }]) => state === "dead");
    const [id, lease] = dead[index % Math.max(dead.length, 1)] ?? [];
    if (id === undefined || lease === undefined) return;
    const { messageIds } = this.real.operate<{ messageIds: string[] }>("dlq.redrive", {
      ...{ group: group.name, messageIds: [id] },
    });
    // Retention may have taken the dead letter; what it was is known then, but nobody finds it.
    if (this.#model.logBegin === 0 || messageIds.length > 0) {
      assert.deepEqual(messageIds, [id]);
      const { key } = this.#model.messages.find((message) => message.id === id)!;
      lease.isQueued = key !== "" && this.#holdsLock(group, key);
      lease.wasRedriven = true;
      lease.state = "ready";
      lease.attempt = 0;
      lease.isUncounted = false;
      lease.attemptKey = "";
      lease.endWallMs = 0;
      lease.invisibleMs = 0;
      lease.isOfEarlierBoot = false;
      this.counts.redriven++;
    }
    this.#serve();
    this.#check();
  }

  /** An operator has a group go on elsewhere. */
  reset(groupIndex: number, to: "earliest" | "latest" | number): void {
    const group = this.#model.groups[groupIndex]!;
    this.real.operate("group.reset", {
      ...{ group: group.name, topic: topicName, to: typeof to === "number" ? { offset: to } : to },
    });
    if (group.start !== undefined) {
      const gone = this.#model.messages.filter(({ position }) => position < this.#model.logBegin);
      const ends = this.#visibleEnds();
      group.start = ends.map((end, q) => {
        const begin = gone.filter(({ queueId }) => queueId === q).length;
        const wanted = to === "earliest" ? begin : to === "latest" ? end : to;
        return Math.min(Math.max(wanted, begin), Math.max(end, begin));
      });
      for (const { id, queueId, offset } of this.#model.messages) {
        const lease = group.leases.get(id);
        if (lease === undefined || (offset < group.start[queueId]! && lease.state === "dead")) continue;
        group.leases.delete(id);
      }
      // Order begins anew: what clients have not seen yet says nothing of it.
      for (const batch of this.#unseen) if (batch.groupIndex === groupIndex) this.receipts.push(...batch.held);
      this.#unseen = this.#unseen.filter((batch) => batch.groupIndex !== groupIndex);
      this.counts.resets++;
    }
    this.#serve();
    this.#check();
  }

  #holdsLock(group: ModelGroup, key: string): boolean {
    return this.#model.messages.some((message) => {
      const lease = group.leases.get(message.id);
      return message.key === key && lease !== undefined && isLive(lease) && !lease.isQueued;
    });
  }

  /** Of each message group that is not locked any more, the oldest message that was redriven and waited is next. */
  #promote(group: ModelGroup): void {
    for (const key of keys) {
      if (this.#holdsLock(group, key)) continue;
      const next = this.#model.messages.find(
        (message) => message.key === key && group.leases.get(message.id)?.isQueued === true,
      );
      if (next !== undefined) group.leases.get(next.id)!.isQueued = false;
    }
  }

  pass(ms: number): void {
    this.real.pass(ms);
    this.#timePassed();
  }

  jumpWall(ms: number): void {
    this.real.wallMs += ms;
    this.#check();
  }

  snapshot(): void {
    this.#image = { bytes: this.real.state.snapshot(), position: this.real.state.appliedPosition };
  }

  baseImage(): void {
    const position = this.real.state.appliedPosition;
    this.#base = { bytes: this.real.state.baseImage(position), position };
  }

  /** The log begins where the base image stands, if that is on disk; records since then may speak of what is gone. */
  trim(): void {
    const { real } = this;
    const base: BaseImage | undefined = this.#base;
    const model = this.#model;
    if (base === undefined || base.position > real.log.durablePosition || base.position <= model.logBegin) return;
    const isGone = ({ position }: ModelMessage): boolean => position < base.position;
    for (const group of model.groups) {
      const lost = this.#pending(group).filter(isGone).length;
      if (group.filter === "*") {
        const told: readonly Unconsumed[] = real.state
          .unconsumedBelow(base.position)
          .filter((entry) => entry.group === group.name);
        assert.equal(told[0]?.messages ?? 0, lost, `what ${group.name} loses`);
      }
      this.counts.expired += lost;
      for (const { id } of model.messages.filter(isGone)) group.leases.delete(id);
      this.#promote(group);
      group.deadRemoved = this.#deadLettersBelow(group, base.position);
    }
    while (!real.state.carryBefore(real.log.endPosition, real.now).isFinished);
    this.#timed.carried(this.#model.timed, real.log.writtenPosition);
    this.#transactions.carried(model.transactions);
    const recordPosition = real.state.trimLog(base.position, TrimReason.Age, real.now);
    this.#trimmed = { ...base, recordPosition };
    model.logBegin = base.position;
    this.#serve();
    this.#check();
  }

  /** Once the record is on disk the segments may go; from then on a start needs the base image. */
  removeSegments(): void {
    const { real } = this;
    const trimmed = this.#trimmed;
    if (trimmed === undefined || trimmed.recordPosition >= real.log.durablePosition) return;
    const counts = () => this.#model.groups.map((group) => this.#deadLettersBelow(group, Number.POSITIVE_INFINITY));
    const before = counts();
    real.log.removeBelow(trimmed.position);
    const after = counts();
    for (const [i, { name }] of this.#model.groups.entries()) {
      this.#deadGone.set(name, (this.#deadGone.get(name) ?? 0) + before[i]! - after[i]!);
    }
    real.base = trimmed.bytes;
    if (this.#image !== undefined && this.#image.position < trimmed.position) this.#image = undefined;
    if (this.#base !== undefined && this.#base.position <= trimmed.position) this.#base = undefined;
    this.#trimmed = undefined;
  }

  #deadLettersBelow(group: ModelGroup, position: number): number {
    let count = this.#deadGone.get(group.name) ?? 0;
    for (const record of this.real.log.records(this.real.log.begin)) {
      if (record.type !== RecordType.DeadLetter || record.position >= position) continue;
      if (readDeadLetterRecord(record.body, 0, record.body.length).groupId === group.id) count++;
    }
    return count;
  }

  compare(): void {
    this.real.assertRebuilt(this.#image?.bytes);
    this.#timePassed();
  }

  crash(kind: "kill" | "power", useImage: boolean): void {
    this.#crash(kind, useImage, () => false);
  }

  reboot(wallJumpMs: number, useImage: boolean): void {
    this.#crash("power", useImage, () => {
      const { real } = this;
      real.bootId = `boot-${this.counts.crashes + 2}`;
      real.monotonicMs = 5_000;
      real.wallMs += wallJumpMs;
      for (const lease of this.#leased()) lease.isOfEarlierBoot = true;
      return true;
    });
  }

  /** `between` says whether the machine was started anew. */
  #crash(kind: "kill" | "power", useImage: boolean, between: () => boolean): void {
    const { real } = this;
    const kept = kind === "kill" ? real.log.writtenPosition : real.log.durablePosition;
    // A snapshot of records that were lost is worth nothing, also later when the log has grown over its position.
    if (this.#image !== undefined && this.#image.position > kept) this.#image = undefined;
    if (this.#base !== undefined && this.#base.position > kept) this.#base = undefined;
    if (this.#trimmed !== undefined && this.#trimmed.recordPosition >= kept) this.#trimmed = undefined;
    this.#model = structuredClone(kind === "kill" ? this.#writtenModel : this.#durableModel);
    this.#waiters = [[], [], []];
    this.#unseen = [];
    this.counts.crashes++;
    this.#transactions.restarted(this.#model.transactions, between());
    this.#timed.crashed(kept);
    for (const lease of this.#leased()) {
      lease.copies = 0;
      if (!lease.isOfEarlierBoot || lease.isQueued) continue;
      // The end of a lease is no record: where the wall clock was set back, one that had ended runs again, at most as long
      // as it was granted.
      lease.state = "in-flight";
      const leftMs = Math.min(Math.max(lease.endWallMs - real.wallMs, 0), lease.invisibleMs);
      lease.endMs = real.monotonicMs + leftMs;
    }
    real.crash(kind, useImage ? this.#image?.bytes : undefined);
    this.#visibleCount = this.#model.messages.length;
    this.#writtenModel = structuredClone(this.#model);
    this.#durableModel = structuredClone(this.#model);
    this.#timePassed();
  }

  /** The topic is deleted and created again: nothing of the old one remains but its dead letters. */
  recreate(): void {
    const model = this.#model;
    model.incarnation++;
    model.topicId = this.real.topic(topicName, { incarnation: model.incarnation, queueCount });
    model.messages = [];
    this.#transactions.topicGone(model.transactions);
    this.#timed.topicGone(model.timed);
    for (const group of model.groups) {
      group.start = undefined;
      group.leases = new Map();
    }
    for (const { ticket } of this.#waiters.flat()) {
      assert.equal(this.real.refusal(ticket).code, Code.TopicNotFound);
      this.#checkedAnswers++;
    }
    this.#waiters = [[], [], []];
    this.#visibleCount = 0;
    this.#check();
  }

  /** Heals everything and consumes until nothing is left: whatever was not lost by right comes out, once. */
  drain(): void {
    this.sync();
    this.#timed.toTheLastDue(this.#model.timed);
    this.pass(0);
    this.sync();
    for (let round = 0; round < 5 || this.#hasMore(); round++) {
      assert.ok(round < 1_000, "the groups never come to an end");
      this.pass(13 * 3_600_000);
      for (let i = 0; i < this.#model.groups.length; i++) {
        const from = this.receipts.length;
        this.receive(i, 32, 10_000, "drain", "", 0);
        if (this.#unseen.length > 0) this.sync();
        // In the first rounds every third message is left to expire, so that attempts run out.
        for (let at = from; at < this.receipts.length; at++) if (round > 3 || at % 3 > 0) this.ack(at, false);
      }
    }
    this.sync();
    this.compare();
    for (const group of this.#model.groups) {
      assert.deepEqual(this.#available(group), [], `${group.name} still has messages`);
      if (group.dead.length > 0) this.#checkDeadLetters(group);
    }
  }

  #hasMore(): boolean {
    return this.#model.groups.some((group) => group.start !== undefined && this.#pending(group).length > 0);
  }

  #checkDeadLetters(group: ModelGroup): void {
    const { real } = this;
    const topicId = real.topic(`ns/%DLQ%${group.name.slice(3)}`, { incarnation: 9 });
    const groupId = real.group("ns/reader");
    const got: Got[] = [];
    for (let more = true; more; ) {
      const { ticket } = real.ask(topicId, groupId);
      this.#checkedAnswers++;
      const batch = real.got(ticket);
      got.push(...batch);
      more = batch.length > 0;
    }
    real.sync();
    const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
    assert.deepEqual(
      got
        .map(({ id, body, deadLetter: dead }) => ({ id, body, attempts: dead?.attempts, holder: dead?.lastHolder }))
        .sort(byId),
      group.dead
        .slice(group.deadRemoved)
        .map((dead) => ({ ...dead, body: `body of ${dead.id}` }))
        .map(({ id, body, attempts, holder }) => ({ id, body, attempts, holder }))
        .sort(byId),
      `dead letters of ${group.name}`,
    );
    for (const { id, deadLetter } of got) assert.deepEqual([deadLetter?.topic, deadLetter?.messageId], [topicName, id]);
  }

  #timePassed(): void {
    this.#release();
    this.#endDue();
    this.#serve();
    this.#transactions.look(this.#model.transactions);
    for (const [i, waiters] of this.#waiters.entries()) {
      for (const waiter of waiters.filter(({ deadlineMs }) => deadlineMs <= this.real.monotonicMs)) {
        assert.deepEqual(this.#takeBatch(waiter.ticket), [], "a wait that is over is answered empty");
      }
      this.#waiters[i] = waiters.filter(({ deadlineMs }) => deadlineMs > this.real.monotonicMs);
    }
    this.#check();
  }

  #endDue(): void {
    for (const group of this.#model.groups) {
      for (const [id, lease] of group.leases) {
        if (lease.state !== "in-flight" || lease.endMs > this.real.monotonicMs) continue;
        if (group.attemptsMax > 0 && lease.attempt >= group.attemptsMax) this.#bury(group, id, lease);
        else lease.state = "ready";
      }
    }
  }

  #bury(group: ModelGroup, id: string, lease: ModelLease): void {
    lease.state = "dead";
    group.dead.push({ id, attempts: lease.attempt, holder: lease.holder });
    this.counts.dead++;
    this.#promote(group);
  }

  /** Whoever waits is served as long as there is something: first come, first served. */
  #serve(): void {
    for (const [i, waiters] of this.#waiters.entries()) {
      const group = this.#model.groups[i]!;
      while (waiters.length > 0 && this.#room(group) > 0 && this.#available(group).length > 0) {
        const { ticket, batch, invisibleMs, clientId } = waiters.shift()!;
        this.#takeFresh(i, ticket, batch, invisibleMs, clientId, "");
      }
    }
  }

  /** A new hand-out: the real choice must be one that the promises allow; then the model follows it. */
  #takeFresh(
    groupIndex: number,
    ticket: number,
    batch: number,
    invisibleMs: number,
    clientId: string,
    attemptKey: string,
  ): void {
    const group = this.#model.groups[groupIndex]!;
    const got = this.#takeBatch(ticket);
    this.#checkDurability(ticket, got);
    const held: HeldReceipt[] = [];
    const available = this.#available(group);
    const ready = available.filter(({ id }) => group.leases.has(id));
    assert.equal(got.length, Math.min(batch, this.#room(group), available.length), `messages for ${group.name}`);
    const again = got.slice(0, ready.length).map(({ id }) => id);
    assert.deepEqual(
      again,
      ready.slice(0, got.length).map(({ id }) => id),
      "redeliveries first, oldest first",
    );
    for (const delivery of got) {
      const message = this.#model.messages.find(({ id }) => id === delivery.id);
      assert.ok(message !== undefined, `${delivery.id} was never sent`);
      assert.deepEqual(
        [delivery.queueId, delivery.offset],
        [message.queueId, message.offset],
        "one offset, one message",
      );
      assert.equal(delivery.body, `body of ${delivery.id}`);
      const lease = group.leases.get(delivery.id);
      if (lease === undefined) {
        // Message groups go on independently of each other; what has none keeps to the order of its queue.
        const next = this.#available(group).find(
          (m) => m.queueId === message.queueId && m.key === message.key && !group.leases.has(m.id),
        );
        assert.equal(next?.id, message.id, "new messages in the order of their queue or message group");
      } else assert.equal(lease.state, "ready", `${delivery.id} has a holder`);
      assert.equal(delivery.attempt, (lease?.attempt ?? 0) + 1, "attempts rise by one");
      group.leases.set(delivery.id, {
        state: "in-flight",
        attempt: delivery.attempt,
        endMs: this.real.monotonicMs + invisibleMs,
        endWallMs: this.real.wallMs + invisibleMs,
        invisibleMs,
        isOfEarlierBoot: false,
        receipt: delivery.receipt.toString(),
        attemptKey,
        isUncounted: false,
        copies: 0,
        holder: clientId,
        isQueued: false,
        wasRedriven: lease?.wasRedriven ?? false,
      });
      const receipt = Buffer.from(delivery.receipt);
      held.push({ groupIndex, topicId: this.#model.topicId, messageId: delivery.id, receipt });
    }
    this.counts.delivered += got.length;
    if (got.some(({ group: key }) => key !== "")) this.#unseen.push({ groupIndex, held });
    else this.receipts.push(...held);
  }

  #checkDurability(ticket: number, got: readonly Got[]): void {
    const answer = this.real.answers.get(ticket);
    const mustBeDurable = got.some(({ group: key }) => key !== "");
    assert.equal(answer?.kind === "batch" && answer.mustBeDurable, mustBeDurable, "when the answer may leave");
  }

  #takeBatch(ticket: number): readonly Got[] {
    this.#checkedAnswers++;
    return this.real.got(ticket);
  }

  /** What a receipt settles now. */
  #worth({ groupIndex, topicId, messageId, receipt }: HeldReceipt): "held" | "done" | "void" {
    const { topicId: current, groups, messages } = this.#model;
    if (topicId !== current) return "void";
    const group = groups[groupIndex]!;
    const lease = group.leases.get(messageId);
    if (messages.find(({ id }) => id === messageId)!.position < this.#model.logBegin) return "void";
    if (lease === undefined) {
      // Its hand-out was lost in a power cut; and if the group's position was, too, it may start behind the message now.
      const message = messages.find(({ id }) => id === messageId)!;
      return group.start !== undefined && message.offset < group.start[message.queueId]! ? "done" : "void";
    }
    if (lease.state === "acked") return "done";
    return lease.state === "in-flight" && lease.receipt === receipt.toString() ? "held" : "void";
  }

  #batchOf(group: ModelGroup, attemptKey: string): string[] {
    if (attemptKey === "") return [];
    return this.#model.messages
      .map(({ id }) => id)
      .filter((id) => {
        const lease = group.leases.get(id);
        return lease?.state === "in-flight" && lease.attemptKey === attemptKey;
      });
  }

  /** Messages that could be handed out now: redeliveries, then new ones, each in the order of the log. */
  #available(group: ModelGroup): ModelMessage[] {
    const { start } = group;
    if (start === undefined) return [];
    const ready: ModelMessage[] = [];
    const fresh: ModelMessage[] = [];
    const locked = new Set(keys.filter((key) => this.#holdsLock(group, key)) as string[]);
    for (const message of this.#pending(group)) {
      const lease = group.leases.get(message.id);
      if (lease?.state === "ready" && !lease.isQueued) ready.push(message);
      // Of a message group the first one that is not settled, and no other.
      if (lease !== undefined || locked.has(message.key)) continue;
      fresh.push(message);
      if (message.key !== "") locked.add(message.key);
    }
    return [...ready, ...fresh];
  }

  /** Visible messages that the group wants and is not done with, in the order of the log. */
  #pending({ start, filter, leases }: ModelGroup): ModelMessage[] {
    if (start === undefined) return [];
    return this.#model.messages.slice(0, this.#visibleCount).filter(({ id, queueId, offset, tag, position }) => {
      if (position < this.#model.logBegin || (filter !== "*" && filter !== tag)) return false;
      const lease = leases.get(id);
      // A dead letter of before a reset can be redriven.
      return lease === undefined ? offset >= start[queueId]! : isLive(lease);
    });
  }

  #room(group: ModelGroup): number {
    return group.inFlightMax - [...group.leases.values()].filter(({ state }) => state === "in-flight").length;
  }

  #leased(): ModelLease[] {
    const leases = this.#model.groups.flatMap((group) => [...group.leases.values()]);
    return leases.filter(isLive);
  }

  #visibleEnds(): number[] {
    const visible = this.#model.messages.slice(0, this.#visibleCount);
    return Array.from({ length: queueCount }, (_, q) => visible.filter(({ queueId }) => queueId === q).length);
  }

  /** After every step: no answer that was not predicted, and exact figures. */
  #check(): void {
    assert.equal(this.real.answeredTickets.length, this.#checkedAnswers, this.#unexpected());
    this.#transactions.check(this.#model.transactions);
    this.#timed.check(this.#model.timed, this.#model.topicId);
    for (const [i, group] of this.#model.groups.entries()) {
      if (group.start === undefined) continue;
      const figures = this.real.figures(group.name, topicName);
      const states = [...group.leases.values()].map(({ state }) => state);
      assert.equal(
        figures.inFlight,
        states.filter((state) => state === "in-flight").length,
        `in flight of ${group.name}`,
      );
      assert.equal(figures.deadLetters, states.filter((state) => state === "dead").length);
      assert.equal(figures.waiting, this.#waiters[i]!.length);
      for (const key of keys) {
        const out = this.#model.messages.filter(
          (message) => message.key === key && group.leases.get(message.id)?.state === "in-flight",
        );
        assert.ok(out.length <= 1, `${out.map(({ id }) => id)} of ${key} are out at ${group.name} at once (B7)`);
      }
      if (group.filter !== "*") continue;
      const waiting = this.#pending(group).filter(({ id }) => group.leases.get(id)?.state !== "in-flight");
      assert.equal(figures.ready + figures.blocked, waiting.length, `ready and blocked of ${group.name}`);
      assert.ok(figures.ready >= this.#available(group).length, `ready of ${group.name}`);
    }
  }

  #unexpected(): string {
    const last = this.real.answeredTickets.at(-1) ?? 0;
    const answer: Answer | undefined = this.real.answers.get(last);
    return `an answer nobody predicted, last ticket ${last}: ${JSON.stringify(answer)}`;
  }
}
