import assert from "node:assert/strict";
import { CallState, CallTable, callsMax } from "../../../../../sidecar/upstream/broker-core/call-table.ts";
import { OpenedNames } from "../../../../../sidecar/upstream/broker-core/opened-names.ts";
import {
  afterConnection,
  freshBackoff,
  nextAttempt,
} from "../../../../../sidecar/upstream/broker-core/reconnect-backoff.ts";
import { WaitQueue } from "../../../../../sidecar/upstream/broker-core/wait-queue.ts";

describe("A call table", () => {
  it("gives a slot that is used again another correlation id, never 0", () => {
    const table = new CallTable(() => {});
    const seen = new Set<number>();
    for (let i = 0; i < 1_000; i++) {
      const slot = table.open(18, undefined, 0, undefined);
      const correlation = table.correlation(slot);
      assert.ok(correlation > 0 && correlation <= 0xffff_ffff && !seen.has(correlation));
      seen.add(correlation);
      assert.equal(table.slotOf(correlation), slot);
      table.close(slot);
      assert.equal(table.slotOf(correlation), -1);
    }
    assert.equal(table.slotOf(0), -1);
    assert.equal(table.slotOf(0xffff_ffff), -1);
  });

  it("grows up to its limit and says when it is full", () => {
    const capacities: number[] = [];
    const table = new CallTable((capacity) => capacities.push(capacity));
    const slots = new Set<number>();
    for (let i = 0; i < callsMax; i++) slots.add(table.open(18, undefined, 0, undefined));
    assert.equal(slots.size, callsMax);
    assert.equal(table.open(18, undefined, 0, undefined), -1);
    assert.equal(capacities.at(-1), callsMax);
    table.close(5);
    assert.equal(table.count, callsMax - 1);
    assert.equal(table.open(18, undefined, 0, undefined), 5);
    assert.equal(table.slotsWhere((slot) => table.states[slot] === CallState.New).length, callsMax);
  });
});

describe("A wait queue", () => {
  it("passes over what no longer waits, and does not keep it", () => {
    const live = new Set<number>();
    let looks = 0;
    const queue = new WaitQueue((correlation) => {
      looks++;
      return live.has(correlation);
    });
    for (let i = 1; i <= 10_000; i++) {
      live.add(i);
      queue.add(i, live.size);
      if (i % 100 !== 0) live.delete(i);
    }
    assert.ok(looks < 200_000, "stale entries are swept now and then, not on each look");
    const order: number[] = [];
    for (let next = queue.first(); next !== undefined; next = queue.first()) {
      order.push(next);
      queue.shift();
    }
    assert.deepEqual(order, [...live]);
    assert.ok(queue.isEmpty);
  });
});

describe("The backoff of reconnects", () => {
  it("doubles its ceiling from 100 ms to 4 s under full jitter", () => {
    let backoff = freshBackoff;
    const ceilings: number[] = [];
    for (let i = 0; i < 10; i++) {
      const next = nextAttempt(backoff, 0.5);
      ceilings.push(next.delayMs * 2);
      backoff = next.backoff;
    }
    assert.deepEqual(ceilings, [100, 200, 400, 800, 1_600, 3_200, 4_000, 4_000, 4_000, 4_000]);
    assert.equal(nextAttempt(backoff, 0).delayMs, 0);
  });

  it("begins anew after 30 s of health, and at 800 ms at most after less", () => {
    const tired = { attempts: 20 };
    assert.equal(nextAttempt(afterConnection(tired, 30_000), 1).delayMs, 100);
    assert.equal(nextAttempt(afterConnection(tired, 29_999), 1).delayMs, 800);
    assert.equal(nextAttempt(afterConnection({ attempts: 1 }, 10), 1).delayMs, 200);
  });
});

describe("The names of a connection", () => {
  it("are found by name until something newer asks", () => {
    const names = new OpenedNames<{ name: string; version: number }>((ref, opened) => ref.version > opened.version);
    assert.equal(names.find({ name: "a", version: 1 }), undefined);
    const opening = names.begin({ name: "a", version: 1 });
    assert.equal(names.find({ name: "a", version: 1 }), opening);
    assert.equal(names.find({ name: "a", version: 0 }), opening);
    assert.equal(names.find({ name: "a", version: 2 }), undefined);
    names.forget("a");
    assert.equal(names.find({ name: "a", version: 1 }), undefined);
  });
});
