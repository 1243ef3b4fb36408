import assert from "node:assert/strict";
import { BrokerFixture, type Got, messageBytes } from "./broker-fixture.ts";
import {
  BrokerModel,
  type BrokerTruth,
  type HeldReceipt,
  keys,
  type ModelGroup,
  type ModelLease,
  queueCount,
  topicName,
} from "./broker-model.ts";
import { type RunParts, runCountsBlank } from "./broker-run-parts.ts";
import { ModelHandOuts } from "./model-hand-outs.ts";
import { ModelImages } from "./model-images.ts";
import { ModelSettling } from "./model-settling.ts";
import { TimedModel, timedCountsBlank } from "./timed-model.ts";
import { modelCheckPolicy, TransactionModel, transactionCountsBlank } from "./transaction-model.ts";

/** What runs did. */
export const countsBlank = { ...transactionCountsBlank, ...timedCountsBlank, ...runCountsBlank };
export type ModelCounts = typeof countsBlank;

/** The model and the real state machine, side by side. */
export class BrokerRun implements RunParts {
  readonly real = new BrokerFixture({ checkPolicy: modelCheckPolicy });
  readonly model: BrokerModel;
  readonly handOuts = new ModelHandOuts(this);
  readonly settling = new ModelSettling(this);
  readonly images = new ModelImages(this);
  readonly receipts: HeldReceipt[] = [];
  /** So that a run that did nothing is seen. */
  readonly counts = { ...runCountsBlank };
  readonly #transactions = new TransactionModel(this.real, topicName);
  readonly #timed = new TimedModel(this.real);
  #nextId = 1;

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
    this.model = new BrokerModel(topicId, groups);
    real.sync();
    this.real.askable.add(topicName);
    // The third group comes to the topic whenever its first receive is drawn.
    this.handOuts.receive(0, 1, 1, "client-1", "", 0);
    this.handOuts.receive(1, 1, 1, "client-1", "", 0);
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

  truth(): BrokerTruth {
    return this.model.truth();
  }

  send(tag: string, key = ""): void {
    const id = `m${this.#nextId++}`;
    const { topicId, messages } = this.model.state;
    const sent = this.real.state.send(
      { topicId, laneMark: "", bornHost: "h", messages: [this.#bytes(id, tag, key)] },
      this.real.now,
    );
    assert.ok(sent.ok);
    assert.equal(sent.firstOffset, this.model.nextOffset(sent.queueId), "offsets are dense");
    const known = messages.find((message) => key !== "" && message.key === key);
    if (known !== undefined) assert.equal(sent.queueId, known.queueId, "a message group keeps its queue");
    messages.push({ id, queueId: sent.queueId, offset: sent.firstOffset, tag, key, position: sent.position });
    this.check();
  }

  #bytes(id: string, tag: string, key: string): Buffer {
    const body = `body of ${id}`;
    return messageBytes(key === "" ? { id, tag, body } : { id, tag, body, group: key });
  }

  sendHalf(tag: string, recoveryMs: number | undefined): void {
    const id = `m${this.#nextId++}`;
    const parts = { id, tag, body: `body of ${id}`, ...(recoveryMs === undefined ? {} : { recoveryMs }) };
    this.model.state.transactions.push(this.#transactions.begin(this.model.state.topicId, parts));
    this.check();
  }

  sendTimed(tag: string, aheadMs: number): void {
    this.#timed.send(this.model.state.timed, this.model.state.topicId, `m${this.#nextId++}`, tag, aheadMs);
    this.check();
  }

  /** Recalls any timed message there ever was. */
  recall(index: number): void {
    this.#timed.recall(this.model.state.timed, this.model.state.topicId, index);
    this.check();
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
    const { messages, timed } = this.model.state;
    for (const { messageId: id, tag, queueId, offset, position } of this.#timed.look(timed)) {
      assert.equal(offset, this.model.nextOffset(queueId), "offsets are dense");
      messages.push({ id, queueId, offset, tag, key: "", position });
    }
  }

  /** Ends any transaction there ever was, mostly one that has ended. */
  endTransaction(index: number, resolution: "COMMIT" | "ROLLBACK" | "UNKNOWN", isAnswer: boolean): void {
    const committed = this.#transactions.end(this.model.state.transactions, index, resolution, isAnswer);
    if (committed !== undefined) {
      const { transaction, queueId, offset } = committed;
      assert.equal(offset, this.model.nextOffset(queueId), "offsets are dense");
      const { messageId: id, tag } = transaction;
      // Of the commit, which is the last record.
      const position = this.real.state.appliedPosition - 1;
      this.model.state.messages.push({ id, queueId, offset, tag, key: "", position });
    }
    this.check();
  }

  /** Producers of the topic can be asked from now on, or cannot. */
  setAskable(isAskable: boolean): void {
    this.#transactions.setAskable(this.model.state.transactions, isAskable);
    this.real.advance();
    this.#timePassed();
  }

  /** The segments so far are old: half messages in them are carried, or taken along by their commits. */
  grow(isCarried: boolean): void {
    if (isCarried) this.carried();
    else this.real.log.youngPosition = this.real.log.writtenPosition;
    this.check();
  }

  carried(): void {
    const { log, state, now } = this.real;
    while (!state.carryBefore(log.endPosition, now).isFinished);
    this.#transactions.carried(this.model.state.transactions);
    this.#timed.carried(this.model.state.timed, log.writtenPosition);
  }

  write(): void {
    this.real.log.write();
    this.#timed.written();
    this.model.write();
    this.check();
  }

  sync(): void {
    // Whom the sync wakes, it answers from within; what is popped there is not part of what became durable.
    this.model.sync();
    this.handOuts.seeAll();
    this.real.sync();
    this.#timed.written();
    this.#transactions.synced();
    this.handOuts.serve();
    this.check();
  }

  pass(ms: number): void {
    this.real.pass(ms);
    this.#timePassed();
  }

  jumpWall(ms: number): void {
    this.real.wallMs += ms;
    this.check();
  }

  compare(): void {
    this.real.assertRebuilt(this.images.bytes);
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
      for (const lease of this.model.leased()) lease.isOfEarlierBoot = true;
      return true;
    });
  }

  /** `between` says whether the machine was started anew. */
  #crash(kind: "kill" | "power", useImage: boolean, between: () => boolean): void {
    const { real } = this;
    const kept = kind === "kill" ? real.log.writtenPosition : real.log.durablePosition;
    this.images.crashed(kept);
    this.model.crash(kind);
    this.handOuts.crashed();
    this.counts.crashes++;
    this.#transactions.restarted(this.model.state.transactions, between());
    this.#timed.crashed(kept);
    for (const lease of this.model.leased()) {
      lease.copies = 0;
      if (!lease.isOfEarlierBoot || lease.isQueued) continue;
      // The end of a lease is no record: where the wall clock was set back, one that had ended runs again, at most as long
      // as it was granted.
      lease.state = "in-flight";
      const leftMs = Math.min(Math.max(lease.endWallMs - real.wallMs, 0), lease.invisibleMs);
      lease.endMs = real.monotonicMs + leftMs;
    }
    real.crash(kind, useImage ? this.images.bytes : undefined);
    // What a start finds is on disk.
    this.model.sync();
    this.#timePassed();
  }

  /** The topic is deleted and created again: nothing of the old one remains but its dead letters. */
  recreate(): void {
    const model = this.model.state;
    model.incarnation++;
    model.topicId = this.real.topic(topicName, { incarnation: model.incarnation, queueCount });
    model.messages = [];
    this.#transactions.topicGone(model.transactions);
    this.#timed.topicGone(model.timed);
    for (const group of model.groups) {
      group.start = undefined;
      group.leases = new Map();
    }
    this.handOuts.topicGone();
    this.model.visibleCount = 0;
    this.check();
  }

  /** Heals everything and consumes until nothing is left: whatever was not lost by right comes out, once. */
  drain(): void {
    this.sync();
    this.#timed.toTheLastDue(this.model.state.timed);
    this.pass(0);
    this.sync();
    for (let round = 0; round < 5 || this.#hasMore(); round++) {
      assert.ok(round < 1_000, "the groups never come to an end");
      this.pass(13 * 3_600_000);
      for (let i = 0; i < this.model.state.groups.length; i++) {
        const from = this.receipts.length;
        this.handOuts.receive(i, 32, 10_000, "drain", "", 0);
        if (this.handOuts.hasUnseen) this.sync();
        // In the first rounds every third message is left to expire, so that attempts run out.
        for (let at = from; at < this.receipts.length; at++) if (round > 3 || at % 3 > 0) this.settling.ack(at, false);
      }
    }
    this.sync();
    this.compare();
    for (const group of this.model.state.groups) {
      assert.deepEqual(this.model.available(group), [], `${group.name} still has messages`);
      if (group.dead.length > 0) this.#checkDeadLetters(group);
    }
  }

  #hasMore(): boolean {
    return this.model.state.groups.some((group) => group.start !== undefined && this.model.pending(group).length > 0);
  }

  #checkDeadLetters(group: ModelGroup): void {
    const { real } = this;
    const topicId = real.topic(`ns/%DLQ%${group.name.slice(3)}`, { incarnation: 9 });
    const groupId = real.group("ns/reader");
    const got: Got[] = [];
    for (let more = true; more; ) {
      const { ticket } = real.ask(topicId, groupId);
      const batch = this.handOuts.takeBatch(ticket);
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
    this.endDue();
    this.handOuts.serve();
    this.#transactions.look(this.model.state.transactions);
    this.handOuts.endWaits();
    this.check();
  }

  endDue(): void {
    this.counts.dead += this.model.endDue(this.real.monotonicMs);
  }

  bury(group: ModelGroup, id: string, lease: ModelLease): void {
    this.model.bury(group, id, lease);
    this.counts.dead++;
  }

  /** After every step: no answer that was not predicted, and exact figures. */
  check(): void {
    this.handOuts.check();
    this.#transactions.check(this.model.state.transactions);
    this.#timed.check(this.model.state.timed, this.model.state.topicId);
    for (const [i, group] of this.model.state.groups.entries()) {
      if (group.start === undefined) continue;
      const figures = this.real.figures(group.name, topicName);
      const states = [...group.leases.values()].map(({ state }) => state);
      assert.equal(
        figures.inFlight,
        states.filter((state) => state === "in-flight").length,
        `in flight of ${group.name}`,
      );
      assert.equal(figures.deadLetters, states.filter((state) => state === "dead").length);
      assert.equal(figures.waiting, this.handOuts.waitingCount(i));
      for (const key of keys) {
        const out = this.model.state.messages.filter(
          (message) => message.key === key && group.leases.get(message.id)?.state === "in-flight",
        );
        assert.ok(out.length <= 1, `${out.map(({ id }) => id)} of ${key} are out at ${group.name} at once (B7)`);
      }
      if (group.filter !== "*") continue;
      const waiting = this.model.pending(group).filter(({ id }) => group.leases.get(id)?.state !== "in-flight");
      assert.equal(figures.ready + figures.blocked, waiting.length, `ready and blocked of ${group.name}`);
      assert.ok(figures.ready >= this.model.available(group).length, `ready of ${group.name}`);
    }
  }
}
