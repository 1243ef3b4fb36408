import { type LogReader, type LogRecord, RecordType } from "../commit-log/log.ts";
import { carryMessageStart } from "./carry-record.ts";
import { deadLetterMessagePosition, deadLetterMessageStart } from "./dead-letter-record.ts";
import { halfMessageStart } from "./half-message-record.ts";
import { expectMessageRecord } from "./message-record.ts";
import { RecordFault } from "./record-fault.ts";
import { releaseCarriesMessage, releaseMessagePosition, releaseMessageStart } from "./release-record.ts";
import { timedMessageStart } from "./timed-record.ts";

/** A message record within the record that holds it. */
export interface StoredMessage {
  /** Log position of the holding record. */
  position: number;
  /** Its body. A view that is valid until the next call into the log. */
  body: Buffer;
  /** Where the message record (message-record.ts) begins in it; it reaches to the end of the body. */
  start: number;
}

/** Reused: one message is looked at at a time. */
const found: StoredMessage = { position: 0, body: Buffer.alloc(0), start: 0 };

/** A dead letter points at a holder, a release too; nothing points at either. One step more than that is a bug. */
const stepsMax = 2;

/**
 * The message that the record at `position` stores or points at. The result is valid until the next call. Throws what
 * `isUnreadable` (commit-log/unreadable.ts) knows when bytes on the way are damaged or gone, `RecordFault` when there is no message.
 */
export function readStoredMessage(log: LogReader, position: number): StoredMessage {
  return storedMessageOf(log, log.read(position));
}

/** The same for a record that was read already. */
export function storedMessageOf(log: LogReader, from: LogRecord): StoredMessage {
  let record = from;
  for (let steps = 0; steps <= stepsMax; steps++) {
    const start = messageStart(record.type, record.body);
    if (start >= 0) {
      expectMessageRecord(start, record.body.length);
      found.position = record.position;
      found.body = record.body;
      found.start = start;
      return found;
    }
    const target = messagePosition(record.type, record.body);
    if (target < 0) break;
    record = log.read(target);
  }
  throw new RecordFault(`log position ${from.position} holds no message`);
}

/** Position of the record that holds the message of `record`: its own, or the one it points at. Reads nothing. */
export function holderPosition(record: LogRecord): number {
  const target = messagePosition(record.type, record.body);
  return target < 0 || messageStart(record.type, record.body) >= 0 ? record.position : target;
}

/** Whether the record holds a message itself. */
export function holdsMessage(record: LogRecord): boolean {
  return messageStart(record.type, record.body) >= 0;
}

/** Where a record's own message begins; -1: it has none. */
function messageStart(type: RecordType, body: Buffer): number {
  switch (type) {
    case RecordType.Message:
      return 0;
    case RecordType.TimedMessage:
      return timedMessageStart(0);
    case RecordType.HalfMessage:
      return halfMessageStart(0);
    case RecordType.Carry:
      return carryMessageStart(0);
    case RecordType.Commit:
    case RecordType.Due:
      return releaseCarriesMessage(body, 0) ? releaseMessageStart(body, 0) : -1;
    case RecordType.DeadLetter:
      return deadLetterMessageStart(body, 0);
    default:
      return -1;
  }
}

/** The position a record points at; -1: at none. */
function messagePosition(type: RecordType, body: Buffer): number {
  switch (type) {
    case RecordType.Commit:
    case RecordType.Due:
      return releaseMessagePosition(body, 0);
    case RecordType.DeadLetter:
      return deadLetterMessagePosition(body, 0);
    default:
      return -1;
  }
}
