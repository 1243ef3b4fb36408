import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "./free-port.ts";
import { MuteProxy } from "./mute-proxy.ts";
import { RawV2Client } from "./raw-v2-client.ts";
import { compiledRoot, RunningProcess } from "./running-process.ts";
import { waitUntil } from "./wait-until.ts";

/** One real sidecar process. */
export interface SidecarProcess {
  readonly process: RunningProcess;
  readonly address: string;
  readonly admin: string;
}

/** How long a sidecar gets to answer that SDKs have left their streams; whoever stays is cut off. */
const goodbyeMs = 1_000;

/** The real processes of a mesh, each by itself: for tests that need two sidecars, or one that they may kill. */
export class MeshParts {
  readonly directory: string;
  readonly #xds: string;
  readonly #processes: RunningProcess[] = [];
  readonly #clients: RawV2Client[] = [];
  readonly #sidecars: SidecarProcess[] = [];
  #sidecarCount = 0;
  #runBroker: () => RunningProcess = () => {
    throw new Error("the broker was not started");
  };
  #runControlPlane: () => RunningProcess = () => {
    throw new Error("the control plane was not started");
  };
  #broker: RunningProcess | undefined;
  #controlPlane: RunningProcess | undefined;
  /** "host:port" of the broker's frame port. */
  brokerAddress = "";
  /** "host:port" of the broker's admin port. */
  brokerAdmin = "";
  /** URL of the control plane's API. */
  api = "";

  private constructor(directory: string, xds: string) {
    this.directory = directory;
    this.#xds = xds;
  }

  /** A control plane that creates what is used, and one broker; `brokerFlags`: more of its flags. */
  static async start(brokerFlags: Readonly<Record<string, string>> = {}): Promise<MeshParts> {
    const ports = await freePorts(4);
    const [xds, api, broker, brokerAdmin] = ports.map((port) => `127.0.0.1:${port}`);
    const parts = new MeshParts(mkdtempSync(join(tmpdir(), "popmesh-parts-")), String(xds));
    const { directory } = parts;
    parts.#runControlPlane = () =>
      parts.#run("control-plane", {
        xds,
        api,
        "data-dir": join(directory, "control-plane"),
        "auto-create": "on",
        bootstrap: "true",
      });
    parts.#controlPlane = parts.#runControlPlane();
    parts.brokerAddress = String(broker);
    parts.brokerAdmin = String(brokerAdmin);
    parts.api = `http://${api}`;
    parts.#runBroker = () =>
      parts.#run("broker-core", {
        listen: broker,
        admin: brokerAdmin,
        "data-dir": join(directory, "broker"),
        "control-plane": xds,
        ...brokerFlags,
      });
    parts.#broker = parts.#runBroker();
    try {
      await Promise.all([ready(String(api)), ready(String(brokerAdmin))]);
    } catch (error) {
      const outputs = parts.#processes.map(({ output }) => output).join("\n");
      await parts.stop();
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${outputs}`);
    }
    return parts;
  }

  /** Everything that the broker's processes have printed. */
  get brokerOutput(): string {
    return this.#brokerOutputs + (this.#broker?.output ?? "");
  }

  #brokerOutputs = "";

  /** SIGKILL to the broker, then another one on its data; resolves when it is ready. */
  killBroker(): Promise<void> {
    return this.restartBroker("SIGKILL");
  }

  /** "host:port" where sidecars and brokers look for the control plane. */
  get xds(): string {
    return this.#xds;
  }

  /** SIGKILL to the control plane, for good. */
  async killControlPlane(): Promise<void> {
    await this.#controlPlane?.stop("SIGKILL");
  }

  /** Another one on its data, after a kill; resolves when it is ready. */
  async startControlPlane(): Promise<void> {
    this.#controlPlane = this.#runControlPlane();
    await ready(this.api.replace("http://", ""));
  }

  /** Process id of the broker that runs now. */
  get brokerPid(): number {
    return this.#broker?.child.pid ?? 0;
  }

  /** Ends the broker, then starts another one on its data; resolves when it is ready. */
  async restartBroker(signal: NodeJS.Signals): Promise<void> {
    await this.#broker?.stop(signal);
    this.#brokerOutputs = this.brokerOutput;
    this.#broker = this.#runBroker();
    await ready(this.brokerAdmin);
  }

  /** Another broker beside the first; resolves when it is ready, with its process and the address of its admin port. */
  async addBroker(name: string): Promise<{ readonly process: RunningProcess; readonly admin: string }> {
    const [listen, admin] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`);
    const process = this.#run("broker-core", {
      ...{ name, listen, admin, "data-dir": join(this.directory, name), "control-plane": this.#xds },
    });
    await ready(String(admin));
    return { process, admin: String(admin) };
  }

  /** Ends the first broker, for good; resolves with its exit code. */
  async stopBroker(signal: NodeJS.Signals): Promise<number | string> {
    return (await this.#broker?.stop(signal)) ?? 0;
  }

  /** Another broker beside the first, which sidecars reach by way of a port that can be made to swallow its answers. */
  async startBroker(name: string): Promise<MuteProxy> {
    const [listen, admin] = await freePorts(2);
    const proxy = await MuteProxy.start(Number(listen));
    this.#run("broker-core", {
      ...{ name, listen: `127.0.0.1:${listen}`, admin: `127.0.0.1:${admin}`, advertise: `127.0.0.1:${proxy.port}` },
      ...{ "data-dir": join(this.directory, name), "control-plane": this.#xds },
    });
    await ready(`127.0.0.1:${admin}`);
    return proxy;
  }

  /** Resolves when it is ready. `at` takes the place of an earlier one; `flags`: more of its flags. */
  async startSidecar(at?: SidecarProcess, flags: Readonly<Record<string, string>> = {}): Promise<SidecarProcess> {
    const [listen, admin] =
      at === undefined ? (await freePorts(2)).map((port) => `127.0.0.1:${port}`) : [at.address, at.admin];
    const process = this.#run("sidecar", {
      listen,
      admin,
      "control-plane": this.#xds,
      "data-dir": join(this.directory, `sidecar-${++this.#sidecarCount}`),
      tls: "off",
      ...flags,
    });
    try {
      await ready(String(admin));
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${process.output}`);
    }
    const sidecar = { process, address: String(listen), admin: String(admin) };
    this.#sidecars.push(sidecar);
    return sidecar;
  }

  client(sidecar: SidecarProcess, clientId: string, headers: Readonly<Record<string, string>> = {}): RawV2Client {
    const client = new RawV2Client(sidecar.address, clientId, headers);
    this.#clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    // The SDK raises an uncaught error when a stream breaks that it has left and whose end it has not heard yet.
    await Promise.all(this.#sidecars.map((sidecar) => withoutStreams(sidecar)));
    await Promise.all(this.#processes.map((running) => running.stop("SIGKILL")));
    rmSync(this.directory, { recursive: true, force: true });
  }

  #run(part: string, flags: Readonly<Record<string, string | undefined>>): RunningProcess {
    const argv = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
    const running = RunningProcess.node(join(compiledRoot, part, "main.js"), argv);
    this.#processes.push(running);
    return running;
  }
}

/** Resolves when no client of the sidecar has a Telemetry stream any more, the sidecar is gone, or it takes too long. */
async function withoutStreams({ process, admin }: SidecarProcess): Promise<void> {
  const signal = AbortSignal.timeout(goodbyeMs);
  const hasNone = async () => {
    if (process.hasExited) return true;
    const metrics = await (await fetch(`http://${admin}/stats/prometheus`, { signal })).text();
    return /^popmesh_sidecar_telemetry_streams 0$/m.test(metrics);
  };
  // Whoever cannot be asked, or still has streams then, is killed all the same.
  await waitUntil("no stream is open", hasNone, goodbyeMs).catch(() => {});
}

function ready(admin: string): Promise<void> {
  return waitUntil(`http://${admin}/ready`, () =>
    fetch(`http://${admin}/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
}
