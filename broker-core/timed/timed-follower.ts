import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { messageFactsBlank, readMessageFacts } from "../dispatch/message-facts.ts";
import { messageBodyStart, messageSendPart, messageTopicId, SendPart } from "../record/message-record.ts";
import { expectRecallRecord, recallNumber } from "../record/recall-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { expectTimedRecord, timedDueMs, timedMessageStart, timedNumber } from "../record/timed-record.ts";
import type { Topic } from "../topic/topic.ts";
import { none } from "./waiting-table.ts";

/**
 * The topic of a message record at `bytes[start, end)`; made again where its beginning is lost. Undefined: lost with it. Throws
 * `RecordFault` when nothing is lost and it is unknown.
 */
export type TopicOfMessage = (topicId: number, bytes: Buffer, start: number, end: number) => Topic | undefined;

const scan = new MessageScan();
const facts = messageFactsBlank();

interface TimedPart {
  readonly number: number;
  readonly dueMs: number;
  readonly position: number;
  readonly topicId: number;
}

/** What records do to the table of waiting messages; part of the dispatcher. */
export class TimedFollower {
  readonly #tables: BrokerTables;
  /** Of a send of several, while its last message has not come. */
  #parts: TimedPart[] = [];
  /** Sends whose last record may be lost with a part of the log. */
  readonly #cut: (readonly TimedPart[])[] = [];
  readonly #topicOf: TopicOfMessage;

  constructor(tables: BrokerTables, topicOf: TopicOfMessage) {
    this.#tables = tables;
    this.#topicOf = topicOf;
  }

  /** The messages of a send of several wait for its last one: all or none (send-parts.ts tells the same of other sends). */
  stored(position: number, bytes: Buffer, start: number, end: number): void {
    expectTimedRecord(start, end);
    const messageAt = timedMessageStart(start);
    const sendPart = messageSendPart(bytes, messageAt);
    const topicId = messageTopicId(bytes, messageAt);
    if (this.#topicOf(topicId, bytes, messageAt, end) === undefined) return;
    const number = timedNumber(bytes, start);
    this.#judge(number, true);
    if ((sendPart & SendPart.GoesOn) === 0) this.forgetParts();
    else if (this.#parts.at(-1)?.topicId !== topicId) {
      if (!this.#tables.damage.isOpen) {
        throw new RecordFault(`log position ${position} goes on with a send that has no beginning`);
      }
      this.forgetParts();
    }
    const part = { number, dueMs: timedDueMs(bytes, start), position, topicId };
    if (sendPart === 0) this.#add(part);
    else this.#parts.push(part);
    if ((sendPart & SendPart.MoreFollow) !== 0) return;
    for (const earlier of this.#parts) this.#add(earlier);
    this.forgetParts();
  }

  /** Something else follows: a send that has not ended never was. */
  forgetParts(): void {
    if (this.#parts.length > 0) this.#parts = [];
  }

  /** A part of the log is lost: whether a send had its last record there is to be seen, as of other sends (send-parts.ts). */
  isolateParts(): void {
    if (this.#parts.length > 0) this.#cut.push(this.#parts);
    this.#parts = [];
  }

  /** Nothing follows that could tell. */
  judgeAll(): void {
    for (const parts of this.#cut.splice(0)) for (const part of parts) this.#add(part);
  }

  /** A record speaks of a timed message, `isNext`: as of the next one. */
  #judge(number: number, isNext: boolean): void {
    for (let i = 0; i < this.#cut.length; i++) {
      const parts = this.#cut[i]!;
      if (number < parts[0]!.number) continue;
      this.#cut.splice(i--, 1);
      if (!isNext || number > parts.at(-1)!.number) for (const part of parts) this.#add(part);
    }
  }

  #add({ number, dueMs, position, topicId }: TimedPart): void {
    const { waiting, topics, damage } = this.#tables;
    if (damage.isOpen && topics.byId(topicId) === undefined) return;
    if (waiting.find(number) !== none) throw new RecordFault(`timed message ${number} is stored twice, at ${position}`);
    waiting.add(number, dueMs, position, topicId);
  }

  /** It has entered its queue. */
  released(number: number): void {
    const { waiting } = this.#tables;
    const row = this.#waiting(number, "a release");
    if (row === none) return;
    waiting.releasedThroughMs = Math.max(waiting.releasedThroughMs, waiting.dueMs(row));
    waiting.remove(row);
  }

  recalled(bytes: Buffer, start: number, end: number): void {
    expectRecallRecord(start, end);
    const row = this.#waiting(recallNumber(bytes, start), "a recall");
    if (row !== none) this.#tables.waiting.remove(row);
  }

  /** `messageAt`: where the carried message record begins. */
  carried(number: number, position: number, bytes: Buffer, messageAt: number, end: number): void {
    const { waiting } = this.#tables;
    const row = this.#waiting(number, "a carry");
    if (row !== none) {
      waiting.move(row, position);
      return;
    }
    // The record that stored it is lost; its client said the time, and it lies here.
    const topicId = messageTopicId(bytes, messageAt);
    if (this.#topicOf(topicId, bytes, messageAt, end) === undefined) return;
    scanMessage(bytes, messageBodyStart(bytes, messageAt), end, scan);
    readMessageFacts(scan, facts);
    this.#add({ number, dueMs: facts.deliveryMs, position, topicId });
  }

  topicDropped(topic: Topic): void {
    const { waiting } = this.#tables;
    if (waiting.countOf(topic.id) === 0) return;
    for (const row of waiting.rows()) if (waiting.topicId(row) === topic.id) waiting.remove(row);
  }

  /** `none`: it is lost. */
  #waiting(number: number, what: string): number {
    const { waiting, damage } = this.#tables;
    if (damage.isOpen) {
      this.#judge(number, false);
      waiting.nextNumber = Math.max(waiting.nextNumber, number + 1);
    }
    const row = waiting.find(number);
    if (row === none && damage.isOpen) damage.note(`${what} of a timed message that is lost`);
    else if (row === none) throw new RecordFault(`${what} of timed message ${number}, which does not wait`);
    return row;
  }
}
