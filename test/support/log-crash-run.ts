import type { CommitLog } from "../../broker-core/commit-log/commit-log.ts";
import { crc32 } from "../../broker-core/commit-log/crc32.ts";
import { LogTrimmedError, RecordType } from "../../broker-core/commit-log/log.ts";
import { openCommitLog, type RecoveryReport } from "../../broker-core/commit-log/open-commit-log.ts";
import { StorageError } from "../../broker-core/storage/storage.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { MetricRegistry } from "../../proto/runtime/metric.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { ManualClock, settle } from "./manual-clock.ts";
import { ProcessDisk } from "./process-disk.ts";
import { type PlannedFault, SimulatedDisk } from "./simulated-disk.ts";

/*
 * Crash cycles of the commit log on the simulated disk (T01). A life is one data directory through many processes; every
 * process opens the log, is checked against the model, appends under faults, and ends by power cut, kill or a clean stop.
 *
 * The model knows each record by position, length and CRC. What must hold at every opening:
 *   - a record whose durability was reported, or that an earlier opening has shown, is there, with its bytes (B1, B2);
 *   - nothing is there that was not appended, and nothing comes back that an earlier opening had lost (B3);
 *   - no damage is reported, for nothing was damaged (B10);
 *   - what retention has removed is refused as such, never answered with other bytes (B14);
 * and after a failed disk nothing is reported durable (B12).
 */
export interface CrashRunResult {
  cycles: number;
  ackedRecords: number;
  crashes: number;
  kills: number;
  cleanStops: number;
  failedOpenings: number;
  diskFailures: number;
  rewrites: number;
  refusals: number;
  rolls: number;
  /** Segments that retention took out, and those made of their files. */
  removed: number;
  recycled: number;
  traceHash: number;
}

interface KnownRecord {
  readonly position: number;
  readonly length: number;
  readonly crc: number;
  /** Reported durable, or shown by an opening. */
  promised: boolean;
}

const cyclesPerLife = 40;
const segmentBytes = 32 * 1024;
const uniformBytes = 300;

/** Runs `cycles` crash cycles. Throws with the seed on the first violation. */
export async function runCrashCycles(seed: number, cycles: number): Promise<CrashRunResult> {
  const result: CrashRunResult = {
    cycles: 0,
    ackedRecords: 0,
    crashes: 0,
    kills: 0,
    cleanStops: 0,
    failedOpenings: 0,
    diskFailures: 0,
    rewrites: 0,
    refusals: 0,
    rolls: 0,
    removed: 0,
    recycled: 0,
    traceHash: 0,
  };
  for (let life = 0; result.cycles < cycles; life++) {
    const lifeSeed = (seed + Math.imul(life, 0x9e3779b1)) >>> 0;
    const run = new Life(lifeSeed, result);
    try {
      for (let i = 0; i < cyclesPerLife && result.cycles < cycles; i++) await run.cycle();
    } catch (error) {
      if (error instanceof Error)
        error.message += `\n(POPMESH_TEST_SEED=${seed}, life ${life}, cycle ${result.cycles})`;
      throw error;
    }
    result.traceHash = (Math.imul(result.traceHash, 31) + run.traceHash) >>> 0;
  }
  return result;
}

class Life {
  readonly #randomness: SeededRandomness;
  readonly #result: CrashRunResult;
  readonly #disk = new SimulatedDisk();
  #clock = new ManualClock();
  #records: KnownRecord[] = [];
  #appended = 0;
  /** Positions that were durable once: a checkpoint may stand there. */
  #checkpoint: number | undefined;
  /** What lies below is not needed any more: a base image stands there. */
  #begin = 0;
  #failed = false;
  #metrics = new MetricRegistry();
  /**
   * One record of the same length per turn, as a single steady producer makes them: then what is written over the rest of a torn
   * tail ends just where an old frame begins.
   */
  readonly #isUniform: boolean;

  constructor(seed: number, result: CrashRunResult) {
    this.#randomness = new SeededRandomness(seed);
    this.#result = result;
    this.#isUniform = this.#chance(0.5);
  }

  get traceHash(): number {
    return this.#disk.traceHash;
  }

  async cycle(): Promise<void> {
    this.#newProcess();
    const faulty = this.#chance(0.75);
    if (faulty && this.#chance(0.3)) this.#planFault(12);
    const opened = await this.#open();
    this.#result.cycles++;
    if (opened !== undefined) {
      this.#disk.heal();
      this.#readSome(opened.log);
      if (faulty && this.#chance(0.7)) this.#planFault(25);
      await this.#work(opened.log);
      if (this.#chance(0.15) && !this.#failed) await this.#stop(opened.log);
      opened.log.abandon();
      const counted = (name: string): number => this.#metrics.counter(`popmesh_broker_log_${name}_total`, "").value;
      this.#result.rolls += counted("segments");
      this.#result.removed += counted("removed_segments");
      this.#result.recycled += counted("recycled_segments");
    }
    this.#disk.capacityBytes = Number.POSITIVE_INFINITY;
    // A process whose disk failed ends at once; whether the power goes as well is another matter.
    if (this.#chance(0.6)) {
      this.#disk.crash(this.#randomness);
      this.#result.crashes++;
    } else {
      this.#disk.kill();
      this.#result.kills++;
    }
  }

  #newProcess(): void {
    this.#clock = new ManualClock({ monotonicMs: this.#clock.monotonicMs() });
    this.#disk.clock = this.#clock;
    const slowest = this.#isUniform ? 20 : [0, 1, 4, 20][randomIndex(this.#randomness, 4)]!;
    this.#disk.syncDelayMs = () => randomIndex(this.#randomness, slowest + 1);
    this.#failed = false;
    this.#metrics = new MetricRegistry();
  }

  #planFault(callsAhead: number): void {
    const kind = randomIndex(this.#randomness, 8);
    if (kind === 7) this.#disk.capacityBytes = randomIndex(this.#randomness, 6) * segmentBytes;
    else this.#disk.fail(this.#fault(kind, 1 + randomIndex(this.#randomness, callsAhead), this.#chance(0.5)));
  }

  #fault(choice: number, at: number, sticky: boolean): PlannedFault {
    const soon = 1 + (at % 4);
    switch (choice) {
      case 0:
      case 1:
        return { call: "sync", at, kind: "io", sticky };
      case 2:
        return { call: "write", at, kind: "io", sticky };
      case 3:
        return { call: "write", at, kind: "full", shortBytes: randomIndex(this.#randomness, 600) };
      case 4:
        return { call: "write", at, kind: this.#chance(0.5) ? "full" : "read-only", sticky };
      case 5:
        return { call: "syncDirectory", at: soon, kind: "io", sticky };
      default:
        return { call: "open", at: soon, kind: "descriptors", sticky };
    }
  }

  /** Undefined when the opening was cut short or the disk refused. */
  async #open(): Promise<{ readonly log: CommitLog } | undefined> {
    const from = this.#chance(0.6) && (this.#checkpoint ?? 0) >= this.#begin ? this.#checkpoint : undefined;
    const visited: KnownRecord[] = [];
    const opening = openCommitLog({
      storage: new ProcessDisk(this.#disk),
      clock: this.#clock,
      randomness: this.#randomness,
      log: silentLog,
      metrics: this.#metrics,
      segmentBytes,
      tailRingBytes: this.#chance(0.5) ? 0 : 8192,
      begin: this.#begin,
      from,
      visit: ({ position, body }) =>
        visited.push({ position, length: body.length, crc: crc32(body, 0, body.length), promised: true }),
      onFailure: () => {
        this.#failed = true;
        this.#result.diskFailures++;
      },
    });
    let outcome: { readonly log: CommitLog; readonly recovery: RecoveryReport } | undefined;
    let error: unknown;
    let settled = false;
    opening.then(
      (value) => {
        outcome = value;
        settled = true;
      },
      (reason: unknown) => {
        error = reason;
        settled = true;
      },
    );
    // The power may go in the middle of a recovery as well.
    let patience = this.#chance(0.1) ? randomIndex(this.#randomness, 8) : Number.POSITIVE_INFINITY;
    await settle();
    while (!settled && patience-- > 0) {
      this.#clock.advance(Math.max(0, this.#clock.nextDueMs - this.#clock.monotonicMs()));
      await settle();
    }
    if (outcome === undefined) {
      if (settled && !(error instanceof StorageError)) throw error;
      this.#result.failedOpenings++;
      return undefined;
    }
    if (outcome.recovery.damage.length > 0) {
      throw new Error(`damage reported where there is none: ${JSON.stringify(outcome.recovery)}`);
    }
    this.#compare(visited, from ?? this.#begin, outcome.recovery);
    if (outcome.recovery.action === "fresh segment") this.#result.rewrites++;
    return outcome;
  }

  #compare(visited: readonly KnownRecord[], from: number, recovery: RecoveryReport): void {
    const expected = this.#records.filter(({ position }) => position >= from);
    const kept = this.#records.filter(({ position }) => position < from);
    let next = 0;
    for (const seen of visited) {
      while (next < expected.length && expected[next]!.position < seen.position)
        this.#assertExpendable(expected[next++]!, recovery);
      const record = expected[next++];
      if (record?.position !== seen.position || record.length !== seen.length || record.crc !== seen.crc) {
        throw new Error(`a record that nobody appended: ${JSON.stringify({ seen, record, recovery })}`);
      }
      kept.push(seen);
    }
    while (next < expected.length) this.#assertExpendable(expected[next++]!, recovery);
    this.#records = kept;
    this.#checkpoint = recovery.end;
  }

  #assertExpendable(record: KnownRecord, recovery: RecoveryReport): void {
    if (record.promised) throw new Error(`a promised record is lost: ${JSON.stringify({ record, recovery })}`);
  }

  #readSome(log: CommitLog): void {
    for (let i = 0; i < 3 && this.#records.length > 0; i++) {
      const record = this.#records[randomIndex(this.#randomness, this.#records.length)]!;
      const body = this.#read(log, record.position);
      if (body === undefined) continue;
      if (body === "removed") {
        if (record.position >= this.#begin) throw new Error(`removed before its time: ${JSON.stringify(record)}`);
        continue;
      }
      if (body.length !== record.length || crc32(body, 0, body.length) !== record.crc) {
        throw new Error(`read other bytes: ${JSON.stringify(record)}`);
      }
    }
  }

  /** Undefined when the disk has no descriptor to give. */
  #read(log: CommitLog, position: number): Buffer | "removed" | undefined {
    try {
      return log.read(position).body;
    } catch (error) {
      if (error instanceof LogTrimmedError) return "removed";
      if (error instanceof StorageError && error.kind === "descriptors") return undefined;
      throw error;
    }
  }

  async #work(log: CommitLog): Promise<void> {
    const steps = this.#isUniform
      ? this.#chance(0.5)
        ? 1 + randomIndex(this.#randomness, 6)
        : 60 + randomIndex(this.#randomness, 120)
      : 5 + randomIndex(this.#randomness, 40);
    for (let step = 0; step < steps && !this.#failed; step++) {
      if (step === steps >> 1 && this.#chance(0.5)) {
        this.#disk.capacityBytes = Number.POSITIVE_INFINITY;
        this.#disk.heal();
      }
      const count = this.#isUniform ? 1 : randomIndex(this.#randomness, 6);
      for (let i = 0; i < count; i++) this.#append(log);
      await this.#clock.advanceAndSettle(this.#chance(0.03) ? 1100 : randomIndex(this.#randomness, 4));
      const known = this.#records.at(-1);
      if (this.#chance(0.2) && known?.promised === true) this.#readSome(log);
      if (this.#chance(0.1)) this.#checkpoint = log.syncedPosition;
      if (this.#chance(0.1)) this.#retain(log);
    }
  }

  #append(log: CommitLog): void {
    const large = this.#chance(0.02);
    const length = this.#isUniform
      ? uniformBytes
      : randomIndex(this.#randomness, large ? 20_000 : this.#chance(0.5) ? 200 : 1500);
    const type = this.#chance(0.7) ? RecordType.Message : RecordType.Ack;
    let crc = 0;
    let position: number;
    try {
      position = log.append(type, length, (into, at) => {
        let value = ++this.#appended;
        for (let i = 0; i < length; i++) {
          value = (Math.imul(value, 1103515245) + 12345) >>> 0;
          into[at + i] = value >>> 16;
        }
        crc = crc32(into, at, at + length);
      });
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      this.#result.refusals++;
      return;
    }
    const record: KnownRecord = { position, length, crc, promised: false };
    this.#records.push(record);
    log.whenDurable(position, () => {
      if (this.#failed) throw new Error(`reported durable after the disk failed: ${JSON.stringify(record)}`);
      record.promised = true;
      this.#result.ackedRecords++;
    });
  }

  /** A base image is made at a durable position, and what lies below is removed, now or by a later process. */
  #retain(log: CommitLog): void {
    const durable = this.#records.filter(({ position, promised }) => promised && position >= this.#begin);
    const record = durable[randomIndex(this.#randomness, Math.max(1, durable.length))];
    if (record === undefined) return;
    this.#begin = record.position;
    void log.removeBelow(this.#begin, this.#chance(0.8));
  }

  async #stop(log: CommitLog): Promise<void> {
    this.#disk.heal();
    this.#disk.capacityBytes = Number.POSITIVE_INFINITY;
    let stopped = false;
    const closing = log.close().then(() => {
      stopped = true;
    });
    for (let i = 0; i < 1000 && !stopped; i++) await this.#clock.advanceAndSettle(5);
    if (!stopped) throw new Error("the log does not close");
    await closing;
    this.#result.cleanStops++;
  }

  #chance(fraction: number): boolean {
    return this.#randomness.fraction() < fraction;
  }
}
