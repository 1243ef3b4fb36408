import { KeyCursor, MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { type LogRecord, RecordType } from "../commit-log/log.ts";
import { hashBytes } from "../consume-queue/text-hash.ts";
import * as ack from "../record/ack-record.ts";
import { changeReadBlank, readChangeRecord } from "../record/change-record.ts";
import { readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { messageBodyStart, messageOffset, messageQueueId, messageTopicId } from "../record/message-record.ts";
import * as pop from "../record/pop-record.ts";
import { recallMessagePosition } from "../record/recall-record.ts";
import { readRedriveRecord } from "../record/redrive-record.ts";
import { readReleaseRecord } from "../record/release-record.ts";
import { readRollbackRecord } from "../record/rollback-record.ts";
import { holdsMessage, storedMessageOf } from "../record/stored-message.ts";

/**
 * What look-ups find records by: 32-bit hashes of a message id, of a message key, of a place (topic, queue, offset), and of a log
 * position that a record points at. Two things may share a hash: whoever looks up reads the record and compares.
 */
export const idKey = (id: Uint8Array): number => mixed(0x1d, hashBytes(id, 0, id.length));
export const messageKeyKey = (key: Uint8Array): number => mixed(0x4e, hashBytes(key, 0, key.length));
export const placeKey = (topicId: number, queueId: number, offset: number): number =>
  mixed(mixed(0x91 ^ (queueId << 8), topicId), mixed(offset % 0x1_0000_0000, offset / 0x1_0000_0000));
export const targetKey = (position: number): number =>
  mixed(0x7a, mixed(position % 0x1_0000_0000, position / 0x1_0000_0000));

const scan = new MessageScan();
const cursor = new KeyCursor();
const popRead = pop.popReadBlank();
const changeRead = changeReadBlank();

/** Calls `take` with every key by which a record can be found. Records of no message have none. */
export function eachKey(record: LogRecord, take: (key: number) => void): void {
  const { body } = record;
  switch (record.type) {
    case RecordType.Pop:
      pop.readPopRecord(body, 0, body.length, popRead);
      for (let i = 0, at = popRead.deliveriesAt; i < popRead.deliveryCount; i++, at += pop.popDeliveryBytes) {
        take(placeKey(popRead.topicId, pop.popEntryQueueId(body, at), pop.popEntryOffset(body, at)));
      }
      return;
    case RecordType.Ack: {
      ack.expectAckRecord(body, 0, body.length);
      const count = ack.ackCount(body, 0);
      for (let i = 0, at = ack.ackFixedBytes; i < count; i++, at += ack.ackEntryBytes) {
        take(placeKey(ack.ackTopicId(body, 0), ack.ackQueueId(body, at), ack.ackOffset(body, at)));
      }
      return;
    }
    case RecordType.Change:
      readChangeRecord(body, 0, body.length, changeRead);
      take(placeKey(changeRead.topicId, changeRead.queueId, changeRead.offset));
      return;
    case RecordType.DeadLetter: {
      const dead = readDeadLetterRecord(body, 0, body.length);
      take(placeKey(dead.topicId, dead.queueId, dead.offset));
      take(placeKey(dead.deadTopicId, dead.deadQueueId, dead.deadOffset));
      return;
    }
    case RecordType.Redrive: {
      const redrive = readRedriveRecord(body, 0, body.length);
      take(placeKey(redrive.topicId, redrive.queueId, redrive.offset));
      return;
    }
    case RecordType.Rollback:
      take(targetKey(readRollbackRecord(body, 0, body.length).messagePosition));
      return;
    case RecordType.Recall:
      take(targetKey(recallMessagePosition(body, 0)));
      return;
    case RecordType.Commit:
    case RecordType.Due: {
      const release = readReleaseRecord(body, 0, body.length);
      take(targetKey(release.messagePosition));
      take(placeKey(release.topicId, release.queueId, release.offset));
      if (holdsMessage(record)) eachMessageKey(record, take);
      return;
    }
    default:
      if (holdsMessage(record)) eachMessageKey(record, take);
  }
}

function eachMessageKey(record: LogRecord, take: (key: number) => void): void {
  const { body, start } = storedMessageOf(noLog, record);
  if (record.type === RecordType.Message) {
    take(placeKey(messageTopicId(body, start), messageQueueId(body, start), messageOffset(body, start)));
  }
  try {
    scanMessage(body, messageBodyStart(body, start), body.length, scan);
  } catch (error) {
    // It was readable when it was stored; a foreign version's message is found by its place alone.
    if (error instanceof MeshError) return;
    throw error;
  }
  if (scan.messageIdEnd > scan.messageIdStart) {
    take(mixed(0x1d, hashBytes(scan.bytes, scan.messageIdStart, scan.messageIdEnd)));
  }
  if (scan.keyCount === 0) return;
  cursor.begin(scan);
  while (cursor.next()) {
    if (cursor.keyEnd > cursor.keyStart) take(mixed(0x4e, hashBytes(scan.bytes, cursor.keyStart, cursor.keyEnd)));
  }
}

const noLog = {
  read(): never {
    throw new Error("a record that holds its message points nowhere");
  },
};

/** Mixes two 32-bit values; the result is stored in index files and must not change. */
function mixed(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ b;
  h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13), 0x27d4eb2f);
  return (h ^ (h >>> 15)) >>> 0;
}
