import assert from "node:assert/strict";
import type { RolloutSpec, RolloutState } from "../../../../control-plane/resource/rollout.ts";
import {
  beginRollout,
  decideRollout,
  orderRollout,
  type RolloutOrder,
  type RolloutView,
  respecRollout,
  wantedShare,
} from "../../../../control-plane/rollout/decide-rollout.ts";
import type { GroupOutcomes, Outcomes } from "../../../../control-plane/rollout/outcome-window.ts";
import { processingBucket } from "../../../../proto/lane/processing-bucket.ts";
import fc from "../../../support/seeded-fast-check.ts";

const spec: RolloutSpec = {
  laneRule: "orders",
  steps: [
    { percent: 1, pauseMs: 60_000 },
    { percent: 25, pauseMs: "manual" },
    { percent: 100, pauseMs: 0 },
  ],
  guards: { failureRate: { max: 10, overBase: 2 } },
  windowMs: 60_000,
  samplesMin: 50,
};

function outcomes(acks: number, failures = 0, more: Partial<Outcomes> = {}): Outcomes {
  return { acks, failures, deadLetters: 0, buckets: [acks], lagMs: 0, ...more };
}

function view(lane: Outcomes, base: Outcomes = outcomes(1_000), more: Partial<RolloutView> = {}): RolloutView {
  return { groups: [{ group: "ns/g", lane, base }], windowMs: 60_000, ...more };
}

const begun = beginRollout(spec, 1, 0, "me");
const decide = (state: RolloutState, seen: RolloutView, nowMs: number, by: RolloutSpec = spec) =>
  decideRollout(by, state, seen, nowMs, "it");
const stateOf = (state: RolloutState | string): RolloutState => {
  assert.ok(typeof state === "object", String(state));
  return state;
};
const order = (state: RolloutState, what: RolloutOrder) => orderRollout(spec, state, what, 5, "me");

describe("A rollout, by what is decided", () => {
  for (const [what, seen, nowMs, phase, step, waits] of [
    ["a step that is not over", view(outcomes(100)), 59_000, "progressing", 0, /1 s of the step/],
    ["a step that went well", view(outcomes(100)), 60_000, "progressing", 1, /^$/],
    ["a quiet lane, however long", view(outcomes(49)), 9e9, "progressing", 0, /49 of 50 hand-outs/],
    ["a lane nobody is in", { groups: [], windowMs: 1 }, 9e9, "progressing", 0, /0 of 50/],
    ["a quiet lane that fails by chance", view(outcomes(0, 49)), 60_000, "progressing", 0, /49 of 50/],
    ["a rate above the limit", view(outcomes(80, 20)), 100, "rolled back", 0, /^$/],
    ["a rate at the limit, base no better", view(outcomes(90, 10), outcomes(90, 10)), 60_000, "progressing", 1, /^$/],
    ["a rate far above base's", view(outcomes(97, 3)), 100, "rolled back", 0, /^$/],
    ["the same with a quiet base", view(outcomes(97, 3), outcomes(49)), 100, "progressing", 0, /60 s/],
    ["figures that are missing", view(outcomes(99), undefined, { incomplete: "no b" }), 9e9, "progressing", 0, /no b/],
  ] as const) {
    it(`${what}: ${phase}, step ${step + 1}`, () => {
      const { state, waitsFor } = decide(begun, seen, nowMs);
      assert.deepEqual([state.phase, state.step], [phase, step]);
      assert.match(waitsFor, waits);
    });
  }

  it("tells why it was rolled back: guard, figures of lane and base, window", () => {
    const { state } = decide(begun, view(outcomes(97, 3)), 100);
    assert.deepEqual(wantedShare(spec, state), { percent: 0, isWithdrawn: true });
    assert.match(
      state.events.at(-1)?.what ?? "",
      /^rolled back at 1 %: failures of group ns\/g at 3 % with a limit of 2 %; base has 0 % \(100 and 1000 hand-outs in 60 s\)$/,
    );
    assert.equal(state.verdict?.guard, "failureRate");
  });

  it("stays rolled back whatever comes, until a person resumes", () => {
    let { state } = decide(begun, view(outcomes(0, 100)), 100);
    for (const nowMs of [1e6, 1e9]) ({ state } = decide(state, view(outcomes(1_000)), nowMs));
    assert.equal(state.phase, "rolled back");
    for (const what of ["pause", "promote", "abort"] as const) assert.equal(typeof order(state, what), "string");
    state = stateOf(order(state, "resume"));
    assert.deepEqual([state.phase, state.step, state.stepSinceMs, state.verdict], ["progressing", 0, 5, undefined]);
  });

  it("waits at a manual pause for a person, and guards look on", () => {
    const { state } = decide(begun, view(outcomes(100)), 60_000);
    assert.match(decide(state, view(outcomes(1_000)), 9e9).waitsFor, /popmesh rollout promote/);
    assert.equal(decide(state, view(outcomes(0, 100)), 9e9).state.phase, "rolled back");
    const last = stateOf(order(state, "promote"));
    assert.equal(wantedShare(spec, last).percent, 100);
    const { state: done } = decide(last, view(outcomes(1_000)), 9e9);
    assert.equal(done.phase, "done");
    assert.deepEqual(wantedShare(spec, done), { percent: 100, isWithdrawn: false });
    assert.equal(decide(done, view(outcomes(0, 100)), 9e9).state.phase, "done");
  });

  it("goes no further while a person has paused it, and guards look on", () => {
    const paused = stateOf(order(begun, "pause"));
    assert.equal(decide(paused, view(outcomes(1_000)), 9e9).state, paused);
    assert.equal(decide(paused, view(outcomes(0, 100)), 9e9).state.phase, "rolled back");
    assert.equal(stateOf(order(paused, "resume")).phase, "progressing");
  });

  it("is aborted at once, and taken back", () => {
    const aborted = stateOf(order(begun, "abort"));
    assert.deepEqual(wantedShare(spec, aborted), { percent: 0, isWithdrawn: true });
    assert.equal(decide(aborted, view(outcomes(1_000)), 9e9).state, aborted);
  });

  it("begins its step anew with a changed spec; what is rolled back stays so", () => {
    const second = stateOf(order(begun, "promote"));
    const shorter = { ...spec, steps: spec.steps.slice(0, 1) };
    const changed = respecRollout(shorter, second, 2, 77, "me");
    assert.deepEqual([changed.step, changed.stepSinceMs, changed.generation], [0, 77, 2]);
    const { state } = decide(begun, view(outcomes(0, 100)), 100);
    assert.equal(respecRollout(shorter, state, 2, 77, "me").phase, "rolled back");
  });

  it("judges dead letters, lag and processing time, absolute and against base", () => {
    const slow = new Array<number>(processingBucket(1_000) + 1).fill(0);
    slow[processingBucket(1_000)] = 100;
    const fast = new Array<number>(processingBucket(10) + 1).fill(0);
    fast[processingBucket(10)] = 100;
    for (const [guards, lane, base, isBroken] of [
      [{ deadLetterRate: { max: 1 } }, outcomes(98, 0, { deadLetters: 2 }), outcomes(100), true],
      [{ deadLetterRate: { max: 2 } }, outcomes(98, 0, { deadLetters: 2 }), outcomes(100), false],
      [{ lag: { maxMs: 5_000 } }, outcomes(0, 0, { lagMs: 5_001 }), outcomes(100), true],
      [{ lag: { timesBase: 3 } }, outcomes(0, 0, { lagMs: 2_999 }), outcomes(100), false],
      [{ lag: { timesBase: 3 } }, outcomes(0, 0, { lagMs: 6_001 }), outcomes(100, 0, { lagMs: 2_000 }), true],
      [{ processingP99: { maxMs: 900 } }, outcomes(100, 0, { buckets: slow }), outcomes(100), true],
      [
        { processingP99: { timesBase: 2 } },
        outcomes(100, 0, { buckets: slow }),
        outcomes(9, 0, { buckets: [9] }),
        false,
      ],
      [
        { processingP99: { timesBase: 2 } },
        outcomes(100, 0, { buckets: slow }),
        outcomes(100, 0, { buckets: fast }),
        true,
      ],
      [
        { processingP99: { timesBase: 2 } },
        outcomes(100, 0, { buckets: fast }),
        outcomes(100, 0, { buckets: fast }),
        false,
      ],
    ] as const) {
      const { state } = decide(begun, view(lane, base), 100, { ...spec, guards });
      assert.equal(state.phase === "rolled back", isBroken, JSON.stringify(guards));
    }
  });
});

describe("Any rollout", () => {
  const figures = fc.record({
    acks: fc.nat(200),
    failures: fc.nat(200),
    deadLetters: fc.nat(5),
    lagMs: fc.nat(5_000),
    buckets: fc.array(fc.nat(50), { maxLength: 60 }),
  });
  const groups = fc.array(fc.record({ group: fc.constantFrom("a", "b"), lane: figures, base: figures }), {
    maxLength: 2,
  });
  type Move = { passMs: number; groups: readonly GroupOutcomes[]; order: RolloutOrder | undefined };
  const moves = fc.array(
    fc.record({
      passMs: fc.nat(100_000),
      groups,
      order: fc.option(fc.constantFrom<RolloutOrder>("pause", "resume", "promote", "abort"), {
        nil: undefined,
        freq: 6,
      }),
    }),
    { maxLength: 40 },
  );

  it("raises its share only by a person or with enough samples, falls only to nothing, and is decided again the same", () => {
    fc.assert(
      fc.property(moves, (all: readonly Move[]) => {
        let state = begun;
        let nowMs = 0;
        for (const move of all) {
          nowMs += move.passMs;
          const before = state;
          const was = wantedShare(spec, before);
          if (move.order !== undefined) {
            const next = orderRollout(spec, state, move.order, nowMs, "me");
            if (typeof next === "object") state = next;
            continue;
          }
          const seen = { groups: move.groups, windowMs: 60_000 };
          // Plain data: what a restart reads back decides the same.
          const stored = JSON.parse(JSON.stringify(before)) as RolloutState;
          const decided = decideRollout(spec, before, seen, nowMs, "it");
          assert.deepEqual(
            JSON.parse(JSON.stringify(decideRollout(spec, stored, seen, nowMs, "it"))),
            JSON.parse(JSON.stringify(decided)),
          );
          state = decided.state;
          const is = wantedShare(spec, state);
          const samples = Math.max(0, ...move.groups.map(({ lane }) => lane.acks + lane.failures));
          if (is.percent > was.percent) {
            assert.ok(samples >= spec.samplesMin, "a quiet lane passes");
            assert.equal(before.phase, "progressing");
            assert.notEqual(spec.steps[before.step]?.pauseMs, "manual");
            assert.ok(decided.verdicts.every(({ outcome }) => outcome !== "broken"));
          }
          if (is.percent < was.percent) {
            assert.deepEqual(is, { percent: 0, isWithdrawn: true });
            assert.ok(samples >= spec.samplesMin, "a quiet lane fails by its rates");
          }
          const isStopped = before.phase === "rolled back" || before.phase === "aborted" || before.phase === "done";
          if (isStopped) assert.equal(state, before);
        }
      }),
    );
  });
});
