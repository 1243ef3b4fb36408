import { parseArgs } from "node:util";
import type { TopicRef } from "../../sidecar/upstream/upstream.ts";
import { residentMiB, threadMicros, untilIdle } from "../support/process-usage.ts";
import { compiledRoot } from "../support/running-process.ts";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { encodedMessage, groupRef, topicRef, UpstreamClient } from "../support/upstream-client.ts";

/**
 * What a message costs a whole broker with many queues, over what it costs with one: brokers side by side, each with topics of one
 * queue that a group reads, measured in rounds that alternate; with `--build` also those of another compiled tree. In a round a share
 * of the queues is received from and acknowledged, and another share is sent to, one message at a time; no queue comes twice, so
 * each is cold. Rates are bound by the client as well, which shares the machine; CPU is the broker's alone.
 *
 *     node dist/test/bench/queues-beside.js [--queues 300000] [--rounds 12] [--build DIR]
 */
const { values: flags } = parseArgs({
  options: {
    queues: { type: "string", default: "300000" },
    rounds: { type: "string", default: "12" },
    build: { type: "string" },
  },
});
const queues = Number(flags.queues);
const rounds = Number(flags.rounds);
const callsOpen = 256;
const message = encodedMessage("0".repeat(34), { body: Buffer.alloc(100, "b") });
const group = groupRef("g", { attemptsMax: 0 });
/** No queue follows another by number. */
const spreading = 611_953;
const retryMs = 5;

type Step = "send" | "pop+ack";

class Bench {
  readonly name: string;
  readonly #queueCount: number;
  readonly #broker: BrokerProcess;
  readonly #client: UpstreamClient;
  readonly rates: Record<Step, number[]> = { send: [], "pop+ack": [] };
  readonly micros: Record<Step, number[]> = { send: [], "pop+ack": [] };
  #acked = 0;

  static async start(name: string, root: string, queueCount: number): Promise<Bench> {
    const broker = await BrokerProcess.start([], { root });
    return new Bench(name, broker, queueCount);
  }

  private constructor(name: string, broker: BrokerProcess, queueCount: number) {
    this.name = name;
    this.#queueCount = queueCount;
    this.#broker = broker;
    this.#client = new UpstreamClient(connectUpstream(broker.port));
  }

  get pid(): number {
    return this.#broker.process.child.pid ?? 0;
  }

  /** Each queue has one message to be received, and the group knows it. */
  async fill(): Promise<void> {
    if (this.#queueCount === 1) {
      await calls(0, queues + 1, () => this.#send(0, 1));
      await calls(0, 1, (n) => this.#takeAndAck(n));
      return;
    }
    await calls(0, queues, (n) => this.#send(n, 2));
    await calls(0, queues, (n) => this.#takeAndAck(n));
  }

  async measure(step: Step, from: number, to: number): Promise<void> {
    await untilIdle(this.pid);
    const startedMs = performance.now();
    const startedMicros = threadMicros(this.pid);
    this.#acked = 0;
    await calls(from, to, (n) => (step === "send" ? this.#send(n, 1) : this.#takeAndAck(n)));
    if (step !== "send" && this.#acked !== to - from)
      throw new Error(`${this.#acked} of ${to - from} were acknowledged`);
    this.rates[step].push(((to - from) / (performance.now() - startedMs)) * 1_000);
    this.micros[step].push((threadMicros(this.pid) - startedMicros) / (to - from));
  }

  get residentMiB(): number {
    return residentMiB(this.pid);
  }

  async dispose(): Promise<void> {
    await this.#client.upstream.close(0);
    await this.#broker.dispose();
  }

  async #send(n: number, count: number): Promise<void> {
    const messages = count === 1 ? [message] : [message, message];
    while (!(await this.#client.send(this.#topic(n), messages)).ok) {
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }

  async #takeAndAck(n: number): Promise<void> {
    const deliveries = await this.#client.take(this.#topic(n), group, { batch: 1, waitMs: 0, invisibleMs: 600_000 });
    const results = await this.#client.ack(group, ...deliveries.map(({ receipt }) => receipt));
    if (results.ok) this.#acked += results.results.length;
  }

  #topic(n: number): TopicRef {
    const number = this.#queueCount === 1 ? 0 : (n * spreading) % this.#queueCount;
    return topicRef(`topic-${number.toString().padStart(7, "0")}`, { queueCount: 1 });
  }
}

/** Calls from `from` up to `to`, of which so many are open at a time. */
async function calls(from: number, to: number, call: (n: number) => Promise<void>): Promise<void> {
  let next = from;
  const loop = async (): Promise<void> => {
    while (next < to) await call(next++);
  };
  await Promise.all(Array.from({ length: callsOpen }, loop));
}

const builds = flags.build === undefined ? [compiledRoot] : [compiledRoot, flags.build];
const pairs: { readonly build: string; readonly one: Bench; readonly many: Bench }[] = [];
try {
  for (const build of builds) {
    const of = (count: number): Promise<Bench> => Bench.start(`${build} ${count}`, build, count);
    pairs.push({ build, one: await of(1), many: await of(queues) });
  }
  const all = pairs.flatMap(({ one, many }) => [one, many]);
  for (const bench of all) await bench.fill();
  const share = Math.floor(queues / 2 / rounds);
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? all : [...all].reverse();
    for (const step of ["pop+ack", "send"] as const) {
      const from = round * share + (step === "send" ? Math.floor(queues / 2) : 0);
      for (const bench of order) await bench.measure(step, from, from + share);
    }
  }
  console.log(
    `${queues} queues beside 1, ${rounds} rounds of ${share} messages; medians, and in brackets the middle half of the rounds`,
  );
  for (const { build, one, many } of pairs) {
    console.log(`${build}: RSS ${one.residentMiB.toFixed(0)} and ${many.residentMiB.toFixed(0)} MiB`);
    for (const step of ["send", "pop+ack"] as const) {
      const rate = one.rates[step].map((value, round) => many.rates[step][round]! / value);
      const micros = one.micros[step].map((value, round) => value / many.micros[step][round]!);
      console.log(
        `  ${step.padEnd(8)} ${rates(one, step)} and ${rates(many, step)}/s, ${us(one, step)} and ${us(many, step)} us of CPU; ` +
          `of one queue: rate ${spreadOf(rate)}, by CPU ${spreadOf(micros)}`,
      );
    }
  }
  const [own, other] = pairs;
  if (own !== undefined && other !== undefined) {
    for (const step of ["send", "pop+ack"] as const) {
      for (const which of ["one", "many"] as const) {
        const ratio = own[which].micros[step].map((value, round) => value / other[which].micros[step][round]!);
        console.log(
          `${step}, ${which === "one" ? 1 : queues} queues: CPU of this build over that of the other ${spreadOf(ratio)}`,
        );
      }
    }
  }
} finally {
  for (const { one, many } of pairs) {
    await one.dispose();
    await many.dispose();
  }
}
process.exit(0);

function rates(bench: Bench, step: Step): string {
  return quantile(bench.rates[step], 0.5).toFixed(0);
}

function us(bench: Bench, step: Step): string {
  return quantile(bench.micros[step], 0.5).toFixed(2);
}

function spreadOf(ratios: readonly number[]): string {
  const [low, middle, high] = [0.25, 0.5, 0.75].map((at) => quantile(ratios, at).toFixed(3));
  return `${middle} (${low}-${high})`;
}

function quantile(values: readonly number[], at: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * at))]!;
}
