import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import { freePorts } from "./free-port.ts";
import { compiledRoot, RunningProcess } from "./running-process.ts";
import { waitUntil } from "./wait-until.ts";

/** A control plane as a process of its own, on ports that stay the same when it is started again. */
export class ControlPlaneProcess {
  readonly directory: string;
  readonly xdsPort: number;
  readonly apiPort: number;
  #process: RunningProcess | undefined;

  private constructor(directory: string, xdsPort: number, apiPort: number) {
    this.directory = directory;
    this.xdsPort = xdsPort;
    this.apiPort = apiPort;
  }

  static async create(): Promise<ControlPlaneProcess> {
    const [xdsPort = 0, apiPort = 0] = await freePorts(2);
    return new ControlPlaneProcess(mkdtempSync(join(tmpdir(), "popmesh-control-plane-")), xdsPort, apiPort);
  }

  get server(): string {
    return `http://127.0.0.1:${this.apiPort}`;
  }

  /** Of the process that runs now. */
  get pid(): number {
    return this.#process?.child.pid ?? 0;
  }

  /** Starts it without waiting for anything. */
  launch(...argv: string[]): RunningProcess {
    const flags = ["--xds", `127.0.0.1:${this.xdsPort}`, "--api", `127.0.0.1:${this.apiPort}`];
    const directory = ["--data-dir", this.directory];
    this.#process = RunningProcess.node(join(compiledRoot, "control-plane/main.js"), [...flags, ...directory, ...argv]);
    return this.#process;
  }

  /** Starts it and waits until it is ready. */
  async start(...argv: string[]): Promise<void> {
    const running = this.launch("--bootstrap", "true", ...argv);
    await waitUntil("the control plane is ready", async () => {
      if (running.hasExited) throw new Error(`the control plane ended:\n${running.output}`);
      return (await this.#ready()) === 200;
    });
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | string> {
    return (await this.#process?.stop(signal)) ?? 0;
  }

  async remove(): Promise<void> {
    await this.stop("SIGKILL");
    rmSync(this.directory, { recursive: true, force: true });
  }

  async #ready(): Promise<number> {
    try {
      const answer = await request(`${this.server}/ready`);
      await answer.body.dump();
      return answer.statusCode;
    } catch {
      return 0;
    }
  }
}
