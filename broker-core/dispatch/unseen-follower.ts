import { RecordType } from "../commit-log/log.ts";
import { carryKind, carryNumber, expectCarryRecord } from "../record/carry-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { type ReleaseRecord, readReleaseRecord } from "../record/release-record.ts";
import { TimedFollower } from "../timed/timed-follower.ts";
import type { Topic } from "../topic/topic.ts";
import { TransactionFollower } from "../transaction/transaction-follower.ts";
import type { BrokerTables } from "./broker-tables.ts";

/** The dispatcher's part for messages that are stored unseen: those that wait for their time, and those of open transactions. */
export class UnseenFollower {
  readonly #transactions: TransactionFollower;
  readonly #timed: TimedFollower;
  readonly #index: (release: ReleaseRecord, position: number) => void;

  /** `index` puts a message that becomes visible into its queue. */
  constructor(tables: BrokerTables, index: (release: ReleaseRecord, position: number) => void) {
    this.#transactions = new TransactionFollower(tables);
    this.#timed = new TimedFollower(tables);
    this.#index = index;
  }

  /** A record comes, of whatever kind: to be told of each, before it is applied. */
  interrupt(type: RecordType): void {
    if (type !== RecordType.TimedMessage) this.#timed.forgetParts();
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
    this.#index(release, position);
    return release;
  }

  #carried(position: number, bytes: Buffer, start: number, end: number): void {
    expectCarryRecord(start, end);
    const kind = carryKind(bytes, start);
    const number = carryNumber(bytes, start);
    if (kind === RecordType.HalfMessage) this.#transactions.carried(number, position);
    else if (kind === RecordType.TimedMessage) this.#timed.carried(number, position);
    else throw new RecordFault(`a carry of record type ${kind} at ${position}`);
  }
}
