import type { OrphanedTransaction } from "../../../broker-core/broker-port.ts";
import { type Randomness, randomIndex } from "../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../proto/runtime/seeded-randomness.ts";
import { type Delivered, LaneBroker } from "./lane-broker.ts";
import { type ConsumerWorld, ScheduledConsumer } from "./lane-consumer.ts";
import { type JudgeCounts, LaneJudge } from "./lane-judge.ts";
import { carriesTrace, messageBytesOf, messageNumber, traceparentOf } from "./lane-message.ts";
import {
  groupNames,
  keyCount,
  type LaneSchedule,
  laneNames,
  plainTopic,
  type ScheduledRule,
  type SendStep,
  type Step,
  topicNames,
} from "./lane-schedule.ts";
import { LaneSidecar } from "./lane-sidecar.ts";
import { VirtualTime } from "./virtual-time.ts";

export interface ScheduleReport {
  readonly seed: number;
  readonly counts: JudgeCounts;
  readonly violations: readonly string[];
  readonly violationCount: number;
  readonly steps: Readonly<Record<string, number>>;
  readonly virtualMs: number;
  readonly eventCount: number;
}

const drainMsMax = 120_000;
const drainStepMs = 250;
/** Every so many hand-outs an operator asks about a message of one. */
const explainEvery = 16;

/** How a transaction ends where the producer is asked. */
const commits = (number: number): boolean => number % 4 !== 0;
const resolutions = { commit: 1, rollback: 2 } as const;

/**
 * One schedule against the real broker state machine and the real lane code of the sidecar: runs it, lets everything heal, drains it, and
 * reports what the judge says.
 */
export function runLaneSchedule(schedule: LaneSchedule, watched?: HandlingWatch): ScheduleReport {
  return new LaneSimulation(schedule, watched).run();
}

/**
 * Is told what consumers of the first group do. With one, applications do nothing by themselves: none is slow, fails, or sends
 * something on, so that a message has the number of its place in the schedule.
 */
export interface HandlingWatch {
  handled(message: number): void;
  /** Its consumer is killed. */
  cut(message: number): void;
}

interface DesiredRule {
  readonly topic: number;
  readonly group: number;
  readonly number: number;
  readonly rule: ScheduledRule | null;
}

/** Of the answer to `lane.explain`. */
interface Told {
  readonly groups: readonly {
    readonly group: string;
    readonly rule: { readonly number: number } | null;
    readonly lane: string;
  }[];
}

/** Of the answer to `dlq.list`. */
interface Listed {
  readonly items: readonly { readonly messageId: string; readonly reason: string }[];
  readonly next: number | null;
}

class LaneSimulation implements ConsumerWorld {
  readonly time = new VirtualTime();
  readonly judge: LaneJudge;
  readonly randomness: Randomness;
  readonly broker: LaneBroker;
  isDraining = false;
  readonly watch: HandlingWatch | undefined;
  readonly #schedule: LaneSchedule;
  readonly #sidecars: LaneSidecar[];
  readonly #consumers: ScheduledConsumer[] = [];
  /** What the control plane wants, by topic and group. */
  readonly #desired = new Map<string, DesiredRule>();
  #isControlPlaneUp = true;
  #ruleNumber = 0;
  #latestDueMs = 0;
  #handOuts = 0;
  /** Of messages that were sent because another one was handled: that one's number. */
  readonly #traces = new Map<number, number>();
  readonly #laneOfTrace = new Map<string, string>();
  readonly #decisions = new Map<number, "commit" | "rollback">();
  readonly #steps: Record<string, number> = {};

  constructor(schedule: LaneSchedule, watch: HandlingWatch | undefined) {
    this.#schedule = schedule;
    this.watch = watch;
    this.randomness = new SeededRandomness((schedule.seed ^ 0x5bd1_e995) >>> 0);
    // In some schedules the second group wants some messages only.
    const tags = ["", schedule.seed % 4 === 0 && watch === undefined ? "red" : ""];
    this.judge = new LaneJudge(groupNames, tags, topicNames.length);
    const onOrphan = (orphan: OrphanedTransaction): void => this.#answerCheck(orphan);
    this.broker = new LaneBroker(this.time, this.judge, { attemptsMax: [0, 4], onOrphan });
    this.#sidecars = ["base", "base", ...laneNames].map((lane, i) => new LaneSidecar(this.time, this.broker, lane, i));
    this.broker.onStart = () => {
      for (const sidecar of this.#sidecars)
        this.time.after(5 + this.randomness.fraction() * 50, () => sidecar.reconnect());
      this.time.after(5, () => this.#order());
    };
    for (const sidecar of this.#sidecars) {
      for (let topic = 0; topic < topicNames.length; topic++) {
        for (const [group, tag] of tags.entries())
          this.#consumers.push(new ScheduledConsumer(this, { topic, group, sidecar, tag }));
      }
      sidecar.onDeath = () => {
        for (const consumer of this.#consumers) if (consumer.place.sidecar === sidecar) consumer.sidecarDied();
      };
    }
  }

  run(): ScheduleReport {
    const { time, broker } = this;
    const endTurn = (): void => this.#endTurn();
    this.#startBase();
    for (const send of this.#schedule.sends) time.at(send.atMs, () => this.#send(send));
    for (const step of this.#schedule.steps) time.at(step.atMs, () => this.#step(step));
    time.run(this.#schedule.loadMs, endTurn);
    this.#heal();
    const endMs = time.nowMs + drainMsMax;
    while (time.nowMs < endMs && !this.#isDrained()) time.run(time.nowMs + drainStepMs, endTurn);
    if (!this.#isDrained()) this.judge.leftAtBroker(JSON.stringify(broker.state?.subscriptions()));
    broker.log.sync();
    this.#readDeadLetters();
    this.judge.finish();
    const { violations, violationCount, counts } = this.judge;
    return {
      seed: this.#schedule.seed,
      counts,
      violations,
      violationCount,
      steps: this.#steps,
      virtualMs: time.nowMs,
      eventCount: time.eventCount,
    };
  }

  onHandled({ message, bytes, mark: itsMark }: Delivered, sidecar: LaneSidecar): void {
    const trace = this.#traces.get(message) ?? message;
    if (!carriesTrace(trace) || this.watch !== undefined) return;
    // What a process knows it was told since it began.
    if (bytes !== undefined) this.#laneOfTrace.set(`${sidecar.number} ${sidecar.run} ${trace}`, itsMark);
    if (trace !== message) return;
    this.time.after(1, () => {
      if (!sidecar.isUp || this.broker.state === undefined) return;
      const expected = this.#laneOfTrace.get(`${sidecar.number} ${sidecar.run} ${trace}`) ?? sidecar.lane;
      const traceparent = traceparentOf(trace);
      this.#traces.set(this.judge.messageCount, trace);
      const mark = this.#sendAll(plainTopic, "normal", sidecar, 1, { traceparent, tag: "red" });
      if (mark !== expected) this.judge.wrongMark(mark, expected);
    });
  }

  #endTurn(): void {
    const { broker } = this;
    broker.endTurn();
    const place = broker.follower.lastPlace;
    if (place === undefined || broker.state === undefined) return;
    broker.follower.lastPlace = undefined;
    if (++this.#handOuts % explainEvery !== 0) return;
    const { topic, queueId, offset } = place;
    const told = broker.operate<Told>("lane.explain", { topic: topicNames[topic]!, queueId, offset });
    for (const { group, rule, lane } of told.groups) {
      const index = groupNames.indexOf(group as (typeof groupNames)[number]);
      this.judge.explains(topic, queueId, offset, index, { ruleNumber: rule?.number, lane });
    }
  }

  #startBase(): void {
    for (const consumer of this.#consumers) if (consumer.place.sidecar.lane === "base") consumer.start();
  }

  #send(step: SendStep): void {
    const { broker } = this;
    // Through a sidecar of the base lane, which the property overrules; now and then through one of the lane itself.
    const own = this.#sidecars.find(({ lane, isUp }) => lane === step.mark && isUp);
    const isOwn = own !== undefined && step.key % 2 === 0;
    const sidecar = isOwn ? own : this.#sidecars[step.key % 2]!;
    if (!sidecar.isUp || broker.state === undefined) return;
    const property = isOwn ? "" : step.mark;
    // A half message is sent by itself.
    const [sends, each] = step.kind === "half" ? [step.count, 1] : [1, step.count];
    for (let i = 0; i < sends; i++)
      this.#sendAll(step.topic, step.kind, sidecar, each, { ...step, key: step.key + i, property });
  }

  /** Returns the mark that the sidecar gave. */
  #sendAll(
    topic: number,
    kind: SendStep["kind"],
    sidecar: LaneSidecar,
    count: number,
    parts: {
      tag: string;
      property?: string;
      traceparent?: string;
      orderKey?: number;
      key?: number;
      dueInMs?: number;
      end?: SendStep["end"];
    },
  ): string {
    const { broker, judge, time } = this;
    const { tag, property = "", orderKey = -1, key = 0 } = parts;
    const dueMs = kind === "timed" ? Math.round(time.wallMs + (parts.dueInMs ?? 0)) : undefined;
    if (dueMs !== undefined) this.#latestDueMs = Math.max(this.#latestDueMs, dueMs);
    const first = judge.messageCount;
    const bytes: Buffer[] = [];
    const shareTexts: string[] = [];
    for (let i = 0; i < count; i++) {
      const shareText = orderKey >= 0 ? `g${orderKey}` : `u${(key + i) % keyCount}`;
      const number = first + i;
      const traceparent = parts.traceparent ?? (carriesTrace(number) ? traceparentOf(number) : "");
      const sent = { topic, kind, mark: "", tag, orderKey, shareText };
      bytes.push(messageBytesOf(number, { sent, lane: property, dueMs, traceparent }));
      shareTexts.push(shareText);
    }
    const mark = sidecar.markOf(bytes);
    for (const shareText of shareTexts) judge.sends({ topic, kind, mark, tag, orderKey, shareText });
    const sent = broker.state!.send(
      { topicId: broker.topicIds[topic]!, laneMark: mark, bornHost: "app", messages: bytes },
      broker.now,
    );
    if (!sent.ok) throw new Error(sent.message);
    if (kind === "half") this.#begin(first, parts.end ?? "commit", sent.transactionId, topic, sent.position);
    else
      broker.log.whenDurable(sent.position, () => {
        for (let i = 0; i < count; i++) judge.sendAcked(first + i);
      });
    return mark;
  }

  #begin(number: number, end: SendStep["end"], transactionId: string, topic: number, position: number): void {
    const { broker, judge, time } = this;
    const decision = end === "ask" ? (commits(number) ? "commit" : "rollback") : end;
    this.#decisions.set(number, decision);
    if (decision === "rollback") judge.rolledBack(number);
    broker.log.whenDurable(position, () => {
      judge.sendAcked(number);
      if (end === "ask") return;
      time.after(randomIndex(this.randomness, 100), () => this.#end(topicNames[topic]!, transactionId, decision, 1));
    });
  }

  #end(topic: string, transactionId: string, decision: "commit" | "rollback", source: number): void {
    const { broker } = this;
    // An end that is not heard is asked for later.
    broker.state?.endTransaction({ topic, transactionId, resolution: resolutions[decision], source }, broker.now);
  }

  #answerCheck({ topic, transactionId, message }: OrphanedTransaction): void {
    const decision = this.#decisions.get(messageNumber(message, message.length))!;
    this.time.after(1 + this.randomness.fraction() * 20, () => this.#end(topic, transactionId, decision, 2));
  }

  #step(step: Step): void {
    this.#count(step.kind);
    switch (step.kind) {
      case "rule":
        this.#want(step.topic, step.group, step.rule);
        break;
      case "delete":
        this.#want(step.topic, step.group, null);
        break;
      case "up":
      case "down":
      case "kill":
        this.#lane(step.kind, laneNames[step.lane]!, step.withSidecar);
        break;
      case "kill broker":
      case "cut power":
        this.#killBroker(step.kind === "kill broker" ? "kill" : "power", step.forMs);
        break;
      case "kill control plane":
        this.#isControlPlaneUp = false;
        this.time.after(step.forMs * 5, () => {
          this.#isControlPlaneUp = true;
          this.#order();
        });
        break;
      case "kill sidecar": {
        const sidecar = this.#sidecars[step.pick % this.#sidecars.length]!;
        sidecar.kill();
        this.time.after(step.forMs, () => sidecar.start());
        break;
      }
      case "kill consumer": {
        const alive = this.#consumers.filter(({ isAlive }) => isAlive);
        const consumer = alive[step.pick % alive.length];
        consumer?.kill();
        if (consumer?.place.sidecar.lane === "base") this.time.after(step.forMs, () => consumer.start());
        break;
      }
      case "step clock":
        this.time.wallOffsetMs += (step.pick % 600_001) - 300_000;
        break;
    }
    if (step.atMs % 7 < 2) this.broker.checkpoint();
  }

  #lane(kind: "up" | "down" | "kill", lane: string, withSidecar: boolean): void {
    const sidecar = this.#sidecars.find((each) => each.lane === lane)!;
    const consumers = this.#consumers.filter(({ place }) => place.sidecar === sidecar);
    if (kind === "up") {
      sidecar.start();
      for (const consumer of consumers) consumer.start();
    } else if (kind === "down") for (const consumer of consumers) consumer.stop();
    else {
      for (const consumer of consumers) consumer.kill();
      if (!withSidecar) return;
      sidecar.kill();
      this.time.after(50 + this.randomness.fraction() * 300, () => sidecar.start());
    }
  }

  #killBroker(kind: "kill" | "power", forMs: number): void {
    const { broker, judge } = this;
    if (broker.state === undefined) return;
    broker.die(kind);
    judge.brokerDied(kind === "power", broker.log.durablePosition);
    for (const sidecar of this.#sidecars) sidecar.disconnect();
    for (const consumer of this.#consumers) consumer.brokerDied();
    this.time.after(forMs, () => broker.start());
  }

  #want(topic: number, group: number, rule: ScheduledRule | null): void {
    this.#desired.set(`${topic} ${group}`, { topic, group, number: ++this.#ruleNumber, rule });
    // It is on its way for a while.
    this.time.after(1 + this.randomness.fraction() * 80, () => this.#order());
  }

  /** The control plane orders whatever it wants of the broker, in any order and again: the broker knows what it has. */
  #order(): void {
    const { broker } = this;
    if (!this.#isControlPlaneUp || broker.state === undefined) return;
    for (const { topic, group, number, rule } of this.#desired.values()) {
      const order = {
        topic: topicNames[topic]!,
        group: group < 0 ? "" : groupNames[group]!,
        name: "rule",
        number,
        rule,
      };
      broker.operate("lane.rule", order);
    }
  }

  /** Everything is up again, rules go or their lanes have consumers, and all that was to come later comes. */
  #heal(): void {
    const { time, broker } = this;
    this.isDraining = true;
    broker.start();
    this.#isControlPlaneUp = true;
    for (const sidecar of this.#sidecars) sidecar.start();
    this.#startBase();
    if (this.#schedule.seed % 2 === 0) for (const consumer of this.#consumers) consumer.start();
    else for (const { topic, group } of [...this.#desired.values()]) this.#want(topic, group, null);
    this.#order();
    time.wallOffsetMs += Math.max(0, this.#latestDueMs - time.wallMs);
  }

  #isDrained(): boolean {
    const { state, log } = this.broker;
    if (state === undefined || log.durablePosition < log.endPosition) return false;
    if (state.topics().some(({ delayed, openTransactions }) => delayed + openTransactions > 0)) return false;
    const figures = state
      .subscriptions()
      .filter(({ topic }) => topicNames.includes(topic as (typeof topicNames)[number]));
    return (
      figures.length === topicNames.length * groupNames.length &&
      figures.every(({ group, ready, blocked, inFlight }) => {
        if (blocked + inFlight > 0) return false;
        // What a filter does not want may be kept for a consumer with another one.
        return ready === 0 || !this.judge.hasLeft(groupNames.indexOf(group as (typeof groupNames)[number]));
      })
    );
  }

  #readDeadLetters(): void {
    for (const [group, name] of groupNames.entries()) {
      let from: number | null = 0;
      while (from !== null) {
        const { items, next }: Listed = this.broker.operate("dlq.list", { group: name, from, count: 500 });
        for (const { messageId, reason } of items) this.judge.deadLetterRead(Number(messageId.slice(1)), group, reason);
        from = next;
      }
    }
  }

  #count(what: string): void {
    this.#steps[what] = (this.#steps[what] ?? 0) + 1;
  }
}
