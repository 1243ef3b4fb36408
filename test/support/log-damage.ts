import assert from "node:assert/strict";
import type { CommitLog } from "../../broker-core/commit-log/commit-log.ts";
import { crc32 } from "../../broker-core/commit-log/crc32.ts";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import { recordHeaderBytes } from "../../broker-core/commit-log/log-frame.ts";
import { openCommitLog, type RecoveryReport } from "../../broker-core/commit-log/open-commit-log.ts";
import { decodeSegmentHeader, segmentHeaderBytes } from "../../broker-core/commit-log/segment.ts";
import { StorageError } from "../../broker-core/storage/storage.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { ManualClock, settle } from "./manual-clock.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

/*
 * Damage at rest (T02): a log at rest, everything in it acknowledged, is damaged in one way and opened. What must hold:
 * it opens; what it shows is what was appended; exactly the records are missing that overlap the damage, and the report
 * covers them and counts them; and no file that held a record is gone from the data directory.
 */
export interface SegmentOnDisk {
  readonly path: string;
  readonly base: number;
  readonly sizeBytes: number;
}

interface StoredRecord {
  readonly position: number;
  readonly end: number;
  readonly crc: number;
}

export interface LogAtRest {
  readonly disk: SimulatedDisk;
  readonly records: readonly StoredRecord[];
  /** Those that hold records, in order; the one prepared behind them is not among them. */
  readonly segments: readonly SegmentOnDisk[];
}

const segmentBytes = 24 * 1024;

/** A stretch of the log that is gone, by position. */
export interface Damaged {
  readonly from: number;
  readonly to: number;
}

export async function openOn(disk: SimulatedDisk, seed: number) {
  const clock = new ManualClock();
  const visited: StoredRecord[] = [];
  const opened = await openCommitLog({
    storage: disk,
    clock,
    randomness: new SeededRandomness(seed),
    log: silentLog,
    segmentBytes,
    tailRingBytes: 0,
    from: undefined,
    visit: ({ position, body, nextPosition }) =>
      visited.push({ position, end: nextPosition, crc: crc32(body, 0, body.length) }),
    onFailure: (error) => assert.fail(error.message),
  });
  return { ...opened, clock, visited };
}

/** A log of three full segments and one nearly full; the process was killed after the log had come to rest. */
export async function logAtRest(seed: number): Promise<LogAtRest> {
  const randomness = new SeededRandomness(seed);
  const disk = new SimulatedDisk();
  const { log, clock } = await openOn(disk, seed);
  const records: StoredRecord[] = [];
  while (log.endPosition < 3.9 * (segmentBytes - segmentHeaderBytes)) {
    for (let i = randomIndex(randomness, 5); i >= 0; i--) records.push(append(log, randomness));
    await clock.advanceAndSettle(3);
  }
  await clock.advanceAndSettle(200);
  assert.equal(log.durablePosition, log.endPosition);
  const end = log.endPosition;
  log.abandon();
  disk.kill();
  const segments: SegmentOnDisk[] = [];
  for (const path of disk.paths().filter((name) => name.endsWith(".log"))) {
    const header = decodeSegmentHeader(disk.contents(path));
    if (header !== undefined && header.base < end)
      segments.push({ path, base: header.base, sizeBytes: disk.sizeOf(path) });
  }
  assert.equal(segments.length, 4);
  return { disk, records, segments };
}

function append(log: CommitLog, randomness: SeededRandomness): StoredRecord {
  const body = randomness.bytes(randomIndex(randomness, 400));
  const position = log.append(RecordType.Ack, body.length, (into, at) => body.copy(into, at));
  return { position, end: position + recordHeaderBytes + body.length, crc: crc32(body, 0, body.length) };
}

/** The log positions that bytes [from, to) of a segment file hold. */
export function positionsOf(segment: SegmentOnDisk, from: number, to: number): Damaged {
  const inLog = (offset: number) => segment.base + Math.max(0, offset - segmentHeaderBytes);
  return { from: inLog(from), to: inLog(to) };
}

/** Damages a copy with `damage`, opens it and checks everything above. `gone` is what the damage covers. */
export async function assertContained(
  rest: LogAtRest,
  what: string,
  gone: readonly Damaged[],
  damage: (disk: SimulatedDisk) => void,
  thorough = false,
): Promise<void> {
  const disk = rest.disk.copy();
  damage(disk);
  const before = disk.paths().length;
  try {
    // A cut through trailing zeros, or a copy of equal bytes, harms nothing: what is missing reads as zeros.
    const isLost = (record: StoredRecord): boolean =>
      gone.some(({ from, to }) => record.position < to && from < record.end) && !isUnharmed(rest, disk, record, gone);
    const expectedLost = rest.records.filter(isLost);
    const first = await openOn(disk, 1);
    const lost = assertExactlyLost(rest.records, first.visited, new Set(expectedLost));
    assertReported(lost, first.recovery);
    for (const { path } of rest.segments) {
      const name = path.slice(path.indexOf("/") + 1);
      const kept = disk.exists(path) || disk.exists(`quarantine/${name}`) || before < rest.disk.paths().length;
      assert.ok(kept, `${path} is gone`);
    }
    if (thorough) await assertGoesOn(disk, first);
    first.log.abandon();
  } catch (error) {
    if (error instanceof Error) error.message = `${what}: ${error.message}`;
    throw error;
  }
}

/**
 * The same damage comes while the log is open, which knows every record: one that it does not cover is read as it was appended, and
 * of one that it covers no byte is given out.
 */
export async function assertReads(
  rest: LogAtRest,
  what: string,
  gone: readonly Damaged[],
  damage: (disk: SimulatedDisk) => void,
): Promise<void> {
  const disk = rest.disk.copy();
  const { log } = await openOn(disk, 1);
  damage(disk);
  for (const { position, end, crc } of rest.records) {
    const mayFail = gone.some(({ from, to }) => position < to && from < end);
    let body: Buffer | undefined;
    try {
      body = log.read(position).body;
    } catch (error) {
      if (!(error instanceof StorageError) || !mayFail) throw error;
    }
    if (body !== undefined) {
      assert.equal(crc32(body, 0, body.length), crc, `${what}: the record at ${position} was read with other bytes`);
    }
  }
  log.abandon();
}

function assertExactlyLost(
  records: readonly StoredRecord[],
  visited: readonly StoredRecord[],
  lost: ReadonlySet<StoredRecord>,
): ReadonlySet<StoredRecord> {
  let next = 0;
  for (const record of records) {
    if (lost.has(record)) continue;
    const seen = visited[next++];
    if (seen?.position !== record.position || seen.end !== record.end || seen.crc !== record.crc) {
      assert.deepEqual(seen, record, "a record outside the damage is lost or changed");
    }
  }
  assert.equal(next, visited.length, "a record inside the damage was served");
  return lost;
}

function isUnharmed(
  rest: LogAtRest,
  damaged: SimulatedDisk,
  { position, end }: StoredRecord,
  gone: readonly Damaged[],
): boolean {
  const segment = rest.segments.findLast(({ base }) => base <= position);
  if (segment === undefined || !damaged.exists(segment.path)) return false;
  const bytesOn = (disk: SimulatedDisk): Buffer => {
    const bytes = Buffer.alloc(end - position);
    const file = disk.open(segment.path, { create: false });
    file.read(bytes, 0, bytes.length, segmentHeaderBytes + position - segment.base);
    return bytes;
  };
  const whole = bytesOn(rest.disk);
  try {
    return bytesOn(damaged).equals(whole);
  } catch {
    // What cannot be read counts as zeros, and the bytes there may have been some.
    const read = Buffer.from(whole);
    const within = (at: number): number => Math.min(Math.max(0, at - position), read.length);
    for (const { from, to } of gone) read.fill(0, within(from), within(to));
    return read.equals(whole);
  }
}

function assertReported(lost: ReadonlySet<StoredRecord>, { damage }: RecoveryReport): void {
  for (const { position, end } of lost) {
    const covered = damage.some((range) => range.from < end && position < range.to);
    assert.ok(covered, `the loss of [${position}, ${end}) is not in the report ${JSON.stringify(damage)}`);
  }
  let counted = 0;
  for (const { recordCount } of damage) {
    if (recordCount === undefined) return;
    counted += recordCount;
  }
  assert.equal(counted, lost.size, `wrong count in ${JSON.stringify(damage)}`);
}

/** The repaired log takes records, and the next opening shows the same and the new one. */
async function assertGoesOn(disk: SimulatedDisk, first: Awaited<ReturnType<typeof openOn>>): Promise<void> {
  const added = append(first.log, new SeededRandomness(7));
  await first.clock.advanceAndSettle(10);
  assert.ok(first.log.durablePosition > added.position, "the new record is not durable");
  first.log.abandon();
  disk.crash(new SeededRandomness(3));
  await settle();
  const second = await openOn(disk, 2);
  assert.deepEqual(second.visited, [...first.visited, added]);
  second.log.abandon();
}
