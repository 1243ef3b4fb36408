/** What producers and consumers saw of a broker, event by event (test/support/history-checker.ts judges it). */
export type HistoryOp =
  | "send"
  | "receive"
  | "ack"
  /** A new end of a lease by the client; `receipt` is the one it held. */
  | "change"
  /** A hand-out that does not count as an attempt. */
  | "hand-back"
  /** A message was found in the dead-letter queue of `group`; `t0`: not before did it die; 0 if nobody knows. */
  | "dead-letter"
  /** A power cut; hand-outs before it may be forgotten, which a kill of the process does not excuse. */
  | "power-cut"
  /** The broker may not be able to read what it hands out: that attempt reaches nobody, and the receive does not tell. */
  | "unreadable"
  /** The disk was so full that the oldest part of the log went: what was sent before `t1`, and its dead letters, may be gone. */
  | "removed"
  /** Something was wrong from `t0` to `t1`. */
  | "fault"
  /** The end of the transaction of a half message, asked for by its producer. */
  | "commit"
  | "rollback"
  /** A timed message was taken back by its producer: OK, and nobody ever gets it. */
  | "recall"
  /** The holder of `receipt` asked for the message to be moved to the dead-letter queue. */
  | "forward"
  /** All faults are over from `t1` on. */
  | "healed"
  /** All groups came back empty twice, at `t1`. */
  | "drained";

export interface HistoryEvent {
  readonly op: HistoryOp;
  /** Call and answer, ms. */
  readonly t0: number;
  readonly t1: number;
  readonly result: "ok" | "fail" | "info";
  readonly client?: string;
  readonly group?: string;
  readonly topic?: string;
  readonly queue?: number;
  readonly offset?: number;
  /** Unique id of the message. */
  readonly id?: string;
  /** Message group: order is kept among messages of one key. */
  readonly key?: string;
  /** Of body and properties. */
  readonly digest?: string;
  /** Where filters choose by them. */
  readonly properties?: Readonly<Record<string, string>>;
  readonly tag?: string;
  readonly attempt?: number;
  readonly receipt?: string;
  readonly invisibleMs?: number;
  /** Of a receive that repeats an attempt: when that was first asked for. Its lease may run since then. */
  readonly firstAskedMs?: number;
  /** Of a change: the receipt that is valid from now on. */
  readonly newReceipt?: string;
  /** Of a delayed message: not before, in the time of the history. */
  readonly targetMs?: number;
  /** Of a delayed message: when it is to be had at the latest, where clocks jump; left out: at `targetMs`. */
  readonly visibleMs?: number;
  /** A half message: nobody may see it before its commit. */
  readonly isHalf?: boolean;
  /** Of a send or recall that was refused: the code of the answer. */
  readonly code?: number;
}

/** A broken promise. */
export interface Violation {
  readonly check: CheckName;
  /** What happened, with the message, the group and the times. */
  readonly text: string;
}

/** C1 to C11 by the reference; B3 to B13 are promises of the broker that these do not cover. */
export type CheckName =
  | "C1"
  | "C2"
  | "C3"
  | "C4"
  | "C5"
  | "C6"
  | "C7"
  | "C8"
  | "C9"
  | "C10"
  | "C11"
  | "B3"
  | "B4"
  | "B6"
  | "B8"
  | "B9"
  | "B13"
  | "filter"
  | "begin";

/** One group that reads one topic. */
export interface SubscriptionExpectation {
  readonly group: string;
  readonly topic: string;
  /** Whether the group's filter lets a message pass; left out: everything passes. */
  readonly passes?: (sent: HistoryEvent) => boolean;
  /** Hand-outs before the dead-letter queue; 0 or left out: no limit. */
  readonly attemptsMax?: number;
  /** The group's dead-letter queue was read to its end. */
  readonly isDeadLettersRead?: boolean;
  /** Few messages in flight at a time: an empty answer says nothing about what is there. */
  readonly isLimited?: boolean;
  /** It gets what is sent from its first receive on, and nothing from before; else it reads the topic from its beginning. */
  readonly beginsAtFirstReceive?: boolean;
}

export interface SentMessage {
  readonly event: HistoryEvent;
  /** Its sends, when a client repeated it under one id. */
  readonly sends: HistoryEvent[];
  /** Commits and rollbacks of a half message. */
  readonly ends: HistoryEvent[];
  /** Of a timed message. */
  readonly recalls: HistoryEvent[];
}

/** What one group saw of one message. */
export interface Fate {
  readonly deliveries: HistoryEvent[];
  readonly acks: HistoryEvent[];
  /** Changes and hand-backs. */
  readonly changes: HistoryEvent[];
  /** Moves to the dead-letter queue that its holders asked for. */
  readonly forwards: HistoryEvent[];
  /** Where it was found in the dead-letter queue: once at most, if all is well. */
  readonly dead: HistoryEvent[];
}

/** The events, by what the checks ask for. */
export class History {
  readonly events: readonly HistoryEvent[];
  readonly sends: HistoryEvent[];
  readonly deliveries: HistoryEvent[];
  readonly sent = new Map<string, SentMessage>();
  /** By group, then by message. */
  readonly fates = new Map<string, Map<string, Fate>>();
  readonly powerCuts: number[];
  /** What was sent before may be gone. */
  readonly #removedMs: number;

  constructor(events: readonly HistoryEvent[]) {
    this.events = [...events].sort((a, b) => a.t0 - b.t0);
    this.sends = this.events.filter(({ op }) => op === "send");
    this.deliveries = this.events.filter(
      ({ op, id, result }) => op === "receive" && id !== undefined && result === "ok",
    );
    this.powerCuts = this.events.filter(({ op }) => op === "power-cut").map(({ t0 }) => t0);
    this.#removedMs = Math.max(...this.events.filter(({ op }) => op === "removed").map(({ t1 }) => t1));
    for (const event of this.sends) {
      const known = this.sent.get(event.id ?? "");
      if (known === undefined) this.sent.set(event.id ?? "", { event, sends: [event], ends: [], recalls: [] });
      else known.sends.push(event);
    }
    for (const event of this.deliveries) this.fate(event).deliveries.push(event);
    for (const event of this.events) {
      if (event.op === "ack") this.fate(event).acks.push(event);
      else if (event.op === "change" || event.op === "hand-back") this.fate(event).changes.push(event);
      else if (event.op === "forward") this.fate(event).forwards.push(event);
      else if (event.op === "dead-letter") this.fate(event).dead.push(event);
      else if (event.op === "recall") this.sent.get(event.id ?? "")?.recalls.push(event);
      else if (event.op === "commit" || event.op === "rollback") this.sent.get(event.id ?? "")?.ends.push(event);
    }
  }

  fate({ group = "", id = "" }: HistoryEvent): Fate {
    let byId = this.fates.get(group);
    if (byId === undefined) this.fates.set(group, (byId = new Map()));
    let fate = byId.get(id);
    if (fate === undefined) byId.set(id, (fate = { deliveries: [], acks: [], changes: [], forwards: [], dead: [] }));
    return fate;
  }

  knownFate(group: string, id: string): Fate | undefined {
    return this.fates.get(group)?.get(id);
  }

  /** Whether a power cut lies between two moments. */
  hasPowerCut(from: number, to: number): boolean {
    return this.powerCuts.some((at) => at >= from && at <= to);
  }

  /** Whether a message may have gone with the oldest part of the log, or its dead letter. */
  mayBeRemoved(id: string): boolean {
    const sends = this.sent.get(id)?.sends ?? [];
    return sends.some(({ t0 }) => t0 < this.#removedMs);
  }

  *perMessage(): Generator<{ readonly group: string; readonly id: string; readonly fate: Fate }> {
    for (const [group, byId] of this.fates) for (const [id, fate] of byId) yield { group, id, fate };
  }
}

/** When a group began to read a topic: not before `firstMs`, and by `certainMs` it had; Infinity where it never did. */
export interface Beginning {
  readonly firstMs: number;
  readonly certainMs: number;
}

/** What is sent after `certainMs` is for it, what was sent before `firstMs` is not. */
export function beginningOf(history: History, expectation: SubscriptionExpectation): Beginning {
  if (expectation.beginsAtFirstReceive !== true) return { firstMs: 0, certainMs: Number.NEGATIVE_INFINITY };
  let firstMs = Number.POSITIVE_INFINITY;
  let certainMs = Number.POSITIVE_INFINITY;
  for (const { op, group, topic, result, t0, t1 } of history.events) {
    if (op !== "receive" || group !== expectation.group || (topic ?? "") !== expectation.topic) continue;
    firstMs = Math.min(firstMs, t0);
    if (result === "ok") certainMs = Math.min(certainMs, t1);
  }
  return { firstMs, certainMs };
}

export function groupByQueue(events: readonly HistoryEvent[]): Map<string, HistoryEvent[]> {
  const byQueue = new Map<string, HistoryEvent[]>();
  for (const event of events) {
    const queue = `${event.topic ?? ""}/${event.queue ?? 0}`;
    addTo(byQueue, queue, event);
  }
  return byQueue;
}

export function addTo(lists: Map<string, HistoryEvent[]>, key: string, event: HistoryEvent): void {
  const known = lists.get(key);
  if (known === undefined) lists.set(key, [event]);
  else known.push(event);
}

export function violation(check: CheckName, text: string): Violation {
  return { check, text };
}
