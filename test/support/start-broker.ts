import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Broker, NodeStorage, readBrokerConfig, startBroker } from "../../broker-core/index.ts";
import { type Log, silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../../proto/runtime/node-randomness.ts";
import { BrokerCoreUpstream } from "../../sidecar/upstream/broker-core/broker-core-upstream.ts";
import { freePorts } from "./free-port.ts";
import { compiledRoot, RunningProcess } from "./running-process.ts";
import { UpstreamClient } from "./upstream-client.ts";
import { waitUntil } from "./wait-until.ts";

export const testBrokerName = "broker-a";
const limits = { sendsInFlightMax: 256, pendingMax: 1024, pendingBytesMax: 32 * 1024 * 1024 };

/** Flags for a broker of a test: free ports, no control plane, groups see what was sent before them. */
function flags(dataDirectory: string, port: number, adminPort: number): string[] {
  return [
    ...["--listen", `127.0.0.1:${port}`, "--admin", `127.0.0.1:${adminPort}`, "--data-dir", dataDirectory],
    ...["--control-plane", "", "--group-start", "beginning", "--name", testBrokerName],
  ];
}

/** A driver for a broker at `port`, as a sidecar has it. */
export function connectUpstream(port: number, log: Log = silentLog): BrokerCoreUpstream {
  return new BrokerCoreUpstream({
    brokerName: testBrokerName,
    host: "127.0.0.1",
    port,
    hello: { sidecarId: "sidecar-of-a-test", lane: "base" },
    clock: new NodeClock(),
    randomness: new NodeRandomness(),
    log,
    limits,
  });
}

/** A real broker in this process, on a directory of its own. */
export class BrokerUnderTest {
  readonly broker: Broker;
  readonly dataDirectory: string;
  readonly #storage: NodeStorage;
  readonly #ownsDirectory: boolean;
  readonly #upstreams: BrokerCoreUpstream[] = [];

  private constructor(broker: Broker, storage: NodeStorage, dataDirectory: string, ownsDirectory: boolean) {
    this.broker = broker;
    this.#storage = storage;
    this.dataDirectory = dataDirectory;
    this.#ownsDirectory = ownsDirectory;
  }

  static async start(
    options: { readonly argv?: readonly string[]; readonly dataDirectory?: string; readonly port?: number } = {},
  ): Promise<BrokerUnderTest> {
    const clock = new NodeClock();
    const dataDirectory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), "popmesh-broker-"));
    const storage = new NodeStorage(dataDirectory, clock.bootId);
    const config = readBrokerConfig([...flags(dataDirectory, options.port ?? 0, 0), ...(options.argv ?? [])], {});
    const broker = await startBroker(config, {
      storage,
      clock,
      randomness: new NodeRandomness(),
      log: silentLog,
      onDiskFailure: (error) => {
        throw error;
      },
    });
    return new BrokerUnderTest(broker, storage, dataDirectory, options.dataDirectory === undefined);
  }

  get port(): number {
    return this.broker.port;
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${this.broker.adminPort}`;
  }

  /** A sidecar's connection to it. */
  connect(): UpstreamClient {
    const upstream = connectUpstream(this.port);
    this.#upstreams.push(upstream);
    return new UpstreamClient(upstream);
  }

  /** Stops in order; with `abruptly` as the death of the process would. The directory goes with it unless it was given. */
  async stop(options: { readonly abruptly?: boolean; readonly keepDirectory?: boolean } = {}): Promise<void> {
    if (options.abruptly === true) this.broker.stopNow();
    else await this.broker.stop();
    this.#storage.unlock();
    await Promise.all(this.#upstreams.map((upstream) => upstream.close(0)));
    if (this.#ownsDirectory && options.keepDirectory !== true) {
      rmSync(this.dataDirectory, { recursive: true, force: true });
    }
  }
}

/** The broker as its own process, which a test may kill. */
export class BrokerProcess {
  readonly dataDirectory: string;
  readonly port: number;
  readonly adminPort: number;
  readonly #argv: readonly string[];
  readonly #within: readonly string[];
  readonly #root: string;
  process: RunningProcess;

  private constructor(
    dataDirectory: string,
    port: number,
    adminPort: number,
    argv: readonly string[],
    within: readonly string[],
    root: string,
  ) {
    this.dataDirectory = dataDirectory;
    this.port = port;
    this.adminPort = adminPort;
    this.#argv = argv;
    this.#within = within;
    this.#root = root;
    this.process = this.#spawn();
  }

  /**
   * `within`: a command that runs the broker, and what it is told before the broker's own command line. `root`: the compiled tree that
   * the broker is of.
   */
  static async start(
    argv: readonly string[] = [],
    {
      directory = mkdtempSync(join(tmpdir(), "popmesh-broker-process-")),
      within = [] as readonly string[],
      root = compiledRoot,
    } = {},
  ): Promise<BrokerProcess> {
    const [port, adminPort] = await freePorts(2);
    const broker = new BrokerProcess(directory, port!, adminPort!, argv, within, root);
    await broker.isReady();
    return broker;
  }

  /** Resolves when the admin port says so, with the milliseconds it took. */
  async isReady(): Promise<number> {
    const startedMs = performance.now();
    await waitUntil(
      "the broker process is ready",
      async () => {
        if (this.process.hasExited) throw new Error(`the broker ended:\n${this.process.output}`);
        try {
          return (await fetch(`http://127.0.0.1:${this.adminPort}/ready`)).status === 200;
        } catch {
          return false;
        }
      },
      30_000,
    );
    return performance.now() - startedMs;
  }

  /** SIGKILL, then the same again on the same directory and ports. Resolves with the milliseconds until ready. */
  async killAndRestart(): Promise<number> {
    await this.process.stop("SIGKILL");
    this.process = this.#spawn();
    return this.isReady();
  }

  /** Starts it again after it ended. */
  async restart(): Promise<number> {
    this.process = this.#spawn();
    return this.isReady();
  }

  /** Starts it again where it is expected to end by itself. Resolves with what it ended with. */
  async startAgain(): Promise<number | string> {
    this.process = this.#spawn();
    return this.process.exited();
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | string> {
    return this.process.stop(signal);
  }

  async dispose(): Promise<void> {
    await this.process.stop("SIGKILL");
    rmSync(this.dataDirectory, { recursive: true, force: true });
  }

  #spawn(): RunningProcess {
    const argv = [...flags(this.dataDirectory, this.port, this.adminPort), ...this.#argv];
    const [command, ...before] = this.#within;
    const main = join(this.#root, "broker-core/main.js");
    if (command === undefined) return RunningProcess.node(main, argv);
    return new RunningProcess(command, [...before, process.execPath, main, ...argv]);
  }
}
