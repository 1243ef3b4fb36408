import { Code } from "../../proto/code.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { BrokerCoreUpstream } from "../../sidecar/upstream/broker-core/broker-core-upstream.ts";
import type {
  OrphanedTransaction,
  UpstreamAck,
  UpstreamChange,
  UpstreamDone,
  UpstreamFailure,
  UpstreamRecall,
  UpstreamRecalled,
  UpstreamReceive,
  UpstreamReceiveAnswer,
  UpstreamResults,
  UpstreamSend,
  UpstreamSendAnswer,
  UpstreamTransactionEnd,
} from "../../sidecar/upstream/upstream.ts";
import { simulatedBrokerName } from "./broker-node.ts";
import type { SimulatedNetwork } from "./simulated-network.ts";
import { Machine, SimulatedProcess } from "./simulated-process.ts";
import type { World } from "./world.ts";

const limits = { sendsInFlightMax: 256, pendingMax: 1024, pendingBytesMax: 32 * 1024 * 1024 };

/** What an application sees: an answer, or that its sidecar died, which leaves the outcome open. */
export type Seen<Answer> = Answer | "died";

/** Whether what was asked may have been done. An error that the broker calls its own promises nothing either. */
export function isOpen(answer: Seen<{ readonly ok: true } | UpstreamFailure>): boolean {
  if (answer === "died") return true;
  if (answer.ok) return false;
  return answer.reach === "unknown" || (answer.reach === "refused" && answer.code === Code.InternalServerError);
}

/** A machine on which a sidecar runs: the real driver for the broker, without the port for applications before it. */
export class SidecarNode {
  readonly #world: World;
  readonly #network: SimulatedNetwork;
  readonly #randomness: Randomness;
  readonly #machine: Machine;
  readonly #name: string;
  readonly #halfTopics: readonly string[];
  readonly #onOrphan: (orphan: OrphanedTransaction) => void;
  #process: SimulatedProcess | undefined;
  #upstream: BrokerCoreUpstream | undefined;
  /** Calls whose answer is still to come; told when the process dies. */
  #open = new Map<number, (answer: "died") => void>();
  #nextCall = 1;

  /** `halfTopics`: of these it has producers, whom the broker may ask through it. */
  constructor(
    world: World,
    network: SimulatedNetwork,
    name: string,
    halfTopics: readonly string[],
    onOrphan: (orphan: OrphanedTransaction) => void,
  ) {
    this.#halfTopics = halfTopics;
    this.#onOrphan = onOrphan;
    this.#world = world;
    this.#network = network;
    this.#randomness = world.randomness();
    this.#machine = new Machine(world);
    this.#name = name;
    this.start();
  }

  get process(): SimulatedProcess | undefined {
    return this.#process;
  }

  get isReady(): boolean {
    return this.#upstream?.isReady === true;
  }

  start(): void {
    if (this.#process !== undefined) return;
    const process = new SimulatedProcess(this.#world, this.#machine, this.#randomness);
    this.#process = process;
    process.post(() => {
      const upstream = new BrokerCoreUpstream({
        brokerName: simulatedBrokerName,
        host: "broker",
        port: 1,
        hello: { sidecarId: this.#name, lane: "base" },
        clock: process,
        randomness: this.#randomness,
        log: silentLog,
        limits,
        openSocket: () => this.#network.open(process),
      });
      upstream.onOrphan = this.#onOrphan;
      for (const topic of this.#halfTopics) upstream.announceProducer(topic, true);
      this.#upstream = upstream;
    });
  }

  /** SIGKILL; the application beside it asks the next process. */
  kill(): void {
    const process = this.#process;
    if (process === undefined) return;
    process.die();
    this.#process = undefined;
    this.#upstream = undefined;
    this.#network.processDied(process, false);
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const done of open) done("died");
    this.#world.after(10 + this.#randomness.fraction() * 300, undefined, () => this.start());
  }

  send(request: UpstreamSend, timeoutMs: number, done: (answer: Seen<UpstreamSendAnswer>) => void): void {
    this.#call(done, (upstream, deadlineMs, answered) => upstream.send(request, deadlineMs, answered), timeoutMs);
  }

  receive(request: UpstreamReceive, timeoutMs: number, done: (answer: Seen<UpstreamReceiveAnswer>) => void): void {
    this.#call(done, (upstream, deadlineMs, answered) => upstream.receive(request, deadlineMs, answered), timeoutMs);
  }

  ack(request: UpstreamAck, timeoutMs: number, done: (answer: Seen<UpstreamResults>) => void): void {
    this.#call(done, (upstream, deadlineMs, answered) => upstream.ack(request, deadlineMs, answered), timeoutMs);
  }

  deadLetter(request: UpstreamAck, timeoutMs: number, done: (answer: Seen<UpstreamResults>) => void): void {
    this.#call(done, (upstream, deadlineMs, answered) => upstream.deadLetter(request, deadlineMs, answered), timeoutMs);
  }

  endTransaction(request: UpstreamTransactionEnd, timeoutMs: number, done: (answer: Seen<UpstreamDone>) => void): void {
    this.#call(
      done,
      (upstream, deadlineMs, answered) => upstream.endTransaction(request, deadlineMs, answered),
      timeoutMs,
    );
  }

  recall(request: UpstreamRecall, timeoutMs: number, done: (answer: Seen<UpstreamRecalled>) => void): void {
    this.#call(done, (upstream, deadlineMs, answered) => upstream.recall(request, deadlineMs, answered), timeoutMs);
  }

  change(request: UpstreamChange, timeoutMs: number, done: (answer: Seen<UpstreamResults>) => void): void {
    this.#call(done, (upstream, deadlineMs, answered) => upstream.change(request, deadlineMs, answered), timeoutMs);
  }

  #call<Answer>(
    done: (answer: Seen<Answer>) => void,
    begin: (upstream: BrokerCoreUpstream, deadlineMs: number, answered: (answer: Answer) => void) => void,
    timeoutMs: number,
  ): void {
    const { process } = this;
    if (process === undefined) {
      // Nothing listens on the application's port: it is tried again until something does.
      this.#world.after(5, undefined, () => this.#call(done, begin, timeoutMs));
      return;
    }
    const call = this.#nextCall++;
    this.#open.set(call, done);
    const answered = (answer: Answer): void => {
      if (this.#open.delete(call)) done(answer);
    };
    process.post(() => {
      if (this.#upstream !== undefined) begin(this.#upstream, process.monotonicMs() + timeoutMs, answered);
    });
  }
}
