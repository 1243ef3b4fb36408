import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { readIfThere } from "./durable-file.ts";

/** Another process has the data directory. */
export class DirectoryLockedError extends Error {
  override readonly name = "DirectoryLockedError";
}

/**
 * One control plane per data directory: two would each publish from a memory that the other changes behind its back. The
 * lock is a file that names its holder; one whose holder is gone (`kill -9`) is taken over.
 */
export function lockDirectory(directory: string, bootId: string): { release(): void } {
  const path = join(directory, "lock");
  const mine = `${process.pid} ${startTime(process.pid)} ${bootId}\n`;
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, mine);
      closeSync(file);
      return { release: () => rmSync(path, { force: true }) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const [pid = "", started = "", boot = ""] = (readIfThere(path) ?? "").trim().split(" ");
      if (boot === bootId && startTime(Number(pid)) === started) {
        throw new DirectoryLockedError(
          `the data directory ${directory} is in use by process ${pid}; stop it, or choose another --data-dir`,
        );
      }
      rmSync(path, { force: true });
    }
  }
  throw new DirectoryLockedError(`the data directory ${directory} was taken by another process just now`);
}

/** When a process was started, in clock ticks since boot: with the pid it names a process for good. "" when it is gone. */
function startTime(pid: number): string {
  if (!Number.isInteger(pid) || pid <= 0) return "";
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command in field 2 may hold spaces and parentheses; field 22 is the 20th after it.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return isAlive(pid) ? "unknown" : "";
  }
}

/** For systems without /proc. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
