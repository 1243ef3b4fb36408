import { Code } from "../../proto/code.ts";
import { type ChangeCall, ChangeKind, type Now, noPosition, type Settled, type SettleResult } from "../broker-port.ts";
import type { Burier } from "../dead-letter/burier.ts";
import type { BrokerTables } from "../dispatch/broker-tables.ts";
import type { Journal } from "../dispatch/journal.ts";
import { DeadLetterReason } from "../record/dead-letter-record.ts";
import { judgeFailed } from "./outcome-judge.ts";
import { type ReceiptSealer, receiptBlank } from "./receipt.ts";
import { decideSettle, type SettleDecision, voidReceiptCode } from "./settle-decision.ts";
import type { Subscription } from "./subscription.ts";

/** Longest invisible time of a lease. */
export const invisibleMsMax = 12 * 60 * 60 * 1000;

const okResult: SettleResult = { code: Code.Ok, message: "", receipt: undefined };

/** Settles leases by their receipts: acks, and new ends. */
export class Settler {
  readonly #tables: BrokerTables;
  readonly #journal: Journal;
  readonly #burier: Burier;
  readonly #sealer: ReceiptSealer;
  readonly #receipt = receiptBlank();

  constructor(tables: BrokerTables, journal: Journal, burier: Burier, sealer: ReceiptSealer) {
    this.#tables = tables;
    this.#journal = journal;
    this.#burier = burier;
    this.#sealer = sealer;
  }

  /** `onAcked` is called for each subscription that got room for another message in flight. */
  ack(
    groupId: number,
    receipts: readonly Uint8Array[],
    now: Now,
    onAcked: (subscription: Subscription) => void,
  ): Settled {
    if (this.#tables.groups.byId(groupId) === undefined) return groupNotOpen(groupId);
    const results: SettleResult[] = new Array(receipts.length);
    let isAnyOk = false;
    for (let i = 0; i < receipts.length; i++) {
      const decision = this.#judge(groupId, receipts[i]!, now);
      if (decision.kind === "held") {
        this.#ack(groupId, decision.slot, now, onAcked);
      }
      const isOk = decision.kind === "held" || decision.kind === "done";
      results[i] = isOk ? okResult : voided(decision.message);
      if (isOk) isAnyOk = true;
    }
    return { ok: true, results, position: isAnyOk ? this.#journal.lastPosition : noPosition };
  }

  #ack(groupId: number, slot: number, now: Now, onAcked: (subscription: Subscription) => void): void {
    const { topicId, queueId, offset, generation } = this.#receipt;
    const subscription = this.#tables.subscription(groupId, topicId);
    const lanes = subscription?.lanes;
    // The row goes with the ack.
    const lane = lanes === undefined ? 0 : lanes.consumerLane(this.#tables.lanes.text(this.#tables.leases.lane[slot]!));
    const handedOutMs = this.#tables.leases.isOfEarlierBoot[slot] === 1 ? 0 : this.#tables.leases.handedOutMs[slot]!;
    this.#journal.ack(groupId, topicId, queueId, offset, generation, now);
    lanes?.outcomes.acked(lane, handedOutMs === 0 ? Number.NaN : now.monotonicMs - handedOutMs);
    if (subscription !== undefined) onAcked(subscription);
  }

  /**
   * Moves messages to the dead-letter queue because their holder gives them up. Clients repeat this until it is OK, so a
   * receipt whose message it has settled already is as good as the first time. `onSettled` as `onAcked` of `ack`.
   */
  deadLetter(
    groupId: number,
    receipts: readonly Uint8Array[],
    now: Now,
    onSettled: (subscription: Subscription) => void,
  ): Settled {
    if (this.#tables.groups.byId(groupId) === undefined) return groupNotOpen(groupId);
    const results = receipts.map((text) => {
      const decision = this.#judge(groupId, text, now);
      if (decision.kind === "void") return voided(decision.message);
      const subscription = this.#tables.subscription(groupId, this.#receipt.topicId);
      if (decision.kind === "held" && subscription !== undefined) {
        this.#burier.bury(subscription, decision.slot, DeadLetterReason.Forwarded, now);
        onSettled(subscription);
      }
      return okResult;
    });
    const isAnyOk = results.some(({ code }) => code === Code.Ok);
    return { ok: true, results, position: isAnyOk ? this.#journal.lastPosition : noPosition };
  }

  change(groupId: number, changes: readonly ChangeCall[], now: Now): Settled {
    if (this.#tables.groups.byId(groupId) === undefined) return groupNotOpen(groupId);
    const results = changes.map((change) => this.#change(groupId, change, now));
    const isAnyOk = results.some(({ code }) => code === Code.Ok);
    return { ok: true, results, position: isAnyOk ? this.#journal.lastPosition : noPosition };
  }

  #change(groupId: number, { receipt: text, kind, invisibleMs: wantedMs }: ChangeCall, now: Now): SettleResult {
    if (!isChangeKind(kind)) {
      return { code: Code.BadRequest, message: `change kind ${kind} is unknown to this broker`, receipt: undefined };
    }
    const invisibleMs = kind === ChangeKind.HandBack ? 0 : wantedMs;
    if (!(invisibleMs >= 0 && invisibleMs <= invisibleMsMax)) {
      const message = `the invisible duration is 0 to ${invisibleMsMax} ms; this one is ${invisibleMs}`;
      return { code: Code.IllegalInvisibleTime, message, receipt: undefined };
    }
    const decision = this.#judge(groupId, text, now);
    if (decision.kind === "void" || decision.kind === "dead") return voided(decision.message);
    if (decision.kind === "done") return voided("the message is already acknowledged");
    const { leases } = this.#tables;
    const { slot } = decision;
    if (kind === ChangeKind.HandBack && leases.copies[slot]! > 0) {
      // The attempt was repeated, and this answer to it reached nobody; another one may have: whoever got that holds it.
      leases.copies[slot]!--;
      return okResult;
    }
    const attempt = leases.attempt[slot]!;
    const takesBack =
      (kind === ChangeKind.HandBack || kind === ChangeKind.Suspend) && leases.isUncounted[slot] === 0 && attempt > 0;
    const receipt = this.#receipt;
    const { topicId, queueId, offset } = receipt;
    // An extension keeps the receipt the client holds; every other change voids it.
    if (kind !== ChangeKind.Extend) {
      receipt.generation = this.#tables.nextGeneration;
      receipt.run = this.#journal.run;
    }
    const newAttempt = takesBack ? attempt - 1 : attempt;
    const endMs = leases.endMs[slot]!;
    this.#journal.change(
      groupId,
      topicId,
      queueId,
      offset,
      kind,
      receipt.generation,
      receipt.run,
      newAttempt,
      Math.floor(invisibleMs),
      now,
    );
    if (kind === ChangeKind.HandBack || kind === ChangeKind.Suspend) leases.isJudged[slot] = 1;
    else if (kind === ChangeKind.Renew && now.monotonicMs + invisibleMs < endMs) judgeFailed(this.#tables, slot);
    if (kind === ChangeKind.HandBack) return okResult;
    return { code: Code.Ok, message: "", receipt: Buffer.from(this.#sealer.seal(receipt)) };
  }

  /** Opens a receipt into `#receipt` and judges it. */
  #judge(groupId: number, text: Uint8Array, now: Now): SettleDecision {
    const kind = this.#sealer.open(text, this.#receipt);
    return decideSettle(this.#tables, groupId, kind, this.#receipt, now.monotonicMs);
  }
}

function isChangeKind(kind: number): kind is ChangeKind {
  return kind >= ChangeKind.Renew && kind <= ChangeKind.Suspend;
}

function voided(message: string): SettleResult {
  return { code: voidReceiptCode, message, receipt: undefined };
}

function groupNotOpen(groupId: number): Settled {
  return { ok: false, code: Code.ConsumerGroupNotFound, message: `group ${groupId} is not open; open it again` };
}
