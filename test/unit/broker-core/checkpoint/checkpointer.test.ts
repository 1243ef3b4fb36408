import assert from "node:assert/strict";
import { findCheckpoint } from "../../../../broker-core/checkpoint/checkpoint-store.ts";
import { Checkpointer } from "../../../../broker-core/checkpoint/checkpointer.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

describe("Checkpoints while a broker runs", () => {
  const setUp = ({ stateBytes = 0 } = {}) => {
    const [clock, disk] = [new ManualClock(), new SimulatedDisk()];
    const source = { applied: 0, synced: 0, snapshots: 0 };
    const index = {
      failure: undefined as Error | undefined,
      calls: [] as string[],
      sync: async () => {
        if (index.failure !== undefined) throw index.failure;
        index.calls.push("sync");
        return source.snapshots;
      },
      checkpointWritten: (snapshot: number) => void index.calls.push(`written ${snapshot}`),
    };
    const checkpointer = new Checkpointer(
      {
        appliedPosition: () => source.applied,
        snapshot: () => Buffer.from(`state ${++source.snapshots} at ${source.applied}`.padEnd(stateBytes)),
        syncedPosition: () => source.synced,
        index,
      },
      { storage: disk, clock, log: silentLog, everyBytes: 1_000, lastPosition: 0 },
    );
    const newest = async () => findCheckpoint(disk, silentLog).newest?.bytes.toString();
    return { clock, disk, source, index, checkpointer, newest };
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

  it("of a large state wait until the log has grown by twice as much", async () => {
    const { clock, source, checkpointer, newest } = setUp({ stateBytes: 5_000 });
    source.applied = source.synced = 1_000;
    await clock.advanceAndSettle(1_000);
    assert.equal(source.snapshots, 1);
    source.applied = source.synced = 10_999;
    await clock.advanceAndSettle(5_000);
    assert.equal(source.snapshots, 1);
    source.applied = source.synced = 11_000;
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

  it("wait for the part of the state that lies on disk by itself, and are not written when it is not safe there", async () => {
    const { clock, source, index, checkpointer, newest } = setUp();
    index.failure = new Error("the disk takes nothing");
    source.applied = source.synced = 1_000;
    await clock.advanceAndSettle(2_000);
    assert.deepEqual([await newest(), index.calls], [undefined, []]);
    index.failure = undefined;
    source.applied = source.synced = 2_000;
    await clock.advanceAndSettle(1_000);
    assert.equal(await newest(), "state 2 at 2000");
    assert.deepEqual(index.calls, ["sync", "written 2"]);
    await checkpointer.stop();
  });

  it("end with one of the whole log, unless there is nothing new", async () => {
    const { clock, source, index, checkpointer, newest } = setUp();
    source.applied = source.synced = 1_000;
    await clock.advanceAndSettle(1_000);
    await checkpointer.stop();
    await checkpointer.writeLast(1_000, Buffer.from("the same"));
    assert.equal(await newest(), "state 1 at 1000");
    const last = checkpointer.writeLast(1_001, Buffer.from("the last"));
    await clock.advanceAndSettle(100);
    await last;
    assert.equal(await newest(), "the last");
    assert.deepEqual(index.calls, ["sync", "written 1", "sync", "written 1"]);
  });
});
