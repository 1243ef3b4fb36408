import assert from "node:assert/strict";
import { checkpointDirectory } from "../../../broker-core/checkpoint/checkpoint-store.ts";
import { Code } from "../../../proto/code.ts";
import { type Log, silentLog } from "../../../proto/runtime/log.ts";
import { NodeClock } from "../../../proto/runtime/node-clock.ts";
import { randomIndex } from "../../../proto/runtime/randomness.ts";
import { release } from "../../../proto/runtime/release.ts";
import { SeededRandomness } from "../../../proto/runtime/seeded-randomness.ts";
import { SimulatedBroker } from "../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../support/simulated-disk.ts";
import { testSeed } from "../../support/test-seed.ts";
import { encodedMessage, groupRef, messageIdOf, topicRef, UpstreamClient } from "../../support/upstream-client.ts";
import { waitUntil } from "../../support/wait-until.ts";

const topic = topicRef("t");
const group = groupRef("g", { attemptsMax: 0 });
/** Of what is popped and not acked when the power goes. */
const leaseMs = 300;

describe("A broker over a disk that breaks", () => {
  const randomness = new SeededRandomness(testSeed);

  it("keeps every acknowledged send and every acknowledged ack through a power cut", async () => {
    const disk = new SimulatedDisk();
    // A disk that takes its time: much is written and not yet on it when the power goes.
    disk.clock = new NodeClock();
    disk.syncDelayMs = () => randomIndex(randomness, 12);
    const sent = new Set<string>();
    const acked = new Set<string>();
    for (let round = 0; round < 12; round++) {
      const broker = await SimulatedBroker.start(disk, randomness);
      const operations: Promise<unknown>[] = [];
      for (let i = 0; i < 40; i++) {
        const id = `m-${round}-${i}`;
        const body = Buffer.alloc(randomIndex(randomness, 6_000), i);
        operations.push(
          broker.client.send(topic, [encodedMessage(id, { body })]).then((answer) => {
            if (answer.ok) sent.add(id);
          }),
        );
      }
      // Power goes while sends and acks are under way.
      await Promise.race(operations);
      const deliveries = await broker.client.take(topic, group, { batch: 8, waitMs: 200, invisibleMs: leaseMs });
      for (const delivery of deliveries) {
        const id = messageIdOf(delivery);
        assert.equal(acked.has(id), false, `${id} was acknowledged and came again (seed ${testSeed})`);
        operations.push(
          broker.client.ack(group, delivery.receipt).then((results) => {
            if (results.ok && results.results[0]?.code === Code.Ok) acked.add(id);
          }),
        );
      }
      if (round % 3 === 0) await Promise.all(operations);
      disk.crash(randomness);
      await broker.die();
      await Promise.allSettled(operations);
    }
    const broker = await SimulatedBroker.start(disk, randomness);
    const found = new Set<string>();
    // What was in flight comes back when its lease ends.
    const taking = { invisibleMs: 60_000, waitMs: 3 * leaseMs };
    for (let batch = await broker.client.take(topic, group, taking); batch.length > 0; ) {
      for (const delivery of batch) found.add(messageIdOf(delivery));
      batch = await broker.client.take(topic, group, taking);
    }
    const missing = [...sent].filter((id) => !found.has(id) && !acked.has(id));
    assert.deepEqual(missing, [], `lost (seed ${testSeed})`);
    for (const id of found) assert.equal(acked.has(id), false, `${id} was acknowledged and came again`);
    assert.ok(sent.size > 100 && acked.size > 10, "the run did too little");
    await broker.stop();
  });

  it("acknowledges nothing after a failed sync, refuses what is open, and tells its owner within a second", async () => {
    for (const failing of [3, 5, 8]) {
      const disk = new SimulatedDisk();
      const broker = await SimulatedBroker.start(disk, randomness);
      await broker.client.store(topic, "before");
      disk.fail({ call: "sync", at: failing, kind: "io", sticky: true });
      const answers: boolean[] = [];
      let failedMs = 0;
      for (let i = 0; answers.length < 200 && failedMs === 0; i++) {
        const { ok } = await broker.client.send(topic, [encodedMessage(`m-${i}`)]);
        answers.push(ok);
        if (!ok) failedMs = performance.now();
      }
      assert.ok(failedMs > 0, "the sync never failed");
      await waitUntil("the owner was told", () => broker.diskFailures.length > 0);
      assert.equal(broker.diskFailures.length, 1);
      const acknowledged = answers.filter((ok) => ok).length;
      await broker.die();
      disk.crash(randomness);
      disk.heal();
      const after = await SimulatedBroker.start(disk, randomness);
      const { messages } = (await queues(after)).topics[0]!;
      assert.ok(messages >= acknowledged + 1, `${acknowledged} were acknowledged, ${messages - 1} are there`);
      await after.stop();
    }
  });

  it("refuses sends on a full disk, goes on with acks, and takes sends again when there is room", async () => {
    const disk = new SimulatedDisk();
    const broker = await SimulatedBroker.start(disk, randomness);
    await broker.client.store(topic, "first");
    const [delivery] = await broker.client.take(topic, group);
    assert.ok(delivery);
    disk.capacityBytes = 0;
    let refusal: { code: number; reach: string } | undefined;
    await waitUntil("sends are refused", async () => {
      const answer = await broker.client.send(topic, [encodedMessage("filler", { body: Buffer.alloc(60_000) })]);
      if (!answer.ok) refusal = answer;
      return !answer.ok;
    });
    assert.deepEqual([refusal?.code, refusal?.reach], [Code.TooManyRequests, "refused"]);
    assert.deepEqual(UpstreamClient.codes(await broker.client.ack(group, delivery.receipt)), [Code.Ok]);
    const notReady = await fetch(`http://127.0.0.1:${broker.broker.adminPort}/ready`);
    assert.equal(notReady.status, 503);
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    await waitUntil("sends are taken again", async () => (await broker.client.send(topic, [encodedMessage("x")])).ok);
    assert.equal(broker.diskFailures.length, 0);
    await broker.stop();
  });

  it("says that its disk is read-only, holds back what it was asked meanwhile, and goes on when it can be written", async () => {
    const disk = new SimulatedDisk();
    const broker = await SimulatedBroker.start(disk, randomness);
    const { client } = broker;
    for (const id of ["first", "second"]) await client.store(topic, id);
    const [delivery] = await client.take(topic, group, { batch: 1 });
    for (const call of ["write", "open", "rename", "unlink", "truncate"] as const) {
      disk.fail({ call, at: 1, kind: "read-only", sticky: true });
    }
    // Neither is answered before it is on disk.
    const ack = client.ack(group, delivery!.receipt);
    const held = client.send(topic, [encodedMessage("held")]);
    let refused: { code: number; reach: string } | undefined;
    await waitUntil("sends are refused", async () => {
      const late = client.send(topic, [encodedMessage("late")]);
      const answer = await Promise.race([
        late,
        new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 50)),
      ]);
      refused = answer === undefined || answer.ok ? undefined : answer;
      return refused !== undefined;
    });
    assert.deepEqual([refused?.code, refused?.reach], [Code.InternalServerError, "refused"]);
    disk.heal();
    assert.deepEqual(UpstreamClient.codes(await ack), [Code.Ok]);
    assert.ok((await held).ok);
    await waitUntil("sends are taken again", async () => (await client.send(topic, [encodedMessage("x")])).ok);
    assert.equal(broker.diskFailures.length, 0);
    await broker.stop();
  });

  it("starts after an update on a disk that has no room for the name of the release", async () => {
    const disk = new SimulatedDisk();
    const first = await SimulatedBroker.start(disk, randomness);
    await first.client.store(topic, "m");
    await first.stop();
    disk.unlock();
    assert.equal(disk.contents("release").toString().trim(), release);
    disk.alter("release", (bytes) => bytes.fill("0.0.9"));
    disk.fail({ call: "rename", at: 1, kind: "full" });
    const second = await SimulatedBroker.start(disk, randomness);
    assert.equal((await second.client.take(topic, group)).length, 1);
    await second.stop();
  });

  it("starts from its last checkpoint after a clean stop, and from the log when there is none it can read", async () => {
    const disk = new SimulatedDisk();
    const first = await SimulatedBroker.start(disk, randomness);
    for (let i = 0; i < 50; i++) await first.client.store(topic, `m-${i}`);
    const [held] = await first.client.take(topic, group, { batch: 1, invisibleMs: 60_000 });
    assert.ok(held);
    await first.stop();
    disk.unlock();
    const recorded: Record<string, unknown>[] = [];
    const log: Log = { ...silentLog, info: (fields) => void recorded.push({ ...fields }) };
    const second = await SimulatedBroker.start(disk, randomness, { log });
    assert.equal(recorded.find((fields) => "recordCount" in fields)?.["recordCount"], 0, "nothing is replayed");
    await second.stop();
    disk.unlock();
    for (const name of disk.list(checkpointDirectory)) {
      disk.alter(`${checkpointDirectory}/${name}`, (bytes) => bytes.fill(0xff, 40));
    }
    recorded.length = 0;
    const third = await SimulatedBroker.start(disk, randomness, { log });
    assert.ok((recorded.find((fields) => "recordCount" in fields)?.["recordCount"] as number) > 50);
    assert.equal((await queues(third)).topics[0]?.messages, 50);
    assert.deepEqual(UpstreamClient.codes(await third.client.ack(group, held.receipt)), [Code.Ok], "it is still held");
    await third.stop();
  });

  it("comes to the same state after a stop, a kill, and with nothing but the log, and reads no more of it than it must", async () => {
    const disk = new SimulatedDisk();
    let read = 0;
    const log: Log = {
      ...silentLog,
      info: (fields) => {
        read = "recordCount" in fields ? (fields["recordCount"] as number) : read;
      },
    };
    // One queue, so that its index is on disk.
    const long = { ...topic, queueCount: 1 };
    const first = await SimulatedBroker.start(disk, randomness, { log });
    const store = async (count: number) => {
      for (let i = 0; i < count; i++) await first.client.send(long, [encodedMessage(`m-${i}`)]);
    };
    await store(1_000);
    const held = await first.client.take(long, group, { batch: 10, invisibleMs: 300_000 });
    await first.client.ack(group, ...held.slice(0, 5).map(({ receipt }) => receipt));
    await waitUntil("a checkpoint", () => disk.list(checkpointDirectory).some((name) => name.endsWith(".ckpt")));
    await store(300);
    const state = first.broker.state.dump();
    await first.die();

    const restarted = async () => {
      disk.kill();
      const broker = await SimulatedBroker.start(disk, randomness, { log });
      assert.ok(broker.broker.state.dump().equals(state), "another state");
      return broker;
    };
    const afterKill = await restarted();
    // A slow machine may have written another checkpoint meanwhile.
    assert.ok(read < 1_300, `${read} records were read after a kill`);
    await afterKill.stop();
    const afterStop = await restarted();
    assert.equal(read, 0);
    await afterStop.stop();
    for (const path of disk.paths()) if (/^(checkpoint|index)\//.test(path)) disk.unlink(path);
    const fromLog = await restarted();
    assert.ok(read > 1_300, `${read} records were read without a checkpoint`);
    await fromLog.stop();
    for (const path of disk.paths()) if (path.startsWith("index/")) disk.unlink(path);
    const withoutIndex = await restarted();
    assert.ok(read > 1_300, `${read} records were read without the index`);
    await withoutIndex.stop();
  });

  it("does not touch a directory that is not its own", async () => {
    const disk = new SimulatedDisk();
    const broker = await SimulatedBroker.start(disk, randomness);
    await broker.client.store(topic, "mine");
    await broker.stop();
    disk.unlock();
    const refusal = async (pattern: RegExp, settings = {}): Promise<void> => {
      await assert.rejects(SimulatedBroker.start(disk, randomness, settings), pattern);
      disk.unlock();
    };
    await refusal(/belongs to broker "broker-a", this one is called "broker-z"/, { name: "broker-z" });
    disk.alter("format", (bytes) => bytes.fill("9", 0, 1));
    await refusal(/format "9"; this release knows 1/);
    disk.alter("format", (bytes) => bytes.fill("1", 0, 1));
    disk.alter("identity", (bytes) => bytes.fill("x", 0, 1));
    await refusal(/"identity" of the data directory cannot be read/);
    disk.remove("identity");
    await refusal(/has a log but no file "identity"/);
  });

  it("keeps its identity through a power cut at any moment of the first start", async () => {
    for (let i = 0; i < 20; i++) {
      const disk = new SimulatedDisk();
      const starting = SimulatedBroker.start(disk, randomness).then(
        (broker) => broker.die(),
        () => undefined,
      );
      for (let turn = 0; turn < i; turn++) await new Promise((resolve) => setImmediate(resolve));
      disk.crash(randomness);
      await starting;
      disk.crash(randomness);
      const broker = await SimulatedBroker.start(disk, randomness);
      await broker.client.store(topic, "works");
      await broker.die();
    }
  });
});

interface Queues {
  readonly topics: readonly { readonly name: string; readonly messages: number }[];
  readonly subscriptions: readonly { readonly inFlight: number; readonly ready: number }[];
}

async function queues({ broker }: SimulatedBroker): Promise<Queues> {
  return (await (await fetch(`http://127.0.0.1:${broker.adminPort}/queues`)).json()) as Queues;
}
