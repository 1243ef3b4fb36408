import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { OperatorLink } from "../../../support/operator-link.ts";
import { ShiftedClock } from "../../../support/shifted-clock.ts";
import { SimulatedBroker } from "../../../support/simulated-broker.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";
import { encodedMessage, topicRef } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

interface Item {
  readonly standing: string;
  readonly storedMs: number;
  readonly messageId: string;
  readonly message: { messageId: string; bodyBytes: number } | null;
  readonly events: readonly { event: string }[];
}

const filling = topicRef("filling");
const timed = topicRef("timed", { messageTypes: 1 << 3 });
const transactional = topicRef("transactional", { messageTypes: 1 << 4 });

/** A timed message with a key; the time is far ahead. */
function keyed(id: string, key: string, deliveryMs: number): Uint8Array {
  return apache.rocketmq.v2.Message.encode({
    topic: { name: "timed" },
    systemProperties: {
      ...{ messageId: id, messageType: 3, keys: [key] },
      deliveryTimestamp: { seconds: Math.floor(deliveryMs / 1_000), nanos: (deliveryMs % 1_000) * 1e6 },
    },
    body: Buffer.from("whole"),
  }).finish();
}

const hourMs = 3_600_000;

describe("looking up messages that were carried on", function () {
  this.timeout(240_000);

  it("finds them by id and key when their first segment is gone, waits and ends included", async () => {
    const disk = new SimulatedDisk();
    const clock = new ShiftedClock(Date.now(), "boot");
    const start = (retentionBytes: number) =>
      SimulatedBroker.start(disk, new SeededRandomness(5), {
        ...{ clock, retentionBytes, segmentSize: 256 * 1024, retentionAge: 0 },
      });
    let broker = await start(1024 * 1024);
    let operator = new OperatorLink(broker.broker.port);
    let { client } = broker;
    const sentMs = clock.wallMs();
    // It comes when the test says so: not before its segment is gone, however slow the machine is.
    const dueMs = Math.floor(sentMs) + hourMs;
    const sent = await client.send(timed, [keyed("comes", "k-1", dueMs), keyed("taken back", "k-1", dueMs + hourMs)]);
    assert.ok(sent.ok && sent.recallHandles?.length === 2);
    const [committed, rolledBack] = [
      await client.begin(transactional, "committed"),
      await client.begin(transactional, "rolled back"),
    ];
    const get = async (id: string) => {
      const { items } = await operator.call<{ items: Item[] }>("message.trace", { id });
      assert.equal(items.length, 1, `${id} is one message`);
      const [item] = items;
      assert.equal(item?.message?.messageId, id);
      assert.ok(item.storedMs >= sentMs - 1 && item.storedMs < sentMs + 40_000, "when it was stored first");
      return [item.standing, item.events.at(-1)?.event.replace(/visible in queue \d of (.*) at.*/, "$1")];
    };
    // In all segments: some of them are written again while their own is still there.
    const handles: string[] = [];
    const waiting = () => `waits ${handles.length}`;
    let number = 0;
    await waitUntil(
      "the first segments are gone",
      async () => {
        const message = () => encodedMessage(`m${number++}`, { body: Buffer.alloc(8_000) });
        for (let i = 0; i < 4; i++) {
          await Promise.all(Array.from({ length: 12 }, () => client.send(filling, [message()])));
          const one = await client.send(timed, [keyed(waiting(), "k-2", dueMs + hourMs)]);
          if (one.ok) handles.push(one.recallHandles?.[0] ?? "");
        }
        return !disk.list("log").includes("00000000000000000000.log");
      },
      40_000,
    );
    // From here on nothing more is removed: what does not wait any more is carried no further, and would go with its segment.
    operator.close();
    await broker.stop();
    disk.kill();
    broker = await start(0);
    operator = new OperatorLink(broker.broker.port);
    client = broker.client;
    const waits = ["waiting", "stored, not visible yet"];
    for (const id of ["taken back", "committed", "rolled back"]) assert.deepEqual(await get(id), waits, id);
    assert.ok((await client.recall(timed, sent.recallHandles[1]!)).ok);
    assert.ok((await client.endTransaction(transactional, committed, "COMMIT")).ok);
    assert.ok((await client.endTransaction(transactional, rolledBack, "ROLLBACK")).ok);
    clock.jumpWall(hourMs);
    await waitUntil("its time has come", async () => (await get("comes"))[0] === "visible", 20_000);
    assert.deepEqual(await get("comes"), ["visible", "its time came: default/timed"]);
    assert.deepEqual(await get("taken back"), ["recalled", "its producer took it back before its time"]);
    assert.deepEqual(await get("committed"), ["visible", "its transaction was committed: default/transactional"]);
    assert.deepEqual(await get("rolled back"), ["rolled back", "its transaction was rolled back"]);
    for (const [i, handle] of handles.entries()) {
      assert.ok((await client.recall(timed, handle)).ok);
      assert.equal((await get(`waits ${i}`))[0], "recalled");
    }
    const byKey = await operator.call<{ items: Item[] }>("message.find", { topic: "default/timed", key: "k-1" });
    assert.deepEqual(
      byKey.items.map(({ messageId, standing }) => [messageId, standing]),
      [
        ["comes", "visible"],
        ["taken back", "recalled"],
      ],
    );
    operator.close();
    await broker.stop();
  });
});
