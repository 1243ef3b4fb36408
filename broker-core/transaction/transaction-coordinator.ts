import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import {
  type Carried,
  type Ended,
  type Now,
  noPosition,
  type OrphanSink,
  type Refused,
  type TransactionEnd,
} from "../broker-port.ts";
import type { LogReader, LogWriter } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { placeOfCopy } from "../dispatch/mirror-choice.ts";
import { nextQueueOf } from "../dispatch/queue-choice.ts";
import { laneKeyOfRecord } from "../lane/message-lane.ts";
import {
  type MessageFacts,
  messageBodyStart,
  messageBornHost,
  messageId,
  messageLaneMark,
  messageStoreMs,
} from "../record/message-record.ts";
import type { MirrorPlace } from "../record/mirror-place.ts";
import { RollbackReason } from "../record/rollback-record.ts";
import { readStoredMessage, type StoredMessage } from "../record/stored-message.ts";
import type { Topic } from "../topic/topic.ts";
import { CheckPace } from "./check-pace.ts";
import { Resolution } from "./resolution-ring.ts";
import { expiryMs } from "./transaction-clock.ts";
import { decideEnd, TransactionSource } from "./transaction-end.ts";
import { type TransactionIdSealer, transactionIdBlank } from "./transaction-id.ts";
import { TransactionJournal } from "./transaction-journal.ts";

/** When and how often producers are asked about their open transactions. Changes concern what happens from then on. */
export interface CheckPolicy {
  /** From the half message to the first question, where the message does not say. */
  readonly firstCheckMs: number;
  readonly checkIntervalMs: number;
  /** Questions before the transaction is rolled back: 1 to 65 535. */
  readonly checksMax: number;
  /** A transaction that is open for longer is rolled back, asked or not. */
  readonly ageMsMax: number;
}

/** The reference broker's figures; the age is ours. */
export const defaultCheckPolicy: CheckPolicy = Object.freeze({
  firstCheckMs: 6_000,
  checkIntervalMs: 30_000,
  checksMax: 15,
  ageMsMax: 24 * 3_600_000,
});

/** Open transactions of one broker: 100 MB of rows. More are refused; producers that leave so many open are broken. */
export const openTransactionsMax = 1_000_000;
/** Looked at again this soon when the log took nothing. */
const retryMs = 1_000;
/** The longest that a message may ask for; the sidecar allows an hour. */
const firstCheckMsMax = 24 * 3_600_000;
/** Rows looked at in one `advance`. */
const rowsPerTurnMax = 4_096;
/** Bytes written again in one call, so that a turn stays short. */
const carryBytesMax = 4 * 1024 * 1024;

const nothing = new Uint8Array(0);

/** Decides about transactions: stores half messages, ends them when their producers say how, and asks those that do not. */
export class TransactionCoordinator {
  readonly #tables: BrokerTables;
  readonly #log: LogWriter & LogReader;
  readonly #records: TransactionJournal;
  readonly #journal: Journal;
  readonly #ids: TransactionIdSealer;
  readonly #id = transactionIdBlank();
  readonly #orphans: OrphanSink;
  readonly #policy: CheckPolicy;
  readonly #pace = new CheckPace();
  /** Transactions that are due as soon as their half message is on disk. */
  readonly #undurable = new Set<number>();
  /** There are more due rows than one `advance` takes. */
  #isBehind = false;

  constructor(
    tables: BrokerTables,
    log: LogWriter & LogReader,
    journal: Journal,
    ids: TransactionIdSealer,
    orphans: OrphanSink,
    policy: CheckPolicy,
  ) {
    this.#tables = tables;
    this.#log = log;
    this.#journal = journal;
    this.#records = new TransactionJournal(tables, journal);
    this.#ids = ids;
    this.#orphans = orphans;
    this.#policy = policy;
  }

  /** Stores a half message, which was checked. */
  begin(
    topic: Topic,
    facts: MessageFacts,
    laneMark: string,
    bornHost: string,
    message: Uint8Array,
    now: Now,
  ): { readonly ok: true; readonly transactionId: string; readonly position: number } | Refused {
    const { transactions } = this.#tables;
    if (transactions.count >= openTransactionsMax) {
      const text = `${openTransactionsMax} transactions are open at this broker; end some, then send again`;
      return { ok: false, code: Code.TooManyRequests, message: text };
    }
    const number = transactions.resolutions.nextNumber;
    const firstCheckMs = facts.recoveryMs > 0 ? Math.min(facts.recoveryMs, firstCheckMsMax) : this.#policy.firstCheckMs;
    const position = this.#records.half(number, topic.id, firstCheckMs, facts, laneMark, bornHost, message, now);
    return { ok: true, transactionId: this.#ids.seal(topic.id, this.#journal.run, number), position };
  }

  /** Throws `MeshError` when the log takes nothing; nothing has changed then. */
  end(call: TransactionEnd, now: Now): Ended {
    const id = this.#id;
    const kind = this.#ids.open(call.transactionId, id);
    if (kind !== "ours") return refused(Code.InvalidTransactionId, invalidTexts[kind]);
    const { transactions, topics } = this.#tables;
    const { resolutions } = transactions;
    const topic = topics.byId(id.topicId);
    if (topic !== undefined && topic.name !== call.topic) {
      return refused(
        Code.InvalidTransactionId,
        `the transaction is of topic ${topic.name}, not of ${call.topic}; name the topic of its message`,
      );
    }
    const slot = transactions.find(id.number);
    const isLost = slot < 0 && resolutions.resolution(id.number) === Resolution.Lost;
    const isOurs = slot < 0 ? isLost || resolutions.isOfRun(id.number, id.run) : transactions.run[slot] === id.run;
    if (!isOurs) {
      return refused(
        Code.InvalidTransactionId,
        "the half message was lost in a power cut before it was on disk; send the message again",
      );
    }
    const decision = decideEnd(slot >= 0, resolutions.resolution(id.number), call.resolution);
    switch (decision.kind) {
      case "refuse":
        return refused(decision.code, decision.message);
      case "done":
        return { ok: true, position: this.#journal.lastPosition };
      case "commit":
        return this.#commit(slot, call.source, now);
      case "rollback": {
        const isAnswer = call.source === TransactionSource.ServerCheck;
        const reason = isAnswer ? RollbackReason.CheckAnswer : RollbackReason.Producer;
        return { ok: true, position: this.#rollback(slot, reason, now) };
      }
    }
  }

  /** Asks about, or gives up, what is due. */
  advance(now: Now): void {
    const { transactionTimers } = this.#tables;
    this.#isBehind = false;
    for (let rows = 0; this.#pace.allows(now.monotonicMs); rows++) {
      if (rows === rowsPerTurnMax) {
        this.#isBehind = true;
        return;
      }
      const slot = transactionTimers.takeDue(now.monotonicMs);
      if (slot < 0) return;
      try {
        this.#due(slot, now);
      } catch (error) {
        // A log that takes nothing now. The row is as it was.
        if (!(error instanceof MeshError)) throw error;
        transactionTimers.set(slot, now.monotonicMs + retryMs);
      }
    }
  }

  /** The log's durable position has moved. */
  onDurable(now: Now): void {
    const { transactions, transactionTimers } = this.#tables;
    for (const number of this.#undurable) {
      const slot = transactions.find(number);
      if (slot >= 0) transactionTimers.set(slot, now.monotonicMs);
    }
    this.#undurable.clear();
  }

  /** Monotonic time at which `advance` is next needed. */
  nextTimerMs(): number {
    if (this.#isBehind) return Number.NEGATIVE_INFINITY;
    return Math.max(this.#tables.transactionTimers.nextMs(), this.#pace.nextMs);
  }

  /** There is somebody to ask about this topic again: what is overdue is not kept waiting for its next round. */
  producersCame(topicName: string, now: Now): void {
    const { topics, transactions, transactionTimers } = this.#tables;
    const topic = topics.byName(topicName);
    if (topic === undefined || transactions.countOf(topic.id) === 0) return;
    const isOverdue = (slot: number): boolean =>
      transactions.topicId[slot] === topic.id && transactions.dueMs[slot]! <= now.monotonicMs;
    for (const slot of transactions.slotsWhere(isOverdue)) transactionTimers.set(slot, now.monotonicMs);
  }

  /** See `BrokerPort.carryBefore`. */
  carryBefore(position: number): Carried {
    const { transactions } = this.#tables;
    // What is not written yet cannot be read, and lies in no segment that is about to go.
    const limit = Math.min(position, this.#log.writtenPosition);
    let last = noPosition;
    let bytes = 0;
    for (const slot of transactions.slotsWhere((at) => transactions.position[at]! < limit)) {
      if (bytes >= carryBytesMax) return { position: last, isFinished: false };
      const stored = this.#read(slot);
      // Damaged bytes cannot be saved; the log has reported them.
      if (stored === undefined) continue;
      // The log may write its batch while the record is made: what was read must be ours.
      const record = { body: Buffer.from(stored.body) };
      bytes += record.body.length;
      last = this.#records.carry(transactions.number[slot]!, record, stored.start);
    }
    return { position: last, isFinished: true };
  }

  #commit(slot: number, source: number, now: Now): Ended {
    const { transactions, topics, queues } = this.#tables;
    const topic = topics.byId(transactions.topicId[slot]!)!;
    const messagePosition = transactions.position[slot]!;
    let carried: Uint8Array = nothing;
    let laneKey = 0;
    let mirror: MirrorPlace | undefined;
    const set = topic.laneRules?.current;
    const isClassified = set !== undefined && set.rules.length > 0;
    const isOld = messagePosition < this.#log.youngPosition;
    if (isOld || isClassified) {
      if (isOld && !this.#journal.takesReleases) return this.#journal.refusal();
      // Its send is not answered yet, so this is an id of before a power cut whose number came again, or a guess.
      if (messagePosition >= this.#log.writtenPosition) {
        return refused(Code.TooManyRequests, "the half message is about to be written: end the transaction again");
      }
      const stored = this.#read(slot);
      if (stored !== undefined && isOld) carried = Buffer.from(stored.body.subarray(stored.start));
      if (stored !== undefined && isClassified) {
        laneKey = laneKeyOfRecord(set, stored.body, stored.start, stored.body.length);
        mirror = placeOfCopy(this.#tables, topic, stored.body, stored.start, stored.body.length);
      }
    }
    const queueId = nextQueueOf(topic);
    const position = this.#records.commit(
      {
        topicId: topic.id,
        queueId,
        cause: source,
        offset: queues.endOffset(topic.queues[queueId]!),
        releasedMs: Math.floor(now.wallMs),
        number: transactions.number[slot]!,
        messagePosition,
        messageBytes: transactions.bytes[slot]!,
        tagHash: transactions.tagHash[slot]!,
        groupHash: 0,
        laneKey,
        mirror,
      },
      carried,
    );
    return { ok: true, position };
  }

  #rollback(slot: number, reason: RollbackReason, now: Now): number {
    const { transactions } = this.#tables;
    return this.#records.rollback({
      number: transactions.number[slot]!,
      messagePosition: transactions.position[slot]!,
      wallMs: now.wallMs,
      reason,
      checks: transactions.checks[slot]!,
    });
  }

  #due(slot: number, now: Now): void {
    const { transactions, transactionTimers, topics, clock } = this.#tables;
    const { checksMax, checkIntervalMs, ageMsMax } = this.#policy;
    const topic = topics.byId(transactions.topicId[slot]!)!;
    const expiry = expiryMs(clock, transactions.storedMs[slot]!, transactions.isOldStored[slot] === 1, ageMsMax);
    const checks = transactions.checks[slot]!;
    if (transactions.position[slot]! >= this.#log.durablePosition) {
      // Its producer has not been told yet that it is stored; or it was just carried and cannot be read yet.
      this.#undurable.add(transactions.number[slot]!);
    } else if (now.monotonicMs >= expiry) {
      this.#giveUp(slot, topic, RollbackReason.Age, now);
    } else if (checks >= checksMax) {
      this.#giveUp(slot, topic, RollbackReason.ChecksExhausted, now);
    } else {
      const stored = this.#orphans.canAsk(topic.name) ? this.#read(slot) : undefined;
      if (stored === undefined) {
        // A round without anybody to ask does not count; the age ends it in any case.
        transactionTimers.set(slot, Math.min(now.monotonicMs + checkIntervalMs, expiry));
      } else this.#ask(slot, topic, stored, checks + 1, now);
    }
  }

  #ask(slot: number, topic: Topic, stored: StoredMessage, checks: number, now: Now): void {
    const number = this.#tables.transactions.number[slot]!;
    const transactionId = this.#ids.seal(topic.id, this.#tables.transactions.run[slot]!, number);
    const { body, start } = stored;
    const message = Buffer.from(body.subarray(messageBodyStart(body, start)));
    const bornHost = messageBornHost(body, start);
    const laneMark = messageLaneMark(body, start);
    const storeMs = messageStoreMs(body, start);
    this.#pace.counted();
    const position = this.#records.checkBack(number, checks, this.#policy.checkIntervalMs, now);
    this.#orphans.ask({ topic: topic.name, transactionId, message, storeMs, bornHost, laneMark, checks, position });
  }

  #giveUp(slot: number, topic: Topic, reason: RollbackReason, now: Now): void {
    this.#pace.counted();
    const stored = this.#read(slot);
    const id = stored === undefined ? "" : messageId(stored.body, stored.start);
    const checks = this.#tables.transactions.checks[slot]!;
    this.#rollback(slot, reason, now);
    this.#orphans.givenUp({
      ...{ topic: topic.name, messageId: id, checks },
      reason: reason === RollbackReason.Age ? "too old" : "checks exhausted",
    });
  }

  /** Undefined when its bytes are damaged; the log has reported that. */
  #read(slot: number): StoredMessage | undefined {
    try {
      return readStoredMessage(this.#log, this.#tables.transactions.position[slot]!);
    } catch (error) {
      if (isUnreadable(error)) return undefined;
      throw error;
    }
  }
}

const invalidTexts = {
  foreign: "the transaction id is of another broker",
  malformed: "this is no transaction id of this mesh; use the one that the send was answered with, unchanged",
  forged: "the transaction id was not given out by this broker, or its key was replaced",
} as const;

function refused(code: Code, message: string): Refused {
  return { ok: false, code, message };
}
