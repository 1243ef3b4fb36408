import { Code } from "../../proto/code.ts";
import type { Now, Recalled, Refused } from "../broker-port.ts";
import type { LogReader, LogWriter } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { messageId } from "../record/message-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";
import type { Carrier } from "./carrier.ts";
import { type RecallHandleSealer, recallHandleBlank } from "./recall-handle.ts";
import type { TimedJournal } from "./timed-journal.ts";
import { none } from "./waiting-table.ts";

/**
 * Takes timed messages back. Each ends in exactly one way, by the record that comes first: Due or Recall. Recalling again is
 * answered OK again as long as the message cannot have been released meanwhile.
 */
export class Recaller {
  readonly #tables: BrokerTables;
  readonly #log: LogReader & LogWriter;
  readonly #journal: Journal;
  readonly #records: TimedJournal;
  readonly #sealer: RecallHandleSealer;
  readonly #carrier: Carrier;
  readonly #handle = recallHandleBlank();

  constructor(
    tables: BrokerTables,
    log: LogReader & LogWriter,
    journal: Journal,
    records: TimedJournal,
    sealer: RecallHandleSealer,
    carrier: Carrier,
  ) {
    this.#tables = tables;
    this.#log = log;
    this.#journal = journal;
    this.#records = records;
    this.#sealer = sealer;
    this.#carrier = carrier;
  }

  /** Throws `MeshError` when the log takes nothing; nothing has changed then. */
  recall(topicId: number, text: string, now: Now): Recalled {
    const { topics, waiting } = this.#tables;
    const topic = topics.byId(topicId);
    if (topic === undefined) return refused(Code.TopicNotFound, `topic ${topicId} is not open; open it again`);
    const handle = this.#handle;
    const kind = this.#sealer.open(text, handle);
    if (kind !== "ours") return refused(Code.BadRequest, noHandleTexts[kind]);
    if (handle.topicId !== topicId) {
      const other = topics.byId(handle.topicId)?.name ?? "a topic that was deleted";
      return refused(
        Code.BadRequest,
        `the recall handle is of ${other}, not of ${topic.name}; name the topic it was sent to`,
      );
    }
    const row = waiting.find(handle.number);
    if (row !== none && this.#isOf(row)) {
      const position = this.#records.recall(handle.number, topicId, now.wallMs, waiting.position(row));
      return { ok: true, messageId: handle.messageId, position };
    }
    if (handle.dueMs > waiting.releasedThroughMs) {
      return { ok: true, messageId: handle.messageId, position: this.#journal.lastPosition };
    }
    const due = new Date(handle.dueMs).toISOString();
    const over = `message ${handle.messageId} was due at ${due} and does not wait any more: it was delivered, or recalled before`;
    return refused(Code.Forbidden, over);
  }

  /**
   * Whether the handle means this very message. With `--flush async` a power cut can take a message whose handle a client
   * holds, and its number is given out again.
   */
  #isOf(row: number): boolean {
    const { waiting } = this.#tables;
    const handle = this.#handle;
    if (waiting.topicId(row) !== handle.topicId || waiting.dueMs(row) !== handle.dueMs) return false;
    let position: number | undefined = waiting.position(row);
    if (position >= this.#log.writtenPosition) {
      // Not written yet: carried in this very turn, or so new that nobody was given its handle.
      position = this.#carrier.originOf(handle.number);
      if (position === undefined) return false;
    }
    try {
      const { body, start } = readStoredMessage(this.#log, position);
      return isIdOf(handle.messageId, messageId(body, start));
    } catch (error) {
      if (isUnreadable(error)) return true;
      throw error;
    }
  }
}

/** A handle has room for 255 bytes of an id. */
function isIdOf(ofHandle: string, id: string): boolean {
  return ofHandle === id || (Buffer.byteLength(id) > 255 && id.startsWith(ofHandle.slice(0, 60)));
}

const noHandleTexts = {
  malformed: "this is no recall handle of this mesh; use the one that the send was answered with, unchanged",
  foreign: "the recall handle is of another broker; use the one that the send was answered with, unchanged",
  forged: "the recall handle's seal does not match; use the one that the send was answered with, unchanged",
} as const;

function refused(code: Code, message: string): Refused {
  return { ok: false, code, message };
}
