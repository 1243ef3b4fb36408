import { execFileSync } from "node:child_process";
import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";

/** What figures of this run are figures of. */
export function machineFacts(directory: string): string[] {
  const memoryGiB = (totalmem() / 2 ** 30).toFixed(0);
  const cpu = cpus()[0]?.model.trim() ?? "unknown";
  return [
    `${availableParallelism()} cores (${cpu}), ${memoryGiB} GiB, Linux ${release()}, Node.js ${process.version}`,
    `disk: ${fileSystem(directory)}; fdatasync of 4 KiB into existing blocks: ${syncMicros(directory)} us`,
    `load average at the start: ${loadavg()
      .map((value) => value.toFixed(2))
      .join(" ")}`,
  ];
}

function fileSystem(directory: string): string {
  const [, line = ""] = execFileSync("df", ["--output=source,fstype", directory], { encoding: "utf8" }).split("\n");
  const [source = "", type = ""] = line.trim().split(/\s+/);
  const model = readFirst(`/sys/class/block/${source.replace("/dev/", "")}/device/model`);
  return `${type} on ${source}${model === "" ? "" : ` (${model})`}`;
}

function readFirst(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}

/** Median of what durability costs at the least here. */
function syncMicros(directory: string): string {
  const path = join(directory, "sync-probe");
  const block = Buffer.alloc(4096);
  const file = openSync(path, "w");
  try {
    const micros: number[] = [];
    for (let i = 0; i < 200; i++) writeSync(file, block, 0, block.length, i * block.length);
    fdatasyncSync(file);
    for (let i = 0; i < 200; i++) {
      writeSync(file, block, 0, block.length, i * block.length);
      const startedMs = performance.now();
      fdatasyncSync(file);
      micros.push((performance.now() - startedMs) * 1000);
    }
    return micros.sort((a, b) => a - b)[100]!.toFixed(0);
  } finally {
    closeSync(file);
    rmSync(path);
  }
}
