import assert from "node:assert/strict";
import { ChangeDebounce } from "../../../../control-plane/xds/change-debounce.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

describe("the debounce of changes", () => {
  let clock: ManualClock;
  let flushedAtMs: number[];
  let debounce: ChangeDebounce;
  let startMs: number;

  beforeEach(() => {
    clock = new ManualClock({ automaticTurns: false });
    startMs = clock.monotonicMs();
    flushedAtMs = [];
    debounce = new ChangeDebounce(clock, () => flushedAtMs.push(clock.monotonicMs() - startMs));
  });

  it("lets a change alone go at the end of its turn, and others of that turn with it", () => {
    debounce.touch();
    debounce.touch();
    assert.deepEqual(flushedAtMs, []);
    clock.endTurn();
    assert.deepEqual(flushedAtMs, [0]);
    clock.advance(1_000);
    assert.deepEqual(flushedAtMs, [0]);
  });

  it("makes two flushes of 100 changes within 50 ms", () => {
    for (let i = 0; i < 100; i++) {
      debounce.touch();
      clock.endTurn();
      clock.advance(0.5);
    }
    clock.advance(1_000);
    assert.equal(flushedAtMs.length, 2);
    assert.ok((flushedAtMs[1] ?? 0) <= 50 + 50);
  });

  it("under continuous change flushes once a second", () => {
    for (let i = 0; i < 500; i++) {
      debounce.touch();
      clock.endTurn();
      clock.advance(10);
    }
    assert.deepEqual(
      flushedAtMs.map((ms) => Math.round(ms / 1_000)),
      [0, 1, 2, 3, 4],
    );
  });

  it("is at rest again after a quiet while", () => {
    debounce.touch();
    clock.endTurn();
    clock.advance(60);
    debounce.touch();
    clock.endTurn();
    assert.deepEqual(flushedAtMs, [0, 60]);
  });

  it("flushes nothing once closed", () => {
    debounce.touch();
    debounce.close();
    clock.endTurn();
    clock.advance(1_000);
    assert.deepEqual(flushedAtMs, []);
  });
});
