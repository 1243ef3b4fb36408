import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { request } from "undici";
import { type Clock, sleep } from "../../proto/runtime/clock.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { parseAddress } from "../../proto/runtime/settings.ts";
import { print, printError } from "./output.ts";
import type { ProcessName } from "./process-entry.ts";
import { SupervisedProcess } from "./supervised-process.ts";

/** A drain longer than this is cut short, so that Ctrl-C ends everything within 5 s. */
const insistMs = 3_000;
const killMs = 4_500;
/** How often readiness is asked while starting. */
const readyPollMs = 25;
const readyMsMax = 30_000;

interface UpOptions {
  readonly dataDir: string;
  readonly listen: string;
  readonly sidecarAdmin: string;
  readonly xds: string;
  readonly api: string;
  readonly broker: string;
  readonly brokerAdmin: string;
  readonly tls: string;
}

/** `popmesh up`: the whole mesh on one machine, three processes under one supervisor. */
export function register(program: Command): void {
  program
    .command("up")
    .description("run a whole mesh on this machine: control plane, broker and sidecar")
    .option("--data-dir <directory>", "where everything is kept", "./.popmesh")
    .option("--listen <address>", "where applications connect", "127.0.0.1:8081")
    .option("--sidecar-admin <address>", "admin port of the sidecar", "127.0.0.1:15000")
    .option("--xds <address>", "xDS port of the control plane", "127.0.0.1:18000")
    .option("--api <address>", "HTTP API of the control plane", "127.0.0.1:18080")
    .option("--broker <address>", "frame port of the broker", "127.0.0.1:17000")
    .option("--broker-admin <address>", "admin port of the broker", "127.0.0.1:17001")
    .option("--tls <mode>", "auto: TLS and cleartext on the application port; off: cleartext only", "auto")
    .action((options: UpOptions) => up(options));
}

async function up(options: UpOptions): Promise<void> {
  const clock = new NodeClock();
  const startedMs = clock.monotonicMs();
  const dataDirectory = resolve(options.dataDir);
  mkdirSync(join(dataDirectory, "logs"), { recursive: true });
  const taken = await takenAddresses(options);
  if (taken.length > 0) {
    for (const { flag, value, why } of taken) {
      printError(
        `popmesh up: ${value} cannot be used (${why}). Stop what uses it, or choose another: ${flag} 127.0.0.1:PORT`,
      );
    }
    process.exitCode = 1;
    return;
  }

  const processes = processTable(options, dataDirectory).map(
    ([name, argv]) =>
      new SupervisedProcess(name, argv, join(dataDirectory, "logs", `${name}.log`), clock, {
        // That the others go away is no news to whoever stops them all; their logs have it.
        onWarning: (from, line) => {
          if (!isStopping) printError(`${from}: ${line}`);
        },
        onRestart: (from, how, pauseMs) => printError(`${from} ended (${how}); starting it again in ${pauseMs} ms`),
        onFinal: (from, how) => {
          printError(`${from} cannot run (${how}); stopping. Its log: ${join(dataDirectory, "logs", `${from}.log`)}`);
          void stopAll(1);
        },
      }),
  );

  let isStopping = false;
  const stopAll = async (exitCode: number) => {
    if (isStopping) return;
    isStopping = true;
    // The sidecar first: it hands back what it holds while broker and control plane still answer.
    for (const name of ["sidecar", "broker", "control-plane"]) {
      await processes.find((process_) => process_.name === name)?.stop(insistMs, killMs);
    }
    process.exit(exitCode);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (!isStopping) print("\nstopping …");
      void stopAll(0);
    });
  }

  for (const process_ of processes) process_.start();
  const late = await waitUntilReady(clock, [
    ["control plane", options.api],
    ["broker", options.brokerAdmin],
    ["sidecar", options.sidecarAdmin],
  ]);
  if (isStopping) return;
  if (late !== undefined) {
    printError(`popmesh up: the ${late} did not become ready within ${readyMsMax / 1000} s; see ${dataDirectory}/logs`);
    return stopAll(1);
  }
  print(banner(options, dataDirectory, clock.monotonicMs() - startedMs));
}

function processTable(options: UpOptions, dataDirectory: string): [ProcessName, string[]][] {
  const flags = (table: Record<string, string>) =>
    Object.entries(table).flatMap(([flag, value]) => [`--${flag}`, value]);
  return [
    [
      "control-plane",
      flags({
        xds: options.xds,
        api: options.api,
        "data-dir": join(dataDirectory, "control-plane"),
        "auto-create": "on",
        bootstrap: "true",
      }),
    ],
    [
      "broker",
      flags({
        listen: options.broker,
        admin: options.brokerAdmin,
        "data-dir": join(dataDirectory, "broker"),
        "control-plane": options.xds,
      }),
    ],
    [
      "sidecar",
      flags({
        listen: options.listen,
        admin: options.sidecarAdmin,
        "data-dir": join(dataDirectory, "sidecar"),
        "control-plane": options.xds,
        tls: options.tls,
      }),
    ],
  ];
}

interface TakenAddress {
  readonly flag: string;
  readonly value: string;
  readonly why: string;
}

/** Tries each address once, so that a taken port is told in one clear line before anything is started. */
async function takenAddresses(options: UpOptions): Promise<TakenAddress[]> {
  const flagByOption = {
    listen: "--listen",
    sidecarAdmin: "--sidecar-admin",
    xds: "--xds",
    api: "--api",
    broker: "--broker",
    brokerAdmin: "--broker-admin",
  } as const;
  const taken: TakenAddress[] = [];
  for (const [name, flag] of Object.entries(flagByOption)) {
    const value = options[name as keyof typeof flagByOption];
    const why = await bindProblem(value);
    if (why !== undefined) taken.push({ flag, value, why });
  }
  return taken;
}

function bindProblem(value: string): Promise<string | undefined> {
  const at = parseAddress(value);
  if (at === undefined) return Promise.resolve("it is not of the form host:port");
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      resolve(error.code === "EADDRINUSE" ? "another process listens there" : error.message);
    });
    server.listen(at.port, at.host, () => server.close(() => resolve(undefined)));
  });
}

/** Name of the first part that is still not ready when patience ends. */
async function waitUntilReady(
  clock: Clock,
  parts: readonly (readonly [string, string])[],
): Promise<string | undefined> {
  const deadlineMs = clock.monotonicMs() + readyMsMax;
  for (const [name, address] of parts) {
    while (!(await isReady(address))) {
      if (clock.monotonicMs() > deadlineMs) return name;
      await sleep(clock, readyPollMs);
    }
  }
  return undefined;
}

async function isReady(address: string): Promise<boolean> {
  try {
    const answer = await request(`http://${address}/ready`, { headersTimeout: 1_000, bodyTimeout: 1_000 });
    await answer.body.dump();
    return answer.statusCode === 200;
  } catch {
    return false;
  }
}

function banner(options: UpOptions, dataDirectory: string, elapsedMs: number): string {
  const security = options.tls === "off" ? "cleartext" : "TLS and cleartext";
  return [
    "",
    `popmesh is ready (${(elapsedMs / 1000).toFixed(1)} s)`,
    "",
    `  applications    ${options.listen}   any RocketMQ 5 SDK, ${security}`,
    `  HTTP API        http://${options.api}`,
    `  sidecar admin   http://${options.sidecarAdmin}`,
    `  broker admin    http://${options.brokerAdmin}`,
    `  data and logs   ${dataDirectory}`,
    "",
    "  first message   node examples/quick-start/producer.mjs",
    "  stop            Ctrl-C",
    "",
  ].join("\n");
}
