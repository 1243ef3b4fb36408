import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RunningProcess } from "./running-process.ts";

const mountScript =
  'cd "$0" && mkdir disk && truncate -s "$1" image && mkfs.ext4 -q -F image && mount -o loop,errors=remount-ro image disk';

/**
 * A real ext4 in a file, in a mount namespace of its own. `abort` does to it what an error of the device does to most disks of
 * servers: from one moment to the next it is read-only, also for files that are open for writing, until it was repaired.
 */
export class JournaledDisk {
  readonly directory: string;
  readonly #folder: string;
  readonly #holder: RunningProcess;

  private constructor(folder: string, holder: RunningProcess) {
    this.#folder = folder;
    this.directory = join(folder, "disk");
    this.#holder = holder;
  }

  /** Whether this user may mount one here. */
  static isPossible(): boolean {
    const folder = mkdtempSync(join(tmpdir(), "popmesh-journaled-disk-"));
    const { status } = spawnSync("unshare", ["-m", "sh", "-c", mountScript, folder, "8M"]);
    rmSync(folder, { recursive: true, force: true });
    return status === 0;
  }

  static async mount(size: string): Promise<JournaledDisk> {
    const folder = mkdtempSync(join(tmpdir(), "popmesh-journaled-disk-"));
    const script = `${mountScript} && echo mounted && exec sleep 600`;
    const holder = new RunningProcess("unshare", ["-m", "sh", "-c", script, folder, size]);
    await holder.printed("mounted");
    return new JournaledDisk(folder, holder);
  }

  /** A command that runs another one where this disk is. */
  get within(): readonly string[] {
    return ["nsenter", "-t", String(this.#holder.child.pid), "-m"];
  }

  abort(): void {
    this.#run("mount", "-o", "remount,abort", this.directory);
  }

  /** As after a boot: nobody may have a file open. */
  repair(): void {
    this.#run("umount", this.directory);
    // 1: what was wrong is right now.
    this.#run("sh", "-c", `fsck.ext4 -p "$0" || [ $? -eq 1 ]`, join(this.#folder, "image"));
    this.#run("mount", "-o", "loop,errors=remount-ro", join(this.#folder, "image"), this.directory);
  }

  async unmount(): Promise<void> {
    await this.#holder.stop("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #run(...command: readonly string[]): void {
    const [inside, ...argv] = [...this.within, ...command];
    const { status, stderr } = spawnSync(inside!, argv);
    if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  }
}
