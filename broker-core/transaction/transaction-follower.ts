import type { BrokerTables } from "../dispatch/broker-tables.ts";
import * as check from "../record/check-back-record.ts";
import { grantedBoot, grantedMonotonicMs, grantedWallMs } from "../record/granted-at.ts";
import * as half from "../record/half-message-record.ts";
import { messageBodyStart, messageStoreMs, messageTagHash, messageTopicId } from "../record/message-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { ReleaseRecord } from "../record/release-record.ts";
import { RollbackReason, readRollbackRecord } from "../record/rollback-record.ts";
import type { TopicOfMessage } from "../timed/timed-follower.ts";
import type { Topic } from "../topic/topic.ts";
import { Resolution } from "./resolution-ring.ts";
import { dueAfterReboot, storedAfterReboot } from "./transaction-clock.ts";

/** Follows the records of transactions into the tables: the dispatcher's part for them. */
export class TransactionFollower {
  readonly #tables: BrokerTables;
  readonly #topicOf: TopicOfMessage;

  constructor(tables: BrokerTables, topicOf: TopicOfMessage) {
    this.#tables = tables;
    this.#topicOf = topicOf;
  }

  half(position: number, bytes: Buffer, start: number, end: number): void {
    half.expectHalfRecord(start, end);
    const { transactions, damage } = this.#tables;
    const number = half.halfNumber(bytes, start);
    const { resolutions } = transactions;
    if (damage.isOpen) resolutions.skipTo(number);
    if (number !== resolutions.nextNumber) {
      throw new RecordFault(`transaction ${number} follows ${resolutions.nextNumber - 1} at log position ${position}`);
    }
    const at = half.halfMessageStart(start);
    const topic = this.#topicOf(messageTopicId(bytes, at), bytes, at, end);
    const run = half.halfRun(bytes, start);
    resolutions.begin(run);
    if (topic === undefined) return;
    const slot = this.#add(number, topic, run, position, bytes, at, end);
    const storedAt = start + half.halfStoredAt;
    const wallMs = grantedWallMs(bytes, storedAt);
    const isOld = grantedBoot(bytes, storedAt) !== this.#tables.clock.boot;
    transactions.storedMs[slot] = isOld
      ? storedAfterReboot(this.#tables.clock, wallMs)
      : grantedMonotonicMs(bytes, storedAt);
    transactions.storedWallMs[slot] = wallMs;
    transactions.isOldStored[slot] = isOld ? 1 : 0;
    this.#schedule(slot, bytes, storedAt, half.halfFirstCheckMs(bytes, start));
  }

  #add(
    number: number,
    topic: Topic,
    run: number,
    position: number,
    bytes: Buffer,
    messageAt: number,
    end: number,
  ): number {
    const { transactions } = this.#tables;
    const slot = transactions.add(number, topic.id);
    transactions.run[slot] = run;
    transactions.position[slot] = position;
    transactions.bytes[slot] = end - messageBodyStart(bytes, messageAt);
    transactions.tagHash[slot] = messageTagHash(bytes, messageAt);
    transactions.checks[slot] = 0;
    return slot;
  }

  checkBack(bytes: Buffer, start: number, end: number): void {
    check.expectCheckBack(start, end);
    const slot = this.#open(check.checkBackNumber(bytes, start), "a check-back");
    if (slot < 0) return;
    this.#tables.transactions.checks[slot] = check.checkBackCount(bytes, start);
    this.#schedule(slot, bytes, start + check.checkBackAskedAt, check.checkBackNextMs(bytes, start));
  }

  /** The message was written again and lies elsewhere now. */
  carried(number: number, position: number, bytes: Buffer, messageAt: number, end: number): void {
    const { transactions, clock } = this.#tables;
    const slot = this.#open(number, "a carry");
    if (slot >= 0) {
      transactions.position[slot] = position;
      return;
    }
    // The half message is lost, and lies here: its producers are asked as if it had come before our boot.
    const { resolutions } = transactions;
    const topic = this.#topicOf(messageTopicId(bytes, messageAt), bytes, messageAt, end);
    if (topic === undefined || number < resolutions.lowNumber) return;
    resolutions.resolve(number, Resolution.None);
    const again = this.#add(number, topic, resolutions.runOf(number), position, bytes, messageAt, end);
    const wallMs = messageStoreMs(bytes, messageAt);
    transactions.storedMs[again] = storedAfterReboot(clock, wallMs);
    transactions.storedWallMs[again] = wallMs;
    transactions.isOldStored[again] = 1;
    this.#due(again, dueAfterReboot(clock, wallMs, 0), wallMs, 0, true);
  }

  committed(release: ReleaseRecord): void {
    this.#end(this.#open(release.number, "a commit"), release.number, Resolution.Committed);
  }

  rolledBack(bytes: Buffer, start: number, end: number): void {
    const { number, reason } = readRollbackRecord(bytes, start, end);
    this.#end(this.#open(number, "a rollback"), number, resolutionOf(reason));
  }

  /** Their messages go with the topic. */
  topicDropped(topic: Topic): void {
    const { transactions } = this.#tables;
    if (transactions.countOf(topic.id) === 0) return;
    for (const slot of transactions.slotsWhere((at) => transactions.topicId[at] === topic.id)) {
      this.#end(slot, transactions.number[slot]!, Resolution.TopicGone);
    }
  }

  #schedule(slot: number, bytes: Buffer, at: number, delayMs: number): void {
    const { clock } = this.#tables;
    const dueWallMs = grantedWallMs(bytes, at) + delayMs;
    const isOld = grantedBoot(bytes, at) !== clock.boot;
    const dueMs = isOld ? dueAfterReboot(clock, dueWallMs, delayMs) : grantedMonotonicMs(bytes, at) + delayMs;
    this.#due(slot, dueMs, dueWallMs, delayMs, isOld);
  }

  #due(slot: number, dueMs: number, dueWallMs: number, delayMs: number, isOld: boolean): void {
    const { transactions, transactionTimers } = this.#tables;
    transactions.dueMs[slot] = dueMs;
    transactions.dueWallMs[slot] = dueWallMs;
    transactions.delayMs[slot] = delayMs;
    transactions.isOldDue[slot] = isOld ? 1 : 0;
    transactionTimers.set(slot, dueMs);
  }

  /** `slot` below 0: its half message is lost, and how it ended is known all the same. */
  #end(slot: number, number: number, resolution: Resolution): void {
    const { transactions, transactionTimers } = this.#tables;
    transactions.resolutions.resolve(number, resolution);
    if (slot < 0) return;
    transactionTimers.cancel(slot);
    transactions.remove(slot);
  }

  /** Below 0: it is lost. */
  #open(number: number, what: string): number {
    const { transactions, damage } = this.#tables;
    const slot = transactions.find(number);
    if (slot < 0 && damage.isOpen) {
      transactions.resolutions.skipTo(number + 1);
      damage.note(`${what} of a transaction whose half message is lost`);
    } else if (slot < 0) throw new RecordFault(`${what} of transaction ${number}, which is not open`);
    return slot;
  }
}

function resolutionOf(reason: RollbackReason): Resolution {
  switch (reason) {
    case RollbackReason.Producer:
      return Resolution.RolledBack;
    case RollbackReason.CheckAnswer:
      return Resolution.RolledBackAfterCheck;
    case RollbackReason.ChecksExhausted:
      return Resolution.ChecksExhausted;
    case RollbackReason.Age:
      return Resolution.TooOld;
    default:
      throw new RecordFault(`a rollback for the reason ${reason}, which is of a newer version of popmesh`);
  }
}
