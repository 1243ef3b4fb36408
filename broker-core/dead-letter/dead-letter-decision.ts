import { type LogReader, type LogWriter, RecordType } from "../commit-log/log.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import { ruleFor } from "../lane/rule-for.ts";
import type { Subscription } from "../pop/subscription.ts";
import { type DeadLetterRecord, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { messageId } from "../record/message-record.ts";
import { holderPosition, storedMessageOf } from "../record/stored-message.ts";
import type { Topic } from "../topic/topic.ts";

/** A dead letter to be written, with the message where it has to carry it. */
export interface DeadLetterDecision {
  readonly record: DeadLetterRecord;
  readonly messageRecord: Uint8Array;
}

const nothing = new Uint8Array(0);

/**
 * The record that moves a held message to the end of its group's dead-letter topic. A dead letter that dies again (of a
 * group that reads a dead-letter topic) points at the message itself, not at the chain.
 */
export function decideDeadLetter(
  tables: BrokerTables,
  log: LogReader & Pick<LogWriter, "youngPosition">,
  subscription: Subscription,
  slot: number,
  deadTopic: Topic,
  reason: number,
  wallMs: number,
): DeadLetterDecision {
  const { leases, queues, holders, lanes } = tables;
  const queueId = leases.queueId[slot]!;
  const entry = queues.entry(subscription.topic.queues[queueId]!, leases.offset[slot]!);
  const { messageBytes, tagHash, groupHash } = {
    messageBytes: queues.bytes(entry),
    tagHash: queues.tagHash(entry),
    groupHash: queues.groupHash(entry),
  };
  const outcome = subscription.topic.laneRules?.outcome(queues.lane(entry));
  const rule = outcome === undefined ? undefined : ruleFor(outcome.set, subscription.group);
  const original = readOriginal(log, queues.position(entry));
  const deadQueueId = 0;
  const record: DeadLetterRecord = {
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
    messageBytes,
    tagHash,
    groupHash,
    originTopic: subscription.topic.name,
    messageId: original.messageId,
    lastHolder: holders.text(leases.holder[slot]!),
    lane:
      subscription.lanes === undefined ? lanes.text(leases.lane[slot]!) : subscription.laneAt(leases.owner[slot]!).lane,
    ...(rule === undefined ? {} : { laneRule: { name: rule.name, number: rule.number } }),
  };
  return { record, messageRecord: original.messageRecord };
}

interface Original {
  /** Of the record that holds the message. */
  readonly position: number;
  readonly messageId: string;
  /** The message, where it lies too far back to be pointed at; else empty. */
  readonly messageRecord: Uint8Array;
}

/** Damaged bytes cost the id, not the move. */
function readOriginal(log: LogReader & Pick<LogWriter, "youngPosition">, position: number): Original {
  let holder = position;
  let id = "";
  try {
    const record = log.read(position);
    holder = holderPosition(record);
    if (record.type === RecordType.DeadLetter) id = readDeadLetterRecord(record.body, 0, record.body.length).messageId;
    const isYoung = holder >= log.youngPosition;
    if (isYoung && id !== "") return { position: holder, messageId: id, messageRecord: nothing };
    const { body, start } = storedMessageOf(log, record);
    const messageRecord = isYoung ? nothing : Buffer.from(body.subarray(start));
    return { position: holder, messageId: id || messageId(body, start), messageRecord };
  } catch (error) {
    if (isUnreadable(error)) return { position: holder, messageId: id, messageRecord: nothing };
    throw error;
  }
}
