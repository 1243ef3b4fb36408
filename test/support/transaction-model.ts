import assert from "node:assert/strict";
import type { GivenUpTransaction } from "../../broker-core/broker-port.ts";
import { readReleaseRecord } from "../../broker-core/record/release-record.ts";
import { rebootGraceMs } from "../../broker-core/transaction/transaction-clock.ts";
import type { CheckPolicy } from "../../broker-core/transaction/transaction-coordinator.ts";
import { Code } from "../../proto/code.ts";
import type { BrokerFixture, MessageParts } from "./broker-fixture.ts";

/** Short, so that a random history meets every end of a transaction. */
export const modelCheckPolicy: CheckPolicy = {
  firstCheckMs: 5_000,
  checkIntervalMs: 8_000,
  checksMax: 3,
  ageMsMax: 150_000,
};

/** `asked`: questions to producers. `endedAgain`: ends that changed nothing. */
export const transactionCountsBlank = { halves: 0, committed: 0, rolledBack: 0, asked: 0, givenUp: 0, endedAgain: 0 };

export interface ModelTransaction {
  readonly transactionId: string;
  readonly messageId: string;
  readonly tag: string;
  /** "gone": with its topic, while it was open. */
  state: "open" | "committed" | "rolled back" | "gone";
  checks: number;
  storedMs: number;
  readonly storedWallMs: number;
  isOldStored: boolean;
  dueMs: number;
  dueWallMs: number;
  delayMs: number;
  isOldDue: boolean;
}

/**
 * What the broker promises about transactions, beside `BrokerRun`, which keeps and rolls back the list of them with the rest of
 * what the log knows.
 */
export class TransactionModel {
  readonly #real: BrokerFixture;
  readonly #topicName: string;
  /** Every id that was ever given out, also those of half messages that a power cut took. */
  readonly #handed: { readonly transactionId: string; readonly messageId: string; end: number }[] = [];
  /** When the broker looks at an open transaction next: not in the log, begins anew with each start. */
  readonly #lookMs = new Map<string, number>();
  /** Whose half message, or its last copy, is not on disk: neither asked about nor given up. */
  readonly #undurable = new Set<string>();
  #seenAsked = 0;
  #seenGivenUp = 0;
  readonly counts = { ...transactionCountsBlank };

  constructor(real: BrokerFixture, topicName: string) {
    this.#real = real;
    this.#topicName = topicName;
  }

  begin(topicId: number, parts: MessageParts & { readonly id: string; readonly tag: string }): ModelTransaction {
    const real = this.#real;
    const transactionId = real.sendHalf(topicId, parts);
    assert.equal(
      this.#handed.some((handed) => handed.transactionId === transactionId),
      false,
      "an id is given out once",
    );
    this.#handed.push({ transactionId, messageId: parts.id, end: real.log.endPosition });
    const delayMs = parts.recoveryMs ?? modelCheckPolicy.firstCheckMs;
    const dueMs = real.monotonicMs + delayMs;
    this.#lookMs.set(transactionId, dueMs);
    this.#undurable.add(transactionId);
    this.counts.halves++;
    return {
      ...{ transactionId, messageId: parts.id, tag: parts.tag, state: "open", checks: 0 },
      ...{ storedMs: real.monotonicMs, storedWallMs: real.wallMs, isOldStored: false },
      ...{ dueMs, dueWallMs: real.wallMs + delayMs, delayMs, isOldDue: false },
    };
  }

  /**
   * Ends any transaction whose id was ever given out. Returns where the message lies when this was its commit.
   */
  end(
    transactions: readonly ModelTransaction[],
    index: number,
    resolution: "COMMIT" | "ROLLBACK" | "UNKNOWN",
    isAnswer: boolean,
  ): { readonly transaction: ModelTransaction; readonly queueId: number; readonly offset: number } | undefined {
    const handed = this.#handed[index % Math.max(this.#handed.length, 1)];
    if (handed === undefined) return undefined;
    // The send is not answered before its record is written, so nobody has the id yet.
    if (this.#real.log.writtenPosition < handed.end) return undefined;
    const known = transactions.find(({ transactionId }) => transactionId === handed.transactionId);
    const ended = this.#real.end(handed.transactionId, resolution, { topic: this.#topicName, isAnswer });
    const expected = expectedCode(known, resolution);
    assert.equal(
      ended.ok ? Code.Ok : ended.code,
      expected,
      `${resolution} of ${handed.messageId}, which is ${known?.state ?? "lost"}: ${ended.ok ? "OK" : ended.message}`,
    );
    if (known === undefined || known.state !== "open" || resolution === "UNKNOWN") {
      this.counts.endedAgain++;
      return undefined;
    }
    known.state = resolution === "COMMIT" ? "committed" : "rolled back";
    if (resolution === "ROLLBACK") {
      this.counts.rolledBack++;
      return undefined;
    }
    this.counts.committed++;
    assert.ok(ended.ok);
    const { body } = this.#real.log.look(ended.position);
    const { queueId, offset } = readReleaseRecord(body, 0, body.length);
    return { transaction: known, queueId, offset };
  }

  /** A producer comes, or all of them leave. */
  setAskable(transactions: readonly ModelTransaction[], isAskable: boolean): void {
    if (!isAskable) {
      this.#real.askable.delete(this.#topicName);
      return;
    }
    const nowMs = this.#real.monotonicMs;
    if (!this.#real.askable.has(this.#topicName)) {
      for (const { transactionId, state, dueMs } of transactions) {
        if (state === "open" && dueMs <= nowMs) this.#lookMs.set(transactionId, nowMs);
      }
      this.#real.producerCame(this.#topicName);
    }
  }

  /** The broker starts again; after a reboot the monotonic clock is another one. */
  restarted(transactions: readonly ModelTransaction[], isReboot: boolean): void {
    const { monotonicMs, wallMs } = this.#real;
    this.#undurable.clear();
    for (const handed of this.#handed) handed.end = 0;
    for (const transaction of transactions) {
      if (isReboot) transaction.isOldStored = transaction.isOldDue = true;
      if (transaction.isOldStored) {
        transaction.storedMs = monotonicMs - Math.max(wallMs - transaction.storedWallMs, 0);
      }
      if (transaction.isOldDue) {
        const leftMs = Math.min(Math.max(transaction.dueWallMs - wallMs, 0), transaction.delayMs);
        transaction.dueMs = monotonicMs + leftMs;
      }
      this.#lookMs.set(transaction.transactionId, transaction.dueMs);
    }
    this.#startMs = monotonicMs;
  }

  #startMs = 0;

  topicGone(transactions: readonly ModelTransaction[]): void {
    for (const transaction of transactions) if (transaction.state === "open") transaction.state = "gone";
  }

  /** Their messages were written again, and that is not on disk yet. */
  carried(transactions: readonly ModelTransaction[]): void {
    for (const { transactionId, state } of transactions) if (state === "open") this.#undurable.add(transactionId);
  }

  /** Everything is on disk: what waited for that is due. */
  synced(): void {
    for (const transactionId of this.#undurable) {
      if (this.#lookMs.get(transactionId) === Number.POSITIVE_INFINITY) {
        this.#lookMs.set(transactionId, this.#real.monotonicMs);
      }
    }
    this.#undurable.clear();
  }

  /** Time has passed, or somebody came: what is due is asked about or given up. */
  look(transactions: readonly ModelTransaction[]): void {
    const { checkIntervalMs, checksMax } = modelCheckPolicy;
    const real = this.#real;
    const nowMs = real.monotonicMs;
    const asked: string[] = [];
    const givenUp: string[] = [];
    for (const transaction of transactions) {
      const { transactionId, state } = transaction;
      if (state !== "open" || this.#lookMs.get(transactionId)! > nowMs) continue;
      const expiryMs = this.#expiryMs(transaction);
      if (this.#undurable.has(transactionId)) {
        this.#lookMs.set(transactionId, Number.POSITIVE_INFINITY);
      } else if (nowMs >= expiryMs || transaction.checks >= checksMax) {
        transaction.state = "rolled back";
        const reason: GivenUpTransaction["reason"] = nowMs >= expiryMs ? "too old" : "checks exhausted";
        givenUp.push(`${transaction.messageId} ${reason} ${transaction.checks}`);
      } else if (!real.askable.has(this.#topicName)) {
        this.#lookMs.set(transactionId, Math.min(nowMs + checkIntervalMs, expiryMs));
      } else {
        transaction.checks++;
        transaction.dueMs = nowMs + checkIntervalMs;
        transaction.dueWallMs = real.wallMs + checkIntervalMs;
        transaction.delayMs = checkIntervalMs;
        transaction.isOldDue = false;
        this.#lookMs.set(transactionId, transaction.dueMs);
        asked.push(`${transactionId} ${transaction.checks}`);
      }
    }
    const realAsked = real.asked
      .slice(this.#seenAsked)
      .map(({ transactionId, checks }) => `${transactionId} ${checks}`);
    assert.deepEqual(realAsked.sort(), asked.sort(), "questions to producers");
    const realGivenUp = real.givenUp
      .slice(this.#seenGivenUp)
      .map(({ messageId, reason, checks }) => `${messageId} ${reason} ${checks}`);
    assert.deepEqual(realGivenUp.sort(), givenUp.sort(), "transactions given up");
    this.#seenAsked = real.asked.length;
    this.#seenGivenUp = real.givenUp.length;
    this.counts.asked += asked.length;
    this.counts.givenUp += givenUp.length;
  }

  #expiryMs({ storedMs, isOldStored }: ModelTransaction): number {
    const { ageMsMax } = modelCheckPolicy;
    const byAge = storedMs + ageMsMax;
    return isOldStored ? Math.max(byAge, this.#startMs + Math.min(ageMsMax, rebootGraceMs)) : byAge;
  }

  /** After every step. */
  check(transactions: readonly ModelTransaction[]): void {
    const open = transactions.filter(({ state }) => state === "open").length;
    assert.equal(this.#real.openCount(this.#topicName), open, "open transactions");
  }
}

function expectedCode(known: ModelTransaction | undefined, resolution: string): Code {
  if (known === undefined) return Code.InvalidTransactionId;
  if (resolution === "UNKNOWN" || known.state === "open") return Code.Ok;
  if (known.state === "gone") return Code.TopicNotFound;
  return (known.state === "committed") === (resolution === "COMMIT") ? Code.Ok : Code.BadRequest;
}
