import assert from "node:assert/strict";
import { ConsumeQueueTable } from "../../../../broker-core/consume-queue/consume-queue-table.ts";
import { MemoryIndexPages } from "../../../../broker-core/consume-queue/memory-index-pages.ts";
import { ImageReader, ImageWriter } from "../../../../broker-core/dispatch/image-bytes.ts";

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

  it("lose their oldest entries, keep the offsets of the others, and give whole blocks to others", () => {
    const queues = new ConsumeQueueTable();
    const slot = queues.add(1, 0);
    const other = queues.add(2, 0);
    for (let round = 0; round < 20; round++) {
      for (let n = 0; n < 100; n++) queues.append(slot, round * 100 + n, 0, 0, 0, 0, 0);
      for (let n = 0; n < 50; n++) queues.append(other, 1e9 + round * 50 + n, 0, 0, 0, 0, 0);
      const begin = round * 100 + ((round * 37) % 101);
      queues.trim(slot, begin);
      queues.trim(slot, begin - 5);
      assert.deepEqual([queues.beginOffset(slot), queues.endOffset(slot)], [begin, round * 100 + 100]);
      for (let n = begin; n < round * 100 + 100; n++) assert.equal(queues.position(queues.entry(slot, n)), n);
      for (let n = 0; n < round * 50 + 50; n++) assert.equal(queues.position(queues.entry(other, n)), 1e9 + n);
    }
    queues.trim(slot, 2_000);
    assert.equal(queues.beginOffset(slot), 2_000);
    queues.append(slot, 2_000, 0, 0, 0, 0, 0);
    assert.equal(queues.position(queues.entry(slot, 2_000)), 2_000);
    queues.remove(slot);
    const young = queues.add(3, 0);
    assert.deepEqual([young, queues.beginOffset(young), queues.endOffset(young)], [slot, 0, 0]);
    for (let n = 0; n < 300; n++) queues.append(young, n, 0, 0, 0, 0, 0);
    for (let n = 0; n < 300; n++) assert.equal(queues.position(queues.entry(young, n)), n);
    for (let n = 0; n < 1_000; n++) assert.equal(queues.position(queues.entry(other, n)), 1e9 + n);
  });

  it("can be read run by run", () => {
    const queues = new ConsumeQueueTable();
    const slot = queues.add(1, 0);
    for (let n = 0; n < 1_000; n++) queues.append(slot, n * 7, 0, 0, 0, 0, 0);
    for (const [from, to] of [
      [0, 1_000],
      [63, 65],
      [500, 501],
    ] as const) {
      const seen: number[] = [];
      for (let offset = from; offset < to; ) {
        const entry = queues.entry(slot, offset);
        const count = queues.runLength(slot, offset, to);
        assert.ok(count >= 1 && offset + count <= to);
        for (let i = 0; i < count; i++) seen.push(queues.position(entry + i));
        offset += count;
      }
      assert.deepEqual(
        seen,
        Array.from({ length: to - from }, (_, i) => (from + i) * 7),
      );
    }
  });

  it("show nothing of a removed queue in the one that takes its slot, wherever its entries were read from", () => {
    // One slab of memory: the fifth entry of a queue sends the four before to disk.
    const queues = new ConsumeQueueTable(new MemoryIndexPages(), 1);
    for (const [round, count] of [5, 300, 600, 5].entries()) {
      const slot = queues.add(round + 1, 0);
      assert.equal(slot, 0);
      for (let n = 0; n < count; n++) queues.append(slot, round * 1e6 + n, 0, 0, 0, 0, 0);
      for (const n of [0, count - 1, 0]) assert.equal(queues.position(queues.entry(slot, n)), round * 1e6 + n);
      queues.remove(slot);
    }
  });

  it("come out of an image with their offsets", () => {
    const queues = new ConsumeQueueTable();
    const slot = queues.add(1, 0);
    for (let n = 0; n < 300; n++) queues.append(slot, n * 7, n, n + 1, n + 2, 0, n & 1);
    queues.trim(slot, 100);
    const image = new ImageWriter();
    queues.writeTo(image, "whole");
    const restored = new ConsumeQueueTable();
    restored.readFrom(new ImageReader(image.bytes()));
    const again = slot;
    restored.append(again, 2_100, 0, 0, 0, 0, 0);
    assert.deepEqual([restored.beginOffset(again), restored.endOffset(again)], [100, 301]);
    for (let n = 100; n < 300; n++) {
      const entry = restored.entry(again, n);
      assert.deepEqual(
        [restored.position(entry), restored.bytes(entry), restored.tagHash(entry), restored.flags(entry)],
        [n * 7, n, n + 1, n & 1],
      );
    }
    assert.equal(restored.position(restored.entry(again, 300)), 2_100);
  });
});
