import assert from "node:assert/strict";
import { ConsumeQueueTable } from "../../../../broker-core/consume-queue/consume-queue-table.ts";

describe("the consume queues", () => {
  it("keep every entry of every queue across blocks and slabs", () => {
    const queues = new ConsumeQueueTable();
    const slots = Array.from({ length: 300 }, (_, i) => queues.add(i, i % 7));
    const count = 500;
    for (let n = 0; n < count; n++) {
      for (const [i, slot] of slots.entries()) queues.append(slot, n * 1e12 + i, i, n, i ^ n, 0, n & 1);
    }
    for (const [i, slot] of slots.entries()) {
      assert.deepEqual([queues.topicId(slot), queues.queueId(slot), queues.endOffset(slot)], [i, i % 7, count]);
      for (const n of [0, 63, 64, 255, 256, count - 1]) {
        const entry = queues.entry(slot, n);
        assert.deepEqual(
          [
            queues.position(entry),
            queues.bytes(entry),
            queues.tagHash(entry),
            queues.groupHash(entry),
            queues.flags(entry),
          ],
          [n * 1e12 + i, i, n, i ^ n, n & 1],
        );
      }
    }
  });

  it("give the blocks of a dropped queue to others, and begin anew in its slot", () => {
    const queues = new ConsumeQueueTable();
    const kept = queues.add(1, 0);
    const dropped = queues.add(2, 0);
    for (let n = 0; n < 200; n++) {
      queues.append(kept, n, 0, 0, 0, 0, 0);
      queues.append(dropped, 1_000 + n, 0, 0, 0, 0, 0);
    }
    queues.remove(dropped);
    const young = queues.add(3, 5);
    assert.equal(young, dropped);
    assert.equal(queues.endOffset(young), 0);
    for (let n = 0; n < 200; n++) queues.append(young, 5_000 + n, 0, 0, 0, 0, 0);
    for (let n = 0; n < 200; n++) {
      assert.equal(queues.position(queues.entry(kept, n)), n);
      assert.equal(queues.position(queues.entry(young, n)), 5_000 + n);
    }
  });
});
