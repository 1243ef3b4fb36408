import type { Now } from "../broker-port.ts";
import { type LogRecord, RecordType } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { carryRecordBytes, writeCarryRecord } from "../record/carry-record.ts";
import { checkBackAskedAt, checkBackBytes, writeCheckBack } from "../record/check-back-record.ts";
import { writeGrantedAt } from "../record/granted-at.ts";
import { halfFixedBytes, halfMessageStart, halfStoredAt, writeHalfHead } from "../record/half-message-record.ts";
import { type MessageFacts, messageRecordBytes, writeMessageRecord } from "../record/message-record.ts";
import { type ReleaseRecord, releaseRecordBytes, writeReleaseRecord } from "../record/release-record.ts";
import { type RollbackRecord, rollbackBytes, writeRollbackRecord } from "../record/rollback-record.ts";

const nothing = new Uint8Array(0);

/** Writes the decisions about transactions down, as `Journal` does for everything else, and through it. */
export class TransactionJournal {
  readonly #journal: Journal;
  readonly #tables: BrokerTables;

  constructor(tables: BrokerTables, journal: Journal) {
    this.#tables = tables;
    this.#journal = journal;
  }

  #number = 0;
  #topicId = 0;
  #firstCheckMs = 0;
  #facts: MessageFacts | undefined;
  #laneMark = "";
  #bornHost = "";
  #message: Uint8Array = nothing;
  #monotonicMs = 0;
  #wallMs = 0;

  half(
    number: number,
    topicId: number,
    firstCheckMs: number,
    facts: MessageFacts,
    laneMark: string,
    bornHost: string,
    message: Uint8Array,
    now: Now,
  ): number {
    this.#number = number;
    this.#topicId = topicId;
    this.#firstCheckMs = firstCheckMs;
    this.#facts = facts;
    this.#laneMark = laneMark;
    this.#bornHost = bornHost;
    this.#message = message;
    this.#monotonicMs = now.monotonicMs;
    this.#wallMs = now.wallMs;
    const length = halfFixedBytes + messageRecordBytes(laneMark, bornHost, message);
    const position = this.#journal.append(RecordType.HalfMessage, length, this.#fillHalf);
    this.#message = nothing;
    return position;
  }

  readonly #fillHalf = (into: Buffer, at: number): void => {
    writeHalfHead(into, at, this.#number, this.#journal.run, this.#firstCheckMs);
    writeGrantedAt(into, at + halfStoredAt, this.#monotonicMs, this.#wallMs, this.#tables.clock.boot);
    writeMessageRecord(
      into,
      halfMessageStart(at),
      this.#topicId,
      0,
      0,
      Math.floor(this.#wallMs),
      this.#facts!,
      this.#laneMark,
      this.#bornHost,
      this.#message,
    );
  };

  /** `carried`: the message record, where the release must not point at it. */
  commit(release: ReleaseRecord, carried: Uint8Array): number {
    return this.#journal.append(RecordType.Commit, releaseRecordBytes(release, carried), (into, at) =>
      writeReleaseRecord(release, carried, into, at),
    );
  }

  rollback(rollback: RollbackRecord): number {
    return this.#journal.append(RecordType.Rollback, rollbackBytes, (into, at) =>
      writeRollbackRecord(rollback, into, at),
    );
  }

  checkBack(number: number, checks: number, nextCheckMs: number, now: Now): number {
    return this.#journal.append(RecordType.CheckBack, checkBackBytes, (into, at) => {
      writeCheckBack(into, at, number, checks, nextCheckMs);
      writeGrantedAt(into, at + checkBackAskedAt, now.monotonicMs, now.wallMs, this.#tables.clock.boot);
    });
  }

  /** `record`: as it lies in the log, with the message record from `start` on. */
  carry(number: number, record: Pick<LogRecord, "body">, start: number): number {
    const message = record.body.subarray(start);
    return this.#journal.append(RecordType.Carry, carryRecordBytes(message), (into, at) =>
      writeCarryRecord(RecordType.HalfMessage, number, message, into, at),
    );
  }
}
