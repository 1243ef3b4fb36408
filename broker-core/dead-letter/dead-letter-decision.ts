import { type LogReader, RecordType } from "../commit-log/log.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type DeadLetterRecord, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { messageId } from "../record/message-record.ts";
import { holderPosition, storedMessageOf } from "../record/stored-message.ts";
import { StorageError } from "../storage/storage.ts";
import type { Topic } from "../topic/topic.ts";

/**
 * The record that moves a held message to the end of its group's dead-letter topic. A dead letter that dies again (of a
 * group that reads a dead-letter topic) points at the message itself, not at the chain.
 */
export function decideDeadLetter(
  tables: BrokerTables,
  log: LogReader,
  subscription: Subscription,
  slot: number,
  deadTopic: Topic,
  reason: number,
  wallMs: number,
): DeadLetterRecord {
  const { leases, queues, holders, lanes } = tables;
  const queueId = leases.queueId[slot]!;
  const entry = queues.entry(subscription.topic.queues[queueId]!, leases.offset[slot]!);
  const original = readOriginal(log, queues.position(entry));
  const deadQueueId = 0;
  return {
    groupId: subscription.group.id,
    topicId: subscription.topic.id,
    queueId,
    reason,
    offset: leases.offset[slot]!,
    generation: leases.generation[slot]!,
    deadTopicId: deadTopic.id,
    deadQueueId,
    deadOffset: queues.endOffset(deadTopic.queues[deadQueueId]!),
    attempts: leases.attempt[slot]!,
    messagePosition: original.position,
    deadMs: wallMs,
    firstPopMs: leases.firstPopMs[slot]!,
    messageBytes: queues.bytes(entry),
    tagHash: queues.tagHash(entry),
    groupHash: queues.groupHash(entry),
    originTopic: subscription.topic.name,
    messageId: original.messageId,
    lastHolder: holders.text(leases.holder[slot]!),
    lane: lanes.text(leases.lane[slot]!),
  };
}

/** Where the message lies and its id; damaged bytes cost the id, not the move. */
function readOriginal(log: LogReader, position: number): { readonly position: number; readonly messageId: string } {
  let holder = position;
  try {
    const record = log.read(position);
    if (record.type === RecordType.DeadLetter) {
      const dead = readDeadLetterRecord(record.body, 0, record.body.length);
      return { position: dead.messagePosition, messageId: dead.messageId };
    }
    holder = holderPosition(record);
    const { body, start } = storedMessageOf(log, record);
    return { position: holder, messageId: messageId(body, start) };
  } catch (error) {
    if (error instanceof StorageError) return { position: holder, messageId: "" };
    throw error;
  }
}
