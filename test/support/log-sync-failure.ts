import assert from "node:assert/strict";
import { crc32 } from "../../broker-core/commit-log/crc32.ts";
import { RecordType } from "../../broker-core/commit-log/log.ts";
import { openCommitLog } from "../../broker-core/commit-log/open-commit-log.ts";
import { silentLog } from "../../proto/runtime/log.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { ManualClock } from "./manual-clock.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const segmentBytes = 64 * 1024;

export interface SyncFailureCase {
  readonly seed: number;
  /** The how manieth sync of the process fails. */
  readonly failingCall: number;
  readonly sticky: boolean;
}

interface Appended {
  readonly position: number;
  readonly crc: number;
  acked: boolean;
}

/**
 * One case of T03: the k-th fdatasync of a loaded log fails and drops its pages. Nothing may be acknowledged after it, the
 * owner must be told within a second, and, through a restart that sees what the disk does not hold and a power cut after
 * it, no acknowledged record may be lost and the unproven tail must have been written anew. Returns the count of
 * acknowledged records.
 */
export async function runSyncFailure({ seed, failingCall, sticky }: SyncFailureCase): Promise<number> {
  const randomness = new SeededRandomness(seed);
  const disk = new SimulatedDisk();
  const records: Appended[] = [];
  const failedAt = await loadUntilFailure(disk, randomness, records, failingCall, sticky);
  assert.ok(failedAt !== undefined, `sync ${failingCall} never came`);
  const acked = records.filter((record) => record.acked);

  // The process ends; the page cache shows the next one what the disk never got.
  disk.kill();
  const second = await open(disk, randomness);
  assertHolds(second.visited, acked);
  const unproven = second.visited.filter(({ position }) => position >= second.recovery.durable);
  if (unproven.length > 0) assert.equal(second.recovery.action, "fresh segment", "the tail was not written anew");
  second.log.abandon();

  // What the second process has shown is now on the disk, really.
  disk.crash(randomness);
  const third = await open(disk, randomness);
  assert.deepEqual(third.visited, second.visited);
  third.log.abandon();
  return acked.length;
}

async function loadUntilFailure(
  disk: SimulatedDisk,
  randomness: SeededRandomness,
  records: Appended[],
  failingCall: number,
  sticky: boolean,
): Promise<number | undefined> {
  let failedAtMs: number | undefined;
  const { log, clock } = await open(disk, randomness, () => {
    failedAtMs = clock.monotonicMs();
  });
  disk.clock = clock;
  disk.syncDelayMs = () => randomIndex(randomness, 3);
  disk.fail({ call: "sync", at: failingCall, kind: "io", sticky });
  for (let turn = 0; turn < 20 * failingCall + 100 && failedAtMs === undefined; turn++) {
    for (let i = randomIndex(randomness, 4); i > 0 && log.takesMessages; i--) {
      const body = randomness.bytes(randomIndex(randomness, 300));
      const position = log.append(RecordType.Message, body.length, (into, at) => body.copy(into, at));
      const record: Appended = { position, crc: crc32(body, 0, body.length), acked: false };
      records.push(record);
      log.whenDurable(position, () => {
        assert.equal(failedAtMs, undefined, "acknowledged after the failure");
        record.acked = true;
      });
    }
    await clock.advanceAndSettle(1);
  }
  // A failed process does nothing more, however long it is left alone.
  const { durablePosition } = log;
  await clock.advanceAndSettle(5000);
  assert.equal(log.durablePosition, durablePosition);
  if (failedAtMs !== undefined) assert.throws(() => log.append(RecordType.Ack, 0, () => {}), MeshError);
  return failedAtMs;
}

async function open(
  disk: SimulatedDisk,
  randomness: SeededRandomness,
  onFailure: () => void = () => assert.fail("disk failed"),
) {
  const clock = new ManualClock();
  disk.syncDelayMs = undefined;
  const visited: { position: number; crc: number }[] = [];
  const opened = await openCommitLog({
    storage: disk,
    clock,
    randomness,
    log: silentLog,
    segmentBytes,
    from: undefined,
    visit: ({ position, body }) => visited.push({ position, crc: crc32(body, 0, body.length) }),
    onFailure,
  });
  assert.deepEqual(opened.recovery.damage, []);
  return { ...opened, clock, visited };
}

function assertHolds(visited: readonly { position: number; crc: number }[], acked: readonly Appended[]): void {
  const crcs = new Map(visited.map(({ position, crc }) => [position, crc]));
  for (const { position, crc } of acked) assert.equal(crcs.get(position), crc, `the record at ${position} is lost`);
}
