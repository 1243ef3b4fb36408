import { RecordType } from "../commit-log/log.ts";
import type { Journal } from "../dispatch/journal.ts";
import { carryRecordBytes, writeCarryRecord } from "../record/carry-record.ts";
import { type MessageFacts, messageRecordBytes, writeMessageRecord } from "../record/message-record.ts";
import { recallRecordBytes, writeRecallRecord } from "../record/recall-record.ts";
import { type ReleaseRecord, releaseRecordBytes, writeReleaseRecord } from "../record/release-record.ts";
import { timedFixedBytes, timedMessageStart, writeTimedHead } from "../record/timed-record.ts";

const nothing = new Uint8Array(0);

/** Writes the records of timed messages, as the journal does: appended and applied at once, no closure per record. */
export class TimedJournal {
  readonly #journal: Journal;
  #number = 0;
  #topicId = 0;
  #ms = 0;
  #storeMs = 0;
  #messagePosition = 0;
  #facts: MessageFacts | undefined;
  #laneMark = "";
  #bornHost = "";
  /** The client's bytes, or a message record. */
  #message: Uint8Array = nothing;
  #release: ReleaseRecord | undefined;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  timed(
    number: number,
    dueMs: number,
    topicId: number,
    storeMs: number,
    facts: MessageFacts,
    laneMark: string,
    bornHost: string,
    message: Uint8Array,
  ): number {
    this.#number = number;
    this.#ms = dueMs;
    this.#topicId = topicId;
    this.#storeMs = storeMs;
    this.#facts = facts;
    this.#laneMark = laneMark;
    this.#bornHost = bornHost;
    this.#message = message;
    const length = timedFixedBytes + messageRecordBytes(laneMark, bornHost, message);
    return this.#journal.append(RecordType.TimedMessage, length, this.#fillTimed);
  }

  readonly #fillTimed = (into: Buffer, at: number): void => {
    writeTimedHead(into, at, this.#number, this.#ms);
    writeMessageRecord(
      into,
      timedMessageStart(at),
      this.#topicId,
      0,
      0,
      this.#storeMs,
      this.#facts!,
      this.#laneMark,
      this.#bornHost,
      this.#message,
    );
  };

  /** `messageRecord`: what the record carries; empty when it only points. */
  due(release: ReleaseRecord, messageRecord: Uint8Array): number {
    this.#release = release;
    this.#message = messageRecord;
    return this.#journal.append(RecordType.Due, releaseRecordBytes(release, messageRecord), this.#fillDue);
  }

  readonly #fillDue = (into: Buffer, at: number): void => writeReleaseRecord(this.#release!, this.#message, into, at);

  recall(number: number, topicId: number, wallMs: number, messagePosition: number): number {
    this.#number = number;
    this.#messagePosition = messagePosition;
    this.#topicId = topicId;
    this.#ms = wallMs;
    return this.#journal.append(RecordType.Recall, recallRecordBytes, this.#fillRecall);
  }

  readonly #fillRecall = (into: Buffer, at: number): void =>
    writeRecallRecord(into, at, this.#number, this.#topicId, this.#ms, this.#messagePosition);

  carry(number: number, messageRecord: Uint8Array): number {
    this.#number = number;
    this.#message = messageRecord;
    return this.#journal.append(RecordType.Carry, carryRecordBytes(messageRecord), this.#fillCarry);
  }

  readonly #fillCarry = (into: Buffer, at: number): void =>
    writeCarryRecord(RecordType.TimedMessage, this.#number, this.#message, into, at);
}
