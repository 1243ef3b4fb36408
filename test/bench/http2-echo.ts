import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { generateLoad, type LoadResult } from "./h2-generator.ts";
import { type EchoUsage, echoPath } from "./http2-echo-server.ts";

/**
 * CPU per unary call of the data port's engine next to @grpc/grpc-js and bare node:http2: each echoes 1 KiB in a process of
 * its own under the same generator. The rate is that of a machine shared with the generator; the CPU ratio is what holds.
 *
 *     node dist/test/bench/http2-echo.js
 */
const engines = ["popmesh", "grpc-js", "node:http2"] as const;
type Engine = (typeof engines)[number];

/** (connections, calls in flight on each): the first shows the engine, the others the kernel as well. */
const shapes = [
  { connections: 1, streams: 100 },
  { connections: 8, streams: 32 },
  { connections: 50, streams: 1 },
] as const;

const calls: Readonly<Record<Engine, number>> = { popmesh: 40_000, "grpc-js": 4_000, "node:http2": 6_000 };
const rounds = 3;
const message = Buffer.alloc(1024, "m");
/** What the SDKs send along. */
const headers: readonly (readonly [string, string])[] = [
  ["user-agent", "grpc-java-netty/1.53.0"],
  ["grpc-accept-encoding", "gzip"],
  ["x-mq-language", "JAVA"],
  ["x-mq-client-version", "5.2.1"],
  ["x-mq-client-id", "host@4711@0@1hzx3tu"],
  ["x-mq-namespace", ""],
];

interface Running {
  readonly process: ChildProcess;
  readonly port: number;
}

async function start(engine: Engine): Promise<Running> {
  const child = fork(fileURLToPath(new URL("http2-echo-server.js", import.meta.url)), [engine]);
  const [port] = (await once(child, "message")) as [number];
  return { process: child, port };
}

async function usage(child: ChildProcess): Promise<EchoUsage> {
  child.send("usage");
  const [answer] = (await once(child, "message")) as [EchoUsage];
  return answer;
}

function load(port: number, shape: (typeof shapes)[number], count: number): Promise<LoadResult> {
  return generateLoad({
    host: "127.0.0.1",
    port,
    ...shape,
    path: echoPath,
    message,
    headers,
    requestIdHeader: "x-mq-request-id",
    calls: count,
  });
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const running = new Map<Engine, Running>();
try {
  for (const engine of engines) running.set(engine, await start(engine));
  process.stdout.write(
    "shape      engine        calls/s   server us/call   p50 ms   p99 ms   generator cores   times popmesh\n",
  );
  for (const shape of shapes) {
    const measured = new Map<Engine, { result: LoadResult; cpu: number }[]>(engines.map((engine) => [engine, []]));
    for (let round = 0; round <= rounds; round++) {
      for (const [engine, { process: child, port }] of running) {
        const before = await usage(child);
        const result = await load(port, shape, round === 0 ? calls[engine] / 4 : calls[engine]);
        const after = await usage(child);
        if (result.failures.size > 0) throw new Error(`${engine}: ${JSON.stringify([...result.failures])}`);
        // The first round warms up.
        if (round > 0) measured.get(engine)!.push({ result, cpu: (after.cpuMicros - before.cpuMicros) / result.calls });
      }
    }
    const own = median(measured.get("popmesh")!.map(({ cpu }) => cpu));
    for (const [engine, runs] of measured) {
      const of = (read: (result: LoadResult) => number) => median(runs.map(({ result }) => read(result)));
      const cpu = median(runs.map((run) => run.cpu));
      process.stdout.write(
        `${`(${shape.connections},${shape.streams})`.padEnd(11)}${engine.padEnd(11)}` +
          `${of((r) => r.callsPerSecond)
            .toFixed(0)
            .padStart(10)}${cpu.toFixed(1).padStart(17)}` +
          `${of((r) => r.latencyMs.p50)
            .toFixed(2)
            .padStart(9)}${of((r) => r.latencyMs.p99)
            .toFixed(2)
            .padStart(9)}` +
          `${of((r) => r.generatorCores)
            .toFixed(2)
            .padStart(18)}${(cpu / own).toFixed(1).padStart(16)}\n`,
      );
    }
  }
} finally {
  for (const { process: child } of running.values()) child.disconnect();
}
