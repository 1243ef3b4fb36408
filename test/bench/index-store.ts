import { fork } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { residentMiB } from "../support/process-usage.ts";
import type { IndexStore, OpenStore } from "./index-store/contender.ts";
import { openFilePerQueue } from "./index-store/file-per-queue.ts";
import { openIndexLog } from "./index-store/index-log.ts";
import { openLmdb } from "./index-store/lmdb-tree.ts";
import { openSharedBlocks } from "./index-store/shared-blocks.ts";

/**
 * Where index entries could be kept: the same entries over 1, 1 000, 100 000 and 1 000 000 queues, each store in a process of its
 * own, reads checked. The decision that rests on it: broker-core/consume-queue/decisions/.
 *
 *     node dist/test/bench/index-store.js [entries [queues,queues,...]]
 */
const entriesDefault = 2_000_000;
const queueCountsDefault = [1, 1_000, 100_000, 1_000_000];
const appendsPerTurn = 256;
/** Entries that a reader takes at once. */
const readEntries = 32;
const readersMax = 5_000;
/** More files than this are not made: 4 KiB of disk, an inode and a sync each. */
const filesMax = 100_000;
/** A walk back over more entries is measured on few queues. */
const walkMax = 100_000_000;

const stores: Readonly<Record<string, OpenStore>> = {
  "shared blocks": openSharedBlocks,
  "one index log": openIndexLog,
  "a file per queue": openFilePerQueue,
  LMDB: openLmdb,
};

interface Task {
  readonly store: string;
  readonly directory: string;
  readonly queueCount: number;
  readonly entries: number;
}

type Row = Readonly<Record<string, string | number>>;

/** Spreads neighbours, so that no queue follows another by number. */
function spread(n: number, count: number): number {
  return count === 1 ? 0 : (n * 611_953) % count;
}

async function timed(work: () => Promise<void> | void): Promise<{ readonly ms: number; readonly cpuUs: number }> {
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { ms: performance.now() - startedMs, cpuUs: user + system };
}

function read(store: IndexStore, queueCount: number, perQueue: number, from: "oldest" | "youngest"): number {
  const count = Math.min(readEntries, perQueue);
  const first = from === "oldest" ? 0 : perQueue - count;
  const walked = store.name === "one index log" ? perQueue - first : count;
  const readers = Math.max(1, Math.min(readersMax, queueCount, Math.floor(walkMax / 1_000 / walked)));
  const startedMs = performance.now();
  for (let reader = 0; reader < readers; reader++) {
    const visit = spread(reader * Math.max(1, Math.floor(queueCount / readers)), queueCount);
    const queue = spread(visit, queueCount);
    // Round n brought each queue its entry n, at the place of the queue in the round.
    let sum = 0;
    for (let offset = first; offset < first + count; offset++) sum += offset * queueCount + visit;
    if (store.sum(queue, first, count) !== sum) throw new Error(`${store.name}: queue ${queue} is wrong`);
  }
  return ((performance.now() - startedMs) * 1_000) / (readers * count);
}

async function measure({ store: name, directory, queueCount, entries }: Task): Promise<Row> {
  const openStore = stores[name]!;
  const rssBefore = residentMiB(process.pid);
  let store = await openStore(directory, queueCount);
  const filled = await timed(async () => {
    for (let n = 0; n < entries; ) {
      for (let i = 0; i < appendsPerTurn && n < entries; i++, n++) store.append(spread(n % queueCount, queueCount), n);
      await store.turn();
    }
  });
  const flushed = await timed(() => store.flush());
  const rss = residentMiB(process.pid) - rssBefore;
  const descriptors = readdirSync("/proc/self/fd").length;
  await store.close();
  const opened = await timed(async () => {
    store = await openStore(directory, queueCount);
  });
  const perQueue = Math.floor(entries / queueCount);
  const oldest = read(store, queueCount, perQueue, "oldest");
  const youngest = read(store, queueCount, perQueue, "youngest");
  await store.close();
  return {
    store: name,
    queues: queueCount,
    "append us CPU": ((filled.cpuUs + flushed.cpuUs) / entries).toFixed(2),
    "entries/s": Math.round((entries / (filled.ms + flushed.ms)) * 1_000),
    "sync ms": Math.round(flushed.ms),
    "RSS MiB": Math.round(rss),
    fds: descriptors,
    "disk B/entry": Math.round((diskBytes(directory) / entries) * 10) / 10,
    "open ms": Math.round(opened.ms),
    "oldest us": oldest.toFixed(2),
    "youngest us": youngest.toFixed(2),
  };
}

/** Blocks that the files take. */
function diskBytes(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).blocks * 512;
  }
  return bytes;
}

function inChild(task: Task): Promise<Row> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), [], { serialization: "advanced" });
    let row: Row | undefined;
    child.on("message", (message) => {
      row = message as Row;
    });
    child.on("exit", (code) => {
      if (row === undefined) reject(new Error(`${task.store} ended with code ${code}`));
      else resolve(row);
    });
    child.send(task);
  });
}

async function main(): Promise<void> {
  const entries = Number(process.argv[2] ?? entriesDefault);
  const queueCounts = process.argv[3]?.split(",").map(Number) ?? queueCountsDefault;
  const rows: Row[] = [];
  for (const queueCount of queueCounts) {
    for (const store of Object.keys(stores)) {
      if (store === "a file per queue" && queueCount > filesMax) continue;
      const directory = mkdtempSync(join(tmpdir(), "popmesh-bench-index-"));
      try {
        rows.push(await inChild({ store, directory, queueCount, entries }));
      } finally {
        rmSync(directory, { recursive: true });
      }
    }
  }
  console.table(rows);
}

if (process.send === undefined) await main();
else {
  process.once("message", async (message) => {
    const row = await measure(message as Task);
    process.send?.(row, () => process.exit(0));
  });
}
