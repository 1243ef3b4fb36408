import {
  addTo,
  beginningOf,
  type Fate,
  groupByQueue,
  History,
  type HistoryEvent,
  type SubscriptionExpectation,
  type Violation,
  violation,
} from "./history.ts";
import { findBrokenInvariants } from "./invariant-checks.ts";

export type { CheckName, HistoryEvent, HistoryOp } from "./history.ts";

/**
 * Judges what producers and consumers saw of a broker under faults, without looking into it. Every operation is recorded
 * with the moments of its call and of its answer on one monotonic clock; the checks hold for whatever happened in between.
 *
 * A result is "ok", "fail" (definitely not done) or "info" (unknown: a timeout, a broken connection; from then on both
 * outcomes are allowed). A receive is one event per message it brought; one that ended "info" is one event without a message.
 *
 *     C1  lost                  C5  two holders      C9   one offset, two messages
 *     C2  phantom               C6  attempts         C10  early
 *     C3  content               C7  FIFO             C11  liveness
 *     C4  redelivered after ack C8  order            B*   see invariant-checks.ts
 *
 * All checks sort by message or queue and look once: a million events take seconds, no search is needed because ids are
 * unique. Redeliveries of what was not acked are legal; they are counted, not judged.
 */

export interface HistoryReport {
  readonly violations: readonly Violation[];
  readonly counts: {
    readonly sendsOk: number;
    readonly deliveries: number;
    readonly acksOk: number;
    /** Legal redeliveries. */
    readonly redeliveries: number;
    /** Sends of unknown outcome that turned out to be stored. */
    readonly recovered: number;
  };
}

export interface HistoryOptions {
  /** Who must have got every message of which topic. */
  readonly subscriptions: readonly SubscriptionExpectation[];
  readonly drainMsMax?: number;
  readonly sendAfterHealMsMax?: number;
  /** Precision granted to the end of a lease. */
  readonly leaseSlackMs?: number;
}

export function checkHistory(events: readonly HistoryEvent[], options: HistoryOptions): HistoryReport {
  const history = new History(events);
  const violations = [
    ...findLost(history, options),
    ...findPhantoms(history),
    ...findChangedContent(history),
    ...findRedeliveredAfterAck(history),
    ...findTwoHolders(history, options.leaseSlackMs ?? 5),
    ...findWrongAttempts(history),
    ...findBrokenFifo(history),
    ...findBrokenOrder(history),
    ...findSharedOffsets(history),
    ...findEarly(history),
    ...findStalls(history, options),
    ...findBrokenInvariants(history, options.subscriptions),
  ];
  const fates = [...history.fates.values()].flatMap((byId) => [...byId.values()]);
  const delivered = new Set(history.deliveries.map(({ id }) => id));
  return {
    violations,
    counts: {
      sendsOk: history.sends.filter(({ result }) => result === "ok").length,
      deliveries: history.deliveries.length,
      acksOk: fates.reduce((sum, { acks }) => sum + acks.filter(({ result }) => result === "ok").length, 0),
      redeliveries: fates.reduce((sum, { deliveries }) => sum + Math.max(0, deliveries.length - 1), 0),
      recovered: [...history.sent].filter(
        ([id, { sends }]) => !sends.some((s) => s.result === "ok") && delivered.has(id),
      ).length,
    },
  };
}

/** C1: an acknowledged send came out nowhere. */
function* findLost(history: History, { subscriptions }: HistoryOptions): Generator<Violation> {
  const byProducer = new Map<string, HistoryEvent[]>();
  for (const { sends, ends, recalls } of history.sent.values()) {
    const ok = sends.find(({ result }) => result === "ok");
    if (ok === undefined || recalls.some(({ result }) => result !== "fail")) continue;
    if (ok.isHalf === true && !ends.some(({ op, result }) => op === "commit" && result === "ok")) continue;
    const producer = `${ok.client ?? ""} to ${ok.topic ?? ""}`;
    addTo(byProducer, producer, ok);
  }
  for (const subscription of subscriptions) {
    const { group, topic, passes = () => true } = subscription;
    const { certainMs } = beginningOf(history, subscription);
    for (const [producer, sends] of byProducer) {
      const wanted = sends
        .filter((send) => (send.topic ?? "") === topic && send.t0 > certainMs && passes(send))
        .sort((a, b) => a.t0 - b.t0);
      const arrived = wanted.map(({ id = "" }) => {
        const fate = history.knownFate(group, id);
        return fate !== undefined && (fate.deliveries.length > 0 || fate.dead.length > 0);
      });
      const first = arrived.indexOf(true);
      const last = arrived.lastIndexOf(true);
      for (const [i, send] of wanted.entries()) {
        if (arrived[i] || history.mayBeRemoved(send.id ?? "")) continue;
        const where = i < first ? "prefix" : i > last ? "suffix" : "middle";
        yield violation("C1", `${send.id}, sent ok at ${send.t1}, never reached ${group} (${where} of ${producer})`);
      }
    }
  }
}

/** C2: delivered, but nobody sent it, or the send definitely failed. */
function* findPhantoms(history: History): Generator<Violation> {
  for (const { id = "", group, t1 } of history.deliveries) {
    const sent = history.sent.get(id);
    if (sent === undefined) yield violation("C2", `${id} was delivered to ${group} at ${t1}, and nobody sent it`);
    else if (sent.sends.every(({ result }) => result === "fail")) {
      yield violation("C2", `${id} was delivered to ${group} at ${t1}, although its send failed`);
    }
  }
}

/** C3: what came out is not what went in. */
function* findChangedContent(history: History): Generator<Violation> {
  for (const got of history.deliveries) {
    const sent = history.sent.get(got.id ?? "")?.event;
    if (sent === undefined) continue;
    for (const field of ["digest", "tag", "key", "topic"] as const) {
      if (got[field] === sent[field]) continue;
      yield violation("C3", `${got.id}: ${field} was ${sent[field]}, ${got.group} got ${got[field]} at ${got.t1}`);
    }
  }
}

/** C4: handed out by a receive that began after the ack was answered OK. */
function* findRedeliveredAfterAck(history: History): Generator<Violation> {
  for (const { group, id, fate } of history.perMessage()) {
    const acked = Math.min(...fate.acks.filter(({ result }) => result === "ok").map(({ t1 }) => t1));
    for (const { t0, t1 } of fate.deliveries) {
      if (t0 > acked) yield violation("C4", `${id}: ${group} acked it by ${acked} and got it again in ${t0}..${t1}`);
    }
  }
}

/** A time in which one holder certainly had a message. */
interface Holding {
  readonly fromMs: number;
  readonly untilMs: number;
  /** All receipts of the hand-out, one after the other. */
  readonly receipts: ReadonlySet<string | undefined>;
  readonly calledMs: number;
}

/** C5: somebody certainly had it, and somebody else certainly got it. */
function* findTwoHolders(history: History, slackMs: number): Generator<Violation> {
  for (const { group, id, fate } of history.perMessage()) {
    if (fate.deliveries.length < 2) continue;
    for (const { fromMs, untilMs, receipts, calledMs } of holdingsOf(fate, slackMs)) {
      // What was given back in the very moment of the answer was not held any more for certain.
      const other = fate.deliveries.find((b) => b.t0 >= fromMs && b.t1 < untilMs && !receipts.has(b.receipt));
      if (other === undefined || history.hasPowerCut(calledMs, other.t1)) continue;
      yield violation("C5", `${id}: ${group} handed it out in ${other.t0}..${other.t1}, held ${fromMs}..${untilMs}`);
    }
  }
}

/** From each hand-out on, through all changes by its holder. What may have been given up is nobody's for certain. */
function* holdingsOf({ deliveries, changes }: Fate, slackMs: number): Generator<Holding> {
  for (const { receipt, t0, t1, invisibleMs = 0, firstAskedMs = t0 } of deliveries) {
    const receipts = new Set([receipt]);
    let current = receipt;
    let holding = { fromMs: t1, untilMs: firstAskedMs + invisibleMs - slackMs, receipts, calledMs: t0 };
    for (const change of changes) {
      if (change.result === "fail" || change.receipt !== current) continue;
      yield { ...holding, untilMs: Math.min(holding.untilMs, change.t0) };
      current = change.newReceipt;
      if (change.result !== "ok" || current === undefined) {
        holding = { ...holding, untilMs: Number.NEGATIVE_INFINITY };
        break;
      }
      receipts.add(current);
      const untilMs = change.t0 + (change.invisibleMs ?? 0) - slackMs;
      holding = { fromMs: change.t1, untilMs, receipts, calledMs: change.t0 };
    }
    yield holding;
  }
}

/** C6: attempts rise by one per hand-out that counts. */
function* findWrongAttempts(history: History): Generator<Violation> {
  const unknown = new Map<string, HistoryEvent[]>();
  for (const event of history.events) {
    if (event.op !== "receive" || event.result !== "info") continue;
    addTo(unknown, event.group ?? "", event);
  }
  const unreadableMs = Math.min(...history.events.filter(({ op }) => op === "unreadable").map(({ t0 }) => t0));
  for (const { group, id, fate } of history.perMessage()) {
    const ordered = [...fate.deliveries].sort((a, b) => a.t1 - b.t1);
    const seen = new Map<number, number>();
    for (const { attempt = 0, t0 } of ordered) seen.set(attempt, Math.min(t0, seen.get(attempt) ?? t0));
    let last: HistoryEvent | undefined;
    for (const got of ordered) {
      const attempt = got.attempt ?? 0;
      // A repeated answer of one receive is one hand-out.
      if (last !== undefined && got.receipt === last.receipt) continue;
      if (last !== undefined && got.t0 >= last.t1 && attempt <= (last.attempt ?? 0)) {
        const before = last;
        const isUncounted = fate.changes.some(
          (c) => c.op === "hand-back" && c.result !== "fail" && c.t0 >= before.t0 && c.t0 <= got.t1,
        );
        if (!isUncounted && !history.hasPowerCut(before.t0, got.t1)) {
          yield violation("C6", `${id}: ${group} got attempt ${attempt} at ${got.t1} after attempt ${before.attempt}`);
        }
      }
      // The attempt before may be one whose receive was called by now and is answered later.
      const isFollowing = attempt <= 1 || (seen.get(attempt - 1) ?? Number.POSITIVE_INFINITY) <= got.t1;
      if (!isFollowing && unreadableMs > got.t1 && !unknown.get(group)?.some(({ t0 }) => t0 <= got.t1)) {
        yield violation("C6", `${id}: ${group} got attempt ${attempt} at ${got.t1}, and never attempt ${attempt - 1}`);
      }
      last = got;
    }
  }
}

/** C7: of one key, a message is handed out only when the one before it is acked or dead, and that one never again. */
function* findBrokenFifo(history: History): Generator<Violation> {
  for (const [group, byId] of history.fates) {
    const byKey = new Map<string, HistoryEvent[]>();
    for (const { deliveries } of byId.values()) {
      const [first] = deliveries;
      if (first?.key === undefined) continue;
      const key = `${first.topic}/${first.queue}/${first.key}`;
      addTo(byKey, key, first);
    }
    for (const firsts of byKey.values()) {
      firsts.sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0));
      for (let i = 1; i < firsts.length; i++) {
        // Nobody waits for one that went with the log.
        if (history.mayBeRemoved(firsts[i - 1]!.id ?? "")) continue;
        const before = byId.get(firsts[i - 1]!.id ?? "")!;
        const releasedMs = Math.min(
          ...before.acks.filter(({ result }) => result !== "fail").map(({ t0 }) => t0),
          // Whatever is known of its death, it lived when it was asked for the last time.
          ...before.dead.map((dead) => Math.max(dead.t0, ...before.deliveries.map(({ t0 }) => t0))),
        );
        const after = byId.get(firsts[i]!.id ?? "")!.deliveries;
        const seenMs = Math.min(...after.map(({ t1 }) => t1));
        for (const again of before.deliveries) {
          if (again.t0 <= seenMs) continue;
          const text = `${again.id}: ${group} got it again in ${again.t0}..${again.t1}, and the next of its key at ${seenMs}`;
          yield violation("C7", text);
        }
        for (const got of after) {
          if (got.t1 >= releasedMs) continue;
          yield violation(
            "C7",
            `${got.id}: ${group} got it at ${got.t1}, before ${firsts[i - 1]!.id} of its key was settled`,
          );
        }
      }
    }
  }
}

/** C8: a send that was answered before another was called lies before it in their queue. */
function* findBrokenOrder(history: History): Generator<Violation> {
  const byQueue = groupByQueue(history.sends.filter(({ result, offset }) => result === "ok" && offset !== undefined));
  for (const [queue, sends] of byQueue) {
    const byAnswer = [...sends].sort((a, b) => a.t1 - b.t1);
    let answered = 0;
    let last: HistoryEvent | undefined;
    for (const send of [...sends].sort((a, b) => a.t0 - b.t0)) {
      for (; answered < byAnswer.length && byAnswer[answered]!.t1 < send.t0; answered++) {
        if (last === undefined || byAnswer[answered]!.offset! > last.offset!) last = byAnswer[answered];
      }
      if (last !== undefined && last !== send && last.offset! >= send.offset!) {
        yield violation(
          "C8",
          `${queue}: ${last.id} at ${last.offset} was answered before ${send.id} at ${send.offset} was sent`,
        );
      }
    }
  }
}

/** C9: an offset means one message, for ever and for everybody. */
function* findSharedOffsets(history: History): Generator<Violation> {
  const seen = history.events.filter(
    ({ op, result, id, offset }) =>
      (op === "send" || op === "receive") && result === "ok" && id !== undefined && offset !== undefined,
  );
  for (const [queue, events] of groupByQueue(seen)) {
    const idAt = new Map<number, string>();
    for (const { offset = -1, id = "" } of events) {
      const known = idAt.get(offset);
      if (known === undefined) idAt.set(offset, id);
      else if (known !== id) yield violation("C9", `${queue}: offset ${offset} is ${known} and ${id}`);
    }
  }
}

/** C10: a delayed message before its time. */
function* findEarly(history: History): Generator<Violation> {
  for (const { id = "", group, t1 } of history.deliveries) {
    const targetMs = history.sent.get(id)?.event.targetMs;
    if (targetMs !== undefined && t1 < targetMs) {
      yield violation("C10", `${id}: ${group} got it at ${t1}, ${targetMs - t1} ms before its time`);
    }
  }
}

/** C11: once healed, everything goes on and comes to an end. */
function* findStalls(history: History, options: HistoryOptions): Generator<Violation> {
  const { drainMsMax = 30_000, sendAfterHealMsMax = 5_000 } = options;
  const healed = history.events.findLast(({ op }) => op === "healed");
  if (healed === undefined) return;
  const drained = history.events.find(({ op, t1 }) => op === "drained" && t1 >= healed.t1);
  if (drained === undefined) yield violation("C11", `healed at ${healed.t1}, and never drained`);
  else if (drained.t1 - healed.t1 > drainMsMax) {
    yield violation("C11", `healed at ${healed.t1}, drained only at ${drained.t1}`);
  }
  const works = history.sends.some(
    ({ result, t0, t1 }) => result === "ok" && t0 >= healed.t1 && t1 <= healed.t1 + sendAfterHealMsMax,
  );
  if (!works) yield violation("C11", `no send succeeded within ${sendAfterHealMsMax} ms after ${healed.t1}`);
}
