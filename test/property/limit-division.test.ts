import assert from "node:assert/strict";
import { divideLimit, reservePart } from "../../control-plane/limit/divide-limit.ts";
import { LimitDivision } from "../../control-plane/limit/limit-division.ts";
import fc from "../support/seeded-fast-check.ts";

const epsilon = 1e-9;
const sumOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
const want = fc.oneof(
  fc.constant(0),
  fc.double({ min: 0, max: 0.2, noNaN: true }),
  fc.double({ min: 0, max: 5, noNaN: true }),
);

describe("the division of a limit", () => {
  it("gives away all but the reserve, and never more", () => {
    fc.assert(
      fc.property(fc.array(want, { minLength: 1, maxLength: 40 }), (wants) => {
        assert.ok(Math.abs(sumOf(divideLimit(wants)) - (1 - reservePart)) < epsilon);
      }),
    );
  });

  it("is max-min fair: who gets less than he wants gets as much as anybody", () => {
    fc.assert(
      fc.property(fc.array(want, { minLength: 1, maxLength: 40 }), (wants) => {
        const shares = divideLimit(wants);
        const most = Math.max(...shares);
        for (const [i, share] of shares.entries()) {
          assert.ok(
            share >= wants[i]! - epsilon || share >= most - epsilon,
            `${share} of ${wants[i]}, another has ${most}`,
          );
        }
      }),
    );
  });

  it("gives nobody nothing, and a busy one among idle ones nearly all", () => {
    const [busy = 0, ...idle] = divideLimit([3, 0, 0]);
    assert.ok(busy > 0.85, `${busy}`);
    for (const share of idle) assert.ok(share > 0.02, `${share}`);
    assert.deepEqual(divideLimit([]), []);
  });

  it("does not depend on who comes first, and gives more to who wants more", () => {
    fc.assert(
      fc.property(fc.array(want, { minLength: 2, maxLength: 12 }), (wants) => {
        const shares = divideLimit(wants);
        const backwards = divideLimit([...wants].reverse()).reverse();
        for (const [i, share] of shares.entries()) {
          assert.ok(Math.abs(share - backwards[i]!) < epsilon);
          for (const [j, other] of shares.entries()) if (wants[i]! > wants[j]!) assert.ok(share >= other - epsilon);
        }
      }),
    );
  });
});

/** A sidecar as the control plane sees it: it holds what it was told last, if the answer arrived. */
interface Sidecar {
  held: number;
  lastReportMs: number;
}

describe("shares of a limit", () => {
  const leaseMs = 5_000;
  const step = fc.record({
    afterMs: fc.integer({ min: 1, max: 900 }),
    who: fc.integer({ min: 0, max: 5 }),
    want,
    what: fc.constantFrom("reports", "reports", "reports", "reports", "loses the answer", "dies", "leaves"),
  });

  it("of all that live are never more than the limit, whatever is lost and whoever dies", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const division = new LimitDivision(Number.NEGATIVE_INFINITY);
        const sidecars = new Map<number, Sidecar>();
        let nowMs = 0;
        let runs = 0;
        const runOf = new Map<number, number>();
        const nameOf = (who: number) => `s${who}-${runOf.get(who)}`;
        for (const { afterMs, who, want: wanted, what } of steps) {
          nowMs += afterMs;
          // One that lives reports long before its lease is over; the division cannot know what it did not ask.
          for (const [other, sidecar] of sidecars) {
            if (nowMs - sidecar.lastReportMs < leaseMs / 2) continue;
            sidecar.held = division.report(nameOf(other), 0.1, sidecar.held, nowMs, leaseMs);
            sidecar.lastReportMs = nowMs;
          }
          let sidecar = sidecars.get(who);
          if (what === "dies" || what === "leaves") {
            if (sidecar !== undefined && what === "leaves") division.leave(nameOf(who));
            sidecars.delete(who);
            continue;
          }
          if (sidecar === undefined) {
            sidecars.set(who, (sidecar = { held: 0, lastReportMs: nowMs }));
            runOf.set(who, ++runs);
          }
          const share = division.report(nameOf(who), wanted, sidecar.held, nowMs, leaseMs);
          sidecar.lastReportMs = nowMs;
          if (what === "reports") sidecar.held = share;
          const total = sumOf([...sidecars.values()].map(({ held }) => held));
          assert.ok(total <= 1 + epsilon, `${total} of the limit is held`);
        }
      }),
    );
  });

  it("go to those who want them within a few reports, and a new one gets something at once", () => {
    const division = new LimitDivision(Number.NEGATIVE_INFINITY);
    const held = [0, 0, 0];
    let nowMs = 0;
    const round = (wants: readonly number[]) => {
      for (const [i, wanted] of wants.entries()) {
        nowMs += 300;
        held[i] = division.report(`s${i}`, wanted, held[i]!, nowMs, leaseMs);
      }
    };
    round([2]);
    assert.equal(held[0], 0.95);
    nowMs += 300;
    held[1] = division.report("s1", 2, 0, nowMs, leaseMs);
    assert.ok(held[1] > 0.02, `${held[1]} at once`);
    for (let i = 0; i < 4; i++) round([2, 2]);
    assert.ok(Math.abs(held[0]! - held[1]) < 0.01, `${held}`);
    for (let i = 0; i < 10; i++) round([0, 2, 2]);
    assert.ok(held[0]! < 0.05 && held[1]! > 0.4 && held[2]! > 0.4, `${held}`);
    // s0 and s2 are gone without a word: when their lease is over, s1 has nearly all.
    for (let i = 0; i < 22; i++) {
      nowMs += 300;
      held[1] = division.report("s1", 2, held[1]!, nowMs, leaseMs);
    }
    assert.equal(held[1], 0.95);
  });

  it("that an earlier control plane gave stay as they are until all had the time to say theirs", () => {
    const division = new LimitDivision(4_000);
    assert.equal(division.report("old", 3, 0.7, 100, leaseMs), 0.7);
    assert.equal(division.report("new", 3, 0, 200, leaseMs), 0);
    assert.equal(division.report("other", 3, 0.25, 300, leaseMs), 0.25);
    assert.ok(division.report("new", 3, 0, 4_000, leaseMs) > 0);
  });
});
