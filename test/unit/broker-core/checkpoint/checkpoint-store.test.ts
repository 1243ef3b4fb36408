import assert from "node:assert/strict";
import { findCheckpoint, writeCheckpoint } from "../../../../broker-core/checkpoint/checkpoint-store.ts";
import { StorageError } from "../../../../broker-core/storage/storage.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

async function readNewest(disk: SimulatedDisk) {
  const { newest, tidy } = findCheckpoint(disk, silentLog);
  await tidy();
  return newest;
}

describe("The checkpoint store", () => {
  const clock = new ManualClock();
  const stateOf = (position: number) => Buffer.from(`state at ${position}`.repeat(20));
  const write = (disk: SimulatedDisk, position: number) => writeCheckpoint(disk, clock, position, stateOf(position));

  it("gives back the newest and keeps one more", async () => {
    const disk = new SimulatedDisk();
    assert.equal(await readNewest(disk), undefined);
    for (const position of [7, 99, 100_000]) await write(disk, position);
    const newest = await readNewest(disk);
    assert.deepEqual(newest, { position: 100_000, bytes: stateOf(100_000) });
    assert.equal(disk.list("checkpoint").length, 2);
  });

  it("is there completely or not at all after a power cut at any moment", async () => {
    for (let seed = 0; seed < 300; seed++) {
      const disk = new SimulatedDisk();
      await write(disk, 10);
      disk.clock = new ManualClock();
      disk.syncDelayMs = () => 1;
      void write(disk, 20);
      await new ManualClock().advanceAndSettle(0);
      for (let step = seed % 4; step > 0; step--) await (disk.clock as ManualClock).advanceAndSettle(1);
      disk.crash(new SeededRandomness(seed));
      disk.syncDelayMs = undefined;
      const found = await readNewest(disk);
      assert.ok(found?.position === 10 || found?.position === 20, `seed ${seed}`);
      assert.deepEqual(found.bytes, stateOf(found.position));
      assert.deepEqual(disk.list("quarantine"), [], `seed ${seed}`);
      assert.ok(disk.list("checkpoint").every((name) => !name.endsWith(".tmp")));
    }
  });

  it("never serves a changed one: every bit and every length of the newest", async () => {
    const pristine = new SimulatedDisk();
    await write(pristine, 10);
    await write(pristine, 20);
    const path = "checkpoint/00000000000000000020.ckpt";
    const size = pristine.sizeOf(path);
    const assertFallsBack = async (what: string, damage: (disk: SimulatedDisk) => void) => {
      const disk = pristine.copy();
      damage(disk);
      assert.deepEqual(await readNewest(disk), { position: 10, bytes: stateOf(10) }, what);
      assert.equal(disk.list("quarantine").length, 1, what);
    };
    for (let bit = 0; bit < 8 * size; bit++) {
      await assertFallsBack(`bit ${bit}`, (disk) =>
        disk.alter(path, (bytes) => {
          bytes[bit >> 3]! ^= 1 << (bit & 7);
        }),
      );
    }
    for (let cut = 0; cut < size; cut++) await assertFallsBack(`cut to ${cut}`, (disk) => disk.resize(path, cut));
    await assertFallsBack("unreadable", (disk) => disk.makeUnreadable(path, 0, 1));
  });

  it("does not believe a file under another's name", async () => {
    const disk = new SimulatedDisk();
    await write(disk, 10);
    await write(disk, 20);
    disk.swap("checkpoint/00000000000000000010.ckpt", "checkpoint/00000000000000000020.ckpt");
    assert.equal(await readNewest(disk), undefined);
  });

  it("leaves nothing behind when the disk is full", async () => {
    const disk = new SimulatedDisk();
    await write(disk, 10);
    disk.capacityBytes = disk.sizeOf("checkpoint/00000000000000000010.ckpt") + 40;
    await assert.rejects(write(disk, 20), (error) => error instanceof StorageError && error.kind === "full");
    assert.deepEqual(disk.list("checkpoint"), ["00000000000000000010.ckpt"]);
  });
});
