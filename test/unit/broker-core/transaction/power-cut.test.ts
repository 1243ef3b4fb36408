import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { NodeClock } from "../../../../proto/runtime/node-clock.ts";
import { randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { SimulatedBroker } from "../../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";
import { testSeed } from "../../../support/test-seed.ts";
import { groupRef, messageIdOf, topicRef } from "../../../support/upstream-client.ts";

const topic = topicRef("t", { messageTypes: 0b10010, queueCount: 2 });
const group = groupRef("g", { attemptsMax: 0 });

/** What a producer knows of its transaction. */
interface Known {
  readonly transactionId: string;
  /** Ends that were asked for; "…!": and answered OK. */
  readonly ends: Set<"COMMIT" | "COMMIT!" | "ROLLBACK" | "ROLLBACK!">;
}

describe("[B9] transactions on a disk whose power goes", () => {
  const randomness = new SeededRandomness(testSeed);

  it("are visible after an acknowledged commit, once; never after a rollback; and open otherwise", async () => {
    const disk = new SimulatedDisk();
    // A disk that takes its time: much is written and not yet on it when the power goes.
    disk.clock = new NodeClock();
    disk.syncDelayMs = () => randomIndex(randomness, 12);
    const known = new Map<string, Known>();
    for (let round = 0; round < 10; round++) {
      const broker = await SimulatedBroker.start(disk, randomness);
      const operations: Promise<unknown>[] = [];
      for (let i = 0; i < 60; i++) operations.push(live(broker, `m-${round}-${i}`, randomIndex(randomness, 4)));
      // Those of earlier rounds that nobody has ended, or whose end nobody knows.
      for (const [id, { transactionId }] of known) {
        if (randomIndex(randomness, 4) === 0) operations.push(end(broker, id, transactionId, "COMMIT"));
      }
      await Promise.race(operations);
      if (round % 3 === 0) await Promise.all(operations);
      disk.crash(randomness);
      await broker.die();
      await Promise.allSettled(operations);
    }
    const broker = await SimulatedBroker.start(disk, randomness);
    const seen = new Map<string, number>();
    for (let batch = await take(broker); batch.length > 0; batch = await take(broker)) {
      for (const delivery of batch) seen.set(messageIdOf(delivery), (seen.get(messageIdOf(delivery)) ?? 0) + 1);
    }
    let [committed, rolledBack, open] = [0, 0, 0];
    for (const [id, { transactionId, ends }] of known) {
      const about = `${id}: ${[...ends]} (seed ${testSeed})`;
      const count = seen.get(id) ?? 0;
      assert.ok(count <= 1, `twice: ${about}`);
      if (ends.has("COMMIT!")) assert.equal(count, 1, `lost: ${about}`);
      if (ends.has("ROLLBACK!")) assert.equal(count, 0, `visible: ${about}`);
      if (!ends.has("COMMIT")) assert.equal(count, 0, `visible before a commit: ${about}`);
      // Whatever became of it, the broker knows, and says so.
      const again = await broker.client.endTransaction(topic, transactionId, "COMMIT");
      if (count === 1) assert.deepEqual(again, { ok: true }, about);
      else if (ends.has("ROLLBACK!")) assert.equal(again.ok ? Code.Ok : again.code, Code.BadRequest, about);
      else assert.ok(again.ok || (ends.has("ROLLBACK") && again.code === Code.BadRequest), about);
      if (count === 1) committed++;
      else if (again.ok) open++;
      else rolledBack++;
    }
    const later = new Set<string>();
    for (let batch = await take(broker); batch.length > 0; batch = await take(broker)) {
      for (const delivery of batch) {
        assert.equal(seen.has(messageIdOf(delivery)), false, "a repeated commit stored again");
        later.add(messageIdOf(delivery));
      }
    }
    assert.equal(later.size, open, "what was open was committed just now");
    assert.ok(
      committed > 20 && rolledBack > 10 && open > 10,
      `the run did too little: ${[committed, rolledBack, open]}`,
    );
    await broker.stop();

    /** A producer: a half message, then its end, or nothing. */
    async function live(at: SimulatedBroker, id: string, plan: number): Promise<void> {
      const transactionId = await at.client.begin(topic, id).catch(() => undefined);
      if (transactionId === undefined) return;
      known.set(id, { transactionId, ends: new Set() });
      if (plan < 3) await end(at, id, transactionId, plan === 0 ? "ROLLBACK" : "COMMIT");
    }

    async function end(at: SimulatedBroker, id: string, transactionId: string, resolution: "COMMIT" | "ROLLBACK") {
      const ends = known.get(id)!.ends;
      ends.add(resolution);
      const answer = await at.client.endTransaction(topic, transactionId, resolution);
      if (answer.ok) ends.add(`${resolution}!`);
    }
  });
});

function take(broker: SimulatedBroker) {
  return broker.client.take(topic, group, { invisibleMs: 60_000, waitMs: 200 });
}
