import { constants } from "node:fs";
import { mkdir, open, readFile, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import type { Clock } from "../../proto/runtime/clock.ts";
import type { Log } from "../../proto/runtime/log.ts";

/** One accepted resource as it lies on disk. */
export interface SavedResource {
  readonly typeUrl: string;
  readonly name: string;
  readonly version: string;
  /** Wall clock. When it was accepted, and when traffic used it last. */
  readonly savedAtMs: number;
  readonly usedAtMs: number;
  readonly bytes: Uint8Array;
}

/** The journal is folded into the snapshot when it grows beyond this. A sidecar holds about 45 KB of configuration. */
const journalBytesMax = 4 * 1024 * 1024;
/** Larger files are not ours. */
const fileBytesMax = 64 * 1024 * 1024;

/**
 * The last good configuration on disk, so that a sidecar starts and serves while the control plane is away.
 *
 * `lkg.snap` is the whole picture, replaced by rename; `lkg.log` are the changes since. Both hold one record per line:
 * eight hex digits of CRC-32 of what follows the space, then JSON. A line that does not fit its sum (a torn write, damage) is skipped;
 * nothing in these files can keep the sidecar from starting. Writing is best effort and never waited for by traffic.
 */
export class LastKnownGood {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #resources = new Map<string, SavedResource>();
  #unwritten: string[] = [];
  #journalBytes = 0;
  #work: Promise<void> | undefined;
  #hasWarned = false;
  skippedLines = 0;

  constructor(directory: string, clock: Clock, log: Log) {
    this.#directory = directory;
    this.#clock = clock;
    this.#log = log;
  }

  get count(): number {
    return this.#resources.size;
  }

  /** Reads what is there; in order of use, latest first. Never rejects. */
  async load(): Promise<readonly SavedResource[]> {
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o750 });
      for (const file of ["lkg.snap", "lkg.log"]) await this.#loadFile(file);
    } catch (error) {
      this.#warn(error, "last good configuration cannot be read; starting without it");
    }
    return [...this.#resources.values()].sort((a, b) => b.usedAtMs - a.usedAtMs);
  }

  get(typeUrl: string, name: string): SavedResource | undefined {
    return this.#resources.get(keyOf(typeUrl, name));
  }

  put(resource: SavedResource): void {
    this.#resources.set(keyOf(resource.typeUrl, resource.name), resource);
    this.#append(putLine(resource));
  }

  remove(typeUrl: string, name: string): void {
    if (this.#resources.delete(keyOf(typeUrl, name))) this.#append(line({ t: typeUrl, n: name, gone: true }));
  }

  /** Notes that traffic uses the resource; reaches the disk with the next compaction. */
  noteUse(typeUrl: string, name: string): void {
    const key = keyOf(typeUrl, name);
    const resource = this.#resources.get(key);
    if (resource !== undefined) this.#resources.set(key, { ...resource, usedAtMs: this.#clock.wallMs() });
  }

  /** Folds the journal into the snapshot, if there is one. */
  compact(): Promise<void> {
    if (this.#journalBytes === 0 && this.#unwritten.length === 0) return this.#work ?? Promise.resolve();
    return this.#enqueue(() => this.#writeSnapshot());
  }

  /** Resolves when everything handed over so far has been written. */
  settled(): Promise<void> {
    return this.#work ?? Promise.resolve();
  }

  async #loadFile(file: string): Promise<void> {
    let text: string;
    try {
      const bytes = await readFile(join(this.#directory, file));
      if (bytes.length > fileBytesMax) throw new Error(`${file} is larger than ${fileBytesMax} bytes`);
      text = bytes.toString("utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    for (const row of text.split("\n")) {
      if (row === "") continue;
      const record = parseLine(row);
      if (record === undefined) {
        this.skippedLines++;
        continue;
      }
      const key = keyOf(record.typeUrl, record.name);
      if (record.resource === undefined) this.#resources.delete(key);
      else this.#resources.set(key, record.resource);
    }
    if (file === "lkg.log") this.#journalBytes = text.length;
    if (this.skippedLines > 0) {
      this.#log.warn({ file, skippedLines: this.skippedLines }, "damaged lines in the last good configuration skipped");
    }
  }

  #append(row: string): void {
    this.#unwritten.push(row);
    if (this.#unwritten.length === 1) void this.#enqueue(() => this.#writeJournal());
  }

  async #writeJournal(): Promise<void> {
    const rows = this.#unwritten;
    this.#unwritten = [];
    if (rows.length === 0) return;
    // The line break in front ends a line that a crash may have torn.
    const bytes = Buffer.from(`\n${rows.join("")}`, "utf8");
    const file = await open(join(this.#directory, "lkg.log"), "a", 0o640);
    try {
      await file.appendFile(bytes);
    } finally {
      await file.close();
    }
    this.#journalBytes += bytes.length;
    if (this.#journalBytes > journalBytesMax) await this.#writeSnapshot();
  }

  async #writeSnapshot(): Promise<void> {
    this.#unwritten = [];
    const rows = [...this.#resources.values()].map(putLine);
    const temporary = join(this.#directory, "lkg.snap.tmp");
    const file = await open(temporary, "w", 0o640);
    try {
      await file.writeFile(rows.join(""));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, join(this.#directory, "lkg.snap"));
    await this.#syncDirectory();
    // The snapshot holds all of the journal; losing this removal only repeats what is known.
    await unlink(join(this.#directory, "lkg.log")).catch(() => {});
    this.#journalBytes = 0;
  }

  async #syncDirectory(): Promise<void> {
    const directory = await open(this.#directory, constants.O_RDONLY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  /** One piece of disk work at a time; a failed one is reported once and does not stop the next. */
  #enqueue(work: () => Promise<void>): Promise<void> {
    const done: Promise<void> = (this.#work ?? Promise.resolve())
      .then(work)
      .catch((error: unknown) => this.#warn(error, "last good configuration cannot be written; going on without it"))
      .finally(() => {
        if (this.#work === done) this.#work = undefined;
      });
    this.#work = done;
    return done;
  }

  #warn(error: unknown, message: string): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    this.#log.warn({ err: error, directory: this.#directory }, message);
  }
}

function keyOf(typeUrl: string, name: string): string {
  return `${typeUrl} ${name}`;
}

function line(record: object): string {
  const json = JSON.stringify(record);
  return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`;
}

function putLine(resource: SavedResource): string {
  return line({
    t: resource.typeUrl,
    n: resource.name,
    v: resource.version,
    s: resource.savedAtMs,
    u: resource.usedAtMs,
    b: Buffer.from(resource.bytes).toString("base64"),
  });
}

interface ParsedLine {
  readonly typeUrl: string;
  readonly name: string;
  /** Undefined: it was removed. */
  readonly resource: SavedResource | undefined;
}

function parseLine(row: string): ParsedLine | undefined {
  const json = row.slice(9);
  if (row[8] !== " " || crc32(json).toString(16).padStart(8, "0") !== row.slice(0, 8)) return undefined;
  try {
    const record = JSON.parse(json) as {
      t: string;
      n: string;
      v: string;
      s: number;
      u: number;
      b: string;
      gone?: boolean;
    };
    if (typeof record.t !== "string" || typeof record.n !== "string") return undefined;
    if (record.gone === true) return { typeUrl: record.t, name: record.n, resource: undefined };
    return {
      typeUrl: record.t,
      name: record.n,
      resource: {
        typeUrl: record.t,
        name: record.n,
        version: record.v,
        savedAtMs: record.s,
        usedAtMs: record.u,
        bytes: Buffer.from(record.b, "base64"),
      },
    };
  } catch {
    return undefined;
  }
}
