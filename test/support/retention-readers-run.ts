import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommitLog } from "../../broker-core/commit-log/commit-log.ts";
import { LogTrimmedError, RecordType } from "../../broker-core/commit-log/log.ts";
import { recordHeaderBytes } from "../../broker-core/commit-log/log-frame.ts";
import { LogPlaces } from "../../broker-core/commit-log/log-places.ts";
import { openCommitLog } from "../../broker-core/commit-log/open-commit-log.ts";
import { NodeStorage } from "../../broker-core/storage/node-storage.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { NodeClock } from "../../proto/runtime/node-clock.ts";
import { NodeRandomness } from "../../proto/runtime/node-randomness.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";

const segmentBytes = 256 * 1024;
const liveSegments = 40;
const bodyBytesMax = 4_000;
/** Positions that are remembered: those of the live segments, and about as many that are gone. */
const rememberedMax = 12_000;
const appendsPerTurn = 16;
/** So that reads and segments come to their ends at about the same time. */
const readsPerTurn = 50;
const placesPerFetch = 16;

export interface RetentionReadersReport {
  /** Reads that gave the bytes that were written. */
  readonly reads: number;
  /** Reads that were told that retention has removed what they want. */
  readonly trimmed: number;
  /** Records that scans met. */
  readonly scanned: number;
  /** Times that old parts were read ahead. */
  readonly fetches: number;
  readonly removedSegments: number;
}

/**
 * T22: reads of single records, reading ahead and scans, all over a log on the real disk whose oldest segments go all the time
 * and come back as its next ones. Throws at the first byte that is wrong and at any error but that of what was removed.
 */
export async function runRetentionReaders(
  seed: number,
  target: { readonly reads: number; readonly segments: number },
): Promise<RetentionReadersReport> {
  const directory = mkdtempSync(join(tmpdir(), "popmesh-retention-"));
  const clock = new NodeClock();
  const storage = new NodeStorage(directory, clock.bootId);
  let log: CommitLog | undefined;
  try {
    ({ log } = await openCommitLog({
      ...{ storage, clock, randomness: new NodeRandomness(), log: silentLog, segmentBytes, tailRingBytes: 1024 * 1024 },
      ...{ from: undefined, visit: () => {} },
      onFailure: (error) => {
        throw error;
      },
    }));
    return await new RetentionReaders(log, new SeededRandomness(seed)).run(target.reads, target.segments);
  } finally {
    await log?.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

class RetentionReaders {
  readonly #log: CommitLog;
  readonly #randomness: Randomness;
  /** What bodies are cut out of. */
  readonly #pattern = Buffer.alloc(64 * 1024);
  /** Of the youngest records, by number modulo `rememberedMax`. */
  readonly #positions = new Float64Array(rememberedMax);
  readonly #lengths = new Uint32Array(rememberedMax);
  #count = 0;
  #scanAt = 0;
  readonly #report = { reads: 0, trimmed: 0, scanned: 0, fetches: 0, removedSegments: 0 };
  #removing: Promise<unknown> = Promise.resolve();
  #fetching = 0;

  constructor(log: CommitLog, randomness: Randomness) {
    this.#log = log;
    this.#randomness = randomness;
    for (let i = 0; i < this.#pattern.length; i += 4) this.#pattern.writeUInt32LE(randomness.uint32(), i);
  }

  async run(reads: number, segments: number): Promise<RetentionReadersReport> {
    const report = this.#report;
    while (report.reads < reads || report.removedSegments < segments) {
      for (let i = 0; i < appendsPerTurn && this.#log.takesMessages; i++) this.#append();
      this.#removeOld();
      if (this.#fetching < 2) this.#fetch();
      for (let i = 0; i < readsPerTurn; i++) this.#read(this.#pick());
      this.#scan();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await this.#removing;
    return report;
  }

  #append(): void {
    const number = this.#count++;
    const length = 8 + randomIndex(this.#randomness, bodyBytesMax);
    const position = this.#log.append(RecordType.Message, length, (into, at) => {
      into.writeUInt32LE(number, at);
      into.writeUInt32LE(length, at + 4);
      this.#bodyOf(number, length).copy(into, at + 8);
    });
    this.#positions[number % rememberedMax] = position;
    this.#lengths[number % rememberedMax] = length;
  }

  /** What a record holds behind its number and length. */
  #bodyOf(number: number, length: number): Buffer {
    const from = Math.imul(number, 0x9e3779b1) >>> 16;
    const at = from % (this.#pattern.length - bodyBytesMax - 8);
    return this.#pattern.subarray(at, at + length - 8);
  }

  #removeOld(): void {
    const { segments } = this.#log;
    if (segments.length <= liveSegments) return;
    const removing = this.#log.removeBelow(segments[segments.length - liveSegments]!.base, true);
    this.#removing = removing.then((count) => {
      this.#report.removedSegments += count;
    });
  }

  /** Number of a record: a young one, an old one, one at the very beginning of the log, or one that is gone. */
  #pick(): number {
    const written = this.#count - appendsPerTurn;
    const oldest = Math.max(0, this.#count - rememberedMax);
    if (written <= oldest) return -1;
    const begin = this.#firstLive(oldest, written);
    const kind = this.#randomness.fraction();
    if (kind < 0.3) return Math.max(oldest, Math.min(written - 1, begin + randomIndex(this.#randomness, 40) - 20));
    if (kind < 0.4) return oldest + randomIndex(this.#randomness, written - oldest);
    return begin + randomIndex(this.#randomness, Math.max(1, written - begin));
  }

  #firstLive(oldest: number, end: number): number {
    let [low, high] = [oldest, end];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#positions[middle % rememberedMax]! < this.#log.begin) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #read(number: number): void {
    if (number < 0) return;
    const position = this.#positions[number % rememberedMax]!;
    if (position >= this.#log.writtenPosition) return;
    const isLive = position >= this.#log.begin;
    try {
      const { body } = this.#log.read(position);
      assert.ok(isLive, `record ${number} at ${position} was given out, and the log begins at ${this.#log.begin}`);
      this.#check(body, position, number);
      this.#report.reads++;
    } catch (error) {
      if (!(error instanceof LogTrimmedError)) throw error;
      assert.ok(!isLive, `record ${number} at ${position} is said to be gone; the log begins at ${this.#log.begin}`);
      this.#report.trimmed++;
    }
  }

  #check(body: Buffer, position: number, number: number): void {
    const length = this.#lengths[number % rememberedMax]!;
    assert.deepEqual([body.length, body.readUInt32LE(0)], [length, number], `another record at ${position}`);
    assert.ok(body.subarray(8).equals(this.#bodyOf(number, length)), `record ${number} at ${position} has other bytes`);
  }

  /** Reads a row of records ahead; when their bytes are there they are read, whatever has gone meanwhile. */
  #fetch(): void {
    const first = this.#pick();
    if (first < 0) return;
    const numbers = Array.from({ length: placesPerFetch }, (_, i) => first + i).filter((n) => n < this.#count - 64);
    const { readAhead } = this.#log;
    const places = new LogPlaces((position) => readAhead.isCold(position));
    for (const number of numbers) {
      const length = this.#lengths[number % rememberedMax]! + recordHeaderBytes;
      if (!places.add(this.#positions[number % rememberedMax]!, length)) break;
    }
    this.#fetching++;
    readAhead.fetch(places, () => {
      this.#fetching--;
      this.#report.fetches++;
      for (const number of numbers) this.#read(number);
    });
  }

  /** A step of a scan through the whole log, which starts again where the log begins when it was overtaken. */
  #scan(): void {
    const { history } = this.#log;
    const stretch = history.stretches().find(({ to }) => to > this.#scanAt);
    if (stretch === undefined) {
      this.#scanAt = 0;
      return;
    }
    const from = Math.max(stretch.from, this.#scanAt);
    const oldest = this.#count - rememberedMax;
    this.#scanAt = history.scan(from, stretch.to, 32 * 1024, ({ position, type, body }) => {
      if (type !== RecordType.Message) return;
      const number = body.readUInt32LE(0);
      assert.equal(body.length, body.readUInt32LE(4), `the record at ${position} has another length`);
      assert.ok(
        body.subarray(8).equals(this.#bodyOf(number, body.length)),
        `the record at ${position} has other bytes`,
      );
      if (number >= oldest) assert.equal(position, this.#positions[number % rememberedMax]);
      this.#report.scanned++;
    });
  }
}
