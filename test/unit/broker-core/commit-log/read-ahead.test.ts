import assert from "node:assert/strict";
import type { CommitLog } from "../../../../broker-core/commit-log/commit-log.ts";
import { LogTrimmedError, RecordType } from "../../../../broker-core/commit-log/log.ts";
import { recordHeaderBytes } from "../../../../broker-core/commit-log/log-frame.ts";
import { LogPlaces } from "../../../../broker-core/commit-log/log-places.ts";
import { openCommitLog } from "../../../../broker-core/commit-log/open-commit-log.ts";
import { readAheadBlockBytes } from "../../../../broker-core/commit-log/read-ahead.ts";
import { StorageError } from "../../../../broker-core/storage/storage.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";
import { testSeed } from "../../../support/test-seed.ts";

const segmentBytes = 512 * 1024;
const bodyBytesMax = 40_000;
const readMs = 3;

/** A log of some segments over a disk whose reads off the event loop take their time. */
class Fixture {
  readonly disk = new SimulatedDisk();
  readonly clock = new ManualClock();
  readonly randomness: SeededRandomness;
  readonly positions: number[] = [];
  readonly bodies: Buffer[] = [];
  log!: CommitLog;

  constructor(seed: number) {
    this.randomness = new SeededRandomness(seed);
    this.disk.clock = this.clock;
  }

  async open(): Promise<void> {
    const opened = await openCommitLog({
      ...{ storage: this.disk, clock: this.clock, randomness: this.randomness, log: silentLog, segmentBytes },
      ...{
        from: undefined,
        visit: () => {},
        tailRingBytes: 0,
        onFailure: (error: Error) => assert.fail(error.message),
      },
    });
    this.log = opened.log;
    this.disk.readDelayMs = () => readMs;
  }

  async fill(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const body = Buffer.alloc(1 + randomIndex(this.randomness, bodyBytesMax), i % 251);
      while (!this.log.takesMessages) await this.clock.advanceAndSettle(10);
      this.positions.push(this.log.append(RecordType.Message, body.length, (into, at) => body.copy(into, at)));
      this.bodies.push(body);
      if (i % 10 === 0) await this.clock.advanceAndSettle(10);
    }
    await this.clock.advanceAndSettle(100);
  }

  places(from: number, count: number): LogPlaces {
    const places = new LogPlaces(() => true);
    for (let i = from; i < Math.min(from + count, this.positions.length); i++) {
      places.add(this.positions[i]!, this.bodies[i]!.length + recordHeaderBytes);
    }
    return places;
  }

  assertReads(from: number, count: number): void {
    for (let i = from; i < Math.min(from + count, this.positions.length); i++) {
      const { body, position } = this.log.read(this.positions[i]!);
      assert.equal(position, this.positions[i]);
      assert.ok(body.equals(this.bodies[i]!), `record ${i} has other bytes`);
    }
  }
}

describe("Reading ahead in the commit log", () => {
  const seed = testSeed;
  afterEach(function () {
    if (this.currentTest?.state === "failed") console.log(`      POPMESH_TEST_SEED=${seed}`);
  });

  async function filled(count = 150): Promise<Fixture> {
    const fixture = new Fixture(seed);
    await fixture.open();
    await fixture.fill(count);
    return fixture;
  }

  it("gives every record as the file does, whatever is fetched, under way or given up meanwhile", async () => {
    // More than the blocks hold, over many segments.
    const f = await filled(600);
    let open = 0;
    for (let i = 0; i < 400; i++) {
      const from = randomIndex(f.randomness, f.positions.length);
      open++;
      f.log.readAhead.fetch(f.places(from, 1 + randomIndex(f.randomness, 20)), () => open--);
      if (i % 3 === 0) await f.clock.advanceAndSettle(randomIndex(f.randomness, 2 * readMs));
      f.assertReads(randomIndex(f.randomness, f.positions.length), 5);
      f.assertReads(from, 5);
    }
    await f.clock.advanceAndSettle(10_000);
    assert.equal(open, 0, "every fetch ends");
    f.assertReads(0, f.positions.length);
    f.log.abandon();
  });

  it("leaves nothing to be read on the event loop of what lies in one block", async () => {
    const f = await filled();
    const places = f.places(10, 12);
    assert.equal(f.log.readAhead.isAtHand(places), false);
    let isDone = false;
    f.log.readAhead.fetch(places, () => (isDone = true));
    assert.equal(isDone, false, "nobody waits for the disk");
    await f.clock.advanceAndSettle(20 * readMs);
    assert.equal(isDone, true);
    assert.equal(f.log.readAhead.isAtHand(places), true);
    const before = f.disk.calls.read;
    f.assertReads(10, 12);
    // A record over the edge of a block: its header shows how long it is, then it is read.
    const overEdges = f.positions.slice(10, 22).filter((position, i) => {
      const last = position + recordHeaderBytes + f.bodies[10 + i]!.length - 1;
      return Math.floor(position / readAheadBlockBytes) !== Math.floor(last / readAheadBlockBytes);
    });
    assert.ok(f.disk.calls.read - before <= 2 * overEdges.length, `${f.disk.calls.read - before} reads`);
    f.log.abandon();
  });

  it("keeps a removed segment's file until the read of it is over, and then gives nothing of it", async () => {
    const f = await filled();
    const [first, second] = f.log.segments;
    let isDone = false;
    f.log.readAhead.fetch(f.places(0, 10), () => (isDone = true));
    const removed = f.log.removeBelow(second!.base, false);
    const path = `log/${String(first!.base).padStart(20, "0")}.log`;
    await f.clock.advanceAndSettle(readMs - 1);
    assert.equal(f.disk.exists(path), true);
    await f.clock.advanceAndSettle(20 * readMs);
    assert.equal(await removed, 1);
    assert.equal(isDone, true);
    assert.equal(f.disk.exists(path), false);
    assert.throws(() => f.log.read(f.positions[0]!), LogTrimmedError);
    f.log.abandon();
  });

  it("reports damage as a read of the file does, also of bytes that were fetched", async () => {
    const f = await filled();
    const { base } = f.log.segments[0]!;
    f.disk.alter(`log/${String(base).padStart(20, "0")}.log`, (bytes) => {
      bytes[1024 + f.positions[3]! - base + 40]! ^= 0xff;
    });
    f.log.readAhead.fetch(f.places(0, 10), () => {});
    await f.clock.advanceAndSettle(20 * readMs);
    assert.throws(() => f.log.read(f.positions[3]!), StorageError);
    f.assertReads(0, 3);
    f.assertReads(4, 20);
    f.log.abandon();
  });

  it("ends a fetch that the disk refuses, and the read itself says why", async () => {
    const f = await filled();
    f.disk.makeUnreadable(`log/${String(f.log.segments[0]!.base).padStart(20, "0")}.log`, 0, segmentBytes);
    let isDone = false;
    f.log.readAhead.fetch(f.places(0, 10), () => (isDone = true));
    await f.clock.advanceAndSettle(100 * readMs);
    assert.equal(isDone, true);
    assert.throws(() => f.log.read(f.positions[0]!), /EIO/);
    f.log.abandon();
  });

  it("is stopped by a close, which waits for the file in use, and by the end of the process", async () => {
    const f = await filled();
    let isDone = false;
    f.log.readAhead.fetch(f.places(0, 30), () => (isDone = true));
    let isClosed = false;
    const closing = f.log.close().then(() => (isClosed = true));
    await f.clock.advanceAndSettle(readMs - 1);
    assert.equal(isClosed, false);
    await f.clock.advanceAndSettle(readMs);
    await closing;
    assert.equal(isDone, true, "after the file in use, no other");
    await f.open();
    f.log.readAhead.fetch(f.places(0, 30), () => assert.fail("a dead process goes on"));
    f.disk.kill();
    await f.clock.advanceAndSettle(100 * readMs);
    await f.open();
    f.assertReads(0, f.positions.length);
    f.log.abandon();
  });
});
