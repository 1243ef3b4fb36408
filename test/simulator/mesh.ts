import type { BrokerConfig } from "../../broker-core/index.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { BrokerNode } from "./broker-node.ts";
import { DueTimes } from "./due-times.ts";
import { HistoryRecorder } from "./history-recorder.ts";
import { type Habit, habits, type Plan } from "./plan.ts";
import { Recalls } from "./recalls.ts";
import { SidecarNode } from "./sidecar-node.ts";
import { SimulatedNetwork } from "./simulated-network.ts";
import { Machine } from "./simulated-process.ts";
import { TransactionEnds } from "./transaction-ends.ts";
import type { World } from "./world.ts";

/** What a run did, so that one that did nothing is seen. */
export interface MeshCounts {
  sends: number;
  sendsOk: number;
  sendsOkInFaults: number;
  deliveries: number;
  emptyReceives: number;
  settles: number;
  acksOk: number;
  deadLetters: number;
  /** Commits and rollbacks that were answered, and questions about open transactions. */
  transactionEnds: number;
  questions: number;
  /** Timed messages that waited; what was taken back, and what was refused to be. */
  timed: number;
  recallsOk: number;
  recallsRefused: number;
  /** Instances of broadcast groups that came late, were away for a while, or left for good. */
  lateInstances: number;
  absences: number;
  instancesLeft: number;
  readonly habits: Record<Habit, number>;
  readonly faults: Record<string, number>;
}

/** Messages that a group may be behind before producers hold back, and how often it is looked. */
const backlogMax = 300;
const lookMs = 50;

/** A whole mesh part in one process: a broker on its machine, sidecars on theirs, a network between them. */
export class Mesh {
  readonly world: World;
  readonly plan: Plan;
  readonly network: SimulatedNetwork;
  readonly node: BrokerNode;
  readonly sidecars: readonly SidecarNode[];
  readonly history: HistoryRecorder;
  readonly counts: MeshCounts;
  readonly transactions: TransactionEnds;
  readonly recalls: Recalls;
  readonly dueTimes = new DueTimes();
  /** Where applications run: its clock is right, whatever is done to the broker's. */
  readonly applications: Machine;
  #isBehind = false;
  /** When the newest send that succeeded was called. */
  newestSendMs = 0;
  /** Whether a send is due in any case. */
  mustSend = false;
  #lookedMs = 0;
  /** What was seen to be wrong at once, beside what the history tells. */
  readonly violations: string[] = [];

  constructor(world: World, plan: Plan, broker: Partial<BrokerConfig> = {}) {
    this.world = world;
    this.plan = plan;
    this.network = new SimulatedNetwork(world);
    this.history = new HistoryRecorder(world);
    this.node = new BrokerNode(world, this.network, broker);
    this.applications = new Machine(world);
    this.node.start();
    this.transactions = new TransactionEnds(this);
    this.recalls = new Recalls(this);
    const halfTopics = plan.topics.filter(({ kind }) => kind.name === "transactional").map(({ ref }) => ref.name);
    this.sidecars = Array.from(
      { length: plan.sidecarCount },
      (_, i) =>
        new SidecarNode(world, this.network, `sidecar-${i}`, halfTopics, (orphan) => this.transactions.asked(orphan)),
    );
    this.counts = {
      ...{
        sends: 0,
        sendsOk: 0,
        sendsOkInFaults: 0,
        deliveries: 0,
        emptyReceives: 0,
        settles: 0,
        acksOk: 0,
        deadLetters: 0,
        transactionEnds: 0,
        questions: 0,
        timed: 0,
        recallsOk: 0,
        recallsRefused: 0,
        lateInstances: 0,
        absences: 0,
        instancesLeft: 0,
      },
      habits: Object.fromEntries(habits.map((habit) => [habit, 0])) as Record<Habit, number>,
      faults: {},
    };
  }

  /** Any of the sidecars: receipts are good at each. */
  sidecar(randomness: Randomness): SidecarNode {
    return this.sidecars[randomIndex(randomness, this.sidecars.length)]!;
  }

  /** More waits than consumers have to be given: producers hold back, so that a drain is a matter of seconds. */
  get isBehind(): boolean {
    if (this.world.nowMs >= this.#lookedMs + lookMs) {
      this.#lookedMs = this.world.nowMs;
      const waiting =
        this.node.broker?.state.subscriptions().map(({ ready, blocked, inFlight }) => ready + blocked + inFlight) ?? [];
      this.#isBehind = Math.max(0, ...waiting) > backlogMax;
    }
    return this.#isBehind && !this.mustSend;
  }

  violate(text: string): void {
    this.violations.push(`${text} (at ${this.world.nowMs.toFixed(2)} ms)`);
  }

  /** Operations that clients had answered. */
  get operations(): number {
    return (
      this.counts.sends +
      this.counts.deliveries +
      this.counts.emptyReceives +
      this.counts.settles +
      this.counts.transactionEnds +
      this.counts.recallsOk +
      this.counts.recallsRefused
    );
  }
}
