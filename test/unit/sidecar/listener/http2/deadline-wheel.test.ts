import assert from "node:assert/strict";
import { DeadlineWheel, type WheelEntry } from "../../../../../sidecar/listener/http2/deadline-wheel.ts";
import { ManualClock } from "../../../../support/manual-clock.ts";

class Entry implements WheelEntry {
  readonly deadlineMs: number;
  wheelNext: WheelEntry | undefined;
  wheelPrevious: WheelEntry | undefined;
  wheelSlot = -1;

  constructor(deadlineMs: number) {
    this.deadlineMs = deadlineMs;
  }
}

describe("deadline wheel", () => {
  it("tells each entry once, never early and at most two ticks late, from 1 ms to several turns ahead", () => {
    const clock = new ManualClock();
    const due = new Map<WheelEntry, number>();
    const wheel = new DeadlineWheel(clock, (entry) => {
      assert.ok(!due.has(entry), "told twice");
      due.set(entry, clock.monotonicMs());
    });
    const startMs = clock.monotonicMs();
    const entries: Entry[] = [];
    for (let i = 0; i < 500; i++) {
      const entry = new Entry(startMs + 1 + ((i * 7919) % 70_000));
      entries.push(entry);
      wheel.add(entry);
    }
    for (let ms = 0; ms < 71_000; ms += 10) clock.advance(10);
    for (const entry of entries) {
      const lateMs = due.get(entry)! - entry.deadlineMs;
      assert.ok(lateMs >= 0 && lateMs <= 40, `${lateMs} ms late`);
    }
    assert.equal(wheel.count, 0);
    assert.equal(clock.pendingTimers, 0, "an empty wheel has no timer");
  });

  it("forgets what was removed, wherever it is in its slot", () => {
    const clock = new ManualClock();
    const due: WheelEntry[] = [];
    const wheel = new DeadlineWheel(clock, (entry) => due.push(entry));
    const entries = Array.from({ length: 5 }, () => new Entry(clock.monotonicMs() + 100));
    for (const entry of entries) wheel.add(entry);
    for (const i of [0, 2, 4]) wheel.remove(entries[i]!);
    wheel.remove(entries[2]!);
    clock.advance(200);
    assert.deepEqual(new Set(due), new Set([entries[1], entries[3]]));
  });

  it("lets an entry that is told remove and add others", () => {
    const clock = new ManualClock();
    const later = new Entry(clock.monotonicMs() + 500);
    const sibling = new Entry(clock.monotonicMs() + 2000);
    const due: WheelEntry[] = [];
    const wheel = new DeadlineWheel(clock, (entry) => {
      due.push(entry);
      if (due.length > 1) return;
      wheel.remove(sibling);
      wheel.add(later);
    });
    const firstEntry = new Entry(clock.monotonicMs() + 50);
    wheel.add(firstEntry);
    wheel.add(sibling);
    for (let i = 0; i < 300; i++) clock.advance(10);
    assert.deepEqual(due, [firstEntry, later]);
  });

  it("catches up after a stall longer than a turn", () => {
    const clock = new ManualClock();
    const due: WheelEntry[] = [];
    const wheel = new DeadlineWheel(clock, (entry) => due.push(entry));
    for (let i = 1; i <= 100; i++) wheel.add(new Entry(clock.monotonicMs() + i * 10));
    wheel.add(new Entry(clock.monotonicMs() + 10_000_000));
    // One jump: the timer that was due long ago fires with the clock far ahead.
    clock.advance(20);
    clock.advance(60_000);
    assert.equal(due.length, 100);
    assert.equal(wheel.count, 1);
    wheel.close();
    assert.equal(clock.pendingTimers, 0);
  });
});
