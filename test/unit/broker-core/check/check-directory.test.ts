import assert from "node:assert/strict";
import { checkDirectory } from "../../../../broker-core/check/check-directory.ts";
import { findCheckpoint, writeCheckpoint } from "../../../../broker-core/checkpoint/checkpoint-store.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { NodeClock } from "../../../../proto/runtime/node-clock.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { OperatorLink } from "../../../support/operator-link.ts";
import { SimulatedBroker } from "../../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";
import { testSeed } from "../../../support/test-seed.ts";
import { encodedMessage, groupRef, topicRef } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const takesAll = 0b11010;
const topic = { ...topicRef("t"), messageTypes: takesAll };
const group = groupRef("g");
const clock = new NodeClock();
const firstSegment = "log/00000000000000000000.log";

describe(`the check of a data directory (seed ${testSeed})`, () => {
  const randomness = new SeededRandomness(testSeed);

  /** What a broker leaves that has stored 120 messages, handed out 20 and keeps two that are not visible yet. */
  async function usedDisk(end: "stop" | "kill"): Promise<SimulatedDisk> {
    const disk = new SimulatedDisk();
    const broker = await SimulatedBroker.start(disk, randomness);
    const { client } = broker;
    for (let i = 0; i < 120; i++) await client.store(topic, `m-${i}`, { body: Buffer.alloc(1_000, i) });
    await client.store(topic, "timed", { deliveryMs: Date.now() + 3_600_000 });
    await client.begin(topic, "half");
    const held = await client.take(topic, group, { batch: 20, invisibleMs: 300_000 });
    await client.ack(group, ...held.slice(0, 5).map(({ receipt }) => receipt));
    if (end === "stop") await broker.stop();
    else await broker.die();
    return disk;
  }

  /** The check, of a directory that must be the same afterwards. */
  async function check(disk: SimulatedDisk): Promise<{ problems: readonly string[]; facts: readonly string[] }> {
    const before = disk.paths().map((path) => [path, disk.contents(path).toString("base64")]);
    const report = await checkDirectory(disk, clock);
    assert.deepEqual(
      disk.paths().map((path) => [path, disk.contents(path).toString("base64")]),
      before,
      "the check changed the directory",
    );
    return report;
  }

  const problemsOf = async (disk: SimulatedDisk) => (await check(disk)).problems;
  const newestCheckpoint = (disk: SimulatedDisk) => disk.paths().findLast((path) => path.endsWith(".ckpt")) ?? "";

  for (const end of ["stop", "kill"] as const) {
    it(`finds nothing wrong after a ${end}, and says what is there`, async () => {
      const { problems, facts } = await check(await usedDisk(end));
      assert.deepEqual(problems, []);
      const text = facts.join("\n");
      assert.match(text, /1 topics, 120 messages in queues, 1 that wait for their time, 1 open transactions/);
      assert.match(text, /groups: 1, with 15 messages in flight and 0 dead letters/);
      assert.match(text, /Message 120/);
      if (end === "stop") assert.match(text, /newest checkpoint: at position \d+/);
    });
  }

  it("finds nothing wrong where dead letters were redriven and others came back from their leases", async () => {
    const disk = new SimulatedDisk();
    const broker = await SimulatedBroker.start(disk, randomness);
    const operator = new OperatorLink(broker.broker.port);
    const { client } = broker;
    for (let i = 0; i < 4; i++) await client.store(topic, `m-${i}`);
    const held = await client.take(topic, group, { batch: 4, invisibleMs: 300_000 });
    await client.deadLetter(group, ...held.slice(0, 3).map(({ receipt }) => receipt));
    await client.change(group, held[3]!.receipt, "renew", 0);
    await operator.call("dlq.redrive", { group: "default/g", count: 2 });
    operator.close();
    await broker.stop();
    const { problems, facts } = await check(disk);
    assert.deepEqual(problems, []);
    assert.match(facts.join("\n"), /DeadLetter 3, .*Redrive 2/);
  });

  it("finds nothing wrong after power cuts, whatever they took", async () => {
    for (let round = 0; round < 8; round++) {
      const disk = await usedDisk("kill");
      disk.crash(randomness);
      assert.deepEqual(await problemsOf(disk), []);
    }
  });

  it("finds nothing wrong where retention has taken the beginning, and misses the copies of the state as of there", async () => {
    const disk = new SimulatedDisk();
    const broker = await SimulatedBroker.start(disk, randomness, { retentionBytes: 600 * 1024 });
    for (let i = 0; disk.exists(firstSegment); i++) {
      // Refused while no file is ready for what comes next.
      await broker.client.send(topic, [encodedMessage(`m-${i}`, { body: Buffer.alloc(8_000, i) })]);
    }
    await broker.stop();
    const { problems, facts } = await check(disk);
    assert.deepEqual(problems, []);
    assert.match(facts.join("\n"), /log: positions [1-9]\d+ to/);
    const [a = "", b = ""] = disk.paths().filter((path) => path.startsWith("base/"));
    disk.alter(a, (bytes) => bytes.fill(0xff, 50, 51));
    assert.match((await problemsOf(disk)).join("\n"), /its other copy serves, and nothing is lost/);
    disk.alter(b, (bytes) => bytes.fill(0xff, 50, 51));
    assert.match((await problemsOf(disk)).join("\n"), /no copy of the state as of there can be read/);
  });

  it("counts the indexes of look-ups, and tells of one that would make them miss messages", async () => {
    const disk = new SimulatedDisk();
    const broker = await SimulatedBroker.start(disk, randomness);
    const indexes = () => disk.paths().filter((path) => /^look-up\/\d+\.idx$/.test(path));
    await waitUntil("two indexes", async () => {
      // Refused while no file is ready for what comes next.
      await broker.client.send(topic, [encodedMessage("m", { body: Buffer.alloc(8_000, "x") })]);
      return indexes().length >= 2;
    });
    await broker.stop();
    const sound = await check(disk);
    assert.deepEqual(sound.problems, []);
    const [, indexed, full] = /look-up: (\d+) of (\d+) full files/.exec(sound.facts.join("\n")) ?? [];
    assert.equal(Number(indexed), indexes().length);
    assert.equal(Number(full), disk.paths().filter((path) => /^log\/\d+\.log$/.test(path)).length - 1);
    const [first = "", second = ""] = indexes();
    // An entry; and a header, for which the broker makes another one.
    disk.alter(first, (bytes) => bytes.writeUInt8(bytes[60]! ^ 0xff, 60));
    disk.alter(second, (bytes) => bytes.writeUInt8(bytes[10]! ^ 0xff, 10));
    const { problems, facts } = await check(disk);
    assert.equal(problems.length, 1, problems.join("\n"));
    assert.match(problems[0]!, new RegExp(`^${first} is damaged: look-ups by id and key miss`));
    assert.ok(facts.includes(`look-up: ${indexes().length - 1} of ${full} full files of the log have an index`));
  });

  it("tells which part of the log is lost, and how many records", async () => {
    const disk = await usedDisk("stop");
    const at = disk.contents(firstSegment).indexOf(Buffer.alloc(1_000, 7));
    assert.ok(at > 0);
    disk.alter(firstSegment, (bytes) => bytes.fill(0xff, at, at + 10));
    const problems = await problemsOf(disk);
    assert.match(
      problems[0] ?? "",
      new RegExp(`^${firstSegment}: positions \\d+ to \\d+ cannot be read: 1 records are lost`),
    );
  });

  it("tells of a log that ends before what a checkpoint and the mark know", async () => {
    const disk = await usedDisk("stop");
    const body = Buffer.alloc(1_000, 119);
    const last = disk.paths().find((path) => path.endsWith(".log") && disk.contents(path).includes(body)) ?? "";
    disk.alter(last, (bytes) => bytes.fill(0, bytes.indexOf(body)));
    assert.match((await problemsOf(disk)).join("\n"), /cannot be read/);
  });

  it("tells of checkpoints that do not prove themselves, and that nothing is lost by that", async () => {
    const disk = await usedDisk("stop");
    const path = newestCheckpoint(disk);
    disk.alter(path, (bytes) => bytes.fill(0xff, 100, 101));
    const problems = await problemsOf(disk);
    assert.equal(problems.length, 1);
    assert.ok(
      problems[0]?.startsWith(`${path} cannot be read`) && problems[0].endsWith("nothing is lost"),
      problems[0],
    );
  });

  describe("where queues have an index on disk", () => {
    /** So many messages of one queue that most of its index is on disk. */
    async function longQueue(end: "stop" | "kill"): Promise<SimulatedDisk> {
      const disk = new SimulatedDisk();
      const broker = await SimulatedBroker.start(disk, randomness);
      for (let i = 0; i < 1_100; i++) await broker.client.send(topic, [encodedMessage(`m-${i}`)]);
      if (end === "stop") await broker.stop();
      else await broker.die();
      return disk;
    }
    const indexFile = (disk: SimulatedDisk) => disk.paths().find((path) => path.startsWith("index/")) ?? "";

    it("finds nothing wrong, also with what was written behind the checkpoint", async () => {
      const disk = await longQueue("stop");
      assert.ok(disk.contents(indexFile(disk)).length > 4 * 256 * 24, indexFile(disk));
      assert.deepEqual(await problemsOf(disk), []);
      disk.kill();
      const broker = await SimulatedBroker.start(disk, randomness);
      for (let i = 0; i < 300; i++) await broker.client.send(topic, [encodedMessage(`n-${i}`)]);
      await broker.die();
      disk.resize(indexFile(disk), disk.sizeOf(indexFile(disk)) + 3_000);
      assert.deepEqual(await problemsOf(disk), []);
    });

    it("tells of a rotten block, and that nothing is lost", async () => {
      const disk = await longQueue("stop");
      const path = indexFile(disk);
      disk.alter(path, (bytes) => bytes.fill(0xff, 9_000, 9_001));
      const text = (await problemsOf(disk)).join("\n");
      assert.match(text, /the index of the checkpoint at position \d+ cannot be used: .*nothing is lost/);
      assert.ok(text.includes(path), text);
    });

    it("tells of a file that is missing or short, and finds the state all the same", async () => {
      const disk = await longQueue("stop");
      const path = indexFile(disk);
      disk.resize(path, disk.sizeOf(path) - 1);
      const short = await problemsOf(disk);
      assert.equal(short.length, 1);
      assert.match(short[0] ?? "", /is not as the checkpoint knows it; all of the log is read again/);
      disk.unlink(path);
      const missing = await problemsOf(disk);
      assert.equal(missing.length, 1);
      assert.ok(missing[0]?.includes(path), missing[0]);
    });
  });

  it("tells of a checkpoint that is intact and wrong", async () => {
    const [disk, other] = [await usedDisk("stop"), new SimulatedDisk()];
    const broker = await SimulatedBroker.start(other, randomness);
    await broker.client.store(topic, "of another broker");
    await broker.stop();
    const [mine, its] = [findCheckpoint(disk, silentLog).newest, findCheckpoint(other, silentLog).newest];
    assert.ok(mine !== undefined && its !== undefined);
    // The state of another log, under the right position.
    its.bytes.copyWithin(0, 0);
    await writeCheckpoint(disk, clock, mine.position, its.bytes);
    assert.match((await problemsOf(disk)).join("\n"), /the checkpoint at position \d+/);
  });

  it("tells of files under wrong names, of files that are none of the log's, and of a missing identity", async () => {
    const disk = await usedDisk("stop");
    const wrong = `log/${"9".repeat(20)}.log`;
    disk.rename(firstSegment, wrong);
    assert.match((await problemsOf(disk)).join("\n"), /wrong name/);
    disk.rename(wrong, firstSegment);
    const stray = disk.open(wrong, { create: true });
    stray.write(Buffer.from("not a segment"), 0, 13, 0);
    stray.close();
    assert.match((await problemsOf(disk)).join("\n"), /names no place of its own/);
    disk.unlink(wrong);
    assert.deepEqual(await problemsOf(disk), []);
    disk.unlink("identity");
    assert.match((await problemsOf(disk)).join("\n"), /no file "identity"/);
  });
});
