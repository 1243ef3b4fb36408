import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import {
  batchOf,
  invisibleMsOf,
  pollMsOf,
  refuseChangedInvisibleMs,
  refuseFilter,
} from "../../../../sidecar/listener/receive-check.ts";

const hourMs = 3_600_000;
const endless = Number.POSITIVE_INFINITY;

describe("receive check", () => {
  it("caps a batch at 32 and takes none for one", () => {
    assert.deepEqual([-1, 0, 1, 32, 33, 1e9].map(batchOf), [1, 1, 1, 32, 32, 32]);
  });

  it("chooses the invisible time itself when it renews, and takes 10 s to 12 h otherwise", () => {
    assert.equal(invisibleMsOf(true, undefined), 60_000);
    assert.equal(invisibleMsOf(true, 5), 60_000);
    assert.equal(invisibleMsOf(false, 10_000), 10_000);
    assert.equal(invisibleMsOf(false, 12 * hourMs), 12 * hourMs);
    for (const wrong of [undefined, 0, 9_999, 12 * hourMs + 1]) {
      const refusal = invisibleMsOf(false, wrong);
      assert.equal(typeof refusal === "number" ? 0 : refusal.code, Code.IllegalInvisibleTime);
    }
  });

  it("[26] lets a change be from 0 to 12 h", () => {
    assert.equal(refuseChangedInvisibleMs(0), undefined);
    assert.equal(refuseChangedInvisibleMs(12 * hourMs), undefined);
    assert.equal(refuseChangedInvisibleMs(12 * hourMs + 1_000)?.code, Code.IllegalInvisibleTime);
    assert.equal(refuseChangedInvisibleMs(-1)?.code, Code.IllegalInvisibleTime);
  });

  it("polls as long as asked, never over 20 s, and never into the caller's deadline", () => {
    assert.equal(pollMsOf(5_000, 30_000, 3_000), 5_000);
    assert.equal(pollMsOf(30_000, 33_000, 3_000), 20_000);
    assert.equal(pollMsOf(20_000, 5_000, 3_000), 4_800);
    assert.equal(pollMsOf(20_000, 100, 3_000), 0);
    assert.equal(pollMsOf(0, 30_000, 3_000), 0);
  });

  it("derives the poll from the deadline where a client does not ask for one, and takes 20 s without a deadline", () => {
    assert.equal(pollMsOf(undefined, 13_000, 3_000), 11_500);
    assert.equal(pollMsOf(undefined, endless, 3_000), 20_000);
  });

  it("[32] takes tag lists, everything and nothing, and refuses separators without a tag and empty SQL", () => {
    for (const fine of ["", "*", "a", "a || b", "a||b||", " a "]) assert.equal(refuseFilter(1, fine), undefined, fine);
    assert.equal(refuseFilter(0, "||")?.code, Code.IllegalFilterExpression);
    assert.equal(refuseFilter(1, " || || ")?.code, Code.IllegalFilterExpression);
    assert.equal(refuseFilter(2, " ")?.code, Code.IllegalFilterExpression);
    assert.equal(refuseFilter(2, "a > 1"), undefined);
  });

  it("[32] refuses SQL that does not parse, with the place and the mend, as often as it is asked", () => {
    for (let i = 0; i < 2; i++) {
      const refusal = refuseFilter(2, "price => 5");
      assert.equal(refusal?.code, Code.IllegalFilterExpression);
      assert.match(refusal?.message ?? "", /SQL92 filter is refused: at character 8: found ">", expected/);
    }
    assert.match(refuseFilter(3, "a")?.message ?? "", /filter type 3 is unknown; use TAG or SQL/);
  });

  it("bounds what a filter may be", () => {
    const tags = (count: number) => Array.from({ length: count }, (_, i) => `t${i}`).join("||");
    assert.equal(refuseFilter(1, tags(128)), undefined);
    assert.equal(refuseFilter(1, tags(129))?.code, Code.IllegalFilterExpression);
    assert.equal(refuseFilter(1, "a".repeat(2_049))?.code, Code.IllegalFilterExpression);
  });
});
