import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { messageSendPart, messageTopicId, SendPart } from "../record/message-record.ts";
import { expectRecallRecord, recallNumber } from "../record/recall-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import { expectTimedRecord, timedDueMs, timedMessageStart, timedNumber } from "../record/timed-record.ts";
import type { Topic } from "../topic/topic.ts";
import { none } from "./waiting-table.ts";

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

  constructor(tables: BrokerTables) {
    this.#tables = tables;
  }

  /** The messages of a send of several wait for its last one: all or none (send-parts.ts tells the same of other sends). */
  stored(position: number, bytes: Buffer, start: number, end: number): void {
    expectTimedRecord(start, end);
    const messageAt = timedMessageStart(start);
    const sendPart = messageSendPart(bytes, messageAt);
    const topicId = messageTopicId(bytes, messageAt);
    if ((sendPart & SendPart.GoesOn) === 0) this.forgetParts();
    else if (this.#parts.at(-1)?.topicId !== topicId) {
      throw new RecordFault(`log position ${position} goes on with a send that has no beginning`);
    }
    const part = { number: timedNumber(bytes, start), dueMs: timedDueMs(bytes, start), position, topicId };
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

  #add({ number, dueMs, position, topicId }: TimedPart): void {
    const { waiting, topics } = this.#tables;
    if (topics.byId(topicId) === undefined) throw new RecordFault(`a timed message of the unknown topic ${topicId}`);
    if (waiting.find(number) !== none) throw new RecordFault(`timed message ${number} is stored twice, at ${position}`);
    waiting.add(number, dueMs, position, topicId);
  }

  /** It has entered its queue. */
  released(number: number): void {
    const { waiting } = this.#tables;
    const row = this.#waiting(number, "a release");
    waiting.releasedThroughMs = Math.max(waiting.releasedThroughMs, waiting.dueMs(row));
    waiting.remove(row);
  }

  recalled(bytes: Buffer, start: number, end: number): void {
    expectRecallRecord(start, end);
    this.#tables.waiting.remove(this.#waiting(recallNumber(bytes, start), "a recall"));
  }

  carried(number: number, position: number): void {
    this.#tables.waiting.move(this.#waiting(number, "a carry"), position);
  }

  topicDropped(topic: Topic): void {
    const { waiting } = this.#tables;
    if (waiting.countOf(topic.id) === 0) return;
    for (const row of waiting.rows()) if (waiting.topicId(row) === topic.id) waiting.remove(row);
  }

  #waiting(number: number, what: string): number {
    const row = this.#tables.waiting.find(number);
    if (row === none) throw new RecordFault(`${what} of timed message ${number}, which does not wait`);
    return row;
  }
}
