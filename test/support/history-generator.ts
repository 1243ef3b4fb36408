import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import type { HistoryEvent } from "./history-checker.ts";

interface StoredMessage {
  readonly id: string;
  readonly topic: string;
  readonly queue: number;
  readonly offset: number;
  readonly key: string | undefined;
  readonly digest: string;
  readonly tag: string;
  readonly targetMs: number | undefined;
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

/**
 * A broker that keeps every promise, as a few maps, and clients that see it through delays, lost answers, kills and power
 * cuts: its histories are valid by construction, and the checker must agree. FIFO keys and delayed messages included.
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
    const message = { id, topic: "t", queue, offset: queues[queue]!.length, key, digest, tag, targetMs };
    if (isStored) queues[queue]!.push(message);
    const seen = { op: "send", ...span(), result, client: `p${pick(3)}`, topic: "t", queue, id, digest, tag } as const;
    events.push({
      ...seen,
      ...(key === undefined ? {} : { key }),
      ...(targetMs === undefined ? {} : { targetMs }),
      ...(result === "ok" ? { offset: message.offset } : {}),
    });
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
    if ((message.targetMs ?? 0) > now) return false;
    const fate = group.fates.get(message.id);
    if (fate !== undefined && fate.state !== "ready") return false;
    if (message.key === undefined) return true;
    // The one before it of the same key must be settled.
    const before = queues[message.queue]!.findLast((m) => m.key === message.key && m.offset < message.offset);
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

  function settle(op: "ack" | "change" | "hand-back", index: number, isSure: boolean): void {
    const held = receipts[index];
    // Nobody settles what has not reached him yet.
    if (held === undefined || held.knownMs > now) return;
    const { group, id, receipt, knownMs } = held;
    const fate = group.fates.get(id)!;
    const isCurrent = fate.state === "out" && fate.receipt === receipt && fate.endMs > now;
    const result = !isCurrent ? "fail" : isSure || chance(0.9) ? "ok" : "info";
    const { t0, t1 } = span();
    events.push({ op, t0: Math.max(t0, knownMs), t1, result, group: group.name, topic: "t", id, receipt });
    if (result === "fail" || (result === "info" && chance(0.5))) return;
    if (op === "ack") fate.state = "acked";
    else {
      fate.endMs = now + (op === "change" ? pick(1_000) : 0);
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
    if (draw < 0.35) send(false);
    else if (draw < 0.65) receive(false);
    else if (draw < 0.88) settle("ack", receipts.length - 1 - pick(6), false);
    else if (draw < 0.93) settle("change", receipts.length - 1 - pick(6), false);
    else if (draw < 0.98) settle("hand-back", receipts.length - 1 - pick(6), false);
    else powerCut();
  }

  now += 50;
  events.push({ op: "healed", t0: now, t1: now, result: "ok" });
  now += 50;
  send(true);
  const isSettled = () =>
    queues
      .flat()
      .every(({ id }) => groups.every(({ fates }) => ["acked", "dead"].includes(fates.get(id)?.state ?? "")));
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
