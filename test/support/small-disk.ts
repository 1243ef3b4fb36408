import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RunningProcess } from "./running-process.ts";

/** Flags of `unshare` and `nsenter` with which this user may mount a file system that nobody else sees. */
const kinds = [
  { unshare: ["-m"], nsenter: ["-m"] },
  { unshare: ["-U", "-r", "-m"], nsenter: ["-U", "--preserve-credentials", "-m"] },
] as const;

type Kind = (typeof kinds)[number];

/** How a file system can be mounted here: as root, or in a user namespace of our own; undefined: not at all. */
export function mountKind(): Kind | undefined {
  return kinds.find(
    ({ unshare }) => spawnSync("unshare", [...unshare, "mount", "-t", "tmpfs", "tmpfs", tmpdir()]).status === 0,
  );
}

/** A real file system of a few megabytes (tmpfs) in a mount namespace of its own; it goes with the process that holds it. */
export class SmallDisk {
  readonly directory: string;
  readonly #holder: RunningProcess;
  readonly #kind: Kind;

  private constructor(directory: string, holder: RunningProcess, kind: Kind) {
    this.directory = directory;
    this.#holder = holder;
    this.#kind = kind;
  }

  static async mount(kind: Kind, size: string): Promise<SmallDisk> {
    const directory = mkdtempSync(join(tmpdir(), "popmesh-small-disk-"));
    const script = `mount -t tmpfs -o size=${size} tmpfs "$0" && echo mounted && exec sleep 600`;
    const holder = new RunningProcess("unshare", [...kind.unshare, "sh", "-c", script, directory]);
    await holder.printed("mounted");
    return new SmallDisk(directory, holder, kind);
  }

  /** A command that runs another one where this disk is. */
  get within(): readonly string[] {
    return ["nsenter", "-t", String(this.#holder.child.pid), ...this.#kind.nsenter];
  }

  /** Takes all room that is left. */
  fill(): void {
    const path = this.#filler;
    let bytes = 0;
    try {
      for (;;) {
        writeFileSync(path, Buffer.alloc(256 * 1024), { flag: "a" });
        bytes += 256 * 1024;
      }
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
    if (bytes === 0) throw new Error("the disk was full already");
  }

  /** Gives it back. */
  clear(): void {
    rmSync(this.#filler);
  }

  /**
   * From now on whoever opens something here finds a read-only file system (EROFS), as of a volume that was remounted; what is open
   * for writing stays so, because the system refuses to remount under a writer.
   */
  shield(): void {
    this.#run("mount", "--bind", this.directory, this.directory);
    this.#run("mount", "-o", "remount,ro,bind", this.directory);
  }

  /** Ends that. */
  unshield(): void {
    this.#run("umount", "--lazy", this.directory);
  }

  #run(...command: readonly string[]): void {
    const [inside, ...argv] = [...this.within, ...command];
    const { status, stderr } = spawnSync(inside!, argv);
    if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  }

  async unmount(): Promise<void> {
    await this.#holder.stop("SIGKILL");
    rmSync(this.directory, { recursive: true, force: true });
  }

  get #filler(): string {
    return `/proc/${this.#holder.child.pid}/root${this.directory}/filler`;
  }
}
