import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks per second of /proc (USER_HZ), 100 on every Linux we meet; asked once all the same. */
const ticksPerSecond = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** CPU time, user and system, that a process has used so far, in microseconds. */
export function cpuMicros(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return ((Number(fields[11]) + Number(fields[12])) / ticksPerSecond) * 1e6;
}

/**
 * The same to the nanosecond, of the threads that live: for short stretches of a process that starts and ends none, as brokers and
 * sidecars do.
 */
export function threadMicros(pid: number): number {
  let nanos = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanos += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ", 1)[0]);
  }
  return nanos / 1_000;
}

const lookMs = 100;
const idleShareMax = 0.05;

/**
 * Waits until a process has next to nothing to do: what it does in the background after a load (checkpoints, indexes for look-ups) is no
 * part of what the next one costs.
 */
export async function untilIdle(pid: number): Promise<void> {
  for (;;) {
    const before = threadMicros(pid);
    const startedMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, lookMs));
    const passedMicros = (performance.now() - startedMs) * 1_000;
    if (threadMicros(pid) - before < idleShareMax * passedMicros) return;
  }
}

/** Resident memory of a process in MiB. */
export function residentMiB(pid: number): number {
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kib) / 1024;
}
