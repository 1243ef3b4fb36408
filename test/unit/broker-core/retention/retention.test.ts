import assert from "node:assert/strict";
import { DataDirectoryError } from "../../../../broker-core/identity.ts";
import { basePositions } from "../../../../broker-core/retention/base-image-store.ts";
import { Code } from "../../../../proto/code.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { ShiftedClock } from "../../../support/shifted-clock.ts";
import { SimulatedBroker } from "../../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";
import { testSeed } from "../../../support/test-seed.ts";
import { encodedMessage, groupRef, messageIdOf, topicRef } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const topic = topicRef("t");
const group = groupRef("g");
const hourMs = 3_600_000;
const small = { retentionBytes: 1024 * 1024, segmentSize: 256 * 1024, retentionAge: 0 };

describe("Retention of a whole broker", function () {
  this.timeout(240_000);

  const segments = (disk: SimulatedDisk) => disk.list("log").filter((name) => name.endsWith(".log"));
  /** Small segments fill faster than the next ones are made: who is refused sends again. */
  const store = (broker: SimulatedBroker, number: number) =>
    waitUntil("the log takes it", async () => {
      return (await broker.client.send(topic, [encodedMessage(`m${number}`.padEnd(900, "x"))])).ok;
    });
  const fill = async (broker: SimulatedBroker, first: number, count: number) => {
    for (let i = first; i < first + count; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, at) => store(broker, i + at)));
    }
  };

  it(`keeps the log small, serves what is left, and starts from the base image alone (seed ${testSeed})`, async () => {
    const disk = new SimulatedDisk();
    const randomness = new SeededRandomness(testSeed);
    let broker = await SimulatedBroker.start(disk, randomness, small);
    let sent = 0;
    await waitUntil(
      "the first segment is gone",
      async () => {
        await fill(broker, sent, 200);
        sent += 200;
        return !segments(disk).includes("00000000000000000000.log");
      },
      40_000,
    );
    // A base image is made once a second: at this pace one for each segment.
    await waitUntil(
      "the log is small",
      async () => {
        await Promise.all(Array.from({ length: 5 }, (_, at) => store(broker, sent + at)));
        sent += 5;
        return disk.list("log").length <= 16;
      },
      40_000,
    );
    await broker.die();
    disk.crash(randomness);
    for (const path of disk.paths()) if (path.startsWith("checkpoint/")) disk.remove(path);
    broker = await SimulatedBroker.start(disk, randomness, small);
    const ids: number[] = [];
    for (let batch = await broker.client.take(topic, group); batch.length > 0; ) {
      for (const delivery of batch) ids.push(Number(messageIdOf(delivery).replace(/\D/g, "")));
      for (const { receipt } of batch) await broker.client.ack(group, receipt);
      batch = await broker.client.take(topic, group, { waitMs: 200 });
    }
    // A segment of 256 KiB holds more than 200 of them.
    assert.ok(ids.length > 200 && ids.length < sent, `${ids.length} of ${sent}`);
    assert.equal(new Set(ids).size, ids.length);
    assert.equal(Math.max(...ids), sent - 1);
    await broker.die();

    // Neither copy of the base: nothing is started, nothing removed.
    disk.kill();
    const before = disk.paths();
    const position = basePositions(disk)[0]!;
    for (const path of disk.paths()) {
      if (path.startsWith("checkpoint/")) disk.remove(path);
      else if (path.startsWith(`base/${String(position).padStart(20, "0")}`))
        disk.alter(path, (bytes) => bytes.fill(0));
    }
    await assert.rejects(SimulatedBroker.start(disk, randomness, small), DataDirectoryError);
    assert.deepEqual(
      disk.paths().filter((path) => path.startsWith("log/")),
      before.filter((path) => path.startsWith("log/")),
    );
  });

  it("carries timed messages along, and starts with them from the base image alone", async () => {
    const disk = new SimulatedDisk();
    const randomness = new SeededRandomness(testSeed);
    const timed = { ...topicRef("timed"), messageTypes: 1 << 3 };
    const clock = new ShiftedClock(Date.now(), "boot");
    let broker = await SimulatedBroker.start(disk, randomness, { ...small, clock });
    // They come when the test says so, however long it takes until their segment is gone.
    const deliveryMs = Math.floor(clock.wallMs()) + hourMs;
    const { recallHandles = [] } = await broker.client.store(timed, "recalled", { deliveryMs: deliveryMs + 1_000 });
    await broker.client.store(timed, "kept", { deliveryMs, body: "whole" });
    let sent = 0;
    await waitUntil(
      "the segment of the timed messages is gone",
      async () => {
        await fill(broker, sent, 200);
        sent += 200;
        return !segments(disk).includes("00000000000000000000.log");
      },
      40_000,
    );
    await broker.die();
    disk.crash(randomness);
    for (const path of disk.paths()) if (path.startsWith("checkpoint/")) disk.remove(path);
    broker = await SimulatedBroker.start(disk, randomness, { ...small, clock });
    assert.ok((await broker.client.recall(timed, recallHandles[0]!)).ok);
    assert.deepEqual(await broker.client.take(timed, group, { waitMs: 0 }), [], "not before its time");
    clock.jumpWall(hourMs + 1_000);
    const [delivery] = await broker.client.take(timed, group, { waitMs: 20_000 });
    assert.ok(delivery !== undefined, "it comes when its time has come");
    assert.equal(messageIdOf(delivery), "kept");
    assert.ok(delivery.message.includes("whole"));
    await broker.stop();
  });

  it("refuses messages on a disk that is over 90 % full, acknowledges from the reserve, and goes on by itself", async () => {
    const disk = new SimulatedDisk();
    const broker = await SimulatedBroker.start(disk, new SeededRandomness(1), small);
    await broker.client.store(topic, "a");
    const [held] = await broker.client.take(topic, group);
    const timed = { ...topicRef("timed"), messageTypes: 1 << 3 };
    const { recallHandles = [] } = await broker.client.store(timed, "taken back", { deliveryMs: Date.now() + 60_000 });
    await broker.client.store(timed, "due meanwhile", { deliveryMs: Date.now() + 4_000 });
    const used = disk.paths().reduce((sum, path) => sum + disk.sizeOf(path), 0);
    disk.capacityBytes = Math.floor(used / 0.95);
    await waitUntil("it refuses", async () => {
      const answer = await broker.client.send(topic, [encodedMessage("b")]);
      return !answer.ok && answer.code === Code.TooManyRequests;
    });
    const acked = await broker.client.ack(group, held!.receipt);
    assert.ok(acked.ok);
    assert.ok((await broker.client.recall(timed, recallHandles[0]!)).ok);
    const [due] = await broker.client.take(timed, group, { waitMs: 15_000 });
    assert.ok(due !== undefined, "what was stored before is delivered in time");
    assert.equal(messageIdOf(due), "due meanwhile");
    assert.equal(
      (await broker.client.send(topic, [encodedMessage("b")])).ok,
      false,
      "and new messages are refused still",
    );
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    await waitUntil("it takes messages again", async () => (await broker.client.send(topic, [encodedMessage("c")])).ok);
    await broker.stop();
  });
});
