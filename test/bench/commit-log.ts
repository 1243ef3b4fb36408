import { closeSync, fdatasync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import { openCommitLog } from "../../broker-core/commit-log/open-commit-log.ts";
import { NodeStorage } from "../../broker-core/storage/node-storage.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../../proto/runtime/node-randomness.ts";

/*
 * What the commit log adds to the disk: records per second and CPU per record, against a bare write + fdatasync of the same
 * bytes into a file of zeros, in one run and alternating, so that the noise of the machine meets both.
 */
export interface LogBenchOptions {
  readonly recordBytes: number;
  /** Records outstanding at a time; they share syncs. */
  readonly inFlight: number;
  /** How long each side of each round runs. */
  readonly sliceMs: number;
  readonly rounds: number;
  /** Where the files are made; a temporary directory by default. Name one on the disk that counts. */
  readonly directory?: string;
}

export interface LogBenchFigures {
  readonly recordsPerSecond: number;
  readonly cpuMicrosPerRecord: number;
}

export interface LogBenchResult {
  readonly log: LogBenchFigures;
  readonly raw: LogBenchFigures;
  /** Throughput of the log over that of the bare disk. */
  readonly ratio: number;
}

export const logBenchDefaults: LogBenchOptions = { recordBytes: 1280, inFlight: 64, sliceMs: 500, rounds: 5 };

/** Runs `rounds` of A B; figures are medians over the rounds. */
export async function benchCommitLog(options: LogBenchOptions = logBenchDefaults): Promise<LogBenchResult> {
  const directory = mkdtempSync(join(options.directory ?? tmpdir(), "popmesh-bench-log-"));
  const log: LogBenchFigures[] = [];
  const raw: LogBenchFigures[] = [];
  try {
    const clock = new NodeClock();
    const opened = await openCommitLog({
      storage: new NodeStorage(join(directory, "log"), clock.bootId),
      clock,
      randomness: new NodeRandomness(),
      log: silentLog,
      from: undefined,
      visit: () => {},
      onFailure: (error) => {
        throw error;
      },
    });
    const rawFile = new RawFile(join(directory, "raw"));
    const appendLog = logSide(opened.log, options);
    for (let round = 0; round < options.rounds; round++) {
      log.push(await measure(appendLog, options.sliceMs));
      raw.push(await measure((isOver) => rawFile.run(options, isOver), options.sliceMs));
    }
    await opened.log.close();
    rawFile.close();
  } finally {
    rmSync(directory, { recursive: true });
  }
  const result = { log: medians(log), raw: medians(raw) };
  return { ...result, ratio: result.log.recordsPerSecond / result.raw.recordsPerSecond };
}

/** Runs until `isOver`; resolves to the count of durable records. */
type Side = (isOver: () => boolean) => Promise<number>;

function logSide(log: Awaited<ReturnType<typeof openCommitLog>>["log"], options: LogBenchOptions): Side {
  const body = Buffer.alloc(options.recordBytes, "x");
  return (isOver) =>
    new Promise((resolve) => {
      let durable = 0;
      let open = 0;
      const fill = (into: Buffer, at: number): void => void body.copy(into, at);
      const done = (): void => {
        durable++;
        open--;
        if (!isOver()) append();
        else if (open === 0) resolve(durable);
      };
      const append = (): void => {
        open++;
        if (log.takesMessages) log.whenDurable(log.append(RecordType.Message, body.length, fill), done);
        else setImmediate(tryAgain);
      };
      const tryAgain = (): void => {
        open--;
        if (!isOver()) append();
        else if (open === 0) resolve(durable);
      };
      for (let i = 0; i < options.inFlight; i++) append();
    });
}

/** The least that durability costs: a file of zeros, one write and one fdatasync per group. */
class RawFile {
  static readonly #bytes = 64 * 1024 * 1024;
  readonly #fd: number;
  #at = 0;

  constructor(path: string) {
    this.#fd = openSync(path, "w+");
    const zeros = Buffer.alloc(1024 * 1024);
    for (let at = 0; at < RawFile.#bytes; at += zeros.length) writeSync(this.#fd, zeros, 0, zeros.length, at);
    fsyncSync(this.#fd);
  }

  run({ recordBytes, inFlight }: LogBenchOptions, isOver: () => boolean): Promise<number> {
    const group = Buffer.alloc(recordBytes * inFlight, "x");
    return new Promise((resolve, reject) => {
      let durable = 0;
      const next = (): void => {
        if (isOver()) {
          resolve(durable);
          return;
        }
        if (this.#at + group.length > RawFile.#bytes) this.#at = 0;
        writeSync(this.#fd, group, 0, group.length, this.#at);
        this.#at += group.length;
        fdatasync(this.#fd, (error) => {
          if (error !== null) reject(error);
          else {
            durable += inFlight;
            setImmediate(next);
          }
        });
      };
      next();
    });
  }

  close(): void {
    closeSync(this.#fd);
  }
}

async function measure(side: Side, sliceMs: number): Promise<LogBenchFigures> {
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const count = await side(() => performance.now() - startMs >= sliceMs);
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { recordsPerSecond: count / seconds, cpuMicrosPerRecord: (user + system) / count };
}

function medians(figures: readonly LogBenchFigures[]): LogBenchFigures {
  const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
  return {
    recordsPerSecond: median(figures.map((entry) => entry.recordsPerSecond)),
    cpuMicrosPerRecord: median(figures.map((entry) => entry.cpuMicrosPerRecord)),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const inFlight of [1, 64, 1024]) {
    const { log, raw, ratio } = await benchCommitLog({ ...logBenchDefaults, inFlight });
    const line = [
      `in flight ${String(inFlight).padStart(4)}`,
      `log ${Math.round(log.recordsPerSecond)}/s ${log.cpuMicrosPerRecord.toFixed(2)} us CPU`,
      `raw ${Math.round(raw.recordsPerSecond)}/s ${raw.cpuMicrosPerRecord.toFixed(2)} us CPU`,
      `ratio ${ratio.toFixed(2)}`,
    ];
    process.stdout.write(`${line.join("   ")}\n`);
  }
}
