import { Code } from "../../proto/code.ts";
import {
  type DeadLetterOrigin,
  type Now,
  noPosition,
  type OffsetCall,
  type OffsetFound,
  type PullCall,
  type Pulled,
  type PulledMessage,
  type Refused,
} from "../broker-port.ts";
import type { LogReader } from "../commit-log/log.ts";
import { RecordType } from "../commit-log/log.ts";
import type { LogPlaces } from "../commit-log/log-places.ts";
import { isUnreadable } from "../commit-log/unreadable.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { entryMatches, type ReadCount } from "../filter/entry-filter.ts";
import { MessageFilters } from "../filter/message-filter.ts";
import { offsetAtTime } from "../operation/group-reset.ts";
import { storeMsAt } from "../operation/stored-message.ts";
import { placesCount, queuePlaces } from "../pop/next-places.ts";
import { batchMax, scanEntriesMax, scanReadBytesMax, scanReadsMax } from "../pop/pop-plan.ts";
import type { Receiver } from "../pop/receiver.ts";
import { originOfCopy, originText } from "../record/copy-origin.ts";
import { deadLetterReasonText, readDeadLetterRecord } from "../record/dead-letter-record.ts";
import { messageBodyStart, messageBornHost, messageLaneMark } from "../record/message-record.ts";
import { readStoredMessage } from "../record/stored-message.ts";

/** Bytes of messages in one answer, as of a receive. */
const answerBytesMax = 8 * 1024 * 1024;

/**
 * Reads queues by offset and keeps the offsets of groups. A pull grants no lease and moves no position: who pulls keeps count
 * itself. A group's offset in a queue is its position: where its pops go on, too.
 */
export class Puller {
  readonly #tables: BrokerTables;
  readonly #log: LogReader;
  readonly #journal: Journal;
  readonly #filters = new MessageFilters();
  readonly #receiver: Receiver;

  constructor(tables: BrokerTables, log: LogReader, journal: Journal, receiver: Receiver) {
    this.#tables = tables;
    this.#log = log;
    this.#journal = journal;
    this.#receiver = receiver;
  }

  pull(call: PullCall): Pulled {
    const queue = this.#queueOf(call.topicId, call.queueId);
    if (typeof queue !== "number") return queue;
    const group = this.#tables.groups.byId(call.groupId);
    if (group === undefined) return groupNotOpen(call.groupId);
    const filter = this.#filters.filter(group.namespace, call.filterType, call.filter);
    if ("ok" in filter) return filter;
    const { queues } = this.#tables;
    const end = queues.visibleEnd(queue);
    const outside = this.#outside(queue, call.queueId, call.offset);
    if (outside !== undefined) return outside;
    const messages: PulledMessage[] = [];
    const count: ReadCount = { reads: 0, readBytes: 0 };
    const batch = Math.min(Math.max(call.batch, 1), batchMax);
    const bytesMax = Math.min(call.bytesMax || answerBytesMax, answerBytesMax);
    let offset = call.offset;
    let bytes = 0;
    let scans = 0;
    for (; offset < end && messages.length < batch; offset++) {
      if (scans++ === scanEntriesMax || count.reads >= scanReadsMax || count.readBytes >= scanReadBytesMax) break;
      const entry = queues.entry(queue, offset);
      if (!entryMatches(queues, this.#log, filter, entry, count)) continue;
      if (messages.length > 0 && bytes + queues.bytes(entry) > bytesMax) break;
      const message = this.#read(queues.position(entry), call.topicId, call.queueId, offset);
      // Damaged bytes: nothing to give, and nobody to give it to again. The log has reported them.
      if (message === undefined) continue;
      messages.push(message);
      bytes += queues.bytes(entry);
    }
    return { ok: true, messages, nextOffset: offset, isAtEnd: offset >= end };
  }

  /** Where a pull would look now. */
  places(call: PullCall, into: LogPlaces): void {
    const queue = this.#tables.topics.byId(call.topicId)?.queues[call.queueId];
    if (queue === undefined) return;
    queuePlaces(this.#tables.queues, queue, call.offset, placesCount(call), into);
  }

  /** The first offset held, the next to be written, or the first message of a time. */
  queryOffset(call: OffsetCall): OffsetFound {
    const queue = this.#queueOf(call.topicId, call.queueId);
    if (typeof queue !== "number") return queue;
    const { queues } = this.#tables;
    switch (call.policy) {
      case "begin":
        return { ok: true, offset: queues.beginOffset(queue), position: noPosition };
      case "end":
        return { ok: true, offset: queues.visibleEnd(queue), position: noPosition };
      case "time":
        return { ok: true, offset: offsetAtTime(queues, this.#log, queue, call.value), position: noPosition };
      case "group":
        return this.#groupOffset(call);
    }
  }

  /** Sets a group's offset in one queue; what it holds there is forgotten, as of any reset. */
  updateOffset(call: OffsetCall, now: Now): OffsetFound {
    const queue = this.#queueOf(call.topicId, call.queueId);
    if (typeof queue !== "number") return queue;
    if (this.#tables.groups.byId(call.groupId) === undefined) return groupNotOpen(call.groupId);
    const outside = this.#outside(queue, call.queueId, call.value);
    if (outside !== undefined) return outside;
    const { topicId, groupId, queueId, value } = call;
    this.#receiver.open(this.#tables.topics.byId(topicId)!, groupId, now);
    const position = this.#journal.cursorReset({
      ...{ groupId, topicId, wallMs: now.wallMs },
      queues: [{ queueId, offset: value }],
    });
    return { ok: true, offset: value, position };
  }

  #groupOffset({ topicId, groupId, queueId }: OffsetCall): OffsetFound {
    const group = this.#tables.groups.byId(groupId);
    if (group === undefined) return groupNotOpen(groupId);
    const subscription = this.#tables.subscription(groupId, topicId);
    let position = subscription?.cursors[queueId];
    // Of several lanes the one that is least far.
    for (const { cursors } of subscription?.lanes?.all() ?? []) position = Math.min(position!, cursors[queueId]!);
    if (position !== undefined) return { ok: true, offset: position, position: noPosition };
    const message = `group ${group.name} has no offset there: it has not read the topic yet`;
    return { ok: false, code: Code.OffsetNotFound, message };
  }

  #queueOf(topicId: number, queueId: number): number | Refused {
    const topic = this.#tables.topics.byId(topicId);
    if (topic === undefined) {
      return { ok: false, code: Code.TopicNotFound, message: `topic ${topicId} is not open; open it again` };
    }
    const queue = topic.queues[queueId];
    if (queue !== undefined) return queue;
    const message = `topic ${topic.name} has the queues 0 to ${topic.queues.length - 1} here, and no queue ${queueId}`;
    return { ok: false, code: Code.BadRequest, message };
  }

  #outside(queue: number, queueId: number, offset: number): Refused | undefined {
    const { queues } = this.#tables;
    const begin = queues.beginOffset(queue);
    const end = queues.visibleEnd(queue);
    if (offset >= begin && offset <= end) return undefined;
    const message = `queue ${queueId} holds the offsets ${begin} to ${end - 1}, the next is ${end}; ${offset} is outside`;
    return { ok: false, code: Code.IllegalOffset, message };
  }

  #read(position: number, topicId: number, queueId: number, offset: number): PulledMessage | undefined {
    try {
      const deadLetter = this.#deadLetterAt(position);
      const storeMs = storeMsAt(this.#log, position) ?? 0;
      const mirrorOf = this.#mirrorOf(position, topicId);
      const { body, start } = readStoredMessage(this.#log, position);
      return {
        ...{ queueId, offset, storeMs, deadLetter },
        mirrorOf,
        bytes: Buffer.from(body.subarray(messageBodyStart(body, start))),
        bornHost: messageBornHost(body, start),
        laneMark: messageLaneMark(body, start),
      };
    } catch (error) {
      if (isUnreadable(error)) return undefined;
      throw error;
    }
  }

  /** Place of the message that the one read is the copy of. */
  #mirrorOf(position: number, topicId: number): string {
    const origin = originOfCopy(this.#log.read(position), topicId);
    return origin === undefined ? "" : originText(this.#tables.topics.byId(origin.topicId)?.name ?? "", origin);
  }

  #deadLetterAt(position: number): DeadLetterOrigin | undefined {
    const { type, body } = this.#log.read(position);
    if (type !== RecordType.DeadLetter) return undefined;
    const dead = readDeadLetterRecord(body, 0, body.length);
    return {
      ...{ topic: dead.originTopic, messageId: dead.messageId, queueId: dead.queueId, offset: dead.offset },
      ...{ attempts: dead.attempts, reason: deadLetterReasonText(dead.reason) },
      ...{ lastHolder: dead.lastHolder, deadMs: dead.deadMs },
    };
  }
}

function groupNotOpen(groupId: number): Refused {
  return { ok: false, code: Code.ConsumerGroupNotFound, message: `group ${groupId} is not open; open it again` };
}
