import { readdirSync } from "node:fs";
import { cpuMicros, residentMiB, untilIdle } from "../support/process-usage.ts";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { encodedMessage, groupRef, topicRef, UpstreamClient } from "../support/upstream-client.ts";

/**
 * What queues cost a whole broker: its process behind its frame port, the same number of messages over 1, 1 000, 100 000 and 1 000 000
 * topics of one queue each. CPU is that of the broker alone; the generator of the load shares the machine with it.
 *
 *     node dist/test/bench/queues-served.js [messages [queues,queues,...]]
 */
const [messages = 1_000_000] = process.argv.slice(2, 3).map(Number);
const queueCounts = (process.argv[3] ?? "1,1000,100000,1000000").split(",").map(Number);
const callsOpen = 256;
const message = [encodedMessage("0".repeat(34), { body: Buffer.alloc(100, "b") })];
const group = groupRef("g", { attemptsMax: 0 });

for (const queueCount of queueCounts) await measure(queueCount);
process.exit(0);

async function measure(queueCount: number): Promise<void> {
  const broker = await BrokerProcess.start();
  const client = new UpstreamClient(connectUpstream(broker.port));
  const pid = broker.process.child.pid ?? 0;
  const topicOf = (n: number) =>
    topicRef(`topic-${String(spread(n % queueCount, queueCount)).padStart(7, "0")}`, { queueCount: 1 });
  const figures: Record<string, number> = {};
  const step = async (
    name: string,
    calls: number,
    count: number,
    call: (n: number) => Promise<void>,
  ): Promise<void> => {
    await untilIdle(pid);
    const startedMs = performance.now();
    const startedCpu = cpuMicros(pid);
    let next = 0;
    const loop = async (): Promise<void> => {
      while (next < calls) await call(next++);
    };
    await Promise.all(Array.from({ length: callsOpen }, loop));
    figures[`${name}/s`] = Math.round((count / (performance.now() - startedMs)) * 1_000);
    figures[`${name} us CPU`] = Math.round(((cpuMicros(pid) - startedCpu) / count) * 100) / 100;
  };
  const send = async (n: number): Promise<void> => {
    for (;;) {
      const answer = await client.send(topicOf(n), message);
      if (answer.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  try {
    await step("open", queueCount, queueCount, send);
    // The code of both is compiled before one queue is measured, as it is for many.
    if (queueCount < 100_000) await step("warm", 100_000, 100_000, send);
    await step("send", messages, messages, send);
    figures["RSS MiB"] = Math.round(residentMiB(pid));
    let acked = 0;
    const takeAndAck = async (n: number): Promise<void> => {
      const deliveries = await client.take(topicOf(n), group, { batch: 1, waitMs: 0, invisibleMs: 600_000 });
      const results = await client.ack(group, ...deliveries.map(({ receipt }) => receipt));
      if (results.ok) acked += results.results.length;
    };
    // The group is new to each topic once: that is no part of what a message costs.
    await step("subscribe", queueCount, queueCount, takeAndAck);
    if (queueCount < 100_000) await step("warm pop", 100_000, 100_000, takeAndAck);
    acked = 0;
    // One at a time, also where a queue has more: a million queues have no more.
    await step("pop+ack", messages, messages, takeAndAck);
    figures["acked"] = acked;
    figures["fds"] = readdirSync(`/proc/${pid}/fd`).length;
    await client.upstream.close(0);
    await broker.stop("SIGTERM");
    figures["clean start ms"] = Math.round(await broker.restart());
  } finally {
    await client.upstream.close(0);
    await broker.dispose();
  }
  console.log(`${queueCount} queues`, figures);
}

/** Spreads neighbours, so that no queue follows another by number. */
function spread(n: number, count: number): number {
  return count === 1 ? 0 : (n * 611_953) % count;
}
