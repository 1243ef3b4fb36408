import { RecordType } from "../commit-log/log.ts";
import { carryKind, carryMessageStart, carryNumber, expectCarryRecord } from "../record/carry-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { type ReleaseRecord, readReleaseRecord } from "../record/release-record.ts";
import { TimedFollower, type TopicOfMessage } from "../timed/timed-follower.ts";
import type { Topic } from "../topic/topic.ts";
import { TransactionFollower } from "../transaction/transaction-follower.ts";
import type { BrokerTables } from "./broker-tables.ts";

/** Puts a message that becomes visible into its queue: the release, its position, and its bytes. */
type Index = (release: ReleaseRecord, position: number, bytes: Buffer, start: number, end: number) => void;

/** The dispatcher's part for messages that are stored unseen: those that wait for their time, and those of open transactions. */
export class UnseenFollower {
  readonly #transactions: TransactionFollower;
  readonly #timed: TimedFollower;
  readonly #index: Index;

  constructor(tables: BrokerTables, index: Index, topicOf: TopicOfMessage) {
    this.#transactions = new TransactionFollower(tables, topicOf);
    this.#timed = new TimedFollower(tables, topicOf);
    this.#index = index;
  }

  /** A record comes, of whatever kind: to be told of each, before it is applied. */
  interrupt(type: RecordType): void {
    if (type !== RecordType.TimedMessage) this.#timed.forgetParts();
  }

  /** A part of the log is lost. */
  isolate(): void {
    this.#timed.isolateParts();
  }

  /** What was lost until now can be told from nothing that follows. */
  judgeAll(): void {
    this.#timed.judgeAll();
  }

  /** False: the record is about something else. */
  apply(type: RecordType, position: number, bytes: Buffer, start: number, end: number): boolean {
    switch (type) {
      case RecordType.TimedMessage:
        this.#timed.stored(position, bytes, start, end);
        return true;
      case RecordType.Due:
        this.#timed.released(this.#released(position, bytes, start, end).number);
        return true;
      case RecordType.Recall:
        this.#timed.recalled(bytes, start, end);
        return true;
      case RecordType.HalfMessage:
        this.#transactions.half(position, bytes, start, end);
        return true;
      case RecordType.Commit:
        this.#transactions.committed(this.#released(position, bytes, start, end));
        return true;
      case RecordType.Rollback:
        this.#transactions.rolledBack(bytes, start, end);
        return true;
      case RecordType.CheckBack:
        this.#transactions.checkBack(bytes, start, end);
        return true;
      case RecordType.Carry:
        this.#carried(position, bytes, start, end);
        return true;
      default:
        return false;
    }
  }

  topicDropped(topic: Topic): void {
    this.#timed.topicDropped(topic);
    this.#transactions.topicDropped(topic);
  }

  /** A message that was stored unseen enters its queue. */
  #released(position: number, bytes: Buffer, start: number, end: number): ReleaseRecord {
    const release = readReleaseRecord(bytes, start, end);
    this.#index(release, position, bytes, start, end);
    return release;
  }

  #carried(position: number, bytes: Buffer, start: number, end: number): void {
    expectCarryRecord(start, end);
    const kind = carryKind(bytes, start);
    const number = carryNumber(bytes, start);
    const messageAt = carryMessageStart(start);
    if (kind === RecordType.HalfMessage) this.#transactions.carried(number, position, bytes, messageAt, end);
    else if (kind === RecordType.TimedMessage) this.#timed.carried(number, position, bytes, messageAt, end);
    else throw new RecordFault(`a carry of record type ${kind} at ${position}`);
  }
}
