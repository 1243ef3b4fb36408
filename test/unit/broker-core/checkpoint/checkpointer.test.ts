import assert from "node:assert/strict";
import { readNewestCheckpoint } from "../../../../broker-core/checkpoint/checkpoint-store.ts";
import { Checkpointer } from "../../../../broker-core/checkpoint/checkpointer.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

describe("Checkpoints while a broker runs", () => {
  const setUp = ({ stateBytes = 0 } = {}) => {
    const [clock, disk] = [new ManualClock(), new SimulatedDisk()];
    const source = { applied: 0, synced: 0, snapshots: 0 };
    const checkpointer = new Checkpointer(
      {
        appliedPosition: () => source.applied,
        snapshot: () => Buffer.from(`state ${++source.snapshots} at ${source.applied}`.padEnd(stateBytes)),
        syncedPosition: () => source.synced,
      },
      { storage: disk, clock, log: silentLog, everyBytes: 1_000, lastPosition: 0 },
    );
    const newest = async () => (await readNewestCheckpoint(disk, silentLog))?.bytes.toString();
    return { clock, disk, source, checkpointer, newest };
  };

  it("are taken after every so many bytes of log, and none without need", async () => {
    const { clock, source, checkpointer, newest } = setUp();
    source.applied = source.synced = 999;
    await clock.advanceAndSettle(5_000);
    assert.equal(source.snapshots, 0);
    source.applied = source.synced = 1_000;
    await clock.advanceAndSettle(1_000);
    assert.equal(await newest(), "state 1 at 1000");
    await clock.advanceAndSettle(5_000);
    assert.equal(source.snapshots, 1);
    assert.equal(checkpointer.lastPosition, 1_000);
    await checkpointer.stop();
  });

  it("of a large state wait until the log has grown by as much", async () => {
    const { clock, source, checkpointer, newest } = setUp({ stateBytes: 5_000 });
    source.applied = source.synced = 1_000;
    await clock.advanceAndSettle(1_000);
    assert.equal(source.snapshots, 1);
    source.applied = source.synced = 5_999;
    await clock.advanceAndSettle(5_000);
    assert.equal(source.snapshots, 1);
    source.applied = source.synced = 6_000;
    await clock.advanceAndSettle(1_000);
    assert.equal((await newest())?.length, 5_000);
    assert.equal(source.snapshots, 2);
    await checkpointer.stop();
  });

  it("are never ahead of what is on disk: a power cut would take away records that they contain", async () => {
    const { clock, source, checkpointer, newest } = setUp();
    source.applied = 2_000;
    source.synced = 1_999;
    await clock.advanceAndSettle(3_000);
    assert.equal(await newest(), undefined);
    // The log goes on; what was taken is what is written.
    source.applied = 2_500;
    source.synced = 2_000;
    await clock.advanceAndSettle(1_000);
    assert.equal(await newest(), "state 1 at 2000");
    await checkpointer.stop();
  });

  it("may fail: the broker goes on, and the next stretch of log brings the next try", async () => {
    const { clock, disk, source, checkpointer, newest } = setUp();
    disk.fail({ call: "sync", at: 1, kind: "io" });
    source.applied = source.synced = 1_000;
    await clock.advanceAndSettle(3_000);
    assert.deepEqual([await newest(), source.snapshots], [undefined, 1]);
    source.applied = source.synced = 2_000;
    await clock.advanceAndSettle(1_000);
    assert.equal(await newest(), "state 2 at 2000");
    await checkpointer.stop();
    await clock.advanceAndSettle(60_000);
    source.applied = source.synced = 9_000;
    await clock.advanceAndSettle(60_000);
    assert.equal(source.snapshots, 2, "none after the stop");
  });
});
