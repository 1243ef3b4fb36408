import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { apache } from "#codec/rocketmq-v2";
import { cpuMicros, residentMiB } from "../support/process-usage.ts";
import { RunningProcess } from "../support/running-process.ts";
import { connectUpstream } from "../support/start-broker.ts";
import { childPid, type Mesh, startMesh } from "../support/start-mesh.ts";
import { generateLoad, type LoadResult } from "./h2-generator.ts";

/**
 * What a send costs: application → sidecar → broker with 1 KiB bodies and a sync before each answer, next to (a) the same
 * broker without the sidecar, (b) a @grpc/grpc-js server that only echoes, under the same generator, (c) the bare disk. All in
 * one run, interleaved; the machine's speed drifts, so the ratios are what holds.
 *
 *     npm run bench
 */
const path = "/apache.rocketmq.v2.MessagingService/SendMessage";
const shapes = [
  { connections: 8, streams: 32 },
  { connections: 50, streams: 1 },
  { connections: 1, streams: 1 },
] as const;
type Shape = (typeof shapes)[number];
const rounds = 3;
const bodyBytes = 1024;
const idDigits = 34;

const { SendMessageRequest } = apache.rocketmq.v2;
const template = Buffer.from(
  SendMessageRequest.encode({
    messages: [
      {
        topic: { name: "bench" },
        userProperties: { region: "eu", amount: "42" },
        systemProperties: {
          tag: "created",
          keys: ["order-1"],
          messageId: "0".repeat(idDigits),
          messageType: 1,
          bornHost: "app-1",
        },
        body: Buffer.alloc(bodyBytes, "b"),
      },
    ],
  }).finish(),
);
const idAt = template.indexOf("0".repeat(idDigits));
/** The Message within the request: behind its tag and length. */
const messageBytes = template.subarray(template.indexOf(0x0a, 1));

function writeId(request: Buffer, at: number, sequence: number): void {
  request.write(sequence.toString(16).padStart(16, "0"), at + idAt, "latin1");
}

interface Figure {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** CPU of the server process (of sidecar and broker: of each), microseconds per call. */
  readonly cpu: readonly number[];
}

async function gateway(port: number, shape: Shape, calls: number, pids: readonly number[]): Promise<Figure> {
  const before = pids.map(cpuMicros);
  const result: LoadResult = await generateLoad({
    host: "127.0.0.1",
    port,
    ...shape,
    path,
    message: template,
    headers: [["x-mq-client-id", "bench@1@0@1"]],
    requestIdHeader: "x-mq-request-id",
    patch: writeId,
    calls,
  });
  if (result.failures.size > 0) throw new Error(`calls failed: ${JSON.stringify([...result.failures])}`);
  const cpu = pids.map((pid, i) => (cpuMicros(pid) - (before[i] ?? 0)) / result.calls);
  return { perSecond: result.callsPerSecond, p50: result.latencyMs.p50, p99: result.latencyMs.p99, cpu };
}

/** The same broker through the driver alone, as many sends in flight as the shape has. */
async function direct(mesh: Mesh, shape: Shape, calls: number, brokerPid: number): Promise<Figure> {
  const upstream = connectUpstream(Number(mesh.broker.split(":")[1]));
  const topic = { name: "default/bench-direct", incarnation: 1, messageTypes: 2, queueCount: 8 };
  const latencies: number[] = [];
  const send = () =>
    new Promise<void>((resolve, reject) => {
      const startedMs = performance.now();
      upstream.send(
        { topic, laneMark: "", bornHost: "app-1", messages: [messageBytes] },
        process.hrtime()[0] * 1000 + 30_000,
        (answer) => {
          latencies.push(performance.now() - startedMs);
          if (answer.ok) resolve();
          else reject(new Error(`direct send: ${answer.code} ${answer.message}`));
        },
      );
    });
  await send();
  const before = cpuMicros(brokerPid);
  const startedMs = performance.now();
  let left = calls;
  const worker = async () => {
    while (left-- > 0) await send();
  };
  await Promise.all(Array.from({ length: shape.connections * shape.streams }, worker));
  const seconds = (performance.now() - startedMs) / 1000;
  const cpu = (cpuMicros(brokerPid) - before) / calls;
  await upstream.close(1_000);
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
  return { perSecond: calls / seconds, p50: at(0.5), p99: at(0.99), cpu: [cpu] };
}

/** One write and one fdatasync per group of what a shape keeps in flight, into blocks that exist. */
function disk(shape: Shape, calls: number): Figure {
  const directory = mkdtempSync(join(tmpdir(), "popmesh-bench-"));
  const file = openSync(join(directory, "raw"), "w");
  try {
    const group = Buffer.concat(Array.from({ length: shape.connections * shape.streams }, () => messageBytes));
    const groups = Math.max(1, Math.floor(calls / (shape.connections * shape.streams)));
    for (let i = 0; i < groups; i++) writeSync(file, Buffer.alloc(group.length), 0, group.length, i * group.length);
    fdatasyncSync(file);
    const latencies: number[] = [];
    const cpuBefore = process.cpuUsage();
    const startedMs = performance.now();
    for (let i = 0; i < groups; i++) {
      const groupStartedMs = performance.now();
      writeSync(file, group, 0, group.length, i * group.length);
      fdatasyncSync(file);
      latencies.push(performance.now() - groupStartedMs);
    }
    const seconds = (performance.now() - startedMs) / 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    const sent = groups * shape.connections * shape.streams;
    latencies.sort((a, b) => a - b);
    const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? Number.NaN;
    return { perSecond: sent / seconds, p50: at(0.5), p99: at(0.99), cpu: [(user + system) / sent] };
  } finally {
    closeSync(file);
    rmSync(directory, { recursive: true });
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function medianFigure(figures: readonly Figure[]): Figure {
  const of = (read: (figure: Figure) => number) => median(figures.map(read));
  return {
    perSecond: of((figure) => figure.perSecond),
    p50: of((figure) => figure.p50),
    p99: of((figure) => figure.p99),
    cpu: (figures[0]?.cpu ?? []).map((_, i) => of((figure) => figure.cpu[i] ?? Number.NaN)),
  };
}

function row(what: string, { perSecond, p50, p99, cpu }: Figure): string {
  const numbers = [perSecond.toFixed(0).padStart(9), p50.toFixed(2).padStart(9), p99.toFixed(2).padStart(9)];
  return `  ${what.padEnd(34)}${numbers.join("")}   ${cpu.map((us) => us.toFixed(1)).join(" + ")}`;
}

const mesh = await startMesh();
const echo = RunningProcess.node(fileURLToPath(new URL("grpc-js-echo.js", import.meta.url)), []);
try {
  await echo.printed(/listening on \d+/);
  const echoPort = Number(/listening on (\d+)/.exec(echo.output)?.[1]);
  const echoPid = echo.child.pid ?? 0;
  const [sidecarPid, brokerPid] = await Promise.all([childPid(mesh, "sidecar"), childPid(mesh, "broker-core")]);
  const idleMiB = residentMiB(sidecarPid);
  const sidecarPort = Number(mesh.endpoint.split(":")[1]);

  console.log(
    `1 KiB bodies, sync before each answer; ${rounds} rounds, medians. CPU in us per call of the named processes.`,
  );
  for (const shape of shapes) {
    const calls = shape.connections * shape.streams === 1 ? 1_500 : 20_000;
    const echoCalls = Math.min(calls, 5_000);
    const figures: Record<"mesh" | "direct" | "echo" | "disk", Figure[]> = { mesh: [], direct: [], echo: [], disk: [] };
    for (let round = 0; round <= rounds; round++) {
      // The first round warms up and creates the topics.
      const share = round === 0 ? 4 : 1;
      const measured = {
        mesh: await gateway(sidecarPort, shape, calls / share, [sidecarPid, brokerPid]),
        direct: await direct(mesh, shape, calls / share, brokerPid),
        echo: await gateway(echoPort, shape, echoCalls / share, [echoPid]),
        disk: disk(shape, calls / share),
      };
      if (round > 0) for (const key of ["mesh", "direct", "echo", "disk"] as const) figures[key].push(measured[key]);
    }
    const through = medianFigure(figures.mesh);
    const without = medianFigure(figures.direct);
    const grpc = medianFigure(figures.echo);
    console.log(
      `\n(${shape.connections} connections, ${shape.streams} in flight on each)       calls/s   p50 ms   p99 ms   CPU us/call`,
    );
    console.log(row("app → sidecar → broker", through), "(sidecar + broker)");
    console.log(row("(a) broker without the sidecar", without), "(broker)");
    console.log(row("(b) grpc-js echo, no broker", grpc), "(server)");
    console.log(row("(c) bare write + fdatasync", medianFigure(figures.disk)), "(per message of a group)");
    console.log(`  throughput through the sidecar: ${(through.perSecond / without.perSecond).toFixed(2)} of direct`);
    console.log(
      `  CPU of the sidecar: 1/${((grpc.cpu[0] ?? 0) / (through.cpu[0] ?? 1)).toFixed(1)} of the grpc-js echo`,
    );
  }
  console.log(
    `\nresident memory of the sidecar: idle ${idleMiB.toFixed(0)} MiB, after the load ${residentMiB(sidecarPid).toFixed(0)} MiB`,
  );
} finally {
  await echo.stop("SIGKILL");
  await mesh.stop();
}
