import { ChangeKind } from "../broker-port.ts";
import { type LogRecord, RecordType } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import * as ack from "../record/ack-record.ts";
import { changeReadBlank, readChangeRecord } from "../record/change-record.ts";
import { deadLetterReasonText, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { readShortText } from "../record/fixed-bytes.ts";
import * as pop from "../record/pop-record.ts";
import { readRedriveRecord } from "../record/redrive-record.ts";

/** Something that happened to a message in a group. */
export interface MessageEvent {
  /** Wall time. */
  readonly atMs: number;
  readonly event: string;
  readonly group: string;
  readonly attempt?: number;
  readonly holder?: string;
  /** Of the consumer. */
  readonly lane?: string;
  /** Of the message, where a rule named one: another than the consumer's where base stood in for it. */
  readonly owner?: string;
  /** How long the message is invisible from then on. */
  readonly invisibleMs?: number;
  readonly reason?: string;
  readonly position: number;
}

export interface Place {
  readonly topicId: number;
  readonly queueId: number;
  readonly offset: number;
}

const popRead = pop.popReadBlank();
const changeRead = changeReadBlank();

const changeNames: Readonly<Record<number, string>> = {
  [ChangeKind.Renew]: "invisible duration changed by its holder",
  [ChangeKind.Extend]: "invisible duration extended by the sidecar",
  [ChangeKind.HandBack]: "handed back: it was never delivered",
  [ChangeKind.Suspend]: "suspended by its holder",
};

/** What a record says of the message at `place`; undefined when it is about others. */
export function eventOf(tables: BrokerTables, record: LogRecord, place: Place): MessageEvent | undefined {
  const { body, position } = record;
  const group = (id: number): string => tables.groups.byId(id)?.name ?? `group ${id}`;
  switch (record.type) {
    case RecordType.Pop: {
      pop.readPopRecord(body, 0, body.length, popRead);
      if (popRead.topicId !== place.topicId) return undefined;
      for (let i = 0, at = popRead.deliveriesAt; i < popRead.deliveryCount; i++, at += pop.popDeliveryBytes) {
        if (pop.popEntryQueueId(body, at) !== place.queueId || pop.popEntryOffset(body, at) !== place.offset) continue;
        return {
          ...{ atMs: popRead.wallMs, event: "handed out", group: group(popRead.groupId), position },
          attempt: pop.popDeliveryAttempt(body, at),
          holder: readShortText(body, popRead.clientAt),
          lane: readShortText(body, popRead.laneAt),
          ...(popRead.ownerAt < 0 ? {} : { owner: readShortText(body, popRead.ownerAt) }),
          invisibleMs: popRead.invisibleMs,
        };
      }
      return undefined;
    }
    case RecordType.Ack: {
      if (ack.ackTopicId(body, 0) !== place.topicId) return undefined;
      const count = ack.ackCount(body, 0);
      for (let i = 0, at = ack.ackFixedBytes; i < count; i++, at += ack.ackEntryBytes) {
        if (ack.ackQueueId(body, at) !== place.queueId || ack.ackOffset(body, at) !== place.offset) continue;
        return { atMs: body.readDoubleLE(8), event: "acknowledged", group: group(ack.ackGroupId(body, 0)), position };
      }
      return undefined;
    }
    case RecordType.Change: {
      readChangeRecord(body, 0, body.length, changeRead);
      const { topicId, queueId, offset, kind, wallMs, groupId, attempt, invisibleMs } = changeRead;
      if (topicId !== place.topicId || queueId !== place.queueId || offset !== place.offset) return undefined;
      const isNack = kind === ChangeKind.Renew && invisibleMs === 0;
      const event = isNack ? "given back by its holder" : (changeNames[kind] ?? `changed (kind ${kind})`);
      return { atMs: wallMs, event, group: group(groupId), attempt, invisibleMs, position };
    }
    case RecordType.DeadLetter: {
      const dead = readDeadLetterRecord(body, 0, body.length);
      if (dead.topicId !== place.topicId || dead.queueId !== place.queueId || dead.offset !== place.offset)
        return undefined;
      return {
        ...{ atMs: dead.deadMs, event: "moved to the dead-letter queue", group: group(dead.groupId), position },
        ...{ attempt: dead.attempts, holder: dead.lastHolder, lane: dead.lane },
        reason: deadLetterReasonText(dead.reason),
      };
    }
    case RecordType.Redrive: {
      const { topicId, queueId, offset, wallMs, groupId } = readRedriveRecord(body, 0, body.length);
      if (topicId !== place.topicId || queueId !== place.queueId || offset !== place.offset) return undefined;
      return { atMs: wallMs, event: "redriven from the dead-letter queue", group: group(groupId), position };
    }
    default:
      return undefined;
  }
}
