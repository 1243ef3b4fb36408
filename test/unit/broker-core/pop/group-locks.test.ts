import assert from "node:assert/strict";
import { GroupLockTable } from "../../../../broker-core/pop/group-locks.ts";
import { none } from "../../../../broker-core/pop/lease-table.ts";
import { randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { withSeed } from "../../../support/test-seed.ts";

describe("the table of message groups", () => {
  it("finds a group by subscription, queue and hash, and by nothing less", () => {
    const locks = new GroupLockTable();
    const row = locks.add(1, 2, 3);
    assert.equal(locks.find(1, 2, 3), row);
    for (const [s, q, h] of [
      [2, 2, 3],
      [1, 3, 3],
      [1, 2, 4],
    ] as const) {
      assert.equal(locks.find(s, q, h), none);
    }
    locks.remove(row);
    assert.equal(locks.find(1, 2, 3), none);
    assert.equal(locks.count, 0);
  });

  it("tells a group of one subscription and queue from the same of another where the table's own hashes agree", () => {
    /** What the table hashes of a subscription and a queue. */
    const owner = (subscription: number, queueId: number) => (Math.imul(subscription, 0x61c88647) ^ queueId) >>> 0;
    let twin = 1;
    while (owner(twin, 0) > 0xffff) twin++;
    const queueId = owner(twin, 0);
    const locks = new GroupLockTable();
    const row = locks.add(0, queueId, 7);
    assert.equal(locks.find(twin, 0, 7), none);
    const other = locks.add(twin, 0, 7);
    assert.deepEqual([locks.find(0, queueId, 7), locks.find(twin, 0, 7)], [row, other]);
    locks.remove(row);
    assert.deepEqual([locks.find(0, queueId, 7), locks.find(twin, 0, 7)], [none, other]);
  });

  it("counts what is passed by and keeps where it begins", () => {
    const locks = new GroupLockTable();
    const row = locks.add(0, 0, 7);
    locks.skip(row, 10);
    locks.skip(row, 15);
    locks.skip(row, 20);
    assert.deepEqual([locks.skippedCount[row], locks.skippedFrom[row], locks.searchedTo[row]], [3, 10, 10]);
    locks.settle(row, 15, 2);
    assert.deepEqual([locks.skippedCount[row], locks.skippedFrom[row], locks.searchedTo[row]], [1, 16, 16]);
    // What was settled before says nothing of what is settled later.
    locks.settle(row, 12, 0);
    assert.equal(locks.skippedFrom[row], 16);
    locks.settle(row, 20, 1);
    locks.skip(row, 30);
    assert.deepEqual([locks.skippedCount[row], locks.skippedFrom[row], locks.searchedTo[row]], [1, 30, 30]);
  });

  it("is the same as a map under random use", () => {
    withSeed((seed) => {
      const random = new SeededRandomness(seed);
      const locks = new GroupLockTable();
      const rows = new Map<string, number>();
      for (let i = 0; i < 20_000; i++) {
        const [s, q, h] = [randomIndex(random, 3), randomIndex(random, 4), randomIndex(random, 300)];
        const key = `${s}/${q}/${h}`;
        const known = rows.get(key);
        assert.equal(locks.find(s, q, h), known ?? none);
        if (known === undefined) rows.set(key, locks.add(s, q, h));
        else if (randomIndex(random, 2) === 0) {
          locks.remove(known);
          rows.delete(key);
        }
        assert.equal(locks.count, rows.size);
      }
      assert.equal(new Set(rows.values()).size, rows.size, "two groups share a row");
    });
  });
});
