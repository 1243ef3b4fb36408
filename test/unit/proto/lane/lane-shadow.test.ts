import assert from "node:assert/strict";
import type { LaneClause } from "../../../../proto/lane/lane-rule.ts";
import { shadowedClauses } from "../../../../proto/lane/lane-shadow.ts";

const seen = (...clauses: LaneClause[]) => shadowedClauses(clauses).map(({ clause, by }) => [clause, by]);

describe("[L10] the clauses that never decide", () => {
  it("stand behind one without conditions", () => {
    assert.deepEqual(seen({ to: "a" }, { lane: "x", to: "b" }, { percent: 5, to: "c" }), [
      [1, 0],
      [2, 0],
    ]);
  });

  it("stand behind one whose conditions are among theirs", () => {
    assert.deepEqual(seen({ lane: "x", to: "a" }, { lane: "x", tag: "t", to: "b" }), [[1, 0]]);
    assert.deepEqual(seen({ tag: "s || t", to: "a" }, { tag: "t", to: "b" }), [[1, 0]]);
    assert.deepEqual(seen({ properties: { p: "1" }, to: "a" }, { properties: { q: "2", p: "1" }, to: "b" }), [[1, 0]]);
    assert.deepEqual(seen({ sql: "a  >  1", to: "a" }, { sql: "a > 1", lane: "x", to: "b" }), [[1, 0]]);
    assert.deepEqual(seen({ tag: "*", to: "a" }, { to: "b" }), [[1, 0]]);
  });

  it("stand behind a share of the same lane that is as large", () => {
    assert.deepEqual(seen({ percent: 5, to: "a" }, { percent: 5, tag: "t", to: "a" }), [[1, 0]]);
    assert.deepEqual(seen({ percent: 5, to: "a" }, { percent: 6, to: "a" }), []);
    assert.deepEqual(seen({ percent: 50, to: "a" }, { percent: 5, to: "b" }), []);
  });

  it("are none where an earlier clause wants something of its own", () => {
    assert.deepEqual(seen({ lane: "x", to: "a" }, { lane: "y", to: "b" }, { to: "c" }), []);
    assert.deepEqual(seen({ tag: "t", to: "a" }, { tag: "s || t", to: "b" }, { to: "c" }), []);
    assert.deepEqual(seen({ properties: { p: "1" }, to: "a" }, { properties: { p: "2" }, to: "b" }), []);
    assert.deepEqual(seen({ sql: "a > 1", to: "a" }, { sql: "a > 2", to: "b" }), []);
  });
});
