import { Code } from "../../proto/code.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import type { Carried, Now, Recalled, Refused, Sent } from "../broker-port.ts";
import type { LogReader, LogWriter } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { type MessageFacts, SendPart } from "../record/message-record.ts";
import type { Topic } from "../topic/topic.ts";
import { Carrier } from "./carrier.ts";
import { DueRunner } from "./due-runner.ts";
import type { RecallHandleSealer } from "./recall-handle.ts";
import { Recaller } from "./recaller.ts";
import { TimedJournal } from "./timed-journal.ts";

/** The longest delay where nothing else is set: 40 days, as the newest RocketMQ services offer. */
export const delayMsMaxDefault = 40 * 24 * 3_600_000;

/** Waiting messages of one broker: a gigabyte of rows. More are refused. */
const waitingMax = 20_000_000;

/** Messages that are delivered at a set time: stores them unseen, releases them when they are due, and takes them back. */
export class TimedMessages {
  readonly #tables: BrokerTables;
  readonly #records: TimedJournal;
  readonly #sealer: RecallHandleSealer;
  readonly #runner: DueRunner;
  readonly #recaller: Recaller;
  readonly #carrier: Carrier;
  readonly #delayMsMax: number;

  constructor(
    tables: BrokerTables,
    log: LogReader & LogWriter,
    journal: Journal,
    sealer: RecallHandleSealer,
    delayMsMax: number,
  ) {
    this.#tables = tables;
    this.#records = new TimedJournal(journal);
    this.#sealer = sealer;
    this.#delayMsMax = delayMsMax;
    this.#runner = new DueRunner(tables, log, journal, this.#records);
    this.#carrier = new Carrier(tables, log, this.#records);
    this.#recaller = new Recaller(tables, log, journal, this.#records, sealer, this.#carrier);
  }

  /** Undefined when a message with this delivery time may be stored. */
  refuse(facts: MessageFacts, now: Now): Refused | undefined {
    if (!facts.isTimed || !(facts.deliveryMs > now.wallMs + this.#delayMsMax)) return undefined;
    const text = `the delivery time is ahead by more than ${describe(this.#delayMsMax)}, which is what the broker allows`;
    return refused(Code.IllegalDeliveryTime, `${text} (--delay-max); deliver sooner`);
  }

  /** Whether a message is not to be seen yet. */
  isAhead(facts: MessageFacts, now: Now): boolean {
    return facts.isTimed && facts.deliveryMs > now.wallMs;
  }

  /** Stores the first `count` of messages that were checked; all have a delivery time. */
  store(
    topic: Topic,
    count: number,
    facts: readonly MessageFacts[],
    messages: readonly Buffer[],
    laneMark: string,
    bornHost: string,
    now: Now,
  ): Sent {
    const { waiting } = this.#tables;
    if (waiting.count + count > waitingMax) {
      const text = `${waiting.count} messages wait for their time at this broker, which takes ${waitingMax}`;
      return refused(Code.TooManyRequests, `${text}; send later, or to another broker`);
    }
    const storeMs = Math.floor(now.wallMs);
    // Numbers are taken when the last message is stored: until then none is.
    const firstNumber = waiting.nextNumber;
    const recallHandles: string[] = [];
    let position = -1;
    try {
      for (let i = 0; i < count; i++) {
        const fact = facts[i]!;
        const message = messages[i]!;
        const number = firstNumber + i;
        const dueMs = Math.max(fact.deliveryMs, 0);
        if (count > 1) fact.sendPart = (i < count - 1 ? SendPart.MoreFollow : 0) | (i > 0 ? SendPart.GoesOn : 0);
        position = this.#records.timed(number, dueMs, topic.id, storeMs, fact, laneMark, bornHost, message);
        const { idStart, idLength } = fact;
        recallHandles.push(this.#sealer.seal(topic.id, number, dueMs, message, idStart, idStart + idLength));
      }
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      // What is in the log of it lacks its last record, so it was never there.
      return refused(error.code, error.message);
    }
    return { ok: true, queueId: 0, firstOffset: 0, storeMs, position, transactionId: "", recallHandles };
  }

  recall(topicId: number, handle: string, now: Now): Recalled {
    return this.#recaller.recall(topicId, handle, now);
  }

  /** Releases what is due. */
  advance(now: Now): void {
    this.#runner.advance(now);
  }

  nextTimerMs(): number {
    return this.#runner.nextTimerMs();
  }

  carryBefore(position: number): Carried {
    return this.#carrier.carryBefore(position);
  }
}

function describe(ms: number): string {
  if (ms >= 172_800_000) return `${Math.floor(ms / 86_400_000)} days`;
  return ms >= 7_200_000 ? `${Math.floor(ms / 3_600_000)} hours` : `${Math.floor(ms / 1_000)} seconds`;
}

function refused(code: Code, message: string): Refused {
  return { ok: false, code, message };
}
