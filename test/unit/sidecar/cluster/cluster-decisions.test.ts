import assert from "node:assert/strict";
import { PlaceLimit, RetryBudget } from "../../../../sidecar/cluster/circuit-limits.ts";
import {
  afterFailure,
  afterSuccess,
  innocent,
  isEjected,
  mayEject,
  type OutlierState,
} from "../../../../sidecar/cluster/outlier-detector.ts";
import {
  admitReceive,
  afterReceiveFailure,
  afterReceiveSuccess,
  noBackoff,
} from "../../../../sidecar/cluster/receive-backoff.ts";

const yes = (): boolean => true;

function fail(state: OutlierState, count: number, nowMs: number, may = yes): OutlierState {
  for (let i = 0; i < count; i++) state = afterFailure(state, nowMs, may);
  return state;
}

describe("The outlier detector", () => {
  it("ejects after 5 transport failures in a row, not after 4, and not when one succeeds between", () => {
    assert.equal(isEjected(fail(innocent, 4, 0), 1), false);
    assert.equal(isEjected(fail(innocent, 5, 0), 1), true);
    assert.equal(isEjected(fail(afterSuccess(fail(innocent, 4, 0)), 4, 0), 1), false);
  });

  it("ejects for 30 s the first time, 30 s longer each time after, never longer than 300 s", () => {
    let state = innocent;
    let nowMs = 0;
    const durations: number[] = [];
    for (let i = 0; i < 12; i++) {
      state = fail(state, 5, nowMs);
      durations.push(state.ejectedUntilMs - nowMs);
      nowMs = state.ejectedUntilMs;
    }
    assert.deepEqual(durations.slice(0, 3), [30_000, 60_000, 90_000]);
    assert.deepEqual(durations.slice(-3), [300_000, 300_000, 300_000]);
  });

  it("forgives one ejection for each 30 s without another", () => {
    const ejectedTwice = fail(fail(innocent, 5, 0), 5, 30_000);
    const laterMs = ejectedTwice.ejectedUntilMs + 60_000;
    const again = fail(ejectedTwice, 5, laterMs);
    assert.equal(again.ejectedUntilMs - laterMs, 30_000);
  });

  it("does not count what was under way when it was ejected", () => {
    const ejected = fail(innocent, 5, 0);
    assert.deepEqual(fail(ejected, 100, 10_000), ejected);
  });

  it("asks again at the next failure when it may not eject", () => {
    let mayNow = false;
    let state = fail(innocent, 7, 0, () => mayNow);
    assert.equal(isEjected(state, 1), false);
    mayNow = true;
    state = afterFailure(state, 1, () => mayNow);
    assert.equal(isEjected(state, 2), true);
  });

  it("never ejects the last endpoint, and at most half of them", () => {
    const most = (count: number): number => {
      let ejected = 0;
      while (mayEject(count, ejected)) ejected++;
      return ejected;
    };
    assert.deepEqual([1, 2, 3, 4, 5, 10].map(most), [0, 1, 1, 2, 2, 5]);
  });
});

describe("The backoff of receives", () => {
  it("lets everybody through until one fails, then one probe at a time", () => {
    assert.deepEqual(admitReceive(noBackoff, 0), { kind: "go" });
    const failed = afterReceiveFailure(noBackoff, 1_000, false, 0.99);
    const wait = admitReceive(failed, 1_000);
    assert.ok(wait.kind === "wait" && wait.waitMs >= 50 && wait.waitMs <= 100);
    const probe = admitReceive(failed, failed.nextProbeMs);
    assert.ok(probe.kind === "probe");
    assert.equal(admitReceive(probe.state, failed.nextProbeMs + 1).kind, "wait", "one probe at a time");
    assert.equal(admitReceive(probe.state, failed.nextProbeMs + 30_001).kind, "probe", "a lost probe does not block");
    assert.deepEqual(admitReceive(afterReceiveSuccess(probe.state), 0), { kind: "go" });
  });

  it("counts failures of receives that were under way together once, and grows to 10 s", () => {
    let state = afterReceiveFailure(noBackoff, 0, false, 0.5);
    assert.deepEqual(afterReceiveFailure(state, 1, false, 0.5), state);
    for (let i = 0; i < 20; i++) state = afterReceiveFailure(state, 0, true, 0.999_999);
    assert.ok(state.nextProbeMs > 9_999 && state.nextProbeMs <= 10_000);
  });
});

describe("The retry budget", () => {
  it("allows 3 retries always, and a fifth of the calls under way", () => {
    const budget = new RetryBudget();
    const retries = (): number => {
      let count = 0;
      while (budget.tryRetry()) count++;
      for (let i = 0; i < count; i++) budget.endRetry();
      return count;
    };
    budget.beginCall();
    assert.equal(retries(), 3);
    for (let i = 0; i < 99; i++) budget.beginCall();
    assert.equal(retries(), 20);
    for (let i = 0; i < 100; i++) budget.endCall();
    assert.equal(retries(), 3);
    assert.throws(() => budget.endCall());
  });
});

describe("A limit of places", () => {
  it("gives no more than there are, and none back that was not taken", () => {
    const places = new PlaceLimit(2);
    assert.deepEqual([places.tryTake(), places.tryTake(), places.tryTake()], [true, true, false]);
    places.giveBack();
    assert.ok(places.tryTake());
    places.giveBack();
    places.giveBack();
    assert.throws(() => places.giveBack());
  });
});
