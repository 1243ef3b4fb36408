import { type Randomness, randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { laneBy } from "../lane-judge.ts";
import { type LaneSchedule, orderedTopic, type ScheduledRule, topicNames } from "../lane-schedule.ts";
import { VirtualTime } from "../virtual-time.ts";
import { LaneTally, messagesOf, type ScheduledMessage, type TallyCounts } from "./lane-tally.ts";

const baseQueues = 6;
const canaryQueues = 2;
const queueCount = baseQueues + canaryQueues;
const batchMax = 32;
const idleMs = 20;
/** Positions are stored so often. */
const commitMs = 5_000;
/** Consumers hear at once that somebody came or went, and divide the queues anew within this. */
const rebalanceMsMax = 500;
/** A queue in order is the lock holder's until it gives it up, or for this long after it died. */
const lockMs = 60_000;
const drainMs = 90_000;

interface SplitQueue {
  readonly log: number[];
  committed: number;
  /** Of a queue in order. */
  lockedBy: Owner | undefined;
}

/** A consumer instance, and its positions in the queues that it thinks are its own. */
interface Owner {
  readonly isCanary: boolean;
  readonly index: number;
  isAlive: boolean;
  life: number;
  readonly positions: Map<SplitQueue, number>;
  /** What it handles now, by queue. */
  readonly inHand: Map<SplitQueue, readonly number[]>;
}

/**
 * Some queues of each topic are the canary's: producers send what is marked to those, by the rule at once. Consumers of one group divide
 * the queues among themselves, the canary's to the canary while it is there, else to base. Positions are stored every five seconds,
 * and whenever a queue is given up. Queues in order are locked; giving one up waits for the batch in hand. In others the
 * batch in hand of a queue that was given up does not count.
 */
export function runQueueSplit(schedule: LaneSchedule): TallyCounts {
  return new QueueSplit(schedule).run();
}

class QueueSplit {
  readonly #time = new VirtualTime();
  readonly #randomness: Randomness;
  readonly #schedule: LaneSchedule;
  readonly #messages: readonly ScheduledMessage[];
  readonly #tally: LaneTally;
  readonly #rules: (ScheduledRule | undefined)[] = topicNames.map(() => undefined);
  readonly #queues: readonly SplitQueue[][] = topicNames.map(() =>
    Array.from({ length: queueCount }, () => ({ log: [], committed: 0, lockedBy: undefined })),
  );
  readonly #owners: readonly Owner[] = [owner(false, 0), owner(false, 1), owner(true, 0)];

  constructor(schedule: LaneSchedule) {
    this.#schedule = schedule;
    this.#randomness = new SeededRandomness((schedule.seed ^ 0x1656_67b1) >>> 0);
    this.#messages = messagesOf(schedule);
    this.#tally = new LaneTally(this.#messages);
  }

  run(): TallyCounts {
    const time = this.#time;
    const canary = this.#owners[2]!;
    for (const [number, { atMs }] of this.#messages.entries()) time.at(atMs, () => this.#store(number));
    for (const step of this.#schedule.steps) {
      time.at(step.atMs, () => {
        if (step.kind === "rule") this.#rules[step.topic] = step.rule;
        else if (step.kind === "delete") this.#rules[step.topic] = undefined;
        else if (step.kind === "up") this.#up(canary);
        else if (step.kind === "down" || step.kind === "kill") this.#down(canary, step.kind === "kill");
      });
    }
    for (const base of this.#owners) if (!base.isCanary) this.#up(base);
    time.run(this.#schedule.loadMs, () => {});
    if (this.#schedule.seed % 2 === 0) this.#up(canary);
    time.run(this.#schedule.loadMs + drainMs, () => {});
    return this.#tally.counts();
  }

  #store(number: number): void {
    const message = this.#messages[number]!;
    const rule = this.#rules[message.topic];
    const isCanary = rule !== undefined && laneBy(rule, message) === "canary";
    const key = message.orderKey >= 0 ? message.orderKey : number;
    const queue = isCanary ? baseQueues + (key % canaryQueues) : key % baseQueues;
    this.#queues[message.topic]![queue]!.log.push(number);
  }

  #up(of: Owner): void {
    if (of.isAlive) return;
    of.isAlive = true;
    const life = ++of.life;
    this.#commitEvery(of, life);
    this.#rebalanceAll();
  }

  #down(of: Owner, isKill: boolean): void {
    if (!of.isAlive) return;
    of.isAlive = false;
    of.life++;
    if (isKill) {
      for (const messages of of.inHand.values()) for (const message of messages) this.#tally.cut(message);
      for (const queue of this.#queues[orderedTopic]!) {
        if (queue.lockedBy === of) this.#time.after(lockMs, () => this.#unlock(queue, of));
      }
    } else {
      // In order: it ends what it has in hand, and stores its positions.
      for (const [queue, position] of of.positions) {
        queue.committed = position + (of.inHand.get(queue)?.length ?? 0);
        this.#unlock(queue, of);
      }
    }
    of.inHand.clear();
    of.positions.clear();
    this.#rebalanceAll();
  }

  #commitEvery(of: Owner, life: number): void {
    this.#time.after(commitMs, () => {
      if (!of.isAlive || of.life !== life) return;
      for (const [queue, position] of of.positions) queue.committed = position;
      this.#commitEvery(of, life);
    });
  }

  #rebalanceAll(): void {
    for (const of of this.#owners) {
      const { life } = of;
      this.#time.after(this.#randomness.fraction() * rebalanceMsMax, () => {
        if (of.isAlive && of.life === life) this.#rebalance(of, life);
      });
    }
  }

  #rebalance(of: Owner, life: number): void {
    const isCanaryThere = this.#owners.some(({ isCanary, isAlive }) => isCanary && isAlive);
    const bases = this.#owners.filter(({ isCanary, isAlive }) => !isCanary && isAlive);
    for (const [topic, queues] of this.#queues.entries()) {
      for (const [i, queue] of queues.entries()) {
        const isOfCanary = i >= baseQueues && isCanaryThere;
        const isMine = isOfCanary ? of.isCanary : bases[i % bases.length] === of;
        if (isMine && !of.positions.has(queue)) this.#acquire(of, life, topic, queue);
        else if (!isMine && of.positions.has(queue)) this.#giveUp(of, life, topic, queue);
      }
    }
  }

  #acquire(of: Owner, life: number, topic: number, queue: SplitQueue): void {
    if (topic === orderedTopic) {
      if (queue.lockedBy !== undefined && queue.lockedBy !== of) {
        // It asks again with the next division.
        this.#time.after(1_000, () => {
          if (of.isAlive && of.life === life) this.#rebalance(of, life);
        });
        return;
      }
      queue.lockedBy = of;
    }
    of.positions.set(queue, queue.committed);
    this.#pull(of, life, queue);
  }

  #giveUp(of: Owner, life: number, topic: number, queue: SplitQueue): void {
    if (topic === orderedTopic && of.inHand.has(queue)) {
      this.#time.after(idleMs, () => {
        if (of.isAlive && of.life === life) this.#rebalance(of, life);
      });
      return;
    }
    queue.committed = of.positions.get(queue)!;
    of.positions.delete(queue);
    of.inHand.delete(queue);
    this.#unlock(queue, of);
  }

  #unlock(queue: SplitQueue, of: Owner): void {
    if (queue.lockedBy === of && !of.positions.has(queue)) queue.lockedBy = undefined;
    else if (queue.lockedBy === of && !of.isAlive) queue.lockedBy = undefined;
  }

  #pull(of: Owner, life: number, queue: SplitQueue): void {
    const position = of.positions.get(queue);
    if (!of.isAlive || of.life !== life || position === undefined) return;
    const messages = queue.log.slice(position, position + batchMax);
    if (messages.length === 0) {
      this.#time.after(idleMs, () => this.#pull(of, life, queue));
      return;
    }
    for (const message of messages) this.#tally.handled(message);
    of.inHand.set(queue, messages);
    this.#time.after(2 + randomIndex(this.#randomness, 40), () => {
      if (!of.isAlive || of.life !== life || of.inHand.get(queue) !== messages) return;
      of.inHand.delete(queue);
      if (of.positions.get(queue) === position) of.positions.set(queue, position + messages.length);
      this.#pull(of, life, queue);
    });
  }
}

function owner(isCanary: boolean, index: number): Owner {
  return { isCanary, index, isAlive: false, life: 0, positions: new Map(), inHand: new Map() };
}
