import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import type { HistoryEvent, SubscriptionExpectation } from "./history.ts";

interface StoredMessage {
  readonly id: string;
  readonly topic: string;
  readonly queue: number;
  readonly offset: number;
  readonly key: string | undefined;
  readonly digest: string;
  readonly tag: string;
  readonly targetMs: number | undefined;
  /** Of a half message: what became of it. */
  half: "open" | "committed" | "rolled back" | undefined;
  /** Its producer has the handle to take it back, if it is a delayed message. */
  readonly isAnswered: boolean;
  isRecalled: boolean;
}

interface GroupState {
  readonly name: string;
  readonly attemptsMax: number;
  readonly fates: Map<
    string,
    { state: "out" | "ready" | "acked" | "dead"; attempt: number; endMs: number; receipt: string }
  >;
}

const queueCount = 3;

/** What the groups of a generated history must have got. */
export const generatedSubscriptions: readonly SubscriptionExpectation[] = [
  { group: "g1", topic: "t", attemptsMax: 3, isDeadLettersRead: true },
  { group: "g2", topic: "t", isDeadLettersRead: true, passes: ({ tag }) => tag !== "tag-2" },
];

/**
 * A broker that keeps every promise, as a few maps, and clients that see it through delays, lost answers, kills and power
 * cuts: its histories are valid by construction, and the checker must agree. FIFO keys, delayed and half messages, a filter,
 * moves to the dead-letter queue and empty answers included.
 */
export function generateValidHistory(randomness: Randomness, steps: number): HistoryEvent[] {
  const pick = (bound: number): number => randomIndex(randomness, bound);
  const chance = (share: number): boolean => randomness.fraction() < share;
  const events: HistoryEvent[] = [];
  const queues: StoredMessage[][] = Array.from({ length: queueCount }, () => []);
  const groups: GroupState[] = [
    { name: "g1", attemptsMax: 3, fates: new Map() },
    { name: "g2", attemptsMax: 0, fates: new Map() },
  ];
  let now = 1_000;
  let nextId = 1;
  let nextReceipt = 1;
  const receipts: { group: GroupState; id: string; receipt: string; knownMs: number }[] = [];

  /** Call and answer around this moment; the effect lies in between. */
  const span = () => ({ t0: now - pick(20), t1: now + pick(20) });

  function send(mustSucceed: boolean): void {
    const id = `m${nextId++}`;
    const key = chance(0.3) ? `key-${pick(3)}` : undefined;
    const queue = key === undefined ? pick(queueCount) : Number(key.slice(4)) % queueCount;
    const targetMs = chance(0.1) ? now + pick(5_000) : undefined;
    const digest = `digest of ${id}`;
    const tag = `tag-${pick(3)}`;
    const result = mustSucceed || chance(0.85) ? "ok" : chance(0.5) ? "info" : "fail";
    const isStored = result === "ok" || (result === "info" && chance(0.5));
    const isHalf = key === undefined && targetMs === undefined && chance(0.1);
    const half = isHalf ? ("open" as const) : undefined;
    const message = {
      id,
      topic: "t",
      queue,
      offset: queues[queue]!.length,
      key,
      digest,
      tag,
      targetMs,
      half,
      isAnswered: result === "ok",
      isRecalled: false,
    };
    if (isStored) queues[queue]!.push(message);
    const seen = { op: "send", ...span(), result, client: `p${pick(3)}`, topic: "t", queue, id, digest, tag } as const;
    events.push({
      ...seen,
      ...(key === undefined ? {} : { key }),
      ...(targetMs === undefined ? {} : { targetMs }),
      ...(isHalf ? { isHalf } : {}),
      ...(result === "ok" ? { offset: message.offset } : {}),
    });
  }

  /** The producer of the oldest open half message decides; a lost answer leaves open whether it was heard. */
  function endHalf(isSure: boolean): void {
    const message = queues.flat().find(({ half }) => half === "open");
    if (message === undefined) return;
    const op = chance(0.7) ? "commit" : "rollback";
    const result = isSure || chance(0.8) ? "ok" : "info";
    const { t0, t1 } = span();
    events.push({ op, t0: Math.min(t0, now), t1, result, client: "p0", topic: "t", id: message.id });
    if (result === "ok" || chance(0.5)) message.half = op === "commit" ? "committed" : "rolled back";
  }

  /** A producer takes a delayed message back; when it is due already, it is refused. */
  function recall(): void {
    const delayed = queues.flat().filter((m) => m.targetMs !== undefined && m.isAnswered && !m.isRecalled);
    const message = delayed[delayed.length - 1 - pick(4)];
    if (message === undefined) return;
    const seen = { op: "recall", client: "p0", topic: "t", id: message.id } as const;
    if (message.targetMs! <= now) {
      events.push({ ...seen, t0: now, t1: now + pick(20), result: "fail", code: 40300 });
      return;
    }
    const result = chance(0.8) ? "ok" : "info";
    events.push({ ...seen, t0: now, t1: now + pick(20), result });
    message.isRecalled = result === "ok" || chance(0.5);
  }

  function isWanted(group: GroupState, { tag, half, isRecalled }: StoredMessage): boolean {
    return !isRecalled && half !== "open" && half !== "rolled back" && (group.name !== "g2" || tag !== "tag-2");
  }

  function endLeases(): void {
    for (const group of groups) {
      for (const [id, fate] of group.fates) {
        if (fate.state !== "out" || fate.endMs > now) continue;
        if (group.attemptsMax > 0 && fate.attempt >= group.attemptsMax) {
          fate.state = "dead";
          events.push({ op: "dead-letter", t0: now, t1: now, result: "ok", group: group.name, topic: "t", id });
        } else fate.state = "ready";
      }
    }
  }

  function isVisible(group: GroupState, message: StoredMessage): boolean {
    if ((message.targetMs ?? 0) > now || !isWanted(group, message)) return false;
    const fate = group.fates.get(message.id);
    if (fate !== undefined && fate.state !== "ready") return false;
    if (message.key === undefined) return true;
    // The one before it of the same key must be settled.
    const before = queues[message.queue]!.findLast(
      (m) => m.key === message.key && m.offset < message.offset && isWanted(group, m),
    );
    const state = before === undefined ? "acked" : group.fates.get(before.id)?.state;
    return state === "acked" || state === "dead";
  }

  function receive(isSure: boolean): void {
    const group = groups[pick(groups.length)]!;
    const invisibleMs = 100 + pick(2_000);
    const times = span();
    const visible = queues.flat().filter((message) => isVisible(group, message));
    const batch = visible
      .slice(0, 1 + pick(4))
      .filter((m, i, all) => all.findIndex((n) => n.key === m.key && n.queue === m.queue) === i || m.key === undefined);
    const isLost = !isSure && chance(0.1);
    if (isLost) events.push({ op: "receive", ...times, result: "info", group: group.name, topic: "t" });
    if (isLost && chance(0.5)) return;
    if (!isLost && batch.length === 0) {
      events.push({ op: "receive", ...times, result: "ok", client: "c0", group: group.name, topic: "t" });
    }
    for (const message of batch) {
      const receipt = `r${nextReceipt++}`;
      const attempt = (group.fates.get(message.id)?.attempt ?? 0) + 1;
      group.fates.set(message.id, { state: "out", attempt, endMs: now + invisibleMs, receipt });
      if (isLost) continue;
      const { id, topic, queue, offset, digest, tag, key } = message;
      const got = { op: "receive", ...times, result: "ok", client: `c${pick(3)}`, group: group.name } as const;
      events.push({
        ...got,
        id,
        topic,
        queue,
        offset,
        digest,
        tag,
        attempt,
        receipt,
        invisibleMs,
        ...(key === undefined ? {} : { key }),
      });
      receipts.push({ group, id, receipt, knownMs: times.t1 });
    }
  }

  function settle(op: "ack" | "change" | "hand-back" | "forward", index: number, isSure: boolean): void {
    const held = receipts[index];
    // Nobody settles what has not reached him yet.
    if (held === undefined || held.knownMs > now) return;
    const { group, id, receipt, knownMs } = held;
    const fate = group.fates.get(id)!;
    const isCurrent = fate.state === "out" && fate.receipt === receipt && fate.endMs > now;
    const result = !isCurrent ? "fail" : isSure || chance(0.9) ? "ok" : "info";
    const { t0, t1 } = span();
    const invisibleMs = op === "change" ? pick(1_000) : 0;
    const isDone = result === "ok" || (result === "info" && chance(0.5));
    const newReceipt = op === "change" && result === "ok" ? { newReceipt: `r${nextReceipt}` } : {};
    const seen = { op, t0: Math.max(t0, knownMs), t1, result, group: group.name, topic: "t", id, receipt } as const;
    events.push({ ...seen, invisibleMs, ...newReceipt });
    if (!isDone) return;
    if (op === "ack") fate.state = "acked";
    else if (op === "forward") {
      fate.state = "dead";
      events.push({ op: "dead-letter", t0: now, t1: now, result: "ok", group: group.name, topic: "t", id });
    } else {
      fate.endMs = now + invisibleMs;
      fate.receipt = `r${nextReceipt++}`;
      if (op === "hand-back") fate.attempt--;
      receipts[index] = { group, id, receipt: fate.receipt, knownMs: t1 };
    }
  }

  /** Hand-outs whose record was not on the disk yet are undone: who holds them does not know. */
  function powerCut(): void {
    events.push({ op: "power-cut", t0: now, t1: now, result: "ok" });
    for (const group of groups) {
      for (const fate of group.fates.values()) {
        if (fate.state === "out" && chance(0.5)) Object.assign(fate, { state: "ready", attempt: fate.attempt - 1 });
      }
    }
  }

  for (let step = 0; step < steps; step++) {
    now += pick(chance(0.1) ? 2_000 : 60);
    endLeases();
    const draw = randomness.fraction();
    if (draw < 0.33) send(false);
    else if (draw < 0.35) recall();
    else if (draw < 0.65) receive(false);
    else if (draw < 0.7) endHalf(false);
    else if (draw < 0.87) settle("ack", receipts.length - 1 - pick(6), false);
    else if (draw < 0.88) settle("forward", receipts.length - 1 - pick(6), false);
    else if (draw < 0.93) settle("change", receipts.length - 1 - pick(6), false);
    else if (draw < 0.98) settle("hand-back", receipts.length - 1 - pick(6), false);
    else powerCut();
  }

  now += 50;
  events.push({ op: "healed", t0: now, t1: now, result: "ok" });
  now += 50;
  send(true);
  while (queues.flat().some(({ half }) => half === "open")) endHalf(true);
  const isSettled = () =>
    queues
      .flat()
      .every((m) => groups.every((g) => !isWanted(g, m) || ["acked", "dead"].includes(g.fates.get(m.id)?.state ?? "")));
  while (!isSettled()) {
    now += 100;
    endLeases();
    const from = receipts.length;
    receive(true);
    now += 40;
    for (let i = from; i < receipts.length; i++) settle("ack", i, true);
  }
  // Time is cheap here: the drain is told as if it had been quick.
  events.push({
    op: "drained",
    t0: events.find(({ op }) => op === "healed")!.t1 + 10,
    t1: events.find(({ op }) => op === "healed")!.t1 + 20_000,
    result: "ok",
  });
  return events;
}
