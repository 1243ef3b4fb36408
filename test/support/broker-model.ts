import { type ModelTimed, type TimedState, timedStateBlank } from "./timed-model.ts";
import type { ModelTransaction } from "./transaction-model.ts";

/*
 * What the broker promises, as plain maps: the model of T06. It predicts who gets which message, how often, and what every receipt is
 * worth; `BrokerRun` (broker-run.ts) does the same to the real thing and compares after every step.
 */

export interface ModelMessage {
  readonly id: string;
  readonly queueId: number;
  readonly offset: number;
  readonly tag: string;
  /** Message group; "" for none. */
  readonly key: string;
  /** In the log. */
  readonly position: number;
}

export interface ModelLease {
  state: "in-flight" | "ready" | "acked" | "dead";
  attempt: number;
  endMs: number;
  endWallMs: number;
  invisibleMs: number;
  isOfEarlierBoot: boolean;
  receipt: string;
  attemptKey: string;
  isUncounted: boolean;
  /** Answers of this run that gave it out again to the same attempt, and were not handed back. */
  copies: number;
  holder: string;
  /** Redriven while another message of its message group was out: it waits for that. */
  isQueued: boolean;
  /** It has lost its turn in its message group. */
  wasRedriven: boolean;
}

export interface ModelGroup {
  readonly name: string;
  readonly id: number;
  readonly attemptsMax: number;
  readonly inFlightMax: number;
  /** "*" or one tag. */
  readonly filter: string;
  /** First offset by queue; undefined before the first receive. */
  start: number[] | undefined;
  /** By message id. */
  leases: Map<string, ModelLease>;
  dead: { id: string; attempts: number; holder: string }[];
  /** How many of the dead letters retention has removed. */
  deadRemoved: number;
}

/** All that the log knows: rolled back by a crash. */
export interface ModelState {
  topicId: number;
  incarnation: number;
  messages: ModelMessage[];
  groups: ModelGroup[];
  transactions: ModelTransaction[];
  timed: TimedState;
  /** The log begins here; messages below are gone. */
  logBegin: number;
}

/** A receipt as a client keeps it. */
export interface HeldReceipt {
  readonly groupIndex: number;
  readonly topicId: number;
  readonly messageId: string;
  readonly receipt: Buffer;
}

export const queueCount = 3;
export const topicName = "ns/orders";
export const tags = ["red", "blue"] as const;
/** Message groups. */
export const keys = ["ann", "bob", "cat", "dan"] as const;

/** How a message stands at a group, by the model. */
export interface MessageStanding {
  readonly id: string;
  readonly queueId: number;
  readonly offset: number;
  readonly key: string;
  /** Of the record by which it is in its queue. */
  readonly position: number;
  readonly standing: "pending" | "acked" | "dead" | "outside";
}

export interface GroupTruth {
  readonly name: string;
  readonly id: number;
  readonly attemptsMax: number;
  readonly inFlightMax: number;
  readonly filter: string;
  readonly messages: readonly MessageStanding[];
}

export interface BrokerTruth {
  readonly topicId: number;
  readonly incarnation: number;
  readonly groups: readonly GroupTruth[];
  readonly timed: readonly ModelTimed[];
}

export function isLive({ state }: ModelLease): boolean {
  return state === "in-flight" || state === "ready";
}

/** What the log knows, and what of it consumers can see: the questions that a promise of the broker answers. */
export class BrokerModel {
  state: ModelState;
  /** The same as it would be after a kill, and after a power cut. */
  written: ModelState;
  durable: ModelState;
  /** Messages consumers can see: a prefix of the messages. */
  visibleCount = 0;

  constructor(topicId: number, groups: ModelGroup[]) {
    const blank = { messages: [], transactions: [], timed: timedStateBlank() };
    this.state = { topicId, incarnation: 1, groups, ...blank, logBegin: 0 };
    this.written = structuredClone(this.state);
    this.durable = structuredClone(this.state);
  }

  write(): void {
    this.written = structuredClone(this.state);
  }

  sync(): void {
    this.write();
    this.durable = structuredClone(this.state);
    this.visibleCount = this.state.messages.length;
  }

  /** What is not written, or not on disk, never was. */
  crash(kind: "kill" | "power"): void {
    this.state = structuredClone(kind === "kill" ? this.written : this.durable);
  }

  /** The group has begun to read the topic, and that is not on disk: whoever is answered could not rely on it. */
  isNew(groupIndex: number): boolean {
    return this.durable.topicId !== this.state.topicId || this.durable.groups[groupIndex]!.start === undefined;
  }

  /** What each group that reads the topic is to get, and what it must not get again. */
  truth(): BrokerTruth {
    const { topicId, incarnation, messages, groups, logBegin, timed } = this.state;
    const reading = groups.filter(({ start }) => start !== undefined);
    return {
      topicId,
      incarnation,
      timed: structuredClone(timed.messages),
      groups: reading.map((group) => {
        const pending = new Set(this.pending(group).map(({ id }) => id));
        const standingOf = ({ id, position }: ModelMessage): MessageStanding["standing"] => {
          if (pending.has(id)) return "pending";
          const state = position < logBegin ? undefined : group.leases.get(id)?.state;
          return state === "acked" || state === "dead" ? state : "outside";
        };
        const { name, id, attemptsMax, inFlightMax, filter } = group;
        return {
          name,
          id,
          attemptsMax,
          inFlightMax,
          filter,
          messages: messages.map((m) => ({ ...m, standing: standingOf(m) })),
        };
      }),
    };
  }

  /** Where the next message of a queue lies: offsets are dense. */
  nextOffset(queueId: number): number {
    return this.state.messages.filter((message) => message.queueId === queueId).length;
  }

  holdsLock(group: ModelGroup, key: string): boolean {
    return this.state.messages.some((message) => {
      const lease = group.leases.get(message.id);
      return message.key === key && lease !== undefined && isLive(lease) && !lease.isQueued;
    });
  }

  /** Of each message group that is not locked any more, the oldest message that was redriven and waited is next. */
  promote(group: ModelGroup): void {
    for (const key of keys) {
      if (this.holdsLock(group, key)) continue;
      const next = this.state.messages.find(
        (message) => message.key === key && group.leases.get(message.id)?.isQueued === true,
      );
      if (next !== undefined) group.leases.get(next.id)!.isQueued = false;
    }
  }

  /** Leases end whose time has come. Returns how many messages that was the end of. */
  endDue(nowMs: number): number {
    let dead = 0;
    for (const group of this.state.groups) {
      for (const [id, lease] of group.leases) {
        if (lease.state !== "in-flight" || lease.endMs > nowMs) continue;
        if (group.attemptsMax > 0 && lease.attempt >= group.attemptsMax) {
          this.bury(group, id, lease);
          dead++;
        } else lease.state = "ready";
      }
    }
    return dead;
  }

  bury(group: ModelGroup, id: string, lease: ModelLease): void {
    lease.state = "dead";
    group.dead.push({ id, attempts: lease.attempt, holder: lease.holder });
    this.promote(group);
  }

  /** What a receipt settles now. */
  worth({ groupIndex, topicId, messageId, receipt }: HeldReceipt): "held" | "done" | "void" {
    const { topicId: current, groups, messages } = this.state;
    if (topicId !== current) return "void";
    const group = groups[groupIndex]!;
    const lease = group.leases.get(messageId);
    if (messages.find(({ id }) => id === messageId)!.position < this.state.logBegin) return "void";
    if (lease === undefined) {
      // Its hand-out was lost in a power cut; and if the group's position was, too, it may start behind the message now.
      const message = messages.find(({ id }) => id === messageId)!;
      return group.start !== undefined && message.offset < group.start[message.queueId]! ? "done" : "void";
    }
    if (lease.state === "acked") return "done";
    return lease.state === "in-flight" && lease.receipt === receipt.toString() ? "held" : "void";
  }

  batchOf(group: ModelGroup, attemptKey: string): string[] {
    if (attemptKey === "") return [];
    return this.state.messages
      .map(({ id }) => id)
      .filter((id) => {
        const lease = group.leases.get(id);
        return lease?.state === "in-flight" && lease.attemptKey === attemptKey;
      });
  }

  /** Messages that could be handed out now: redeliveries, then new ones, each in the order of the log. */
  available(group: ModelGroup): ModelMessage[] {
    const { start } = group;
    if (start === undefined) return [];
    const ready: ModelMessage[] = [];
    const fresh: ModelMessage[] = [];
    const locked = new Set(keys.filter((key) => this.holdsLock(group, key)) as string[]);
    for (const message of this.pending(group)) {
      const lease = group.leases.get(message.id);
      if (lease?.state === "ready" && !lease.isQueued) ready.push(message);
      // Of a message group the first one that is not settled, and no other.
      if (lease !== undefined || locked.has(message.key)) continue;
      fresh.push(message);
      if (message.key !== "") locked.add(message.key);
    }
    return [...ready, ...fresh];
  }

  /** Visible messages that the group wants and is not done with, in the order of the log. */
  pending({ start, filter, leases }: ModelGroup): ModelMessage[] {
    if (start === undefined) return [];
    return this.state.messages.slice(0, this.visibleCount).filter(({ id, queueId, offset, tag, position }) => {
      if (position < this.state.logBegin || (filter !== "*" && filter !== tag)) return false;
      const lease = leases.get(id);
      // A dead letter of before a reset can be redriven.
      return lease === undefined ? offset >= start[queueId]! : isLive(lease);
    });
  }

  /** How many more may be in flight; a wall clock that is set back over a reboot lets more leases run again than may be. */
  room(group: ModelGroup): number {
    const inFlight = [...group.leases.values()].filter(({ state }) => state === "in-flight").length;
    return Math.max(0, group.inFlightMax - inFlight);
  }

  leased(): ModelLease[] {
    const leases = this.state.groups.flatMap((group) => [...group.leases.values()]);
    return leases.filter(isLive);
  }

  visibleEnds(): number[] {
    const visible = this.state.messages.slice(0, this.visibleCount);
    return Array.from({ length: queueCount }, (_, q) => visible.filter(({ queueId }) => queueId === q).length);
  }
}
