import { type LogRecord, RecordType } from "../commit-log/log.ts";
import { EntryFlag } from "../consume-queue/index-entry.ts";
import { outcomeOf } from "../lane/message-lane.ts";
import { freeRow } from "../pop/group-locks.ts";
import { none } from "../pop/lease-table.ts";
import { orderHash } from "../pop/order-hash.ts";
import { readDeadLetterRecord } from "../record/dead-letter-record.ts";
import * as message from "../record/message-record.ts";
import { readReleaseRecord } from "../record/release-record.ts";
import type { BrokerTables } from "./broker-tables.ts";
import { type SendPartEntry, SendParts } from "./send-parts.ts";

/**
 * Gives the queues the index entries of records that the state already contains: the index on disk was lost, the rest of the
 * state was not. Every kind of record that `Dispatcher` makes an entry of is known here; others are passed over.
 */
export class IndexRecovery {
  readonly #tables: BrokerTables;
  readonly #sendParts = new SendParts();
  readonly #readRest: () => void;
  /** The log may begin within a send. */
  #isInSend = false;
  #isFinished = false;
  /** Parts of the log are lost that the state contains. */
  #hasLost = false;

  /** `readRest`: reads the part of the state image that refers to the index. */
  constructor(tables: BrokerTables, readRest: () => void) {
    this.#tables = tables;
    this.#readRest = readRest;
  }

  /**
   * To be called with every record of the log, in its order. False: the state does not contain it yet, so the index is whole
   * and the record is to be applied.
   */
  take(record: LogRecord): boolean {
    if (this.#isFinished) return false;
    this.#tables.queues.recoverFrom(record.position);
    if (record.position >= this.#tables.appliedPosition) {
      this.finish(record.position);
      return false;
    }
    this.#recoverFrom(record);
    this.#tables.topics.putAwayIdle(Number.NEGATIVE_INFINITY);
    return true;
  }

  /** A part of the log is lost. False: it lies behind what the state contains, which has to be told. */
  lost(position: number): boolean {
    if (this.#isFinished || position >= this.#tables.appliedPosition) return false;
    this.#tables.queues.recoverFrom(position);
    this.#hasLost = true;
    this.#sendParts.isolate();
    this.#isInSend = true;
    return true;
  }

  /** There are no more records below the position of the state. */
  finish(position: number): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#tables.queues.recoverFrom(position);
    this.#sendParts.judgeAll(this.#recoverPart);
    this.#tables.queues.recovered(position);
    this.#readRest();
    if (this.#hasLost) recountWaiting(this.#tables);
  }

  #recoverFrom({ type, position, body }: LogRecord): void {
    if (type === RecordType.Message) {
      this.#message(position, body);
      return;
    }
    this.#sendParts.forget();
    this.#isInSend = false;
    if (type === RecordType.Commit || type === RecordType.Due) {
      const release = readReleaseRecord(body, 0, body.length);
      const { topicId, queueId, offset, messageBytes, tagHash, groupHash, laneKey, mirror } = release;
      const rules = this.#tables.laneRules.of(topicId);
      const set = rules?.setAt(position);
      const lane = rules === undefined || set === undefined ? 0 : rules.numberOf(set, laneKey);
      const { Reference, Mirror } = EntryFlag;
      this.#recover(topicId, queueId, offset, position, messageBytes, tagHash, groupHash, lane, Reference);
      if (mirror === undefined) return;
      const place = [mirror.topicId, mirror.queueId, mirror.offset] as const;
      this.#recover(...place, position, messageBytes, tagHash, groupHash, 0, Reference | Mirror);
    } else if (type === RecordType.DeadLetter) {
      const dead = readDeadLetterRecord(body, 0, body.length);
      const { deadTopicId, deadQueueId, deadOffset, messageBytes, tagHash, groupHash } = dead;
      this.#recover(
        ...([deadTopicId, deadQueueId, deadOffset, position] as const),
        ...([messageBytes, tagHash, groupHash, 0, EntryFlag.DeadLetter] as const),
      );
    }
  }

  #message(position: number, body: Buffer): void {
    const topicId = message.messageTopicId(body, 0);
    const queueId = message.messageQueueId(body, 0);
    const offset = message.messageOffset(body, 0);
    const messageBytes = body.length - message.messageBodyStart(body, 0);
    const tagHash = message.messageTagHash(body, 0);
    const groupHash = message.messageGroupHash(body, 0);
    const sendPart = message.messageSendPart(body, 0);
    const rules = this.#tables.laneRules.of(topicId);
    const set = rules?.setAt(position);
    const lane = rules === undefined || set === undefined ? 0 : outcomeOf(rules, set, body, 0, body.length);
    const isMirrored = message.messageIsMirrored(body, 0);
    const mirror = [
      isMirrored ? message.mirrorTopicId(body, 0) : 0,
      isMirrored ? message.mirrorQueueId(body, 0) : 0,
      isMirrored ? message.mirrorOffset(body, 0) : 0,
    ] as const;
    if (sendPart === 0) {
      this.#sendParts.forget();
      this.#isInSend = false;
      this.#recover(topicId, queueId, offset, position, messageBytes, tagHash, groupHash, lane, 0);
      if (isMirrored) this.#recover(...mirror, position, messageBytes, tagHash, groupHash, 0, EntryFlag.Mirror);
      return;
    }
    if ((sendPart & message.SendPart.GoesOn) === 0) this.#isInSend = true;
    if (!this.#isInSend) return;
    const isWhole = this.#sendParts.add(
      ...([sendPart, position, topicId, queueId, offset] as const),
      ...([messageBytes, tagHash, groupHash, lane, ...mirror, this.#hasLost] as const),
    );
    if (isWhole) this.#sendParts.take(this.#recoverPart);
  }

  readonly #recoverPart = (part: SendPartEntry): void => {
    const { topicId, queueId, offset, position, messageBytes, tagHash, groupHash, lane } = part;
    this.#recover(topicId, queueId, offset, position, messageBytes, tagHash, groupHash, lane, 0);
    const { mirrorTopicId: id, mirrorQueueId, mirrorOffset } = part;
    if (id !== 0)
      this.#recover(id, mirrorQueueId, mirrorOffset, position, messageBytes, tagHash, groupHash, 0, EntryFlag.Mirror);
  };

  #recover(
    topicId: number,
    queueId: number,
    offset: number,
    position: number,
    bytes: number,
    tagHash: number,
    groupHash: number,
    lane: number,
    flags: number,
  ): void {
    const { topics, queues } = this.#tables;
    // The topic may have been dropped since.
    const queue = topics.byId(topicId)?.queues[queueId];
    if (queue === undefined) return;
    if (this.#hasLost) this.#sendParts.judge(topicId, queueId, offset, true, this.#recoverPart);
    queues.recover(queue, offset, position, bytes, tagHash, groupHash, lane, flags);
  }
}

/** What waits in message groups is counted anew: some of it is lost. */
function recountWaiting({ queues, subscriptions, locks }: BrokerTables): void {
  for (let row = 0; row < locks.end; row++) {
    if (locks.subscription[row] === freeRow || locks.skippedCount[row] === 0) continue;
    const subscription = subscriptions.at(locks.subscription[row]!)!;
    const queueId = locks.queueId[row]!;
    const queue = subscription.topic.queues[queueId]!;
    let count = 0;
    for (let offset = locks.skippedFrom[row]!; offset < subscription.cursors[queueId]!; offset++) {
      if (orderHash(queues, subscription, queues.entry(queue, offset), offset) === locks.groupHash[row]) count++;
    }
    subscription.skipped -= locks.skippedCount[row]! - count;
    locks.skippedCount[row] = count;
    if (count > 0 || locks.holder[row] !== none) continue;
    subscription.turnHeap(locks.owner[row]!).remove(row);
    locks.remove(row);
    subscription.lockCount--;
  }
}
