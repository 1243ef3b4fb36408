import { type Randomness, randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { laneBy } from "../lane-judge.ts";
import { type LaneSchedule, orderedTopic, type ScheduledRule, topicNames } from "../lane-schedule.ts";
import { VirtualTime } from "../virtual-time.ts";
import { LaneTally, messagesOf, type ScheduledMessage, type TallyCounts } from "./lane-tally.ts";

export interface FilterSwitchOptions {
  /** Base asks for the live groups so often; undefined: both ends are switched when the canary is rolled out and taken back. */
  readonly pollMs: number | undefined;
  /** The canary's group goes on where it was; false: it begins at the end each time it comes. */
  readonly keepsOffset: boolean;
}

const queueCount = 4;
const batchMax = 32;
const invisibleMs = 1_500;
const idleMs = 20;
/** A new filter reaches an instance within this. */
const pushMsMax = 1_000;
/** A killed canary is noticed by health checks, three of a second each. */
const noticeMs = 3_000;
const drainMs = 20_000;

interface QueueOfGroup {
  offset: number;
  /** A batch of a queue in order is out. */
  isLocked: boolean;
  readonly again: number[];
}

interface Instance {
  readonly isCanary: boolean;
  isAlive: boolean;
  life: number;
  /** Of base: leaves out what is marked for the canary. */
  excludes: boolean;
  inHand: { readonly messages: readonly number[]; readonly queue: QueueOfGroup }[];
}

/**
 * A group with a suffix for the canary ("billing-canary"), which wants `lane = 'canary'`, and a filter of base that leaves that out,
 * `lane IS NULL OR lane <> 'canary'`, while there is a canary. Both groups read all queues with positions of their own, and a message
 * that a filter does not want is passed for good. Pop and acks of single messages, so a kill repeats no more than was in hand.
 * Producers mark by the rule at once, also by shares.
 */
export function runFilterSwitch(schedule: LaneSchedule, options: FilterSwitchOptions): TallyCounts {
  return new FilterSwitch(schedule, options).run();
}

class FilterSwitch {
  readonly #time = new VirtualTime();
  readonly #randomness: Randomness;
  readonly #options: FilterSwitchOptions;
  readonly #schedule: LaneSchedule;
  readonly #messages: readonly ScheduledMessage[];
  readonly #tally: LaneTally;
  readonly #rules: (ScheduledRule | undefined)[] = topicNames.map(() => undefined);
  readonly #isMarked: boolean[] = [];
  /** Messages by topic and queue. */
  readonly #log: number[][][] = topicNames.map(() => Array.from({ length: queueCount }, () => []));
  readonly #ofBase = this.#positions();
  readonly #ofCanary = this.#positions();
  readonly #bases: Instance[] = [instance(false), instance(false)];
  readonly #canary = instance(true);
  #isCanaryKnown = false;
  #hasBegun = false;

  constructor(schedule: LaneSchedule, options: FilterSwitchOptions) {
    this.#schedule = schedule;
    this.#options = options;
    this.#randomness = new SeededRandomness((schedule.seed ^ 0x2545_f491) >>> 0);
    this.#messages = messagesOf(schedule);
    this.#tally = new LaneTally(this.#messages);
  }

  run(): TallyCounts {
    const time = this.#time;
    for (const [number, { atMs }] of this.#messages.entries()) time.at(atMs, () => this.#store(number));
    for (const step of this.#schedule.steps) {
      time.at(step.atMs, () => {
        if (step.kind === "rule") this.#rules[step.topic] = step.rule;
        else if (step.kind === "delete") this.#rules[step.topic] = undefined;
        else if (step.kind === "up") this.#up();
        else if (step.kind === "down" || step.kind === "kill") this.#down(step.kind === "kill");
      });
    }
    for (const base of this.#bases) {
      this.#start(base);
      if (this.#options.pollMs !== undefined) this.#poll(base, this.#options.pollMs * this.#randomness.fraction());
    }
    time.run(this.#schedule.loadMs, () => {});
    // As in every mechanism: the canary comes for good, or is taken back as it stands.
    if (this.#schedule.seed % 2 === 0) this.#up();
    else this.#switch(false);
    time.run(this.#schedule.loadMs + drainMs, () => {});
    return this.#tally.counts();
  }

  #positions(): QueueOfGroup[][] {
    return topicNames.map(() => Array.from({ length: queueCount }, () => ({ offset: 0, isLocked: false, again: [] })));
  }

  #store(number: number): void {
    const message = this.#messages[number]!;
    const rule = this.#rules[message.topic];
    this.#isMarked[number] = rule !== undefined && laneBy(rule, message) === "canary";
    const queue = message.orderKey >= 0 ? message.orderKey % queueCount : number % queueCount;
    this.#log[message.topic]![queue]!.push(number);
  }

  #up(): void {
    const canary = this.#canary;
    if (canary.isAlive) return;
    if (!this.#hasBegun || !this.#options.keepsOffset) {
      for (const [topic, queues] of this.#ofCanary.entries())
        for (const [i, queue] of queues.entries()) queue.offset = this.#log[topic]![i]!.length;
    }
    this.#hasBegun = true;
    this.#start(canary);
    this.#switch(true);
  }

  #down(isKill: boolean): void {
    const canary = this.#canary;
    if (!canary.isAlive) return;
    canary.isAlive = false;
    const life = ++canary.life;
    if (isKill) {
      for (const { messages, queue } of canary.inHand) {
        for (const message of messages) this.#tally.cut(message);
        this.#time.after(invisibleMs, () => {
          queue.isLocked = false;
          queue.again.push(...messages);
        });
      }
      canary.inHand = [];
      this.#time.after(noticeMs, () => {
        if (!canary.isAlive && canary.life === life) this.#switch(false);
      });
    } else this.#switch(false);
  }

  /** Tells the base instances whether to leave out the canary's messages; each has it a little later. */
  #switch(isCanaryThere: boolean): void {
    this.#isCanaryKnown = isCanaryThere;
    if (this.#options.pollMs !== undefined) return;
    for (const base of this.#bases)
      this.#time.after(this.#randomness.fraction() * pushMsMax, () => {
        base.excludes = this.#isCanaryKnown;
      });
  }

  #poll(base: Instance, inMs: number): void {
    this.#time.after(inMs, () => {
      // The list of live groups is exact.
      base.excludes = this.#canary.isAlive;
      if (this.#time.nowMs < this.#schedule.loadMs + drainMs) this.#poll(base, this.#options.pollMs!);
    });
  }

  #start(of: Instance): void {
    of.isAlive = true;
    const life = ++of.life;
    for (let topic = 0; topic < topicNames.length; topic++) this.#pop(of, life, topic, 0);
  }

  #pop(of: Instance, life: number, topic: number, from: number): void {
    if (!of.isAlive || of.life !== life) return;
    const groups = of.isCanary ? this.#ofCanary : this.#ofBase;
    const again = (next: number, inMs: number): void => this.#time.after(inMs, () => this.#pop(of, life, topic, next));
    for (let i = 0; i < queueCount; i++) {
      const queueId = (from + i) % queueCount;
      const queue = groups[topic]![queueId]!;
      if (queue.isLocked) continue;
      const messages = queue.again.length > 0 ? queue.again.splice(0, batchMax) : this.#take(of, topic, queueId, queue);
      if (messages.length === 0) continue;
      if (topic === orderedTopic) queue.isLocked = true;
      for (const message of messages) this.#tally.handled(message);
      const hand = { messages, queue };
      of.inHand.push(hand);
      this.#time.after(2 + randomIndex(this.#randomness, 40), () => {
        const at = of.inHand.indexOf(hand);
        // Killed meanwhile; one that ends in order finishes its batch.
        if (at < 0) return;
        of.inHand.splice(at, 1);
        queue.isLocked = false;
        again(queueId + 1, 0);
      });
      return;
    }
    again(from + 1, idleMs);
  }

  /** What the filter wants; the position moves past everything that was looked at. */
  #take(of: Instance, topic: number, queueId: number, queue: QueueOfGroup): number[] {
    const log = this.#log[topic]![queueId]!;
    const got: number[] = [];
    while (queue.offset < log.length && got.length < batchMax) {
      const message = log[queue.offset++]!;
      const isMarked = this.#isMarked[message] === true;
      if (of.isCanary ? isMarked : !isMarked || !of.excludes) got.push(message);
    }
    return got;
  }
}

function instance(isCanary: boolean): Instance {
  return { isCanary, isAlive: false, life: 0, excludes: false, inHand: [] };
}
