import assert from "node:assert/strict";
import { lineDifferences } from "../../../../control-plane/command/line-difference.ts";

describe("line differences", () => {
  for (const [what, before, after, lines] of [
    ["nothing", [], [], []],
    ["what is new", [], ["a"], ["+ a"]],
    ["what is gone", ["a", "b"], [], ["- a", "- b"]],
    ["a changed line between equal ones", ["a", "b", "c"], ["a", "x", "c"], ["  a", "- b", "+ x", "  c"]],
    ["a line that moved", ["a", "b"], ["b", "a"], ["- a", "  b", "+ a"]],
    ["a repeated line", ["a", "a"], ["a"], ["  a", "- a"]],
  ] as const) {
    it(`tell ${what}`, () => assert.deepEqual(lineDifferences(before, after), lines));
  }
});
