import type { BrokerConfig } from "../../broker-core/index.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { checkHistory, type HistoryReport } from "../support/history-checker.ts";
import type { BrokerNodeCounts } from "./broker-node.ts";
import { SimulatedConsumer } from "./consumer.ts";
import { DeadLetterReader } from "./dead-letter-reader.ts";
import { FaultPlan } from "./faults.ts";
import { broadcast } from "./kind/broadcast.ts";
import { inOrder } from "./kind/fifo.ts";
import { normal } from "./kind/normal.ts";
import { sqlFiltered } from "./kind/sql-filtered.ts";
import { timed } from "./kind/timed.ts";
import { transactional } from "./kind/transactional.ts";
import { Mesh, type MeshCounts } from "./mesh.ts";
import { deadLetterGroupOf, drawPlan, type MessageKind, nameOf, type Plan } from "./plan.ts";
import { SimulatedProducer } from "./producer.ts";
import { World } from "./world.ts";

/** All kinds of messages that the broker has. */
export const allKinds: readonly MessageKind[] = [normal, normal, inOrder, transactional, sqlFiltered, timed, broadcast];

export interface SimulationOptions {
  /** Virtual time with load and faults. */
  readonly loadMs?: number;
  readonly kinds?: readonly MessageKind[];
  /** Left out: drawn, from `kinds`. */
  readonly plan?: (randomness: Randomness) => Plan;
  /** Settings of the broker. */
  readonly broker?: Partial<BrokerConfig>;
  /** Names of faults; left out: drawn from all. */
  readonly faults?: readonly string[];
  /** Between two faults, on average. */
  readonly faultPeriodMs?: number;
}

export interface SimulationReport {
  readonly seed: number;
  readonly operations: number;
  readonly virtualMs: number;
  readonly events: number;
  readonly traceHash: number;
  readonly counts: MeshCounts;
  readonly node: BrokerNodeCounts;
  readonly history: HistoryReport;
}

const drainMsMax = 30_000;
/** In how many steps the clock reaches the last of the timed messages, and how long each is waited for. */
const jumps = 8;
const jumpMsMax = 5_000;
/** Nothing was left for so long: a sync takes less. */
const drainedForMs = 50;
/** How often the running state is compared with what the log says. */
const compareMs = 1_000;

/**
 * One run: load under faults, then everything heals, is drained and judged. The same seed gives the same run. Throws when a
 * promise was broken, with the seed in the text.
 */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationReport> {
  const run = new Simulation(seed, options);
  try {
    await run.run();
    return run.report();
  } catch (error) {
    if (error instanceof Error)
      error.message += `\n(simulation with seed ${seed}; again with POPMESH_TEST_SEED=${seed})`;
    throw error;
  }
}

class Simulation {
  readonly #world: World;
  readonly #mesh: Mesh;
  readonly #faults: FaultPlan;
  readonly #loadMs: number;
  /** The log is to be short, and every message is to be consumed before it goes; else only a full disk makes messages go. */
  readonly #isLogShort: boolean;
  readonly #producers: SimulatedProducer[] = [];
  readonly #consumers: SimulatedConsumer[] = [];
  readonly #seed: number;
  #drainedSinceMs: number | undefined;

  constructor(seed: number, options: SimulationOptions) {
    this.#seed = seed;
    this.#world = new World(seed);
    const randomness = this.#world.randomness();
    const plan = options.plan?.(randomness) ?? drawPlan(randomness, options.kinds ?? allKinds);
    this.#mesh = new Mesh(this.#world, plan, options.broker);
    this.#faults = new FaultPlan(this.#mesh, options.faults, options.faultPeriodMs);
    this.#loadMs = options.loadMs ?? 4_000;
    this.#isLogShort = (options.broker?.retentionBytes ?? 0) > 0;
    for (let i = 0; i < plan.producerCount; i++) this.#producers.push(new SimulatedProducer(this.#mesh, `p${i}`));
    for (const topic of plan.topics) {
      for (const group of topic.groups) {
        for (let i = 0; i < group.consumerCount; i++) {
          const name = group.instance?.clientId ?? `${group.ref.name}-c${i}`;
          this.#consumers.push(new SimulatedConsumer(this.#mesh, topic, group, name));
        }
      }
    }
  }

  async run(): Promise<void> {
    const world = this.#world;
    for (const producer of this.#producers) producer.start();
    for (const consumer of this.#consumers) consumer.start();
    await this.#pass(100);
    this.#faults.start();
    for (let leftMs = this.#loadMs; leftMs > 0; leftMs -= compareMs) {
      await this.#pass(Math.min(compareMs, leftMs));
      await this.#mesh.node.compareRebuilt();
      this.#noteRemoved();
    }
    this.#faults.stop();
    const { history, node } = this.#mesh;
    await this.#until("the faults to be over", () => world.nowMs > history.faultsUntilMs, 60_000);
    node.disk.heal();
    history.mark("healed");
    const healedMs = world.nowMs;
    this.#mesh.mustSend = true;
    await this.#until("a send after the faults", () => this.#mesh.newestSendMs > healedMs, 20_000);
    this.#mesh.mustSend = false;
    // What follows finds room on the disk.
    this.#noteRemoved();
    for (const producer of this.#producers) producer.isStopped = true;
    for (const consumer of this.#consumers) consumer.isDraining = true;
    this.#mesh.transactions.isSilent = true;
    this.#mesh.recalls.isStopped = true;
    await this.#until("recalls to be answered", () => this.#mesh.recalls.isIdle, 20_000);
    await this.#letAllBecomeDue();
    await world.run(() => this.#isDrainedForGood() || world.nowMs > healedMs + 2 * drainMsMax);
    if (this.#isDrained()) history.mark("drained");
    for (const consumer of this.#consumers) consumer.isStopped = true;
    await this.#readDeadLetters();
    await node.compareRebuilt();
  }

  /** Retention under the pressure of a full disk takes what is oldest, whoever still wants it. */
  #noteRemoved(): void {
    const { node, history } = this.#mesh;
    if (node.hasRemovedMore() && !this.#isLogShort) history.mark("removed");
  }

  /**
   * What is still far ahead becomes due by jumps of the clock. One at a time: where the log keeps little, all of it at once would be more
   * than that, and retention takes what nobody had time for.
   */
  async #letAllBecomeDue(): Promise<void> {
    const { node, dueTimes } = this.#mesh;
    for (let left = jumps; left > 0; left--) {
      await this.#world.run(() => this.#isConsumed(), this.#world.nowMs + jumpMsMax);
      const behindMs = dueTimes.latestMs - node.machine.wallMs;
      if (!Number.isFinite(behindMs) || behindMs <= 0) return;
      node.machine.stepWall(Math.ceil(behindMs / left));
    }
  }

  async #pass(ms: number): Promise<void> {
    const endMs = this.#world.nowMs + ms;
    await this.#world.run(() => false, endMs);
  }

  async #until(what: string, condition: () => boolean, msMax: number): Promise<void> {
    const endMs = this.#world.nowMs + msMax;
    await this.#world.run(condition, endMs);
    if (!condition()) throw new Error(`waited ${msMax} ms for ${what}`);
  }

  /** What is on its way to the disk is not ready yet, and does not wait for its time any more. */
  #isDrainedForGood(): boolean {
    const { nowMs } = this.#world;
    if (!this.#isDrained()) this.#drainedSinceMs = undefined;
    else this.#drainedSinceMs ??= nowMs;
    return nowMs >= (this.#drainedSinceMs ?? nowMs) + drainedForMs;
  }

  /** Nothing that was visible is left. */
  #isConsumed(): boolean {
    const figures = this.#mesh.node.broker?.state.subscriptions();
    return figures?.every(({ ready, blocked, inFlight }) => ready + blocked + inFlight === 0) === true;
  }

  #isDrained(): boolean {
    const state = this.#mesh.node.broker?.state;
    if (state === undefined || !this.#mesh.transactions.isIdle) return false;
    if (state.topics().some(({ delayed }) => delayed > 0)) return false;
    // Who has left for good is to be forgotten, with all that he was behind.
    const wanted = new Set<string>();
    const gone = new Set<string>();
    for (const { ref, groups } of this.#mesh.plan.topics)
      for (const group of groups)
        (group.leavesAfterMs === undefined ? wanted : gone).add(`${group.ref.name} ${ref.name}`);
    for (const { group, topic, ready, blocked, inFlight } of state.subscriptions()) {
      if (gone.has(`${group} ${topic}`)) return false;
      if (ready + blocked + inFlight === 0) wanted.delete(`${group} ${topic}`);
    }
    return wanted.size === 0;
  }

  async #readDeadLetters(): Promise<void> {
    for (const { ref, groups } of this.#mesh.plan.topics) {
      for (const name of new Set(groups.map(deadLetterGroupOf))) {
        const reader = new DeadLetterReader(this.#mesh, ref, name, groups);
        reader.start();
        await this.#until(`the dead letters of ${name}`, () => reader.isDone, 20_000);
      }
    }
  }

  report(): SimulationReport {
    const { history, counts, plan, violations } = this.#mesh;
    // An instance that is forgotten early, while nobody can reach the broker, begins anew: with it all that it had.
    const leavers = new Set(
      plan.topics.flatMap(({ groups }) =>
        groups.filter(({ leavesAfterMs }) => leavesAfterMs !== undefined).map(nameOf),
      ),
    );
    const subscriptions = plan.topics.flatMap(({ ref, groups }) =>
      groups
        .filter((group) => !leavers.has(nameOf(group)))
        .map((group) => ({
          group: nameOf(group),
          topic: ref.name,
          beginsAtFirstReceive: group.instance !== undefined,
          ...(group.passes === undefined ? {} : { passes: group.passes }),
          attemptsMax: group.ref.attemptsMax,
          isDeadLettersRead: true,
          isLimited: group.ref.inflightMax > 0,
        })),
    );
    const events = this.#mesh.dueTimes
      .resolve(history.events, this.#mesh.node.machine.wallClock)
      .filter(({ group }) => group === undefined || !leavers.has(group));
    const judged = checkHistory(events, { subscriptions });
    const wrong = [...violations, ...judged.violations.map(({ check, text }) => `${check}: ${text}`)];
    if (wrong.length > 0) throw new Error(`${wrong.length} promises broken:\n  ${wrong.slice(0, 10).join("\n  ")}`);
    return {
      seed: this.#seed,
      operations: this.#mesh.operations,
      virtualMs: this.#world.nowMs,
      events: this.#world.eventCount,
      traceHash: (this.#world.traceHash ^ this.#mesh.node.disk.traceHash) >>> 0,
      counts,
      node: this.#mesh.node.counts,
      history: judged,
    };
  }
}
