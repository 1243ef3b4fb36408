import { bucketOf, bucketsOf, laneSalt } from "../../../proto/lane/lane-bucket.ts";
import type { MessageKind, ScheduledRule } from "./lane-schedule.ts";

/** How a message stands with a group, as far as its consumers know. */
const Standing = { New: 0, InHand: 1, Nacked: 2, Loose: 3, AckAsked: 4, Acked: 5, Unsure: 6, Dead: 7 } as const;
const standingNames = ["new", "in hand", "nacked", "loose", "being acked", "acked", "acked or not", "dead"];

/** What a producer says of a message before it sends it. */
export interface SentMessage {
  readonly topic: number;
  readonly kind: MessageKind;
  /** As the sidecar marked it. */
  readonly mark: string;
  readonly tag: string;
  /** Its message group; -1: none. */
  readonly orderKey: number;
  /** What a share is counted in: message group, else first key. */
  readonly shareText: string;
}

interface Lane {
  isSpilled: boolean;
  isClosing: boolean;
  readonly starts: number[];
}

/** A group in a topic. */
interface Reader {
  readonly lanes: Map<string, Lane>;
  /** By lane: where in the log something became of it last. */
  readonly changedAt: Map<string, number>;
}

interface RuleInForce {
  readonly number: number;
  readonly rule: ScheduledRule;
}

interface Handling {
  readonly message: number;
  readonly group: number;
  readonly lane: string;
}

/** What `lane.explain` says of a message and a group. */
export interface Explained {
  readonly ruleNumber: number | undefined;
  readonly lane: string;
}

export interface JudgeCounts {
  /** By kind. */
  readonly messages: Record<MessageKind, number>;
  acked: number;
  handlings: number;
  /** Lane records of the log: spilled, resumed, closed. */
  reassignments: number;
  /** Handlings in another lane than the one before, each with a record between. */
  laneChanges: number;
  /** Handled by base in place of a spilled lane. */
  standIns: number;
  duplicates: number;
  /** Messages in flight at a kill, or held beyond their lease: no more than these may be handled twice. */
  inFlightAtKills: number;
  inTurn: number;
  retries: number;
  dead: number;
  rolledBack: number;
  explained: number;
}

const base = "base";
const violationsMax = 20;

/**
 * Holds a schedule against what lanes promise. It is told what producers sent, what consumers handled and settled, and what the log
 * says, and predicts nothing itself but in which lane a message is: from the rules that the log holds, with code of its own.
 */
export class LaneJudge {
  readonly violations: string[] = [];
  violationCount = 0;
  readonly counts: JudgeCounts = {
    messages: { normal: 0, fifo: 0, timed: 0, half: 0 },
    ...{ acked: 0, handlings: 0, reassignments: 0, laneChanges: 0, standIns: 0, duplicates: 0, inFlightAtKills: 0 },
    ...{ inTurn: 0, retries: 0, dead: 0, rolledBack: 0, explained: 0 },
  };
  readonly #groups: readonly string[];
  readonly #tags: readonly string[];

  // By message.
  readonly #sent: SentMessage[] = [];
  #isAcked: boolean[] = [];
  #isRolledBack: boolean[] = [];
  readonly #queueId: number[] = [];
  /** -1: not in a queue, as far as the log is known. */
  readonly #offset: number[] = [];
  readonly #turn: number[] = [];
  // By message and group.
  readonly #standing: number[] = [];
  readonly #leaseEndMs: number[] = [];
  /** The hand-out by which whoever holds it holds it. */
  readonly #heldBy: number[] = [];
  readonly #wasHandled: boolean[] = [];
  readonly #lane: string[] = [];
  readonly #rule: (number | undefined)[] = [];
  readonly #poppedAt: number[] = [];
  readonly #poppedLane: string[] = [];
  readonly #loggedAck: boolean[] = [];
  readonly #loggedDeath: boolean[] = [];
  readonly #wasRead: boolean[] = [];
  // By topic.
  readonly #queues: number[][][];
  readonly #rules: Map<number, RuleInForce>[];
  readonly #readers: (Reader | undefined)[][];
  readonly #orders: number[][] = [];
  readonly #frontier: number[][];
  /** Handlings whose record is still to be read, by its position. */
  readonly #unlogged = new Map<number, Handling[]>();
  #followedTo = 0;

  /** `tags`: by group, the tag that it wants; "": everything. */
  constructor(groups: readonly string[], tags: readonly string[], topicCount: number) {
    this.#groups = groups;
    this.#tags = tags;
    const ofTopics = Array.from({ length: topicCount });
    this.#queues = ofTopics.map(() => []);
    this.#rules = ofTopics.map(() => new Map());
    this.#readers = ofTopics.map(() => groups.map(() => undefined));
    this.#frontier = groups.map(() => []);
  }

  // What producers say.

  /** Returns the message's number. */
  sends(message: SentMessage): number {
    const number = this.#sent.length;
    this.#sent.push(message);
    this.#isAcked.push(false);
    this.#isRolledBack.push(false);
    this.#queueId.push(-1);
    this.#offset.push(-1);
    this.counts.messages[message.kind]++;
    let turn = -1;
    if (message.orderKey >= 0) {
      const order = (this.#orders[message.orderKey] ??= []);
      turn = order.length;
      order.push(number);
    }
    this.#turn.push(turn);
    for (let g = 0; g < this.#groups.length; g++) {
      this.#standing.push(Standing.New);
      this.#leaseEndMs.push(0);
      this.#heldBy.push(-1);
      this.#wasHandled.push(false);
      this.#lane.push(base);
      this.#rule.push(undefined);
      this.#poppedAt.push(-1);
      this.#poppedLane.push("");
      this.#loggedAck.push(false);
      this.#loggedDeath.push(false);
      this.#wasRead.push(false);
    }
    return number;
  }

  sendAcked(message: number): void {
    this.#isAcked[message] = true;
    this.counts.acked++;
  }

  rolledBack(message: number): void {
    this.#isRolledBack[message] = true;
    this.counts.rolledBack++;
  }

  get messageCount(): number {
    return this.#sent.length;
  }

  // What consumers say.

  /**
   * A consumer of a lane is given a message by the Pop record at `position`. `hold` names this hand-out; positions come again after a power cut
   * that took the record.
   */
  handled(
    message: number,
    group: number,
    lane: string,
    position: number,
    nowMs: number,
    leaseEndMs: number,
    hold = position,
  ): void {
    const { counts } = this;
    const at = this.#at(message, group);
    const standing = this.#standing[at]!;
    counts.handlings++;
    if (standing === Standing.InHand && nowMs >= this.#leaseEndMs[at]!) this.#loosen(at);
    switch (this.#standing[at]) {
      case Standing.New:
        break;
      case Standing.Nacked:
        counts.retries++;
        break;
      case Standing.Loose:
      case Standing.Unsure:
        counts.duplicates++;
        break;
      default:
        this.#violation("duplicate", message, group, `is handled in lane ${lane}, and is ${standingNames[standing]}`);
    }
    if (this.#isRolledBack[message]) this.#violation("rolled back", message, group, "is handled");
    if (this.#wants(message, group) === false) this.#violation("filter", message, group, "is handled");
    if (this.#turn[message]! >= 0) this.#checkTurn(message, group);
    this.#standing[at] = Standing.InHand;
    this.#leaseEndMs[at] = leaseEndMs;
    this.#heldBy[at] = hold;
    this.#wasHandled[at] = true;
    if (position < this.#followedTo) {
      // Its record was read before the answer could leave.
      if (this.#poppedAt[at] !== position)
        this.#violation("log", message, group, "is handled by a record that does not name it");
      return;
    }
    const ofRecord = this.#unlogged.get(position);
    if (ofRecord === undefined) this.#unlogged.set(position, [{ message, group, lane }]);
    else ofRecord.push({ message, group, lane });
  }

  // Of all that follow, `held` names the hand-out: of an older one nothing counts any more.

  ackAsked(message: number, group: number, held: number): void {
    const at = this.#at(message, group);
    if (this.#heldBy[at] === held) this.#standing[at] = Standing.AckAsked;
  }

  acked(message: number, group: number, held: number): void {
    const at = this.#at(message, group);
    if (this.#heldBy[at] === held && this.#standing[at] === Standing.AckAsked) this.#standing[at] = Standing.Acked;
  }

  /** The broker did not take a receipt, at `nowMs`. */
  refused(message: number, group: number, held: number, nowMs: number, text: string): void {
    const at = this.#at(message, group);
    if (this.#heldBy[at] !== held || this.#loggedDeath[at]) return;
    if (this.#standing[at] !== Standing.Loose && nowMs < this.#leaseEndMs[at]!)
      this.#violation("receipt", message, group, `is held, and refused: ${text}`);
    if (this.#standing[at] !== Standing.Loose) this.#loosen(at);
  }

  /** The consumer asked for it to come again. */
  nacked(message: number, group: number, held: number): void {
    const at = this.#at(message, group);
    if (this.#heldBy[at] === held) this.#standing[at] = Standing.Nacked;
  }

  /** The consumer asked for it to be put aside. */
  forwarded(message: number, group: number, held: number): void {
    const at = this.#at(message, group);
    if (this.#heldBy[at] === held) this.#standing[at] = Standing.Dead;
  }

  /** Whoever holds it is gone, or gives up. */
  cut(message: number, group: number, held: number): void {
    const at = this.#at(message, group);
    if (this.#heldBy[at] === held && this.#standing[at] === Standing.InHand) this.#loosen(at);
  }

  /** A broker died: what was being acked may be or may not be; after a power cut so may whatever was in hand. */
  brokerDied(isPowerCut: boolean, durablePosition: number): void {
    for (let at = 0; at < this.#standing.length; at++) {
      const standing = this.#standing[at];
      if (standing === Standing.AckAsked) {
        this.#standing[at] = Standing.Unsure;
        this.counts.inFlightAtKills++;
      }
      // An order to come again or to be dead that the log lost leaves the message where it was.
      if (
        isPowerCut &&
        !this.#loggedDeath[at] &&
        (standing === Standing.InHand || standing === Standing.Nacked || standing === Standing.Dead)
      ) {
        this.#loosen(at);
      }
    }
    for (const position of this.#unlogged.keys()) {
      if (position >= durablePosition) this.#unlogged.delete(position);
    }
  }

  #loosen(at: number): void {
    this.#standing[at] = Standing.Loose;
    // Whoever held it may still ask, and may be refused.
    this.#leaseEndMs[at] = Number.NEGATIVE_INFINITY;
    this.counts.inFlightAtKills++;
  }

  // What the log says, record by record.

  /** Every record below is told now. */
  followed(position: number): void {
    this.#followedTo = position;
  }

  topicOpened(topic: number, queueCount: number): void {
    const queues = this.#queues[topic]!;
    while (queues.length < queueCount) queues.push([]);
  }

  /** A message has its place in a queue: from here on it can be handed out. */
  stored(message: number, topic: number, queueId: number, offset: number): void {
    const queue = this.#queues[topic]![queueId]!;
    if (queue.length !== offset)
      this.#violation("offset", message, -1, `is at ${offset} behind ${queue.length} others`);
    queue[offset] = message;
    this.#queueId[message] = queueId;
    this.#offset[message] = offset;
    const rules = this.#rules[topic]!;
    for (let g = 0; g < this.#groups.length; g++) {
      const rule = rules.get(g) ?? rules.get(-1);
      if (rule === undefined) continue;
      const at = this.#at(message, g);
      this.#rule[at] = rule.number;
      this.#lane[at] = laneBy(rule.rule, this.#sent[message]!);
    }
  }

  /** `group` -1: every group; `rule` undefined: it goes. */
  ruled(topic: number, group: number, number: number, rule: ScheduledRule | undefined): void {
    if (rule === undefined) this.#rules[topic]!.delete(group);
    else this.#rules[topic]!.set(group, { number, rule });
    for (let g = 0; g < this.#groups.length; g++) this.#arrange(topic, g);
  }

  groupCame(topic: number, group: number): void {
    this.#readers[topic]![group] = { lanes: new Map(), changedAt: new Map() };
    this.#arrange(topic, group, 0);
  }

  laneChanged(
    kind: "spilled" | "resumed" | "closed",
    topic: number,
    group: number,
    name: string,
    position: number,
  ): void {
    this.counts.reassignments++;
    const reader = this.#readers[topic]![group];
    const lane = reader?.lanes.get(name);
    if (reader === undefined || lane === undefined) {
      this.#violation("lane", -1, group, `${name} is ${kind}, and there is no such lane`);
      return;
    }
    reader.changedAt.set(name, position);
    if (kind === "closed") {
      if (!lane.isClosing) this.#violation("lane", -1, group, `${name} is closed, and a rule names it`);
      reader.lanes.delete(name);
    } else lane.isSpilled = kind === "spilled";
  }

  /** A Pop record: consumers that asked in lane `asked` are given what `owner` owns. */
  popped(
    topic: number,
    group: number,
    asked: string,
    owner: string,
    places: readonly (readonly [number, number])[],
    position: number,
  ): void {
    const reader = this.#readers[topic]![group];
    const lane = reader?.lanes.has(asked) === true ? asked : base;
    const pending = this.#unlogged.get(position);
    this.#unlogged.delete(position);
    let found = 0;
    for (const [queueId, offset] of places) {
      const message = this.#queues[topic]![queueId]?.[offset];
      if (message === undefined || reader === undefined) {
        this.#violation("log", -1, group, `${queueId}/${offset} is handed out, and nothing is there`);
        continue;
      }
      const at = this.#at(message, group);
      const owns = this.#ownerOf(reader, message, at);
      if (owns !== owner) this.#violation("lane", message, group, `is of ${owns}, and handed out as of ${owner}`);
      if (owns !== lane) {
        if (lane !== base || reader.lanes.get(owns)?.isSpilled !== true)
          this.#violation("lane", message, group, `is of ${owns}, which is not spilled, and handed out in ${lane}`);
        this.counts.standIns++;
      }
      const before = this.#poppedLane[at]!;
      if (before !== "" && before !== lane) {
        this.counts.laneChanges++;
        const changedAt = Math.max(reader.changedAt.get(before) ?? -1, reader.changedAt.get(lane) ?? -1);
        if (changedAt <= this.#poppedAt[at]!)
          this.#violation("lane", message, group, `goes from ${before} to ${lane} with no record between`);
      }
      this.#poppedAt[at] = position;
      this.#poppedLane[at] = lane;
      if (
        pending?.some((handling) => handling.message === message && handling.group === group && handling.lane === asked)
      )
        found++;
    }
    if (pending !== undefined && found < pending.length)
      this.#violation("log", pending[0]!.message, group, `is handled by a record that does not name it`);
  }

  ackLogged(topic: number, group: number, queueId: number, offset: number): void {
    const message = this.#queues[topic]![queueId]?.[offset];
    if (message !== undefined) this.#loggedAck[this.#at(message, group)] = true;
  }

  deathLogged(topic: number, group: number, queueId: number, offset: number): void {
    const message = this.#queues[topic]![queueId]?.[offset];
    if (message === undefined) return;
    const at = this.#at(message, group);
    this.#loggedDeath[at] = true;
    this.#standing[at] = Standing.Dead;
    this.counts.dead++;
  }

  /** Who reads a group's dead letters finds this one. */
  deadLetterRead(message: number, group: number, reason: string): void {
    const at = this.#at(message, group);
    if (!this.#loggedDeath[at])
      this.#violation("dead letter", message, group, "lies in the dead-letter queue, and did not die");
    if (this.#wasRead[at]) this.#violation("dead letter", message, group, "lies there twice");
    if (reason === "") this.#violation("dead letter", message, group, "has no reason");
    this.#wasRead[at] = true;
  }

  /** A message that was sent because another one was handled has another mark than that trace is in. */
  wrongMark(mark: string, expected: string): void {
    this.#violation("mark", -1, -1, `a message is marked ${mark}, and its trace is in ${expected}`);
  }

  /** At the end something is still at the broker. */
  leftAtBroker(text: string): void {
    this.#violation("left", -1, -1, text);
  }

  /** What an operator is told of a message. */
  explains(topic: number, queueId: number, offset: number, group: number, told: Explained): void {
    const message = this.#queues[topic]![queueId]?.[offset];
    if (message === undefined) return;
    const at = this.#at(message, group);
    this.counts.explained++;
    if (told.ruleNumber !== this.#rule[at] || told.lane !== this.#lane[at])
      this.#violation(
        "explain",
        message,
        group,
        `is explained by rule ${told.ruleNumber} and lane ${told.lane}; it is of rule ${this.#rule[at]} and lane ${this.#lane[at]}`,
      );
  }

  /** Whether a group has still to handle anything that is in a queue. */
  hasLeft(group: number): boolean {
    for (let message = 0; message < this.#sent.length; message++) {
      const at = this.#at(message, group);
      const isOpen = !this.#loggedAck[at] && !this.#loggedDeath[at];
      if (isOpen && this.#offset[message]! >= 0 && this.#wants(message, group)) return true;
    }
    return false;
  }

  /** At the end, with nothing left at the broker. */
  finish(): void {
    for (const handlings of this.#unlogged.values())
      this.#violation("log", handlings[0]!.message, handlings[0]!.group, "was handled, and no record says so");
    for (let message = 0; message < this.#sent.length; message++) {
      const isStored = this.#offset[message]! >= 0;
      if (!isStored && this.#isAcked[message] && !this.#isRolledBack[message])
        this.#violation("lost", message, -1, "was acked, and is in no queue");
      if (!isStored) continue;
      for (let g = 0; g < this.#groups.length; g++) {
        if (!this.#wants(message, g)) continue;
        const at = this.#at(message, g);
        if (!this.#wasHandled[at] && !this.#loggedDeath[at]) this.#violation("lost", message, g, "was never handled");
        else if (!this.#loggedAck[at] && !this.#loggedDeath[at])
          this.#violation(
            "left",
            message,
            g,
            `is neither acked nor dead, and is ${standingNames[this.#standing[at]!]}`,
          );
        if (this.#loggedDeath[at] && !this.#wasRead[at])
          this.#violation("dead letter", message, g, "died, and is in no dead-letter queue");
      }
    }
    if (this.counts.duplicates > this.counts.inFlightAtKills)
      this.#violation(
        "duplicate",
        -1,
        -1,
        `${this.counts.duplicates} duplicates, ${this.counts.inFlightAtKills} in flight at kills`,
      );
  }

  #at(message: number, group: number): number {
    return message * this.#groups.length + group;
  }

  #wants(message: number, group: number): boolean {
    const tag = this.#tags[group]!;
    return tag === "" || this.#sent[message]!.tag === tag;
  }

  #checkTurn(message: number, group: number): void {
    const key = this.#sent[message]!.orderKey;
    const order = this.#orders[key]!;
    let next = this.#frontier[group]![key] ?? 0;
    while (next < this.#turn[message]! && this.#isDone(order[next]!, group)) next++;
    this.#frontier[group]![key] = next;
    this.counts.inTurn++;
    if (next < this.#turn[message]!) {
      const standing = standingNames[this.#standing[this.#at(order[next]!, group)]!];
      this.#violation("order", message, group, `is handled before message ${order[next]}, which is ${standing}`);
    }
  }

  #isDone(message: number, group: number): boolean {
    const standing = this.#standing[this.#at(message, group)]!;
    if (standing >= Standing.AckAsked || !this.#wants(message, group)) return true;
    // A send whose answer never came may not have happened.
    return standing === Standing.New && !this.#isAcked[message] && this.#offset[message]! < 0;
  }

  #ownerOf(reader: Reader, message: number, at: number): string {
    const name = this.#lane[at]!;
    const lane = reader.lanes.get(name);
    return lane !== undefined && this.#offset[message]! >= lane.starts[this.#queueId[message]!]! ? name : base;
  }

  /** The lanes of a group are those that its rule names, and closing ones. */
  #arrange(topic: number, group: number, start?: number): void {
    const reader = this.#readers[topic]![group];
    if (reader === undefined) return;
    const rules = this.#rules[topic]!;
    const rule = rules.get(group) ?? rules.get(-1);
    const named = new Set(rule?.rule.clauses.map(({ to }) => to));
    named.delete(base);
    for (const [name, lane] of reader.lanes) lane.isClosing = !named.has(name);
    for (const name of named) {
      if (reader.lanes.has(name)) continue;
      const starts = this.#queues[topic]!.map((queue) => start ?? queue.length);
      reader.lanes.set(name, { isSpilled: false, isClosing: false, starts });
    }
  }

  #violation(kind: string, message: number, group: number, text: string): void {
    this.violationCount++;
    if (this.violations.length >= violationsMax) return;
    const what =
      message < 0 ? "" : ` message ${message} (${this.#sent[message]!.kind}, mark "${this.#sent[message]!.mark}")`;
    const where = group < 0 ? "" : ` of ${this.#groups[group]}`;
    this.violations.push(`${kind}:${what}${where} ${text}`);
  }
}

/** The first clause that holds. */
export function laneBy({ clauses }: ScheduledRule, { mark, tag, shareText }: SentMessage): string {
  for (const clause of clauses) {
    if (clause.lane !== undefined && clause.lane !== (mark === "" ? base : mark)) continue;
    if (clause.tag !== undefined && clause.tag !== tag) continue;
    if (clause.percent !== undefined) {
      const bytes = Buffer.from(shareText);
      if (bucketOf(bytes, 0, bytes.length, laneSalt(clause.to)) >= bucketsOf(clause.percent)) continue;
    }
    return clause.to;
  }
  return base;
}
