import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { Code } from "../../proto/code.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../../proto/runtime/node-randomness.ts";
import { tooManyRequestsDelayMs } from "../../sidecar/listener/local-answer.ts";
import { BrokerCoreUpstream } from "../../sidecar/upstream/broker-core/broker-core-upstream.ts";
import { freePorts } from "../support/free-port.ts";
import { residentMiB } from "../support/process-usage.ts";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { deadline, encodedMessage, groupRef, topicRef } from "../support/upstream-client.ts";
import { waitUntil } from "../support/wait-until.ts";
import { machineFacts } from "./broker/machine.ts";

/**
 * Whether readers of a cold backlog harm hot sends (item 10 of the broker's plan): sends of 1 KiB at a held rate, open loop, alone
 * and beside groups that read a backlog from disk as fast as they can, in turn. Before each of the latter the kernel forgets the
 * files of the log and the index (`dd iflag=nocache`). "Elsewhere": the same readers read the same backlog from another broker on
 * the same machine and disk. That is what their work costs everybody here; what goes beyond is the doing of the broker that serves
 * both. The machine's speed drifts and its disk stalls at times, so the ratios are medians of those within a round. Then the memory that slow consumers cost: groups that have taken one
 * message each and stay behind by the whole backlog.
 *
 *     node dist/test/bench/cold-reads.js --help
 */
const help = `node dist/test/bench/cold-reads.js [flags]

  --messages N     backlog, of 1 KiB each (400000)
  --rate N         hot sends per second (1000)
  --seconds S      of each slice (4)
  --rounds N       of "alone" and "beside readers" (5); one before them warms up and does not count
  --readers N      connections that read, each with ${4} receives open (4)
  --slow N         slow consumers (1000)
  --build DIR      compiled tree whose broker is measured (this one)
  --directory DIR  where the data goes: the disk that is measured (a temporary directory)
`;

const brokerName = "broker-a";
const callMsMax = 30_000;
const receivesPerReader = 4;
const hot = topicRef("hot", { messageTypes: 2 });
const cold = topicRef("cold", { messageTypes: 2, queueCount: 8 });
const body = Buffer.alloc(1024, "b");

function connect(port: number): BrokerCoreUpstream {
  return new BrokerCoreUpstream({
    ...{ brokerName, host: "127.0.0.1", port, log: silentLog },
    hello: { sidecarId: "bench", lane: "base" },
    clock: new NodeClock(),
    randomness: new NodeRandomness(),
    limits: { sendsInFlightMax: 1024, pendingMax: 65_536, pendingBytesMax: 512 * 1024 * 1024 },
  });
}

/** What the broker refuses for now is sent again after the time that the sidecar has its clients wait for. */
function send(upstream: BrokerCoreUpstream, topic: typeof hot, number: number, done: () => void): void {
  const messages = [encodedMessage(`m${number}`, { body })];
  upstream.send({ topic, laneMark: "", bornHost: "app-1", messages }, deadline(callMsMax), (answer) => {
    if (!answer.ok && answer.code === Code.TooManyRequests) {
      setTimeout(() => send(upstream, topic, number, done), tooManyRequestsDelayMs);
      return;
    }
    if (!answer.ok) throw new Error(`send: ${answer.code} ${answer.message}`);
    done();
  });
}

type Role =
  | { readonly role: "sender"; readonly port: number; readonly rate: number; readonly seconds: number }
  | { readonly role: "readers"; readonly port: number; readonly count: number; readonly group: string };

/** In a thread of its own: what readers do to this program must not count as what they do to the broker. */
async function sendHot({ port, rate, seconds }: Role & { role: "sender" }): Promise<Float64Array> {
  const upstream = connect(port);
  const latencies: number[] = [];
  let open = 0;
  await new Promise<void>((resolve) => send(upstream, hot, 0, resolve));
  const endMs = performance.now() + seconds * 1_000;
  for (let dueMs = performance.now(), number = 1; dueMs < endMs; ) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    for (; dueMs < endMs && dueMs <= performance.now(); number++) {
      const startedMs = dueMs;
      open++;
      send(upstream, hot, number, () => {
        open--;
        latencies.push(performance.now() - startedMs);
      });
      dueMs += (-Math.log(1 - Math.random()) * 1_000) / rate;
    }
  }
  await waitUntil("all sends are answered", () => open === 0, callMsMax);
  await upstream.close(1_000);
  return Float64Array.from(latencies).sort();
}

/**
 * Elsewhere readers have a machine of their own; here this thread takes what the broker and the sender leave of this one, also
 * where the run was started with `chrt`.
 */
function giveWay(): void {
  const thread = readlinkSync("/proc/thread-self").split("/").at(-1)!;
  execFileSync("chrt", ["--other", "--pid", "0", thread]);
  setPriority(0, 10);
}

/** Receives and acks in batches until it is told to stop; returns how many messages it has read. */
async function readCold(role: Role & { role: "readers" }, stopped: Promise<void>): Promise<number> {
  giveWay();
  const group = groupRef(role.group);
  const readers = Array.from({ length: role.count }, () => connect(role.port));
  let read = 0;
  let isStopped = false;
  const receive = (reader: BrokerCoreUpstream, clientId: string): void => {
    if (isStopped) return;
    const request = {
      ...{ topic: cold, group, batch: 32, invisibleMs: 60_000, waitMs: 1_000, filterType: 1, filter: "*" },
      ...{ clientId, attemptId: "", lane: "base", bytesMax: 0 },
    };
    reader.receive(request, deadline(callMsMax), (answer) => {
      if (!answer.ok) {
        if (isStopped) return;
        throw new Error(`receive: ${answer.code} ${answer.message}`);
      }
      read += answer.deliveries.length;
      const receipts = answer.deliveries.map(({ receipt }) => receipt);
      if (receipts.length === 0) receive(reader, clientId);
      else reader.ack({ group, receipts }, deadline(callMsMax), () => receive(reader, clientId));
    });
  };
  readers.forEach((reader, i) => {
    for (let open = 0; open < receivesPerReader; open++) receive(reader, `reader-${i}`);
  });
  await stopped;
  isStopped = true;
  await Promise.all(readers.map((reader) => reader.close(1_000)));
  return read;
}

function runRole<T>(role: Role): { readonly result: Promise<T>; stop(): void } {
  const worker = new Worker(new URL(import.meta.url), { workerData: role });
  const result = new Promise<T>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  return { result, stop: () => worker.postMessage("stop") };
}

/** The kernel forgets what it has read of the backlog. */
function forgetFiles(directory: string): void {
  for (const part of ["log", "index"]) {
    for (const name of readdirSync(join(directory, part)).filter(isComplete)) {
      execFileSync("dd", [`if=${join(directory, part, name)}`, "iflag=nocache", "count=0", "status=none"]);
    }
  }
}

interface Subject {
  readonly process: RunningProcess;
  readonly port: number;
  readonly adminPort: number;
  readonly directory: string;
}

/** A broker of the build that is measured, ready to be used. */
async function startSubject(build: string, within: string): Promise<Subject> {
  const directory = mkdtempSync(join(within, "popmesh-cold-"));
  const [port = 0, adminPort = 0] = await freePorts(2);
  const process_ = new RunningProcess(process.execPath, [
    join(build, "broker-core/main.js"),
    ...["--listen", `127.0.0.1:${port}`, "--admin", `127.0.0.1:${adminPort}`, "--data-dir", directory],
    ...["--control-plane", "", "--group-start", "beginning", "--name", brokerName, "--log-level", "warn"],
  ]);
  const isReady = async () => (await fetch(`http://127.0.0.1:${adminPort}/ready`).catch(() => undefined))?.ok === true;
  await waitUntil("the broker is ready", isReady, 30_000);
  return { process: process_, port, adminPort, directory };
}

/** How long turns with cold reads took, as the broker counts them; "" when the build does not. */
async function coldTurns(adminPort: number): Promise<string> {
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/stats/prometheus`)).text();
  const buckets = [...text.matchAll(/^popmesh_broker_cold_turn_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm)];
  const total = Number(buckets.at(-1)?.[2] ?? 0);
  const below = (share: number) => buckets.find(([, , count]) => Number(count) >= share * total)?.[1];
  if (total === 0) return "";
  return `turns with cold reads: ${total}, p50 <= ${below(0.5)} s, p99 <= ${below(0.99)} s, all <= ${below(1)} s`;
}

function row(what: string, latencies: Float64Array, seconds: number, read: number): string {
  const at = (share: number) => quantile(latencies, share).toFixed(2);
  const mib = ((read * 1.0) / 1024 / seconds).toFixed(0);
  const figures = [String(latencies.length), at(0.5), at(0.99), at(0.999), `${(read / seconds).toFixed(0)}`, mib];
  return `${what.padEnd(28)}${figures.map((text) => text.padStart(10)).join("")}`;
}

/** Ratios within each round: their median, and all of them. */
function ratios(beside: readonly Float64Array[], alone: readonly Float64Array[]): string {
  const texts = ([0.5, 0.99, 0.999] as const).map((share) => {
    const all = beside.map((latencies, round) => quantile(latencies, share) / quantile(alone[round]!, share));
    const median = [...all].sort((a, b) => a - b)[all.length >> 1]!;
    return `p${share * 100} ${median.toFixed(2)} (${all.map((each) => each.toFixed(2)).join(" ")})`;
  });
  return texts.join(", ");
}

function quantile(latencies: Float64Array, share: number): number {
  return latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      help: { type: "boolean" },
      messages: { type: "string", default: "400000" },
      rate: { type: "string", default: "1000" },
      seconds: { type: "string", default: "4" },
      rounds: { type: "string", default: "5" },
      readers: { type: "string", default: "4" },
      slow: { type: "string", default: "1000" },
      build: { type: "string", default: compiledRoot },
      directory: { type: "string", default: tmpdir() },
    },
  });
  if (flags.help === true) {
    process.stdout.write(help);
    return;
  }
  const [messages, rate, seconds] = [Number(flags.messages), Number(flags.rate), Number(flags.seconds)];
  const broker = await startSubject(flags.build, flags.directory);
  const elsewhere = await startSubject(flags.build, flags.directory);
  const { port, directory } = broker;
  const pid = broker.process.child.pid!;
  try {
    for (const fact of machineFacts(directory)) console.log(fact);
    await fill(port, messages);
    await fill(elsewhere.port, messages);
    const residentAfterFill = residentMiB(pid);
    console.log(`backlog: ${messages} messages of 1 KiB; hot sends: ${rate} per second of 1 KiB; ms`);
    console.log(`${"".padEnd(28)}      sent       p50       p99     p99.9  read msg/s    MiB/s`);
    const alone: Float64Array[] = [];
    const beside: Record<"elsewhere" | "cold" | "cached", Float64Array[]> = { elsewhere: [], cold: [], cached: [] };
    // What runs for the first time is not compiled, and takes several times as long.
    for (let round = -1; round < Number(flags.rounds); round++) {
      for (const kind of ["alone", "elsewhere", "cold", "cached"] as const) {
        forgetFiles(directory);
        forgetFiles(elsewhere.directory);
        if (kind === "cached")
          for (const name of readdirSync(join(directory, "log")).filter(isComplete)) warm(join(directory, "log", name));
        const group = `reads-${kind}-${round}`;
        const from = kind === "elsewhere" ? elsewhere.port : port;
        const readers =
          kind === "alone"
            ? undefined
            : runRole<number>({ role: "readers", port: from, count: Number(flags.readers), group });
        const sent = await runRole<Float64Array>({ role: "sender", port, rate, seconds }).result;
        readers?.stop();
        const read = (await readers?.result) ?? 0;
        if (round < 0) continue;
        console.log(row(kind === "alone" ? "alone" : `beside readers, ${kind}`, sent, seconds, read));
        if (read >= messages) console.log("  the backlog was read to its end; take a larger one");
        (kind === "alone" ? alone : beside[kind]).push(sent);
      }
    }
    for (const kind of ["elsewhere", "cold", "cached"] as const) {
      console.log(`beside readers (${kind}) over alone: ${ratios(beside[kind], alone)}`);
    }
    console.log(`the broker's own part, cold over elsewhere: ${ratios(beside.cold, beside.elsewhere)}`);
    console.log(await coldTurns(broker.adminPort));
    const before = residentMiB(pid);
    await beSlow(port, Number(flags.slow));
    const after = residentMiB(pid);
    console.log(
      `memory of the broker: ${residentAfterFill.toFixed(0)} MiB with the backlog, ${before.toFixed(0)} MiB after the load, ` +
        `${after.toFixed(0)} MiB with ${flags.slow} groups behind by all of it`,
    );
  } finally {
    for (const { process, directory } of [broker, elsewhere]) {
      await process.stop("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

/** Not a file in the making, which may be gone a moment later. */
function isComplete(name: string): boolean {
  return name.endsWith(".log") || name.endsWith(".idx");
}

function warm(path: string): void {
  execFileSync("dd", [`if=${path}`, "of=/dev/null", "bs=1M", "status=none"]);
}

async function fill(port: number, messages: number): Promise<void> {
  const upstream = connect(port);
  await new Promise<void>((resolve) => {
    let sent = 0;
    let answered = 0;
    const next = (): void => {
      if (sent < messages) {
        send(upstream, cold, sent++, () => {
          if (++answered === messages) resolve();
          else next();
        });
      }
    };
    for (let i = 0; i < 512; i++) next();
  });
  await upstream.close(1_000);
}

/** Each group takes one message, acks it and goes on waiting for nothing. */
async function beSlow(port: number, count: number): Promise<void> {
  const upstream = connect(port);
  for (let i = 0; i < count; i++) {
    const group = groupRef(`slow-${i}`);
    const request = {
      ...{ topic: cold, group, batch: 1, invisibleMs: 60_000, waitMs: 0, filterType: 1, filter: "*" },
      ...{ clientId: `slow-${i}`, attemptId: "", lane: "base", bytesMax: 0 },
    };
    await new Promise<void>((resolve, reject) => {
      upstream.receive(request, deadline(callMsMax), (answer) => {
        if (!answer.ok) {
          reject(new Error(`receive: ${answer.code} ${answer.message}`));
          return;
        }
        upstream.ack({ group, receipts: answer.deliveries.map(({ receipt }) => receipt) }, deadline(callMsMax), () =>
          resolve(),
        );
      });
    });
  }
  await upstream.close(1_000);
}

if (isMainThread) await main();
else {
  const role = workerData as Role;
  const stopped = new Promise<void>((resolve) => parentPort!.once("message", () => resolve()));
  parentPort!.postMessage(role.role === "sender" ? await sendHot(role) : await readCold(role, stopped));
  parentPort!.close();
}
