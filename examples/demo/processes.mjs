import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const popmesh = `${root}dist/control-plane/command/popmesh.js`;
const running = new Set();

/** One real process; `onLine` is told of each line it prints. */
export class Process {
  constructor(argv, onLine = () => {}) {
    this.output = "";
    this.child = spawn(process.execPath, argv, { cwd: root, stdio: ["pipe", "pipe", "pipe"] });
    running.add(this);
    createInterface({ input: this.child.stdout }).on("line", (line) => {
      this.output += `${line}\n`;
      onLine(line);
    });
    this.child.stderr.setEncoding("utf8").on("data", (text) => {
      this.output += text;
    });
    this.child.stdin.on("error", () => {});
    this.exited = new Promise((resolve) =>
      this.child.once("close", () => {
        running.delete(this);
        this.hasExited = true;
        resolve();
      }),
    );
  }

  say(line) {
    this.child.stdin.write(`${line}\n`);
  }

  async stop(signal = "SIGTERM") {
    if (!this.hasExited) this.child.kill(signal);
    await this.exited;
  }
}

export function popmeshProcess(argv) {
  return new Process([popmesh, ...argv]);
}

/** Ends whatever still runs, in the order given by who waits for whom: those that were started last go first. */
export async function stopAll() {
  for (const each of [...running].reverse()) await each.stop("SIGTERM");
}

/** At once, when the demo itself is ended. */
export function killAll() {
  for (const each of running) each.child.kill("SIGKILL");
}

export async function freePorts(count) {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((resolve, reject) => {
          const server = createServer().once("error", reject);
          server.listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Waits for a condition; says what it waited for when patience ends. */
export async function until(what, holds, patienceMs = 40_000) {
  const deadline = performance.now() + patienceMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited ${patienceMs / 1_000} s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
