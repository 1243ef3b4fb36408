import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import { StorageError } from "./storage.ts";

/** Lock files held by this very process: its own pid in the file does not tell a live holder from a reused pid. */
const heldHere = new Set<string>();

/**
 * One process per data directory. The file names the holder by pid, start time of that pid and boot of the machine, so that
 * neither a reboot nor a reused pid leaves a directory locked for ever.
 */
export class DirectoryLock {
  readonly #path: string;
  readonly #bootId: string;

  constructor(path: string, bootId: string) {
    this.#path = path;
    this.#bootId = bootId;
  }

  /** Throws `StorageError` ("locked") naming the live holder. */
  take(): void {
    const own = JSON.stringify({ pid: process.pid, bootId: this.#bootId, startTime: startTimeOf(process.pid) });
    const draft = `${this.#path}.${process.pid}`;
    writeFileSync(draft, own, { mode: 0o600 });
    try {
      // A link either makes the name or finds it taken; there is no moment in between.
      if (!tryLink(draft, this.#path)) {
        const found = readFileSync(this.#path, "utf8");
        this.#refuseLiveHolder(found);
        this.#discardStale(found);
        if (!tryLink(draft, this.#path)) throw this.#locked("another process took it at this moment");
      }
    } finally {
      unlinkSync(draft);
    }
    heldHere.add(this.#path);
  }

  /** Gives the directory back; does nothing when it is not held. */
  release(): void {
    if (!heldHere.delete(this.#path)) return;
    unlinkSync(this.#path);
  }

  #refuseLiveHolder(text: string): void {
    let holder: { pid?: unknown; bootId?: unknown; startTime?: unknown };
    try {
      holder = JSON.parse(text) as typeof holder;
    } catch {
      return; // Torn by a power cut: whoever wrote it is gone.
    }
    if (holder.bootId !== this.#bootId || typeof holder.pid !== "number") return;
    if (holder.pid === process.pid) {
      if (heldHere.has(this.#path)) throw this.#locked(`this process (pid ${process.pid}) holds it already`);
      return;
    }
    if (startTimeOf(holder.pid) === holder.startTime && isAlive(holder.pid)) {
      throw this.#locked(`process ${holder.pid} holds it; stop that one or choose another data directory`);
    }
  }

  /** Two newcomers may find the same stale file; the slower one must not throw away the lock of the faster. */
  #discardStale(found: string): void {
    const aside = `${this.#path}.stale.${process.pid}`;
    try {
      renameSync(this.#path, aside);
    } catch {
      return; // Gone already: the link that follows decides.
    }
    const foreign = readFileSync(aside, "utf8") !== found;
    if (foreign) tryLink(aside, this.#path);
    unlinkSync(aside);
    if (foreign) throw this.#locked("another process took it at this moment");
  }

  #locked(why: string): StorageError {
    return new StorageError("locked", `data directory is locked (${this.#path}): ${why}`);
  }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Clock ticks since boot at which `pid` started (field 22 of /proc/<pid>/stat), "" where there is no such file. */
function startTimeOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the command in parentheses and may hold anything, so count from its end.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}
