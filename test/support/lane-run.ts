import assert from "node:assert/strict";
import { ChangeKind } from "../../broker-core/broker-port.ts";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import { hashBytes } from "../../broker-core/consume-queue/text-hash.ts";
import { rowsEveryMs } from "../../broker-core/lane/lane-keeper.ts";
import { readDeadLetterRecord } from "../../broker-core/record/dead-letter-record.ts";
import { TrimReason } from "../../broker-core/record/log-trimmed-record.ts";
import * as pop from "../../broker-core/record/pop-record.ts";
import { BrokerFixture, messageBytes } from "./broker-fixture.ts";
import { LaneLogChecker } from "./lane-log-checker.ts";

const lanes = ["canary", "blue"] as const;
const marks = ["", "", "canary", "canary", "blue", "gone"] as const;
const groupNames = ["ns/all", "ns/red", "ns/late"] as const;
const tags = ["red", "blue"] as const;
/** Attempts that "ns/red" makes before a message is dead; the others make them without end. */
const redAttemptsMax = 3;

/** Kinds of steps, the frequent ones several times. */
const kinds = [
  ...["send", "send", "send", "send", "send", "receive", "receive", "receive", "receive", "receive", "wait", "wait"],
  ...["wait", "wait", "wait", "wait"],
  ...[
    "ack",
    "ack",
    "ack",
    "ack",
    "ackAll",
    "ackAll",
    "nack",
    "sync",
    "sync",
    "pass",
    "pass",
    "passLong",
    "rule",
    "rule",
  ],
  ...[
    "withdraw",
    "gone",
    "crash",
    "snapshot",
    "compare",
    "compare",
    "base",
    "trim",
    "remove",
    "timed",
    "half",
    "forward",
  ],
  ...["redrive", "reset", "widen", "there", "compare", "switch", "switch"],
] as const;

export type LaneStep = readonly [kind: number, a: number, b: number];
export const laneStepKinds: number = kinds.length;

interface ListedRule {
  readonly group: string;
  readonly rule: { readonly clauses: readonly { readonly to: string }[] };
}

/** What of `lane.list` is looked at. */
interface Listed {
  readonly topics: readonly { readonly rules: readonly ListedRule[] }[];
  readonly areOff?: boolean;
}

/** Of a lane, as `lane.group` tells them. */
interface LaneFigures {
  readonly lane: string;
  readonly ready: number;
  readonly isSpilled: boolean;
  readonly isWithdrawn: boolean;
  readonly waitingReceives: number;
}

interface Held {
  readonly group: number;
  readonly receipt: Buffer;
}

interface Image {
  readonly bytes: Buffer;
  readonly position: number;
}

/** A broker under random steps with rules and lanes; whatever its log says is checked (lane-log-checker.ts). */
export class LaneRun {
  readonly f: BrokerFixture;
  readonly topicId: number;
  readonly groups: number[];
  readonly checker: LaneLogChecker;
  readonly counts = { sent: 0, acked: 0, crashes: 0, rules: 0, trims: 0, resets: 0, waits: 0 };
  #held: Held[] = [];
  #tickets = new Map<number, number>();
  #answers = 0;
  #number = 0;
  #nextId = 1;
  readonly #redIds: string[] = [];
  #image: Image | undefined;
  #base: Image | undefined;
  #trimmed: (Image & { readonly recordPosition: number }) | undefined;

  constructor(isOrdered: boolean) {
    this.f = new BrokerFixture({ groupStart: "beginning" });
    this.topicId = this.f.topic("ns/orders", { messageTypes: isOrdered ? 0b11111 : 0b11011, queueCount: 2 });
    this.groups = groupNames.map((name) => this.f.group(name, { attemptsMax: name === "ns/red" ? redAttemptsMax : 0 }));
    const names = new Map(this.groups.map((id, i) => [id, groupNames[i]!]));
    this.checker = new LaneLogChecker(this.topicId, isOrdered, names);
    const red = Buffer.from("red");
    this.checker.wanted.set(this.groups[1]!, hashBytes(red, 0, red.length));
    this.f.isAutoSync = false;
    this.f.sync();
  }

  step([kind, a, b]: LaneStep): void {
    this.#do(kinds[kind % kinds.length]!, a, b);
    this.#look();
    this.#checkWaits();
  }

  /**
   * Nobody waits for what is there: whatever becomes somebody's wakes him. Told by the figures of each lane, which say all of a group
   * without a filter in a topic without order.
   */
  #checkWaits(): void {
    const { f } = this;
    // What is due is done in the next turn.
    if (this.checker.isOrdered || f.state.nextTimerMs() <= f.monotonicMs) return;
    for (const group of ["ns/all", "ns/late"] as const) {
      const told = f.state.operate("lane.group", { group, topic: "ns/orders" }, f.now);
      if (told instanceof Promise || !told.ok) continue;
      const { topics } = told.result as { topics: { lanes: LaneFigures[] }[] };
      for (const { lanes: all } of topics) {
        const [base, ...others] = all;
        for (const lane of all) {
          // Of a lane that its rule takes back nobody there gets anything.
          if (lane.waitingReceives === 0 || lane.isWithdrawn) continue;
          this.counts.waits++;
          const isForMore = lane === base ? others.filter(({ isSpilled }) => isSpilled) : [];
          const ready = [lane, ...isForMore].reduce((sum, each) => sum + each.ready, 0);
          assert.equal(
            ready,
            0,
            `${lane.waitingReceives} wait in lane ${lane.lane} of ${group}, and ${ready} are there for them`,
          );
        }
      }
    }
  }

  /** Something is kept for a lane from the beginning: by themselves histories seldom come to that. */
  beginWithKept(): void {
    const red = this.groups[1]!;
    this.#operateRule("", { clauses: [{ to: "canary", lane: "canary" }], whenEmpty: { action: "spill", afterMs: 0 } });
    this.#receiveAs(1, red, "canary", 1, 400, 0);
    this.f.pass(40);
    this.#send({ id: this.#newId("blue"), tag: "blue" }, "canary");
    this.f.sync();
    this.#receiveAs(1, red, "", 1, 400, 0);
    this.#look();
  }

  #do(kind: (typeof kinds)[number], a: number, b: number): void {
    const { f } = this;
    switch (kind) {
      case "send": {
        const group = a % 3 === 0 || !this.checker.isOrdered ? {} : { group: `g${a % 5}` };
        const tag = tags[b % 2]!;
        const parts = { id: this.#newId(tag), tag, ...group };
        this.#send(parts, marks[a % marks.length]!);
        break;
      }
      case "timed":
        f.sendTimed(this.topicId, f.wallMs + 1 + (a % 5_000), {
          id: this.#newId("red"),
          tag: "red",
          laneMark: "canary",
        });
        break;
      case "half": {
        const id = f.sendHalf(this.topicId, { id: this.#newId("red"), tag: "red" });
        f.sync();
        f.endOk(id, "COMMIT");
        break;
      }
      case "receive":
        this.#receive(a, b, 0);
        break;
      case "wait":
        this.#receive(a, b, a % 2 === 0 ? 500 : 20_000);
        break;
      case "ack":
        this.#settle(a, "ack");
        break;
      case "ackAll":
        for (let left = this.#held.length; left > 0; left--) this.#settle(0, "ack");
        break;
      case "nack":
        this.#settle(a, "nack");
        break;
      case "forward":
        this.#settle(a, "forward");
        break;
      case "redrive": {
        // What only consumers of canary wanted stays dead: its lane may be gone, and then nobody of the group wants it.
        const only = a % 3 === 1 ? { messageIds: this.#redIds.slice(-500) } : {};
        const order = { group: groupNames[a % 3]!, count: 5, ...only };
        f.sync();
        void f.state.operate("dlq.redrive", order, f.now);
        break;
      }
      case "reset":
        if (a % 4 !== 0) break;
        f.sync();
        void f.state.operate(
          "group.reset",
          { group: groupNames[b % 3]!, to: a % 8 === 0 ? "earliest" : { offset: b % 20 } },
          f.now,
        );
        this.counts.resets++;
        break;
      case "widen":
        if (a % 5 === 0) f.topic("ns/orders", { messageTypes: this.#types, queueCount: 3 });
        break;
      case "sync":
        f.sync();
        break;
      case "pass":
        f.pass([1, 40, 700, 2_500][a % 4]!);
        break;
      case "passLong":
        f.pass(61_000);
        break;
      case "rule":
        this.#rule(a, b);
        break;
      case "withdraw":
        this.#operateRule(b % 3 === 0 ? groupNames[a % 3]! : "", null);
        break;
      case "gone":
      case "there":
        f.state.lanePresence(groupNames[a % 3]!, "ns/orders", lanes[b % 2]!, kind === "there", f.now);
        break;
      case "switch":
        // Mostly on: what lanes do is what these histories are about.
        void f.state.operate("lanes.switch", { state: a % 3 === 0 ? "off" : "on", by: "test" }, f.now);
        break;
      case "snapshot":
        this.#image = { bytes: f.state.snapshot(), position: f.state.appliedPosition };
        break;
      case "compare":
        f.sync();
        // A start looks at once whether a closing lane can go; a broker that runs waits this long between two looks.
        if (f.state.nextTimerMs() <= f.monotonicMs + rowsEveryMs) f.pass(rowsEveryMs);
        f.sync();
        f.assertRebuilt(this.#image?.bytes);
        break;
      case "base":
        this.#base = { bytes: f.state.baseImage(f.state.appliedPosition), position: f.state.appliedPosition };
        break;
      case "trim":
        this.#trim();
        break;
      case "remove":
        this.#remove();
        break;
      case "crash":
        this.#crash(a % 2 === 0 ? "kill" : "power", b % 2 === 0);
        break;
      default: {
        const never: never = kind;
        throw new Error(never);
      }
    }
  }

  /** Rules go, everybody comes, time passes: nothing may be left behind. */
  drain(): void {
    const { f } = this;
    f.sync();
    for (const group of ["", ...groupNames]) this.#operateRule(group, null);
    // What was said of consumers holds until it is taken back.
    for (const group of groupNames)
      for (const lane of lanes) f.state.lanePresence(group, "ns/orders", lane, false, f.now);
    for (let round = 0; round < 60; round++) {
      f.sync();
      f.pass(round % 4 === 3 ? 61_000 : 3_000);
      for (const [g, groupId] of this.groups.entries()) {
        for (const lane of round < 4 ? ["canary", ""] : [""]) this.#receiveAs(g, groupId, lane, 32, 10_000, 0);
      }
      this.#look();
      for (let left = this.#held.length; left > 0; left--) this.#settle(0, "ack");
      this.#look();
    }
    f.sync();
    this.#look();
    for (const groupId of this.groups) {
      const left = this.checker.unsettled(groupId);
      assert.deepEqual(
        left.map(({ queueId, offset }) => `${queueId}/${offset}`),
        [],
        `nothing is left behind at group ${groupId}`,
      );
      assert.deepEqual(this.checker.openLanes(groupId), [], "all lanes are closed");
    }
    f.assertRebuilt();
    for (const figures of f.state.subscriptions().filter(({ topic }) => topic === "ns/orders")) {
      assert.deepEqual([figures.ready, figures.blocked, figures.inFlight], [0, 0, 0], figures.group);
    }
  }

  /** Damage takes some records of these kinds; the broker starts on what is left. Returns how many it took. */
  lose(picks: readonly number[], kinds: ReadonlySet<RecordType>): number {
    const { f } = this;
    // What becomes durable wakes receives, whose hand-outs are records.
    while (f.log.durablePosition < f.log.endPosition) f.sync();
    this.#look();
    const positions: number[] = [];
    for (const { type, position } of f.log.records(f.state.logBegin)) if (kinds.has(type)) positions.push(position);
    if (positions.length === 0) return 0;
    for (const pick of picks) f.lost.add(positions[pick % positions.length]!);
    f.knownFrom = f.log.endPosition;
    f.crash("kill");
    this.#held = [];
    return f.lost.size;
  }

  /**
   * As `drain`, where the log does not say everything any more: whatever it does not say to be settled comes, or dies when it says that
   * the last attempt is out.
   */
  drainAfterDamage(): void {
    const { f } = this;
    const lastAttempts = this.#lastAttempts();
    const left = new Map(this.groups.map((groupId) => [groupId, this.checker.unsettled(groupId)] as const));
    const came = new Set<string>();
    for (const group of ["", ...groupNames]) {
      this.#number = Math.max(this.#number, 100_000);
      this.#operateRule(group, null);
    }
    for (let round = 0; round < 40; round++) {
      f.sync();
      f.pass(round % 4 === 3 ? 61_000 : 3_000);
      for (const [g, groupId] of this.groups.entries()) {
        const from = f.answeredTickets.length;
        for (const lane of round < 4 ? ["canary", ""] : [""]) this.#receiveAs(g, groupId, lane, 32, 10_000, 0);
        for (const ticket of f.answeredTickets.slice(from)) {
          const answer = f.answers.get(ticket);
          if (answer?.kind !== "batch") continue;
          for (const { queueId, offset, receipt } of answer.got) {
            came.add(`${groupId} ${queueId}/${offset}`);
            f.state.ack(groupId, [receipt], f.now);
          }
        }
      }
    }
    f.sync();
    for (const each of this.#deadSinceDamage()) if (lastAttempts.has(each)) came.add(each);
    for (const [groupId, messages] of left) {
      // A group whose opening is lost may not have come before.
      if (this.checker.readers.get(groupId) === undefined) continue;
      const missing = messages.filter(({ queueId, offset }) => !came.has(`${groupId} ${queueId}/${offset}`));
      assert.deepEqual(
        missing.map(({ queueId, offset }) => `${queueId}/${offset}`),
        [],
        `what group ${groupId} had not settled comes`,
      );
    }
    // Of a group with a filter, what came back and does not match stays for a consumer that wants it.
    const unfiltered = f.state
      .subscriptions()
      .filter(({ topic, group }) => topic === "ns/orders" && group !== "ns/red");
    for (const figures of unfiltered) {
      assert.deepEqual([figures.ready, figures.blocked, figures.inFlight], [0, 0, 0], figures.group);
    }
    f.assertRebuilt();
  }

  /** "<group> <queue>/<offset>" of what "ns/red" was handed for the last time, by the records that are left. */
  #lastAttempts(): Set<string> {
    const { f } = this;
    const found = new Set<string>();
    const read = pop.popReadBlank();
    for (const { type, position, body } of f.log.records(f.state.logBegin)) {
      if (type !== RecordType.Pop || f.lost.has(position)) continue;
      pop.readPopRecord(body, 0, body.length, read);
      if (read.topicId !== this.topicId || read.groupId !== this.groups[1]) continue;
      for (let i = 0, at = read.deliveriesAt; i < read.deliveryCount; i++, at += pop.popDeliveryBytes) {
        const message = `${read.groupId} ${pop.popEntryQueueId(body, at)}/${pop.popEntryOffset(body, at)}`;
        // Redriven ones begin anew.
        if (pop.popDeliveryAttempt(body, at) >= redAttemptsMax) found.add(message);
        else found.delete(message);
      }
    }
    return found;
  }

  /** The same of what died since the broker started on what is left. */
  #deadSinceDamage(): string[] {
    const dead: string[] = [];
    for (const { type, body } of this.f.log.records(this.f.knownFrom)) {
      if (type !== RecordType.DeadLetter) continue;
      const { groupId, topicId, queueId, offset } = readDeadLetterRecord(body, 0, body.length);
      if (topicId === this.topicId) dead.push(`${groupId} ${queueId}/${offset}`);
    }
    return dead;
  }

  get #types(): number {
    return this.checker.isOrdered ? 0b11111 : 0b11011;
  }

  #send(parts: Parameters<typeof messageBytes>[0], laneMark: string): void {
    const { f } = this;
    const sent = f.state.send(
      { topicId: this.topicId, laneMark, bornHost: "h", messages: [messageBytes(parts)] },
      f.now,
    );
    assert.ok(sent.ok);
    this.counts.sent++;
  }

  /** Whether a rule gives the group such a lane, and lanes are on. */
  #hasLane(group: string, lane: string): boolean {
    const listed = this.f.state.operate("lane.list", { topic: "ns/orders" }, this.f.now);
    assert.ok(!(listed instanceof Promise) && listed.ok);
    const { topics, areOff } = listed.result as Listed;
    const { rules = [] } = topics[0] ?? {};
    const rule = rules.find((each) => each.group === group) ?? rules.find((each) => each.group === "");
    return areOff !== true && rule?.rule.clauses.some(({ to }) => to === lane) === true;
  }

  #newId(tag: (typeof tags)[number]): string {
    const id = `m${this.#nextId++}`;
    if (tag === "red") this.#redIds.push(id);
    return id;
  }

  #receive(a: number, b: number, waitMs: number): void {
    const g = a % 3;
    // The third group comes late, if at all.
    if (g === 2 && b % 7 > 1) return;
    const lane = ["", "", "canary", "canary", "blue", "other"][b % 6]!;
    this.#receiveAs(
      g,
      this.groups[g]!,
      lane,
      [1, 2, 5, 32][(a >> 2) % 4]!,
      [400, 10_000, 60_000][(b >> 2) % 3]!,
      waitMs,
    );
  }

  #receiveAs(g: number, groupId: number, lane: string, batch: number, invisibleMs: number, waitMs: number): void {
    // Of the group that wants "red", the consumers of other lanes want more.
    const filter = g !== 1 || (this.f.lost.size === 0 && this.#hasLane("ns/red", lane)) ? "*" : "red";
    const call = { lane, batch, invisibleMs, waitMs, filter, clientId: `${lane || "base"}-${g}` };
    const { ticket } = this.f.ask(this.topicId, groupId, call);
    this.#tickets.set(ticket, g);
  }

  #settle(index: number, how: "ack" | "nack" | "forward"): void {
    if (this.#held.length === 0) return;
    const [held] = this.#held.splice(index % this.#held.length, 1);
    const groupId = this.groups[held!.group]!;
    const { f } = this;
    if (how === "ack") f.state.ack(groupId, [held!.receipt], f.now);
    else if (how === "forward") f.state.deadLetter(groupId, [held!.receipt], f.now);
    else f.state.change(groupId, [{ receipt: held!.receipt, kind: ChangeKind.Renew, invisibleMs: index % 100 }], f.now);
    if (how === "ack") this.counts.acked++;
  }

  #rule(a: number, b: number): void {
    const clauses: object[] = [
      [{ to: "canary", lane: "canary" }],
      [
        { to: "canary", lane: "canary" },
        { to: "blue", lane: "blue" },
      ],
      [{ to: "blue", percent: 40 }],
      [{ to: "canary", percent: 70 }],
      [{ to: "canary", tag: "red" }],
    ][a % 5]!;
    const whenEmpty = b % 4 === 0 ? { action: "hold" } : { action: "spill", afterMs: b % 3 === 0 ? 0 : 2_000 };
    const withdrawn = (a + b) % 7 === 0 ? { withdrawn: [lanes[b % lanes.length]!] } : {};
    this.#operateRule(b % 5 === 0 ? groupNames[a % 3]! : "", { clauses, whenEmpty, ...withdrawn });
    this.counts.rules++;
  }

  #operateRule(group: string, rule: object | null): void {
    const order = { topic: "ns/orders", group, name: "rule", number: ++this.#number, rule };
    this.f.operate("lane.rule", order);
  }

  #trim(): void {
    const { f } = this;
    const base = this.#base;
    if (base === undefined || base.position > f.log.durablePosition || base.position <= f.state.logBegin) return;
    f.state.unconsumedBelow(base.position);
    while (!f.state.carryBefore(f.log.endPosition, f.now).isFinished);
    const recordPosition = f.state.trimLog(base.position, TrimReason.Age, f.now);
    this.#trimmed = { ...base, recordPosition };
    this.counts.trims++;
  }

  #remove(): void {
    const { f } = this;
    const trimmed = this.#trimmed;
    if (trimmed === undefined || trimmed.recordPosition >= f.log.durablePosition) return;
    this.#look();
    f.log.removeBelow(trimmed.position);
    f.base = trimmed.bytes;
    if (this.#image !== undefined && this.#image.position < trimmed.position) this.#image = undefined;
    if (this.#base !== undefined && this.#base.position <= trimmed.position) this.#base = undefined;
    this.#trimmed = undefined;
  }

  #crash(kind: "kill" | "power", useImage: boolean): void {
    const { f } = this;
    const kept = kind === "kill" ? f.log.writtenPosition : f.log.durablePosition;
    if (this.#image !== undefined && this.#image.position > kept) this.#image = undefined;
    if (this.#base !== undefined && this.#base.position > kept) this.#base = undefined;
    if (this.#trimmed !== undefined && this.#trimmed.recordPosition >= kept) this.#trimmed = undefined;
    f.crash(kind, useImage ? this.#image?.bytes : undefined);
    this.counts.crashes++;
  }

  /** Takes what consumers were given, and what the log says for good. */
  #look(): void {
    const { f, checker } = this;
    for (; this.#answers < f.answeredTickets.length; this.#answers++) {
      const ticket = f.answeredTickets[this.#answers]!;
      const answer = f.answers.get(ticket);
      if (answer?.kind !== "batch") continue;
      for (const { receipt } of answer.got) this.#held.push({ group: this.#tickets.get(ticket)!, receipt });
    }
    for (const record of f.log.records(checker.next)) {
      if (record.position >= f.log.durablePosition) break;
      checker.take(record);
    }
  }
}
