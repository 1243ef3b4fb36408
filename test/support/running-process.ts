import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitUntil } from "./wait-until.ts";

/** Root of the compiled tree this test runs from (dist or a developer's own output folder). */
export const compiledRoot = fileURLToPath(new URL("../../", import.meta.url));
/** Root of the repository. */
export const repositoryRoot = join(compiledRoot, "..");

/** A real process of the test, with everything it printed. Stopped by pid, never by name. */
export class RunningProcess {
  readonly child: ChildProcess;
  output = "";
  #exit: Promise<number | string>;
  #hasExited = false;

  constructor(command: string, argv: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    this.child = spawn(command, argv, {
      cwd: repositoryRoot,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
    this.#exit = new Promise((resolve) =>
      this.child.once("close", (code, signal) => {
        this.#hasExited = true;
        resolve(signal ?? code ?? 0);
      }),
    );
  }

  /** A compiled file of ours under this very Node. */
  static node(
    file: string,
    argv: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): RunningProcess {
    return new RunningProcess(process.execPath, [file, ...argv], environment);
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  /** Waits until the output holds `text`; fails with the output when the process ends or patience does. */
  async printed(text: string | RegExp, patienceMs = 15_000): Promise<void> {
    const holds = () => (typeof text === "string" ? this.output.includes(text) : text.test(this.output));
    try {
      await waitUntil(`output ${text}`, () => holds() || this.#hasExited, patienceMs);
      if (!holds()) throw new Error(`the process ended (${await this.#exit}) without printing ${text}`);
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : String(error)}; its output:\n${this.output}`);
    }
  }

  /** Exit code, or the name of the signal that ended it. */
  exited(): Promise<number | string> {
    return this.#exit;
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | string> {
    if (!this.#hasExited) this.child.kill(signal);
    return this.#exit;
  }
}
