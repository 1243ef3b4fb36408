import assert from "node:assert/strict";
import { ChangeKind, type LaneOutcomeFigures } from "../../../../broker-core/broker-port.ts";
import { processingBoundMs, processingBucket, processingQuantileMs } from "../../../../proto/lane/processing-bucket.ts";
import { byMark, LaneFixture } from "../../../support/lane-fixture.ts";

function figures(l: LaneFixture): Record<string, LaneOutcomeFigures> {
  const { items } = l.f.operate<{ items: LaneOutcomeFigures[] }>("lane.outcomes", {});
  return Object.fromEntries(items.map((item) => [item.lane, item]));
}

/** Deliveries, acks, failures and dead letters of a lane. */
function counts(l: LaneFixture, lane: string): number[] {
  const { deliveries = -1, acks = -1, failures = -1, deadLetters = -1 } = figures(l)[lane] ?? {};
  return [deliveries, acks, failures, deadLetters];
}

const held = { ...byMark("canary"), whenEmpty: { action: "hold" } };

describe("Outcomes by lane", () => {
  it("are not there without a rule", () => {
    const l = new LaneFixture();
    l.send("a");
    l.handle();
    assert.deepEqual(figures(l), {});
  });

  it("count acks with their time in the lane of the consumer", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(held);
    l.send("a", "canary");
    l.send("b");
    const [a] = l.pop("canary");
    const [b] = l.pop();
    l.f.pass(100);
    l.f.ack(l.groupId, a!.receipt);
    l.f.pass(900);
    l.f.ack(l.groupId, b!.receipt);
    const { canary, base } = figures(l);
    assert.deepEqual(counts(l, "canary"), [1, 1, 0, 0]);
    assert.deepEqual(counts(l, "base"), [1, 1, 0, 0]);
    assert.equal(canary!.buckets[processingBucket(100)], 1);
    assert.equal(canary!.processingMs, 100);
    assert.equal(base!.buckets.length, processingBucket(1_000) + 1);
  });

  it("count what base handles of a spilled lane as base's", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(byMark("canary"));
    l.send("a", "canary");
    assert.deepEqual(l.handle(), ["a"]);
    assert.deepEqual(counts(l, "base"), [1, 1, 0, 0]);
    assert.deepEqual(counts(l, "canary"), [0, 0, 0, 0]);
  });

  it("count a lease that ends, once for each hand-out", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(held);
    l.send("a", "canary");
    l.pop("canary", { invisibleMs: 10_000 });
    l.f.pass(10_001);
    assert.deepEqual(counts(l, "canary"), [1, 0, 1, 0]);
    l.f.pass(60_000);
    l.handle("canary");
    assert.deepEqual(counts(l, "canary"), [2, 1, 1, 0]);
  });

  it("count a message that its consumer gives back at once, and not again when its delay is over", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(held);
    l.send("a", "canary");
    const [a] = l.pop("canary", { invisibleMs: 60_000 });
    l.f.change(l.groupId, a!.receipt, ChangeKind.Renew, 5_000);
    assert.deepEqual(counts(l, "canary"), [1, 0, 1, 0]);
    l.f.pass(5_001);
    assert.deepEqual(counts(l, "canary"), [1, 0, 1, 0]);
  });

  it("do not count more time that a consumer asks for, nor hand-backs and suspensions", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(held);
    for (const [id, kind, ms] of [
      ["a", ChangeKind.Renew, 120_000],
      ["b", ChangeKind.HandBack, 0],
      ["c", ChangeKind.Suspend, 1_000],
    ] as const) {
      l.send(id, "canary");
      const [got] = l.pop("canary", { invisibleMs: 60_000 });
      l.f.change(l.groupId, got!.receipt, kind, ms);
      if (kind !== ChangeKind.Renew) {
        l.f.pass(1_001);
        assert.deepEqual(l.handle("canary"), [id]);
      }
    }
    assert.equal(counts(l, "canary")[2], 0);
    l.f.pass(120_000);
    assert.equal(counts(l, "canary")[2], 1, "it did not use the time it asked for");
  });

  it("count dead letters of both kinds, each as a failure too", () => {
    const l = new LaneFixture({ attemptsMax: 1 });
    l.pop();
    l.rule(held);
    l.send("a", "canary");
    l.send("b", "canary");
    const got = l.pop("canary", { invisibleMs: 10_000, batch: 1 });
    l.f.state.deadLetter(l.groupId, [got[0]!.receipt], l.f.now);
    l.f.sync();
    assert.deepEqual(counts(l, "canary"), [1, 0, 1, 1]);
    l.pop("canary", { invisibleMs: 10_000 });
    l.f.pass(10_001);
    assert.deepEqual(counts(l, "canary"), [2, 0, 2, 2]);
  });

  it("tell the age of the oldest message of each lane: ahead, in hand, or back", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(held);
    l.send("a", "canary");
    l.f.pass(3_000);
    l.send("b");
    l.f.pass(2_000);
    const lags = () => [figures(l)["canary"]?.lagMs, figures(l)["base"]?.lagMs];
    assert.deepEqual(lags(), [5_000, 2_000]);
    l.pop("canary", { invisibleMs: 10_000 });
    l.handle();
    assert.deepEqual(lags(), [5_000, 0]);
    l.f.pass(10_001);
    assert.deepEqual(lags(), [15_001, 0]);
    l.handle("canary");
    assert.deepEqual(lags(), [0, 0]);
  });

  it("begin anew with a lane that comes back, and with a start, which another run tells", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(held);
    l.send("a", "canary");
    l.handle("canary");
    const { run } = l.f.operate<{ run: number }>("lane.outcomes", {});
    l.f.crash("kill");
    assert.deepEqual(counts(l, "canary"), [0, 0, 0, 0]);
    assert.notEqual(l.f.operate<{ run: number }>("lane.outcomes", {}).run, run);
    l.send("b", "canary");
    l.handle("canary");
    l.rule(null);
    l.handle();
    l.f.advance();
    assert.deepEqual(figures(l), {});
    l.rule(held);
    assert.deepEqual(counts(l, "canary"), [0, 0, 0, 0]);
    l.f.assertRebuilt();
  });
});

describe("Buckets of processing times", () => {
  it("hold what is not above their bound, and what is above the one before", () => {
    for (const ms of [0, 0.5, 1, 1.1, 2, 3, 100, 999, 60_000, 1 << 20]) {
      const bucket = processingBucket(ms);
      assert.ok(ms <= processingBoundMs(bucket), `${ms}`);
      if (bucket > 0) assert.ok(ms > processingBoundMs(bucket - 1), `${ms}`);
    }
    assert.equal(processingBoundMs(processingBucket(Number.MAX_VALUE)), Number.POSITIVE_INFINITY);
  });

  it("give quantiles", () => {
    const counts = new Array<number>(60).fill(0);
    counts[processingBucket(10)] = 98;
    counts[processingBucket(1_000)] = 2;
    assert.equal(processingQuantileMs(counts, 0.5), processingBoundMs(processingBucket(10)));
    assert.equal(processingQuantileMs(counts, 0.99), processingBoundMs(processingBucket(1_000)));
    assert.equal(processingQuantileMs([], 0.99), undefined);
  });
});
