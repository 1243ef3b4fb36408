import { fork } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { apache } from "#codec/rocketmq-v2";
import { answered, type HandOut, type Now } from "../../broker-core/broker-port.ts";
import { BrokerState } from "../../broker-core/broker-state.ts";
import { findCheckpoint } from "../../broker-core/checkpoint/checkpoint-store.ts";
import { Checkpointer } from "../../broker-core/checkpoint/checkpointer.ts";
import { openCommitLog } from "../../broker-core/commit-log/open-commit-log.ts";
import { IndexFiles } from "../../broker-core/consume-queue/index-files.ts";
import { LogHandle } from "../../broker-core/log-handle.ts";
import { NodeStorage } from "../../broker-core/storage/node-storage.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../../proto/runtime/node-randomness.ts";
import { residentMiB } from "../support/process-usage.ts";

/**
 * What queues cost: the state machine over a real log on a real disk, the same number of messages over 1, 1 000, 100 000 and
 * 1 000 000 topics of one queue each. Each line is a process of its own; the ratios to the first line are what holds.
 *
 *     node dist/test/bench/queues.js [messages [queues,queues,...]]
 *
 * A profile of the fill is written when POPMESH_BENCH_PROFILE names a directory for it.
 */
const messagesDefault = 10_000_000;
const queueCountsDefault = [1, 1_000, 100_000, 1_000_000];
/** Calls of one turn of the event loop. */
const callsPerTurn = 256;
const batchMax = 10;
const bodyBytes = 100;
const checkpointEvery = 64 * 1024 * 1024;

interface Step {
  readonly step: "fill" | "clean" | "unclean";
  readonly directory: string;
  readonly queueCount: number;
  readonly messages: number;
}

type Figures = Record<string, number>;

const { Message } = apache.rocketmq.v2;
const message = Buffer.from(
  Message.encode({
    topic: { name: "bench" },
    systemProperties: { tag: "created", messageId: "0".repeat(34), messageType: 1, bornHost: "app-1" },
    body: Buffer.alloc(bodyBytes, "b"),
  }).finish(),
);

class Bench {
  readonly clock = new NodeClock();
  readonly storage: NodeStorage;
  readonly figures: Figures = {};
  index!: IndexFiles;
  state!: BrokerState;
  log!: Awaited<ReturnType<typeof openCommitLog>>["log"];
  checkpointer!: Checkpointer;
  readonly receipts: Buffer[] = [];

  constructor(directory: string) {
    this.storage = new NodeStorage(directory, this.clock.bootId);
  }

  now(): Now {
    return { monotonicMs: this.clock.monotonicMs(), wallMs: this.clock.wallMs() };
  }

  async open(): Promise<void> {
    const startedMs = performance.now();
    const checkpoint = findCheckpoint(this.storage, silentLog).newest;
    const handle = new LogHandle();
    this.index = new IndexFiles({ storage: this.storage, randomness: new NodeRandomness(), log: silentLog });
    const options = {
      indexPages: this.index,
      brokerName: "broker-a",
      receiptKey: Buffer.alloc(32, 7),
      runId: 1,
      bootId: this.clock.bootId,
      start: this.now(),
      groupStart: "beginning",
    } as const;
    this.state = new BrokerState(handle, this, options, checkpoint?.bytes);
    const opened = await openCommitLog({
      storage: this.storage,
      clock: this.clock,
      randomness: new NodeRandomness(),
      log: silentLog,
      from: this.state.replayFrom,
      durable: checkpoint?.position ?? 0,
      visit: (record) => this.state.replay(record),
      onFailure: (error) => {
        throw error;
      },
    });
    this.log = opened.log;
    handle.connect(this.log);
    this.state.goLive(this.now());
    this.figures["restartMs"] = performance.now() - startedMs;
    this.figures["replayed"] = opened.recovery.recordCount;
    this.log.onDurable = (position) => this.state.onDurable(position, this.now());
    this.checkpointer = new Checkpointer(
      {
        appliedPosition: () => this.state.appliedPosition,
        snapshot: () => {
          const snapshotMs = performance.now();
          const image = this.state.snapshot();
          const ms = performance.now() - snapshotMs;
          this.figures["snapshotMs"] = Math.max(this.figures["snapshotMs"] ?? 0, ms);
          this.figures["imageMiB"] = image.length / 2 ** 20;
          return image;
        },
        syncedPosition: () => this.log.syncedPosition,
        index: this.index,
      },
      {
        storage: this.storage,
        clock: this.clock,
        log: silentLog,
        everyBytes: checkpointEvery,
        lastPosition: checkpoint?.position ?? 0,
      },
    );
  }

  async close(): Promise<void> {
    await this.checkpointer.stop();
    const position = this.state.appliedPosition;
    const image = this.state.snapshot();
    await this.log.close();
    await this.checkpointer.writeLast(position, image);
    this.figures["imageMiB"] = image.length / 2 ** 20;
    this.figures["indexMiB"] = this.index.bytes / 2 ** 20;
    this.figures["indexFiles"] = this.index.fileCount;
    this.index.close();
  }

  receiveAnswered(_ticket: number, handOut: HandOut): void {
    for (let i = 0; i < handOut.count; i++) {
      if (!handOut.load(i)) throw new Error("a damaged message");
      this.receipts.push(Buffer.from(handOut.delivery.receipt));
    }
  }

  receiveRefused(_ticket: number, code: number, text: string): void {
    throw new Error(`${code}: ${text}`);
  }

  /** Calls `work` for each number below `count` in an order that visits far places in turn; returns seconds. */
  async each(name: string, messages: number, count: number, perTurn: number, work: (n: number) => void): Promise<void> {
    const startedMs = performance.now();
    const cpu = process.cpuUsage();
    for (let n = 0; n < count; ) {
      while (!this.log.takesMessages) await new Promise<void>((resolve) => setTimeout(resolve, 1));
      for (let i = 0; i < perTurn && n < count && this.log.takesMessages; i++) work(n++);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await new Promise<void>((resolve) => this.log.whenDurable(this.log.endPosition - 1, resolve));
    const { user, system } = process.cpuUsage(cpu);
    this.figures[`${name}/s`] = (messages / (performance.now() - startedMs)) * 1000;
    this.figures[`${name} us CPU`] = (user + system) / messages;
  }

  rss(name: string): void {
    globalThis.gc?.();
    globalThis.gc?.();
    this.figures[name] = residentMiB(process.pid);
  }
}

/** Spreads neighbours, so that no queue follows another by number. */
function spread(n: number, count: number): number {
  return count === 1 ? 0 : (n * 611_953) % count;
}

async function fill({ directory, queueCount, messages }: Step): Promise<Figures> {
  const bench = new Bench(directory);
  await bench.open();
  bench.rss("rssStart");
  const { figures } = bench;
  const ids = new Uint32Array(queueCount);
  await bench.each("open", queueCount, queueCount, callsPerTurn, (n) => {
    const name = `default/topic-${String(n).padStart(7, "0")}`;
    const opened = bench.state.openTopic({ name, incarnation: 1, messageTypes: 2, queueCount: 1 }, bench.now());
    if (!opened.ok) throw new Error(opened.message);
    ids[n] = opened.id;
  });
  const backoff = { delaysMs: [1000], initialMs: 0, maxMs: 0, multiplier: 0 };
  const group = bench.state.openGroup(
    { name: "default/g", generation: 1, attemptsMax: 16, inflightMax: 0, backoff },
    bench.now(),
  );
  if (!group.ok) throw new Error(group.message);
  // Each receive takes what its queue has.
  const batch = Math.max(1, Math.min(batchMax, Math.floor(messages / queueCount)));
  const receive = (topicId: number) => {
    const got = bench.state.receive(
      {
        ...{ topicId, groupId: group.id, batch, invisibleMs: 600_000, waitMs: 0, filterType: 1, filter: "*" },
        ...{ clientId: "client-1", attemptId: "", lane: "", bytesMax: 0 },
      },
      1,
      bench.now(),
    );
    if (got !== answered) throw new Error("parked");
  };
  bench.rss("rssOpened");
  await bench.each("subscribe", queueCount, queueCount, callsPerTurn, (n) => receive(ids[spread(n, queueCount)]!));
  bench.rss("rssSubscribed");
  const messagesOfCall = [message];
  // A request brings the id: to find it in a large array would be a cost that no broker has.
  const visited = Uint32Array.from(ids, (_, n) => ids[spread(n, queueCount)]!);
  await bench.each("send", messages, messages, callsPerTurn, (n) => {
    const topicId = visited[n % queueCount]!;
    const sent = bench.state.send({ topicId, laneMark: "", bornHost: "app-1", messages: messagesOfCall }, bench.now());
    if (!sent.ok) throw new Error(sent.message);
  });
  bench.rss("rssBacklog");
  let acked = 0;
  const rounds = messages / batch;
  await bench.each("pop+ack", messages, rounds, callsPerTurn / batch, (n) => {
    receive(visited[n % queueCount]!);
    for (const receipt of bench.receipts) {
      const settled = bench.state.ack(group.id, [receipt], bench.now());
      if (settled.ok && settled.results[0]?.message === "") acked++;
    }
    bench.receipts.length = 0;
  });
  if (acked !== messages) throw new Error(`${acked} of ${messages} were acknowledged`);
  bench.rss("rssIdle");
  figures["files"] = readdirSync("/proc/self/fd").length;
  const stopMs = performance.now();
  await bench.close();
  figures["stopMs"] = performance.now() - stopMs;
  return figures;
}

async function restart({ directory, step }: Step): Promise<Figures> {
  const bench = new Bench(directory);
  await bench.open();
  bench.rss("rssRestarted");
  if (step === "unclean") {
    bench.storage.unlock();
    return bench.figures;
  }
  const [topic] = bench.state.topics();
  const sendMs = bench.log.endPosition + checkpointEvery;
  await bench.each("send", 1_000_000, 1_000_000, callsPerTurn, () => {
    if (bench.log.endPosition > sendMs) return;
    const sent = bench.state.send(
      { topicId: topic?.id ?? 0, laneMark: "", bornHost: "app-1", messages: [message] },
      bench.now(),
    );
    if (!sent.ok) throw new Error(sent.message);
  });
  return bench.figures;
}

function inChild(step: Step): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const profile = process.env["POPMESH_BENCH_PROFILE"];
    const profiling = profile === undefined || step.step !== "fill" ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`];
    const execArgv = ["--expose-gc", ...profiling];
    const child = fork(fileURLToPath(import.meta.url), [], { execArgv, serialization: "advanced" });
    let figures: Figures | undefined;
    child.on("message", (message) => {
      figures = message as Figures;
    });
    child.on("exit", (code) => {
      if (figures === undefined) reject(new Error(`the step ${step.step} ended with code ${code}`));
      else resolve(figures);
    });
    child.send(step);
  });
}

async function main(): Promise<void> {
  const messages = Number(process.argv[2] ?? messagesDefault);
  const queueCounts = process.argv[3]?.split(",").map(Number) ?? queueCountsDefault;
  for (const queueCount of queueCounts) {
    const directory = mkdtempSync(join(tmpdir(), "popmesh-bench-queues-"));
    try {
      const step = { directory, queueCount, messages };
      const filled = await inChild({ ...step, step: "fill" });
      const clean = await inChild({ ...step, step: "clean" });
      const unclean = await inChild({ ...step, step: "unclean" });
      console.log(`${queueCount} queues`, { filled, clean, unclean });
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
}

if (process.send === undefined) await main();
else {
  process.once("message", async (message) => {
    const step = message as Step;
    const figures = step.step === "fill" ? await fill(step) : await restart(step);
    // As the death of the process, as far as the disk can tell.
    process.send?.(figures, () => process.exit(0));
  });
}
