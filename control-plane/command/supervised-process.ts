import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Clock, Timer } from "../../proto/runtime/clock.ts";
import { type ProcessName, processMain } from "./process-entry.ts";

/**
 * First pause before a process that died is started again; doubles up to the maximum while it dies right at its start, and falls
 * back for one that had been at work: that one was killed, it does not loop.
 */
const restartPauseMsMin = 100;
const restartPauseMsMax = 5_000;
const calmMs = 1_000;

/** Exit codes that another start cannot mend: wrong settings, a locked data directory, a newer on-disk format. */
const finalExitCodes: readonly number[] = [64, 75, 78];

/** Pino's number for warnings; lines from there up are shown on the terminal. */
const warnLevel = 40;

export interface SupervisedProcessEvents {
  onWarning(name: ProcessName, line: string): void;
  /** It died; it is started again after the pause. */
  onRestart(name: ProcessName, how: string, pauseMs: number): void;
  /** It cannot run: starting it again would not help. */
  onFinal(name: ProcessName, how: string): void;
}

/** One process of the mesh under supervision: its log goes to a file, and it is started again when it dies. */
export class SupervisedProcess {
  readonly name: ProcessName;
  readonly #argv: readonly string[];
  readonly #clock: Clock;
  readonly #events: SupervisedProcessEvents;
  readonly #logFile: WriteStream;
  #child: ChildProcess | undefined;
  #restart: Timer | undefined;
  #startedMs = 0;
  #pauseMs = restartPauseMsMin;
  #isStopping = false;
  #lastLine = "";

  constructor(
    name: ProcessName,
    argv: readonly string[],
    logPath: string,
    clock: Clock,
    events: SupervisedProcessEvents,
  ) {
    this.name = name;
    this.#argv = argv;
    this.#clock = clock;
    this.#events = events;
    this.#logFile = createWriteStream(logPath, { flags: "a" });
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(): void {
    this.#restart = undefined;
    this.#startedMs = this.#clock.monotonicMs();
    // Standard input is a pipe that nobody writes to: when the supervisor dies, however it dies, the pipe ends and the
    // process stops too (proto/runtime/process-lifecycle.ts).
    const child = spawn(process.execPath, [processMain(this.name), ...this.#argv, "--supervised", "true"], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => this.#onLine(line));
    }
    child.once("exit", (code, signal) => this.#onExit(code, signal));
  }

  /** Asks the process to stop, then insists: a second SIGTERM ends a drain at once, SIGKILL ends anything. */
  async stop(insistMs: number, killMs: number): Promise<void> {
    this.#isStopping = true;
    this.#restart?.cancel();
    const child = this.#child;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const insist = this.#clock.after(insistMs, () => child.kill("SIGTERM"));
      const kill = this.#clock.after(killMs, () => child.kill("SIGKILL"));
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      child.kill("SIGTERM");
      await exited;
      insist.cancel();
      kill.cancel();
    }
    await new Promise<void>((resolve) => this.#logFile.end(() => resolve()));
  }

  #onLine(line: string): void {
    this.#lastLine = line;
    this.#logFile.write(`${line}\n`);
    const warning = warningText(line);
    if (warning !== undefined) this.#events.onWarning(this.name, warning);
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#isStopping) return;
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    if (code !== null && finalExitCodes.includes(code)) {
      this.#events.onFinal(this.name, `${how}: ${this.#lastLine}`);
      return;
    }
    const isCalm = this.#clock.monotonicMs() - this.#startedMs > calmMs;
    this.#pauseMs = isCalm ? restartPauseMsMin : this.#pauseMs;
    this.#events.onRestart(this.name, how, this.#pauseMs);
    this.#restart = this.#clock.after(this.#pauseMs, () => this.start());
    this.#pauseMs = Math.min(this.#pauseMs * 2, restartPauseMsMax);
  }
}

/** What a person should see of a log line: warnings and worse, and whatever is not a log line at all. */
function warningText(line: string): string | undefined {
  try {
    const parsed = JSON.parse(line) as { level?: number; msg?: string; err?: { message?: string } };
    if (typeof parsed.level !== "number") return line;
    if (parsed.level < warnLevel) return undefined;
    return parsed.err?.message === undefined ? (parsed.msg ?? line) : `${parsed.msg}: ${parsed.err.message}`;
  } catch {
    return line.trim() === "" ? undefined : line;
  }
}
