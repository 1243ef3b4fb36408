import {
  addTo,
  beginningOf,
  type Fate,
  groupByQueue,
  type History,
  type HistoryEvent,
  type SubscriptionExpectation,
  type Violation,
  violation,
} from "./history.ts";

/*
 * Promises of the broker (reliability reference, 1) that C1 to C11 do not cover:
 *
 *     B3   offsets of a queue are dense
 *     B4   what was acked does not turn up in the dead-letter queue
 *     B6   not acked: visible again within a second; at most so many attempts; dead at most once
 *     B8   a timed message that was taken back is nobody's for ever, and one that waits can be taken back
 *     B9   a half message is nobody's before its commit, and nobody's for ever after its rollback
 *     B13  a send is refused with the codes that are defined for it
 *     filter  a group gets what its filter lets pass and nothing else
 *     begin   a group that begins with its first receive gets nothing that was sent before
 */

/** From the moment from which a message is visible until somebody who asks gets it (B6). */
const visibleWithinMs = 1_000;
/** An answer may be so much older than its arrival. */
const answerMsMax = 100;
/** A receive of unknown outcome may have been answered, for nobody, until so long after it was given up. */
const unknownMsMax = 20_000;

/** Codes that a send which was certainly not taken may be answered. */
const refusalCodes: readonly number[] = [
  // Too many requests: full, busy, slow down.
  42900,
  // Whatever the driver refuses by itself: no connection, no time left.
  50001, 50400,
];

/** FORBIDDEN: it was delivered, or taken back before. */
const recallTooLate = 40300;

export function* findBrokenInvariants(
  history: History,
  subscriptions: readonly SubscriptionExpectation[],
): Generator<Violation> {
  yield* findHoles(history, subscriptions);
  yield* findDeadAndAcked(history);
  yield* findRepeatedDeaths(history);
  yield* findExcessAttempts(history, subscriptions);
  yield* findVanished(history, subscriptions);
  yield* findInvisible(history, subscriptions);
  yield* findRecalled(history);
  yield* findUncommitted(history);
  yield* findStrangeRefusals(history);
  yield* findUnfiltered(history, subscriptions);
  yield* findFromBefore(history, subscriptions);
}

/** B3: offsets that nobody ever saw, below ones that somebody saw. Needs a history that was drained. */
function* findHoles(history: History, subscriptions: readonly SubscriptionExpectation[]): Generator<Violation> {
  if (!history.events.some(({ op }) => op === "drained")) return;
  const readWhole = new Set(
    subscriptions
      .filter(({ passes, beginsAtFirstReceive }) => passes === undefined && beginsAtFirstReceive !== true)
      .map(({ topic }) => topic),
  );
  // Stored, but nobody knows where: what died before anybody got it, and unanswered sends of what nobody was to get.
  const places = history.events.filter(
    ({ op, result, offset }) => (op === "send" || op === "receive") && result === "ok" && offset !== undefined,
  );
  let unplaced = 0;
  for (const { fate } of history.perMessage()) if (fate.dead.length > 0 && fate.deliveries.length === 0) unplaced++;
  const delivered = new Set(history.deliveries.map(({ id }) => id));
  for (const [id, { event, sends }] of history.sent) {
    const isForNobody = event.isHalf === true || !readWhole.has(event.topic ?? "") || history.mayBeRemoved(id);
    // The answer to a send of a timed message names no place.
    const isNowhere = (send: HistoryEvent) =>
      send.result !== "ok" || (send.targetMs !== undefined && send.offset === undefined);
    if (isForNobody && sends.every(isNowhere) && !delivered.has(id)) unplaced++;
  }
  for (const [queue, events] of groupByQueue(places)) {
    const seen = new Set(events.map(({ offset }) => offset));
    const highest = events.reduce((most, { offset = 0 }) => Math.max(most, offset), 0);
    if (highest + 1 - seen.size <= unplaced) continue;
    let hole = 0;
    while (seen.has(hole)) hole++;
    yield violation(
      "B3",
      `${queue}: ${highest + 1 - seen.size} offsets below ${highest} are nobody's, ${hole} the first`,
    );
  }
}

function* findDeadAndAcked(history: History): Generator<Violation> {
  for (const { group, id, fate } of history.perMessage()) {
    const ack = fate.acks.find(({ result }) => result === "ok");
    if (ack !== undefined && fate.dead.length > 0) {
      yield violation("B4", `${id}: ${group} acked it at ${ack.t1}, and it is among the dead letters`);
    }
  }
}

function* findRepeatedDeaths(history: History): Generator<Violation> {
  for (const { group, id, fate } of history.perMessage()) {
    const places = new Set(fate.dead.map(({ queue, offset }) => `${queue}:${offset}`));
    if (places.size > 1) yield violation("B6", `${id}: ${places.size} times in the dead-letter queue of ${group}`);
  }
}

function* findExcessAttempts(
  history: History,
  subscriptions: readonly SubscriptionExpectation[],
): Generator<Violation> {
  const limits = new Map(subscriptions.map(({ group, attemptsMax = 0 }) => [group, attemptsMax]));
  for (const { group = "", id, attempt = 0, t1 } of history.deliveries) {
    const most = limits.get(group) ?? 0;
    if (most > 0 && attempt > most) yield violation("B6", `${id}: ${group} got attempt ${attempt} of ${most} at ${t1}`);
  }
}

/** B6: delivered, and in the end neither acked nor dead, with nothing left in the group. */
function* findVanished(history: History, subscriptions: readonly SubscriptionExpectation[]): Generator<Violation> {
  if (!history.events.some(({ op }) => op === "drained")) return;
  for (const { group, isDeadLettersRead } of subscriptions) {
    if (isDeadLettersRead !== true) continue;
    for (const [id, { deliveries, acks, forwards, dead }] of history.fates.get(group) ?? []) {
      // Who forwards a message that another holder acked meanwhile is told that all is done.
      if (dead.length > 0 || deliveries.length === 0 || acks.some(({ result }) => result !== "fail")) continue;
      if (history.mayBeRemoved(id)) continue;
      const forward = forwards.find(({ result }) => result === "ok");
      if (forward !== undefined) {
        yield violation("B6", `${id}: ${group} forwarded it at ${forward.t1}, and it is not among the dead letters`);
      } else if (forwards.every(({ result }) => result === "fail")) {
        yield violation("B6", `${id}: ${group} got it ${deliveries.length} times, acked it never, and it is gone`);
      }
    }
  }
}

/** B6: somebody asked and got nothing, although a message had been there for him for more than a second. */
function* findInvisible(history: History, subscriptions: readonly SubscriptionExpectation[]): Generator<Violation> {
  const faults = history.events.filter(({ op }) => op === "fault");
  for (const subscription of subscriptions) {
    if (subscription.isLimited === true) continue;
    const { group, topic, passes = () => true } = subscription;
    const { certainMs } = beginningOf(history, subscription);
    const asked = history.events.filter((e) => e.op === "receive" && e.group === group && (e.topic ?? "") === topic);
    const unknown = asked.filter(({ result }) => result === "info");
    const witnesses = asked
      .filter(({ id, result }) => id === undefined && result === "ok")
      .sort((a, b) => a.t1 - b.t1)
      .filter(({ t0, t1 }) => !faults.some((fault) => fault.t0 <= t1 && t0 - visibleWithinMs <= fault.t1))
      .filter(({ t0, t1 }) => !unknown.some((event) => event.t0 <= t1 && t0 <= event.t1 + unknownMsMax));
    if (witnesses.length === 0) continue;
    for (const { event: sent, sends, recalls } of history.sent.values()) {
      // Of one message group the order decides who waits.
      if ((sent.topic ?? "") !== topic || sent.key !== undefined || !passes(sent)) continue;
      if (history.mayBeRemoved(sent.id ?? "")) continue;
      const stored = sends.find(({ result }) => result === "ok");
      if (
        stored === undefined ||
        stored.t0 <= certainMs ||
        sent.isHalf === true ||
        recalls.some(({ result }) => result !== "fail")
      )
        continue;
      yield* findInvisibleOne(group, stored, history.knownFate(group, sent.id ?? "") ?? nothing, witnesses);
    }
  }
}

/** Times from which on a message is nobody's, until somebody calls for it and gets it. */
function* findInvisibleOne(
  group: string,
  sent: HistoryEvent,
  { deliveries, changes, acks, forwards, dead }: Fate,
  witnesses: readonly HistoryEvent[],
): Generator<Violation> {
  if (dead.length > 0) return;
  const endedMs = Math.min(...[...acks, ...forwards].filter(({ result }) => result !== "fail").map(({ t0 }) => t0));
  const sentMs = Math.max(sent.t1, sent.visibleMs ?? sent.targetMs ?? 0);
  for (let i = firstAfter(witnesses, sentMs + visibleWithinMs + answerMsMax); i < witnesses.length; i++) {
    const witness = witnesses[i]!;
    if (witness.t1 >= endedMs) return;
    // What was called for before the witness had his answer, or in the same millisecond, may have been under way to another.
    const known = deliveries.filter(({ t0 }) => t0 <= witness.t1);
    const freeMs = Math.max(
      sentMs,
      ...known.map(({ t1, invisibleMs = 0 }) => t1 + invisibleMs),
      ...changes
        .filter(({ t0, result }) => t0 <= witness.t1 && result !== "fail")
        .map(({ t1, invisibleMs = 0 }) => t1 + invisibleMs),
    );
    if (witness.t1 - answerMsMax <= freeMs + visibleWithinMs) continue;
    yield violation(
      "B6",
      `${sent.id}: free for ${group} since ${freeMs}, and a receive in ${witness.t0}..${witness.t1} came back empty`,
    );
    return;
  }
}

const nothing: Fate = { deliveries: [], changes: [], acks: [], forwards: [], dead: [] };

/** Index of the first event that ended after `ms`. */
function firstAfter(events: readonly HistoryEvent[], ms: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle]!.t1 <= ms) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** B8: nobody gets what was taken back; and what waits for its time is not refused to be taken back. */
function* findRecalled(history: History): Generator<Violation> {
  for (const [id, { event: sent, recalls }] of history.sent) {
    const recalled = recalls.find(({ result }) => result === "ok");
    if (recalled !== undefined) {
      for (const [group, byId] of history.fates) {
        const { deliveries, dead } = byId.get(id) ?? nothing;
        const got = deliveries[0] ?? dead[0];
        if (got === undefined) continue;
        yield violation("B8", `${id}: taken back at ${recalled.t1}, and ${group} got it at ${got.t1}`);
      }
    }
    for (const refused of recalls) {
      if (refused.code !== recallTooLate || refused.t1 >= (sent.targetMs ?? 0)) continue;
      if (recalls.some(({ result, t0 }) => result !== "fail" && t0 < refused.t1)) continue;
      yield violation(
        "B8",
        `${id}: due at ${sent.targetMs}, and was not to be taken back in ${refused.t0}..${refused.t1}`,
      );
    }
  }
}

function* findUncommitted(history: History): Generator<Violation> {
  for (const { id = "", group, t1 } of history.deliveries) {
    const sent = history.sent.get(id);
    if (sent?.event.isHalf !== true) continue;
    const committed = sent.ends.filter(({ op, result }) => op === "commit" && result !== "fail");
    const firstMs = Math.min(...committed.map(({ t0 }) => t0));
    if (t1 < firstMs) {
      const when = committed.length === 0 ? "nobody committed it" : `it was committed at ${firstMs} at the earliest`;
      yield violation("B9", `${id}: a half message, ${group} got it at ${t1}, and ${when}`);
      continue;
    }
    const rolledBack = sent.ends.find(({ op, result }) => op === "rollback" && result === "ok");
    if (rolledBack !== undefined && rolledBack.t1 < firstMs) {
      yield violation("B9", `${id}: rolled back at ${rolledBack.t1}, and ${group} got it at ${t1}`);
    }
  }
}

function* findStrangeRefusals(history: History): Generator<Violation> {
  for (const { id, result, code, t1 } of history.sends) {
    if (result !== "fail" || code === undefined || refusalCodes.includes(code)) continue;
    yield violation("B13", `${id}: its send was refused with ${code} at ${t1}`);
  }
}

function* findUnfiltered(history: History, subscriptions: readonly SubscriptionExpectation[]): Generator<Violation> {
  const filters = new Map<string, HistoryEvent[]>();
  const passesOf = new Map(subscriptions.map(({ group, topic, passes }) => [`${group} ${topic}`, passes]));
  for (const got of history.deliveries) {
    const passes = passesOf.get(`${got.group} ${got.topic ?? ""}`);
    const sent = history.sent.get(got.id ?? "")?.event;
    if (passes !== undefined && sent !== undefined && !passes(sent)) addTo(filters, got.group ?? "", got);
  }
  for (const [group, wrong] of filters) {
    yield violation(
      "filter",
      `${group} got ${wrong.length} messages that its filter does not want, ${wrong[0]!.id} the first`,
    );
  }
}

function* findFromBefore(history: History, subscriptions: readonly SubscriptionExpectation[]): Generator<Violation> {
  for (const subscription of subscriptions) {
    if (subscription.beginsAtFirstReceive !== true) continue;
    const { group, topic } = subscription;
    const { firstMs } = beginningOf(history, subscription);
    for (const { id = "", t1, ...got } of history.deliveries) {
      if (got.group !== group || (got.topic ?? "") !== topic) continue;
      const sent = history.sent.get(id)?.sends.find(({ result }) => result === "ok");
      if (sent === undefined || sent.t1 >= firstMs) continue;
      const when = `sent ok at ${sent.t1}, and ${group} came at ${firstMs}`;
      yield violation("begin", `${id}: got at ${t1}; ${when}`);
    }
  }
}
