import assert from "node:assert/strict";
import type { CommitLog } from "../../../../broker-core/commit-log/commit-log.ts";
import { LogTrimmedError, RecordType } from "../../../../broker-core/commit-log/log.ts";
import { type OpenCommitLogOptions, openCommitLog } from "../../../../broker-core/commit-log/open-commit-log.ts";
import { Segment } from "../../../../broker-core/commit-log/segment.ts";
import { SegmentPool } from "../../../../broker-core/commit-log/segment-pool.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";
import type { Randomness } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { ManualClock, settle } from "../../../support/manual-clock.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

const segmentBytes = 32 * 1024;
/** A crash asks for the fraction that survives. */
const losing: Randomness = { fraction: () => 0, uint32: () => 0, bytes: (count) => Buffer.alloc(count) };

describe("Removed segments", () => {
  let disk: SimulatedDisk;
  let clock: ManualClock;
  let metrics: MetricRegistry;
  beforeEach(() => {
    disk = new SimulatedDisk();
  });

  const open = async (options: Partial<OpenCommitLogOptions> = {}) => {
    clock = new ManualClock();
    disk.clock = clock;
    metrics = new MetricRegistry();
    const visited: string[] = [];
    const opened = await openCommitLog({
      storage: disk,
      clock,
      randomness: new SeededRandomness(options.from ?? 1),
      log: silentLog,
      metrics,
      segmentBytes,
      tailRingBytes: 0,
      from: undefined,
      visit: ({ body }) => visited.push(body.toString("latin1").slice(0, 6)),
      onFailure: (error) => assert.fail(error.message),
      ...options,
    });
    return { ...opened, visited };
  };
  /** Records of one size, so that those of a file's second life begin where those of its first one did. */
  const append = (log: CommitLog, number: number): number => {
    const body = Buffer.alloc(900, String(number).padStart(6, "0"));
    return log.append(RecordType.Ack, body.length, (into, at) => body.copy(into, at));
  };
  const fill = async (log: CommitLog, first: number, count: number): Promise<number[]> => {
    const positions: number[] = [];
    for (let i = 0; i < count; i++) {
      positions.push(append(log, first + i));
      await clock.advanceAndSettle(20);
    }
    return positions;
  };
  const logNames = () => disk.list("log").filter((name) => name !== "durable.mark");
  const counter = (name: string) => metrics.counter(`popmesh_broker_log_${name}`, "").value;

  it("become the next ones: no zeros are written any more", async () => {
    const { log } = await open();
    const positions = await fill(log, 0, 150);
    const zeroed = counter("zeroed_bytes_total");
    let recycled = 0;
    for (let round = 0; round < 10; round++) {
      await log.removeBelow(positions.at(-1)!, true);
      positions.push(...(await fill(log, 150 + 30 * round, 30)));
      recycled = counter("recycled_segments_total");
    }
    assert.ok(recycled >= 8, `${recycled} recycled`);
    assert.ok(counter("zeroed_bytes_total") - zeroed <= segmentBytes, "at most the segment that was under way");
    assert.ok(logNames().length <= 6, `${logNames()}`);
    assert.equal(log.read(positions.at(-1)!).body.toString("latin1", 0, 6), "000449");
  });

  it("leave the two youngest, and answer reads below with the new begin", async () => {
    const { log } = await open();
    const positions = await fill(log, 0, 150);
    assert.equal(log.begin, 0);
    const removed = await log.removeBelow(Number.MAX_SAFE_INTEGER, true);
    assert.ok(removed >= 2);
    assert.equal(logNames().filter((name) => name.endsWith(".log")).length, 3, "two and the one that stands ready");
    for (const position of positions) {
      if (position >= log.begin) assert.equal(log.read(position).position, position);
      else assert.throws(() => log.read(position), LogTrimmedError);
    }
    assert.ok(positions[0]! < log.begin && log.begin <= log.youngPosition);
  });

  it("never show what they held before: not after a clean stop, a kill or a power cut", async () => {
    for (const end of ["stop", "kill", "power"] as const) {
      disk = new SimulatedDisk();
      const first = await open();
      const positions = await fill(first.log, 0, 150);
      await first.log.removeBelow(positions.at(-1)!, true);
      // The segment in use now held records of the same sizes at the same places in the file.
      await fill(first.log, 1000, 45);
      assert.ok(counter("recycled_segments_total") >= 1);
      const { begin } = first.log;
      if (end === "stop") {
        const closing = first.log.close();
        await clock.advanceAndSettle(100);
        await closing;
        disk.kill();
      } else {
        await clock.advanceAndSettle(100);
        first.log.abandon();
        if (end === "kill") disk.kill();
        else disk.crash(losing);
      }
      const second = await open({ begin, from: begin });
      assert.deepEqual(second.recovery.damage, []);
      assert.equal(second.visited.at(-1), "001044", end);
      assert.equal(second.recovery.action, "continue", "what lies behind the end is as good as zeros");
      const numbers = second.visited.map(Number);
      assert.deepEqual(
        numbers,
        numbers.toSorted((a, b) => a - b),
      );
      await fill(second.log, 2000, 40);
      second.log.abandon();
      disk.kill();
      const third = await open({ begin, from: begin });
      assert.deepEqual(third.visited.slice(-41).map(Number), [1044, ...Array.from({ length: 40 }, (_, i) => 2000 + i)]);
    }
  });

  it("keep name, descriptor and bytes while somebody reads them", async () => {
    const { log } = await open();
    const positions = await fill(log, 0, 100);
    const name = logNames()[0]!;
    const held = new Segment(disk, `log/${name}`, { base: 0, epoch: { ordinal: 1, nonce: 0 }, capacityBytes: 1 });
    held.hold();
    const pool = new SegmentPool(disk, silentLog, new MetricRegistry(), segmentBytes);
    let isDone = false;
    const retiring = pool.retire([held], true).then(() => {
      isDone = true;
    });
    await settle();
    assert.ok(!isDone && disk.exists(held.path));
    held.release();
    await retiring;
    assert.ok(!disk.exists(held.path));
    assert.equal(pool.count, 1);
    assert.ok(positions.length > 0);
  });

  it("are no spares before the directory knows it: a power cut that brings the name back brings the bytes back", async () => {
    const { log } = await open();
    await fill(log, 0, 150);
    const removed = logNames().slice(0, 2);
    const before = removed.map((name) => disk.contents(`log/${name}`));
    disk.syncDelayMs = () => 1000;
    void log.removeBelow(log.youngPosition, true);
    await settle();
    // Meanwhile the log rolls: it must not write to the files.
    for (let i = 0; i < 40; i++) append(log, 500 + i);
    await clock.advanceAndSettle(900);
    for (const [i, name] of removed.entries()) {
      assert.ok(disk.contents(`log/${name.replace(/log$/, "spare")}`).equals(before[i]!));
    }
    disk.crash(losing);
    for (const [i, name] of removed.entries()) assert.ok(disk.contents(`log/${name}`).equals(before[i]!));
  });

  it("are not kept beyond two, or when the disk needs the room, or of another size", async () => {
    const { log } = await open();
    await fill(log, 0, 200);
    await log.removeBelow(log.youngPosition, true);
    assert.equal(logNames().filter((name) => name.endsWith(".spare")).length, 2);
    await clock.advanceAndSettle(200);
    log.abandon();
    disk.kill();
    disk.resize(`log/${logNames().find((name) => name.endsWith(".spare"))}`, 5000);
    const second = await open({ begin: log.begin, from: log.begin });
    assert.equal(logNames().filter((name) => name.endsWith(".spare")).length, 1, "the one that is whole");
    await fill(second.log, 200, 100);
    await second.log.removeBelow(second.log.youngPosition, false);
    assert.ok(logNames().filter((name) => name.endsWith(".spare")).length <= 1, "no further ones");
  });

  it("whose names the disk refuses to end are tried again, and a start ends them for good", async () => {
    const { log } = await open();
    await fill(log, 0, 150);
    disk.fail({ call: "rename", at: 1, kind: "read-only", sticky: true });
    disk.fail({ call: "unlink", at: 1, kind: "read-only", sticky: true });
    const { begin } = log;
    assert.ok((await log.removeBelow(log.youngPosition, true)) > 0);
    assert.ok(log.begin > begin);
    const count = logNames().length;
    disk.heal();
    await log.removeBelow(log.youngPosition, true);
    assert.ok(logNames().length <= count);
    assert.ok(!logNames().includes("00000000000000000000.log"), `${logNames()}`);
  });
});
