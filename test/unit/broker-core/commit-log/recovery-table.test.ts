import assert from "node:assert/strict";
import {
  type Place,
  stretchAction,
  stretchTable,
  tailAction,
  tailTable,
} from "../../../../broker-core/commit-log/recovery-table.ts";

describe("The recovery tables", () => {
  it("have exactly one row for every stretch of the log", () => {
    const places: Place[] = ["below durable", "across durable", "above durable"];
    for (const valid of [true, false]) {
      for (const place of places) {
        const rows = stretchTable.filter((row) => row.valid === valid && row.place === place);
        assert.equal(rows.length, 1, `${valid} ${place}`);
      }
    }
    assert.equal(stretchTable.length, 6);
  });

  it("have exactly one row for everything that can be found at the end", () => {
    const bits = [true, false];
    const cases = bits.flatMap((lastSegmentUsable) =>
      bits.flatMap((reachesDurable) =>
        bits.flatMap((hasTail) =>
          bits.map((hasResidue) => ({ lastSegmentUsable, reachesDurable, hasTail, hasResidue })),
        ),
      ),
    );
    for (const found of cases) {
      const rows = tailTable.filter(({ action: _, ...row }) => JSON.stringify(row) === JSON.stringify(found));
      assert.equal(rows.length, 1, JSON.stringify(found));
      assert.equal(tailAction(found), rows[0]?.action);
    }
    assert.equal(tailTable.length, cases.length);
  });

  it("call a stretch damage only where it was durable", () => {
    assert.equal(stretchAction(false, 10, 20, 20), "report damage");
    assert.equal(stretchAction(false, 10, 30, 20), "report damage and end");
    assert.equal(stretchAction(false, 20, 30, 20), "end");
    assert.equal(stretchAction(true, 10, 20, 20), "serve");
    assert.equal(stretchAction(true, 20, 30, 20), "serve and rewrite");
  });

  it("go on in an old file only when nothing in it has to be overwritten", () => {
    const goingOn = tailTable.filter(({ action }) => action === "continue");
    assert.deepEqual(
      goingOn.map(({ action: _, ...found }) => found),
      [{ lastSegmentUsable: true, reachesDurable: true, hasTail: false, hasResidue: false }],
    );
  });
});
