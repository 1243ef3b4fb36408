import { rmSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { checkpointDirectory } from "../../broker-core/checkpoint/checkpoint-store.ts";
import { findDurable, replay } from "../../broker-core/commit-log/recovery.ts";
import { findSegments } from "../../broker-core/commit-log/segment-finder.ts";
import { NodeStorage } from "../../broker-core/storage/node-storage.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { popmeshCommand } from "../support/popmesh-command.ts";
import { RunningProcess } from "../support/running-process.ts";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { encodedMessage, topicRef, UpstreamClient } from "../support/upstream-client.ts";

/**
 * How long a broker takes to start on a log of 1 GiB: after a clean stop, after SIGKILL, and with nothing but the log; and how fast
 * all of the log is verified, beside a bare read with a checksum of the same files. The files are in the page cache.
 *
 *     node dist/test/bench/recovery.js [MIB]
 */
const [logMiB = 1_024] = process.argv.slice(2).map(Number);
const bodyBytes = 1_024;
const perSend = 32;
const sendsOpen = 16;
const mib = 1024 * 1024;
const topic = topicRef("t", { queueCount: 8 });

const broker = await BrokerProcess.start();
try {
  await run();
} finally {
  await broker.dispose();
}
process.exit(0);

async function run(): Promise<void> {
  const client = new UpstreamClient(connectUpstream(broker.port));
  const body = Buffer.alloc(bodyBytes, "b");
  const messages = Array.from({ length: perSend }, (_, i) => encodedMessage(`m-${i}`, { body }));
  let left = Math.ceil((logMiB * mib) / (bodyBytes * perSend));
  const startedMs = performance.now();
  const producers = Array.from({ length: sendsOpen }, async () => {
    while (left-- > 0) {
      for (;;) {
        const answer = await client.send(topic, messages);
        if (answer.ok) break;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
  });
  await Promise.all(producers);
  const rate = logMiB / ((performance.now() - startedMs) / 1_000);
  await client.upstream.close(0);
  print("filled", `${logMiB} MiB in bodies at ${Math.round(rate)} MiB/s`);

  await broker.process.stop("SIGKILL");
  print("start after SIGKILL", await restarted());
  await broker.stop("SIGTERM");
  print("start after a clean stop", await restarted());
  await broker.stop("SIGTERM");
  rmSync(join(broker.dataDirectory, checkpointDirectory), { recursive: true });
  print("start from the log alone", await restarted());
  await broker.stop("SIGTERM");

  const verified: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < 3; round++) {
    bare.push(await bareRead());
    verified.push(await verify());
  }
  print("bare read and CRC-32", `${median(bare)} MiB/s`);
  print("verify of all records", `${median(verified)} MiB/s, ${(median(verified) / median(bare)).toFixed(2)} of that`);
  const checkMs = performance.now();
  const check = RunningProcess.node(popmeshCommand, ["broker", "check", "--data-dir", broker.dataDirectory]);
  if ((await check.exited()) !== 0) throw new Error(check.output);
  print("popmesh broker check", `${Math.round(performance.now() - checkMs)} ms`);
}

/** From the start of the process to its readiness, and what it read of the log. */
async function restarted(): Promise<string> {
  const readyMs = await broker.restart();
  const read = /"recordCount":(\d+)/.exec(broker.process.output)?.[1];
  return `ready after ${Math.round(readyMs)} ms, ${read} records read`;
}

async function verify(): Promise<number> {
  const storage = new NodeStorage(broker.dataDirectory, "bench", false);
  const startedMs = performance.now();
  const found = findSegments(storage, silentLog);
  const { end, damage } = replay(found.live, 0, findDurable(found.live, 0), () => {});
  const rate = end / mib / ((performance.now() - startedMs) / 1_000);
  if (damage.length > 0) throw new Error("the log is damaged");
  for (const { segment } of found.live) segment.close();
  return Math.round(rate);
}

async function bareRead(): Promise<number> {
  const storage = new NodeStorage(broker.dataDirectory, "bench", false);
  const into = Buffer.alloc(mib);
  let bytes = 0;
  let sum = 0;
  const startedMs = performance.now();
  for (const name of storage.list("log").filter((each) => each.endsWith(".log"))) {
    const file = storage.open(`log/${name}`, { create: false });
    for (let at = 0, count = 1; count > 0; at += count) {
      count = file.read(into, 0, mib, at);
      sum ^= crc32(into.subarray(0, count));
      bytes += count;
    }
    file.close();
  }
  return Number.isNaN(sum) ? 0 : Math.round(bytes / mib / ((performance.now() - startedMs) / 1_000));
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
}

function print(what: string, text: string): void {
  process.stdout.write(`${what.padEnd(28)}${text}\n`);
}
