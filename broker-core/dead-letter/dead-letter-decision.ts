import { type LogReader, RecordType } from "../commit-log/log.ts";
import { EntryFlag } from "../consume-queue/consume-queue-table.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type DeadLetterRecord, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { messageId } from "../record/message-record.ts";
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
  const original = readOriginal(log, queues.position(entry), queues.flags(entry));
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
function readOriginal(
  log: LogReader,
  position: number,
  flags: number,
): { readonly position: number; readonly messageId: string } {
  try {
    const record = log.read(position);
    if ((flags & EntryFlag.DeadLetter) !== 0) {
      const dead = readDeadLetterRecord(record.body, 0, record.body.length);
      return { position: dead.messagePosition, messageId: dead.messageId };
    }
    return { position, messageId: record.type === RecordType.Message ? messageId(record.body, 0) : "" };
  } catch (error) {
    if (error instanceof StorageError) return { position, messageId: "" };
    throw error;
  }
}
