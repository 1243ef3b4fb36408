import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { HistoryEvent } from "../support/history.ts";
import { HistoryLoad } from "../support/history-load.ts";
import { LeanV2Client } from "../support/lean-v2-client.ts";
import { cpuMicros } from "../support/process-usage.ts";
import { RunningProcess } from "../support/running-process.ts";
import { MeshParts } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";
import { machineFacts } from "./broker/machine.ts";

/**
 * T19: how long a send takes at a rate that is held, while everything is received and acked, through the sidecar. Open loop:
 * a send counts from when it was due. The second figure is that of a poll that waits: from the answer of the send, when the
 * message is durable, to the answer of the receive. With `--flush async` beside it in one run one sees what of it is the disk.
 *
 *     node dist/test/bench/held-load.js --help
 */
const help = `node dist/test/bench/held-load.js [flags]

  --seconds S      measured seconds of each row (60)
  --rates LIST     messages per second (2000)
  --poll-rate N    messages per second of the row about a poll that waits (50)
  --directory DIR  where the broker's data goes: the disk that is measured (a temporary directory)
`;
const { values: flags } = parseArgs({
  options: {
    help: { type: "boolean" },
    seconds: { type: "string", default: "60" },
    rates: { type: "string", default: "2000" },
    "poll-rate": { type: "string", default: "50" },
    directory: { type: "string" },
  },
});
if (flags.help === true) {
  process.stdout.write(help);
  process.exit(0);
}

const seconds = Number(flags.seconds);
const bodyBytes = 1024;
const warmUpCount = 2_000;
const clientCount = 8;
const row = (cells: readonly string[]) => console.log(cells.map((cell, i) => cell.padStart(widths[i] ?? 8)).join(""));
const widths = [24, 9, 8, 8, 8, 8, 10, 8, 11, 11, 8, 8, 9, 9, 9, 11, 8];

class Run {
  readonly #parts: MeshParts;
  readonly #clients: LeanV2Client[];
  readonly #pids: readonly number[];

  private constructor(parts: MeshParts, clients: LeanV2Client[], pids: readonly number[]) {
    this.#parts = parts;
    this.#clients = clients;
    this.#pids = pids;
  }

  static async start(flush: string): Promise<Run> {
    const directory =
      flags.directory === undefined ? {} : { "data-dir": join(mkdtempSync(`${flags.directory}/held-`)) };
    const parts = await MeshParts.start({ flush, ...directory });
    const sidecar = await parts.startSidecar();
    const clients = Array.from({ length: clientCount }, (_, i) => new LeanV2Client(sidecar.address, `held-${i}`));
    const run = new Run(parts, clients, [sidecar.process.child.pid!, parts.brokerPid]);
    // Also opens the topic: what the first send of all waits for is another figure.
    await run.load(warmUpCount, warmUpCount, 4);
    return run;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.#parts.stop();
  }

  async measure(what: string, perSecond: number, count: number, consumerCount: number): Promise<void> {
    const pids = [process.pid, ...this.#pids];
    const cpuBefore = pids.map(cpuMicros);
    const syncsBefore = await this.#syncs();
    const startedMs = performance.now();
    const load = await this.load(perSecond, count, consumerCount);
    const tookMs = performance.now() - startedMs;
    const cpu = pids.map((pid, i) => `${((cpuMicros(pid) - cpuBefore[i]!) / tookMs / 10).toFixed(0)} %`);
    const syncs = await this.#syncs();
    const syncMs = (1_000 * (syncs.seconds - syncsBefore.seconds)) / (syncs.count - syncsBefore.count);
    const longSyncMs = 1_000 * boundOf(syncs.buckets, syncsBefore.buckets, 0.99);
    const errors = load.events.filter(({ result }) => result !== "ok").length;
    const send = [...load.sendMs].sort((a, b) => a - b);
    const late = [...load.lateMs].sort((a, b) => a - b);
    const seen = seenAfterMs(load.events);
    const within = (100 * send.filter((ms) => ms <= 100).length) / count;
    row([
      ...[what, String(load.sentCount), ...[0.5, 0.99, 0.999, 1].map((share) => quantile(send, share))],
      ...[0.99, 0.999].map((share) => quantile(late, share)),
      ...[`${within.toFixed(3)} %`, ...[0.5, 0.99, 0.999].map((share) => quantile(seen, share))],
      ...[...cpu, syncMs.toFixed(2), longSyncMs.toFixed(1)],
    ]);
    if (errors > 0) console.log(`  ${errors} calls failed`);
  }

  /** Sends `count` messages and waits until they are acked. */
  async load(perSecond: number, count: number, consumerCount: number): Promise<HistoryLoad> {
    const load = new HistoryLoad({
      ...{
        topic: "held",
        group: "held",
        producerCount: clientCount,
        consumerCount,
        bodyBytes,
        invisibleMs: 30_000,
        keptShare: 0,
      },
      pace: { perSecond, count },
      client: (number) => this.#clients[number % clientCount]!,
    });
    load.start();
    await waitUntil("all is sent", () => !load.isSending, (2_000 * count) / perSecond + 30_000);
    load.isDraining = true;
    await waitUntil("all is acked", () => load.ackedCount >= load.sentCount, 60_000);
    await load.stop();
    return load;
  }

  async #syncs(): Promise<Syncs> {
    const text = await (await fetch(`http://${this.#parts.brokerAdmin}/stats/prometheus`)).text();
    const value = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
    const buckets = text.matchAll(/^popmesh_broker_log_sync_seconds_bucket\{le="(\S+)"\} (\S+)$/gm);
    return {
      count: value("popmesh_broker_log_sync_seconds_count"),
      seconds: value("popmesh_broker_log_sync_seconds_sum"),
      buckets: Array.from(buckets, ([, bound, count]) => ({ bound: Number(bound), count: Number(count) })),
    };
  }
}

/** The log's syncs so far; of each bucket those up to its bound, in seconds. */
interface Syncs {
  readonly count: number;
  readonly seconds: number;
  readonly buckets: readonly { readonly bound: number; readonly count: number }[];
}

/** The bound that a share of what came between two looks stayed below. */
function boundOf(after: Syncs["buckets"], before: Syncs["buckets"], share: number): number {
  const counts = after.map(({ bound, count }, i) => ({ bound, count: count - (before[i]?.count ?? 0) }));
  const all = counts.at(-1)?.count ?? 0;
  return counts.find(({ count }) => count >= share * all)?.bound ?? Number.NaN;
}

/** From the answer of each send to the answer of the receive that brought it. */
function seenAfterMs(events: readonly HistoryEvent[]): number[] {
  const answeredMs = new Map(events.filter(({ op }) => op === "send").map(({ id, t1 }) => [id, t1]));
  const received = events.filter(({ op, id }) => op === "receive" && id !== undefined);
  return received.map(({ id, t1 }) => t1 - (answeredMs.get(id) ?? t1)).sort((a, b) => a - b);
}

function quantile(sorted: readonly number[], share: number): string {
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN).toFixed(1);
}

for (const fact of machineFacts(flags.directory ?? tmpdir())) console.log(fact);
console.log("Milliseconds; 'seen': from the answer of the send to that of the receive; CPU in % of a core.\n");
row([
  ...["", "sent", "p50", "p99", "p99.9", "max", "late p99", "p99.9", "<= 100 ms", "seen p50", "p99", "p99.9"],
  ...["client", "sidecar", "broker", "sync mean", "p99 <="],
]);
const idle = RunningProcess.node(fileURLToPath(new URL("idle-stalls.js", import.meta.url)), []);
await idle.printed("watching");
for (const flush of ["sync", "async"]) {
  const run = await Run.start(flush);
  try {
    for (const rate of flags.rates.split(",").map(Number)) {
      await run.measure(`${rate} msg/s, ${flush}`, rate, rate * seconds, 4);
    }
    const pollRate = Number(flags["poll-rate"]);
    await run.measure(`a poll waits, ${flush}`, pollRate, pollRate * seconds, 4);
  } finally {
    await run.stop();
  }
}
await idle.stop();
console.log(`\nmeanwhile a process with nothing to do was kept waiting: ${idle.output.split("\n")[1]}`);
