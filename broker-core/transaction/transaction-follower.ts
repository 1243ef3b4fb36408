import type { BrokerTables } from "../dispatch/broker-tables.ts";
import * as check from "../record/check-back-record.ts";
import { grantedBoot, grantedMonotonicMs, grantedWallMs } from "../record/granted-at.ts";
import * as half from "../record/half-message-record.ts";
import { messageBodyStart, messageTagHash, messageTopicId } from "../record/message-record.ts";
import { RecordFault } from "../record/record-fault.ts";
import type { ReleaseRecord } from "../record/release-record.ts";
import { RollbackReason, readRollbackRecord } from "../record/rollback-record.ts";
import type { Topic } from "../topic/topic.ts";
import { Resolution } from "./resolution-ring.ts";
import { dueAfterReboot, storedAfterReboot } from "./transaction-clock.ts";

/** Follows the records of transactions into the tables: the dispatcher's part for them. */
export class TransactionFollower {
  readonly #tables: BrokerTables;

  constructor(tables: BrokerTables) {
    this.#tables = tables;
  }

  half(position: number, bytes: Buffer, start: number, end: number): void {
    half.expectHalfRecord(start, end);
    const { transactions, topics } = this.#tables;
    const number = half.halfNumber(bytes, start);
    const { resolutions } = transactions;
    if (number !== resolutions.nextNumber) {
      throw new RecordFault(`transaction ${number} follows ${resolutions.nextNumber - 1} at log position ${position}`);
    }
    const at = half.halfMessageStart(start);
    const topic = topics.byId(messageTopicId(bytes, at));
    if (topic === undefined) throw new RecordFault(`transaction ${number} is of an unknown topic`);
    const run = half.halfRun(bytes, start);
    resolutions.begin(run);
    const slot = transactions.add(number, topic.id);
    transactions.run[slot] = run;
    transactions.position[slot] = position;
    transactions.bytes[slot] = end - messageBodyStart(bytes, at);
    transactions.tagHash[slot] = messageTagHash(bytes, at);
    transactions.checks[slot] = 0;
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

  checkBack(bytes: Buffer, start: number, end: number): void {
    check.expectCheckBack(start, end);
    const slot = this.#open(check.checkBackNumber(bytes, start), "a check-back");
    this.#tables.transactions.checks[slot] = check.checkBackCount(bytes, start);
    this.#schedule(slot, bytes, start + check.checkBackAskedAt, check.checkBackNextMs(bytes, start));
  }

  /** The message was written again and lies elsewhere now. */
  carried(number: number, position: number): void {
    this.#tables.transactions.position[this.#open(number, "a carry")] = position;
  }

  committed(release: ReleaseRecord): void {
    this.#end(this.#open(release.number, "a commit"), Resolution.Committed);
  }

  rolledBack(bytes: Buffer, start: number, end: number): void {
    const { number, reason } = readRollbackRecord(bytes, start, end);
    this.#end(this.#open(number, "a rollback"), resolutionOf(reason));
  }

  /** Their messages go with the topic. */
  topicDropped(topic: Topic): void {
    const { transactions } = this.#tables;
    if (transactions.countOf(topic.id) === 0) return;
    for (const slot of transactions.slotsWhere((at) => transactions.topicId[at] === topic.id)) {
      this.#end(slot, Resolution.TopicGone);
    }
  }

  #schedule(slot: number, bytes: Buffer, at: number, delayMs: number): void {
    const { transactions, transactionTimers, clock } = this.#tables;
    const dueWallMs = grantedWallMs(bytes, at) + delayMs;
    const isOld = grantedBoot(bytes, at) !== clock.boot;
    const dueMs = isOld ? dueAfterReboot(clock, dueWallMs, delayMs) : grantedMonotonicMs(bytes, at) + delayMs;
    transactions.dueMs[slot] = dueMs;
    transactions.dueWallMs[slot] = dueWallMs;
    transactions.delayMs[slot] = delayMs;
    transactions.isOldDue[slot] = isOld ? 1 : 0;
    transactionTimers.set(slot, dueMs);
  }

  #end(slot: number, resolution: Resolution): void {
    const { transactions, transactionTimers } = this.#tables;
    transactionTimers.cancel(slot);
    transactions.resolutions.resolve(transactions.number[slot]!, resolution);
    transactions.remove(slot);
  }

  #open(number: number, what: string): number {
    const slot = this.#tables.transactions.find(number);
    if (slot < 0) throw new RecordFault(`${what} of transaction ${number}, which is not open`);
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
