import assert from "node:assert/strict";
import { UndurableEntries } from "../../../../broker-core/consume-queue/undurable-entries.ts";

describe("entries that are not durable yet", () => {
  it("come out in the order of the log, as far as it is durable", () => {
    const entries = new UndurableEntries();
    for (let i = 0; i < 5_000; i++) entries.push(i * 10, i);
    assert.equal(entries.take(0), -1);
    for (let i = 0; i < 5_000; i++) {
      assert.equal(entries.take(i * 10), -1, "a record at the durable position is not durable");
      assert.equal(entries.take(i * 10 + 1), i);
      entries.push(100_000 + i, i);
    }
  });

  it("leave out a queue that was dropped", () => {
    const entries = new UndurableEntries();
    for (let i = 0; i < 1_500; i++) entries.push(i, i % 3);
    for (let i = 0; i < 600; i++) entries.take(10_000);
    entries.forget(1);
    const left: number[] = [];
    for (let queue = entries.take(10_000); queue >= 0; queue = entries.take(10_000)) left.push(queue);
    assert.deepEqual(
      left,
      Array.from({ length: 600 }, (_, i) => (i % 2 === 0 ? 0 : 2)),
    );
  });
});
