import { readFileSync } from "node:fs";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { encodedMessage, groupRef, topicRef, UpstreamClient } from "../support/upstream-client.ts";
import { waitUntil } from "../support/wait-until.ts";

/**
 * Messages that wait for their time, in a real broker process: memory with all of them, rates, lateness while others become due
 * and more are sent, and a start after SIGKILL.
 *
 *     node dist/test/bench/timed.js [WAITING [DUE_PER_SECOND [SECONDS]]]
 */
const [waitingCount = 10_000_000, duePerSecond = 2_000, seconds = 20] = process.argv.slice(2).map(Number);
const perSend = 128;
const sendsOpen = 16;
const dayMs = 86_400_000;
const far = { ...topicRef("far"), messageTypes: 1 << 3 };
const soon = { ...topicRef("soon"), messageTypes: 1 << 3 };
const plain = topicRef("plain");
const group = groupRef("bench", { attemptsMax: 0 });

const broker = await BrokerProcess.start();
const upstream = connectUpstream(broker.port);
const client = new UpstreamClient(upstream);
try {
  await run();
} finally {
  await upstream.close(0);
  await broker.dispose();
}
process.exit(0);

async function run(): Promise<void> {
  print("idle", memory());
  const startedMs = performance.now();
  const cpuMs = cpu();
  let sent = 0;
  let peak = 0;
  await inParallel(sendsOpen, async (take) => {
    for (let left = take(); left > 0; left = take()) {
      const now = Date.now();
      // From a day on to 39 days ahead, so that none comes before the end.
      const at = () => now + dayMs + Math.floor(Math.random() * 38 * dayMs);
      await store(far, left, at);
      sent += left;
      if (sent % (perSend * 4_000) === 0) peak = Math.max(peak, rss());
    }
  });
  const tookMs = performance.now() - startedMs;
  const rate = `${Math.round(waitingCount / (tookMs / 1_000))}/s, ${us(cpu() - cpuMs, waitingCount)} us of CPU each`;
  print(`${waitingCount} wait`, `${memory()}; stored ${rate}`);

  await hold();

  await broker.process.stop("SIGKILL");
  const readyMs = await broker.restart();
  print("killed and started", `ready after ${Math.round(readyMs)} ms, ${memory()}`);
  const { topics } = (await (await fetch(`http://127.0.0.1:${broker.adminPort}/queues`)).json()) as {
    topics: { name: string; delayed: number }[];
  };
  const left = topics.reduce((sum, topic) => sum + topic.delayed, 0);
  print("waiting after the start", `${left} of ${waitingCount}`);
}

/** So many become due in every second while ordinary messages are sent as well. */
async function hold(): Promise<void> {
  const count = duePerSecond * seconds;
  const firstMs = Date.now() + 5_000;
  let next = 0;
  const at = () => firstMs + Math.floor((next++ * 1_000) / duePerSecond);
  await inParallel(
    4,
    async (take) => {
      for (let left = take(); left > 0; left = take()) await store(soon, left, at, true);
    },
    count,
  );
  const lateMs: number[] = [];
  let early = 0;
  let isOver = false;
  let plainCount = 0;
  const load = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (!isOver) {
        await client.store(plain, "m", { body: "x".repeat(200) });
        plainCount++;
      }
    }),
  );
  const cpuMs = cpu();
  const startedMs = performance.now();
  const consumers = Array.from({ length: 4 }, async (_, i) => {
    while (!isOver) {
      const answer = await client.receive(soon, group, { waitMs: 500, clientId: `c${i}` });
      if (!answer.ok) continue;
      const now = Date.now();
      for (const { message } of answer.deliveries) {
        const dueMs = Number(
          Buffer.from(message)
            .toString("latin1")
            .match(/due=(\d+)/)?.[1],
        );
        lateMs.push(now - dueMs);
        if (now < dueMs) early++;
      }
      const receipts = answer.deliveries.map(({ receipt }) => receipt);
      if (receipts.length > 0) await client.ack(group, ...receipts);
    }
  });
  await waitUntil("all that is due has come", () => lateMs.length >= count, (seconds + 120) * 1_000);
  isOver = true;
  await Promise.all([...consumers, load]);
  lateMs.sort((a, b) => a - b);
  const share = (part: number) => lateMs[Math.min(lateMs.length - 1, Math.floor(lateMs.length * part))];
  const took = (performance.now() - startedMs) / 1_000;
  print(
    `${duePerSecond} due/s`,
    `late p50 ${share(0.5)} ms, p99 ${share(0.99)} ms, p99.9 ${share(0.999)} ms, most ${lateMs.at(-1)} ms; early ${early}; ` +
      `${lateMs.length} came for ${count}; beside ${Math.round(plainCount / took)} sends/s; ` +
      `broker CPU ${Math.round((cpu() - cpuMs) / took / 10)} %; ${memory()}`,
  );
}

async function store(topic: typeof far, count: number, at: () => number, isNamed = false): Promise<void> {
  const messages: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const dueMs = at();
    messages.push(
      encodedMessage("timed-message-of-the-bench-0000001", { deliveryMs: dueMs, body: isNamed ? `due=${dueMs}` : "x" }),
    );
  }
  const answer = await client.send(topic, messages);
  if (!answer.ok) throw new Error(answer.message);
}

/** Runs `worker` so many times; `take` gives out portions of `total`, 0 at the end. */
async function inParallel(
  workers: number,
  worker: (take: () => number) => Promise<void>,
  total = waitingCount,
): Promise<void> {
  let left = total;
  const take = (): number => {
    const portion = Math.min(left, perSend);
    left -= portion;
    return portion;
  };
  await Promise.all(Array.from({ length: workers }, () => worker(take)));
}

function status(field: string): number {
  const text = readFileSync(`/proc/${broker.process.child.pid}/status`, "utf8");
  return Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1]) / 1024);
}

function rss(): number {
  return status("VmRSS");
}

function memory(): string {
  return `RSS ${rss()} MiB, at most ${status("VmHWM")} MiB`;
}

/** CPU of the broker process, ms. */
function cpu(): number {
  const fields = readFileSync(`/proc/${broker.process.child.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function us(ms: number, count: number): string {
  return ((ms * 1_000) / count).toFixed(1);
}

function print(what: string, text: string): void {
  console.log(`${what.padEnd(24)} ${text}`);
}
