import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { checkHistory, type HistoryReport } from "./history-checker.ts";
import { HistoryLoad } from "./history-load.ts";
import { RawV2Client } from "./raw-v2-client.ts";
import { MeshParts, type SidecarProcess } from "./start-parts.ts";
import { waitUntil } from "./wait-until.ts";

const topic = "history";
const group = "history";
const sidecarCount = 2;
const clientCount = 8;
const drainMsMax = 30_000;
/** Between two faults, and a quarter of the time none. */
const pauseMs = { least: 300, spread: 1_500, quiet: 4_000 };
/** Room for some segments of the smallest size, and soon full. */
const smallDisk = "160m";

export interface MeshFaultReport {
  readonly faults: Readonly<Record<string, number>>;
  readonly sent: number;
  readonly sentInFaults: number;
  readonly seconds: number;
  readonly drainMs: number;
  readonly history: HistoryReport;
}

/** What a run must have seen to say anything. */
export interface MeshFaultWork {
  readonly sends: number;
  readonly sendsInFaults: number;
}

const faultKindsMin = 4;

/**
 * T07: real sidecars and a real broker under producers and consumers, while processes are killed and stopped and the disk
 * runs full; then everything heals and is drained within 30 s. The history checker judges. It takes longer, up to three times, where
 * the faults that the seed draws leave too little time between them for the work that is wanted.
 */
export async function runMeshFaults(seed: number, seconds: number, wanted: MeshFaultWork): Promise<MeshFaultReport> {
  const run = new MeshFaultRun(seed);
  try {
    await run.start();
    return await run.run(seconds, wanted);
  } finally {
    await run.stop();
  }
}

export function assertMeshHistory(report: MeshFaultReport, wanted: MeshFaultWork): void {
  assert.deepEqual(report.history.violations.slice(0, 10), []);
  assert.ok(report.sent >= wanted.sends, `only ${report.sent} sends were acknowledged`);
  assert.ok(report.sentInFaults >= wanted.sendsInFaults, `only ${report.sentInFaults} of them in fault windows`);
  assert.ok(Object.keys(report.faults).length >= faultKindsMin, `only these faults: ${JSON.stringify(report.faults)}`);
}

export function meshFaultSummary({ faults, sent, sentInFaults, seconds, drainMs, history }: MeshFaultReport): string {
  const { deliveries, redeliveries, acksOk, recovered } = history.counts;
  return (
    `${seconds} s, ${sent} sends acknowledged (${sentInFaults} in fault windows, ${recovered} unanswered ones stored), ` +
    `${deliveries} handed out (${redeliveries} again), ${acksOk} acked, ${history.violations.length} violations, ` +
    `drained in ${Math.round(drainMs)} ms; ${Object.entries(faults)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ")}`
  );
}

class MeshFaultRun {
  readonly #randomness: SeededRandomness;
  readonly #faults: Record<string, number> = {};
  #kindsLeft: string[] = [];
  readonly #disk: SmallDisk | undefined;
  #parts: MeshParts | undefined;
  #sidecars: SidecarProcess[] = [];
  #clients: RawV2Client[] = [];

  constructor(seed: number) {
    this.#randomness = new SeededRandomness(seed);
    this.#disk = SmallDisk.mount();
  }

  async start(): Promise<void> {
    // Small files, so that kills also meet rolls and checkpoints.
    this.#parts = await MeshParts.start({
      ...{ "segment-size": "16MiB", "checkpoint-every": "1MiB" },
      ...(this.#disk === undefined ? {} : { "data-dir": join(this.#disk.directory, "broker") }),
    });
    for (let i = 0; i < sidecarCount; i++) this.#sidecars.push(await this.#parts.startSidecar());
    this.#clients = Array.from(
      { length: clientCount },
      (_, i) => new RawV2Client(this.#sidecars[i % sidecarCount]!.address, `app-${i}`),
    );
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.#parts?.stop();
    this.#disk?.unmount();
  }

  async run(seconds: number, wanted: MeshFaultWork): Promise<MeshFaultReport> {
    const load = new HistoryLoad({
      ...{ topic, group, producerCount: clientCount, consumerCount: clientCount, bodyBytes: 256, invisibleMs: 10_000 },
      keptShare: 0.05,
      client: (number) => this.#clients[number % clientCount]!,
    });
    load.start();
    const startMs = performance.now();
    const hasEnough = () =>
      load.sentCount >= wanted.sends &&
      load.sentInFaults >= wanted.sendsInFaults &&
      Object.keys(this.#faults).length >= faultKindsMin;
    await waitUntil("load", () => load.sentCount > 200, 30_000);
    const isOver = (spentMs: number) => spentMs >= seconds * (hasEnough() ? 1_000 : 3_000);
    while (!isOver(performance.now() - startMs)) {
      const isQuiet = this.#randomness.fraction() < 0.25;
      await pause(isQuiet ? pauseMs.quiet : pauseMs.least + this.#randomness.fraction() * pauseMs.spread);
      if (!isQuiet) await this.#fault(load);
    }
    load.mark("healed");
    const healedMs = performance.now();
    const target = load.sentCount + 100;
    await waitUntil("sends after the faults", () => load.sentCount >= target, drainMsMax);
    load.stopSending();
    load.isDraining = true;
    let emptyLooks = 0;
    await waitUntil(
      "a drain",
      async () => {
        emptyLooks = (await this.#isEmpty()) ? emptyLooks + 1 : 0;
        return emptyLooks === 2 || performance.now() > healedMs + 2 * drainMsMax;
      },
      3 * drainMsMax,
    );
    if (emptyLooks === 2) load.mark("drained");
    const drainMs = performance.now() - healedMs;
    await load.stop();
    const history = checkHistory(load.events, { subscriptions: [{ group: `${group}`, topic }], drainMsMax });
    return {
      ...{ faults: this.#faults, sent: load.sentCount, sentInFaults: load.sentInFaults, drainMs },
      seconds: Math.round((healedMs - startMs) / 1_000),
      history,
    };
  }

  async #fault(load: HistoryLoad): Promise<void> {
    const parts = this.#parts!;
    const number = Math.floor(this.#randomness.fraction() * sidecarCount);
    const sidecar = this.#sidecars[number]!;
    const shortMs = 100 + this.#randomness.fraction() * 900;
    const longMs = 2_000 + this.#randomness.fraction() * 4_000;
    const kinds: Record<string, () => Promise<void>> = {
      "kill the broker": async () => {
        load.fault(4_000);
        await parts.restartBroker("SIGKILL");
      },
      "stop the broker": async () => {
        load.fault(8_000);
        await parts.restartBroker("SIGTERM");
      },
      "kill a sidecar": async () => {
        load.fault(4_000);
        await sidecar.process.stop("SIGKILL");
        this.#sidecars[number] = await parts.startSidecar(sidecar);
      },
      "pause the broker": () => paused(load, parts.brokerPid, shortMs),
      "pause the broker for long": () => paused(load, parts.brokerPid, longMs),
      "pause a sidecar": () => paused(load, sidecar.process.child.pid!, shortMs),
      "pause a sidecar for long": () => paused(load, sidecar.process.child.pid!, longMs),
    };
    if (this.#disk !== undefined) {
      const disk = this.#disk;
      kinds["fill the disk"] = async () => {
        load.fault(longMs + 3_000);
        disk.fill();
        await pause(longMs);
        disk.free();
      };
    }
    // Each kind once before any comes again: a run of some faults must not be one of three kinds by chance.
    if (this.#kindsLeft.length === 0) this.#kindsLeft = Object.keys(kinds);
    const [name = ""] = this.#kindsLeft.splice(randomIndex(this.#randomness, this.#kindsLeft.length), 1);
    this.#faults[name] = (this.#faults[name] ?? 0) + 1;
    await kinds[name]!();
  }

  async #isEmpty(): Promise<boolean> {
    const answer = await fetch(`http://${this.#parts!.brokerAdmin}/queues`);
    const { subscriptions } = (await answer.json()) as { subscriptions: { ready: number; inFlight: number }[] };
    return subscriptions.every(({ ready, inFlight }) => ready + inFlight === 0);
  }
}

/** SIGSTOP for so long. What it kept others waiting for goes on for a moment. */
async function paused(load: HistoryLoad, pid: number, ms: number): Promise<void> {
  load.fault(ms + 1_000);
  process.kill(pid, "SIGSTOP");
  await pause(ms);
  process.kill(pid, "SIGCONT");
}

/** A file system of a few segments, which only root can have; without it a run does without its fault. */
class SmallDisk {
  readonly directory: string;
  #filler: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.#filler = join(directory, "filler");
  }

  static mount(): SmallDisk | undefined {
    const directory = mkdtempSync(join(tmpdir(), "popmesh-small-disk-"));
    const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${smallDisk}`, "tmpfs", directory]);
    if (mounted.status === 0) return new SmallDisk(directory);
    rmSync(directory, { recursive: true, force: true });
    return undefined;
  }

  fill(): void {
    const { bavail, bsize } = statfsSync(this.directory);
    const file = openSync(this.#filler, "w");
    try {
      const block = Buffer.alloc(1024 * 1024);
      for (let left = bavail * bsize; left > 0; left -= block.length) {
        writeSync(file, block, 0, Math.min(left, block.length));
      }
    } catch {
      // Full a little earlier than it said.
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }

  unmount(): void {
    this.free();
    spawnSync("umount", [this.directory]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
