import assert from "node:assert/strict";
import { hashBytes } from "../../../../broker-core/consume-queue/text-hash.ts";
import {
  isSameFilter,
  type MessageFilter,
  MessageFilters,
  mayMatch,
} from "../../../../broker-core/filter/message-filter.ts";
import { Code } from "../../../../proto/code.ts";

const hash = (text: string) => hashBytes(Buffer.from(text), 0, Buffer.byteLength(text));

function made(type: number, expression: string): MessageFilter {
  const filter = new MessageFilters().filter("ns", type, expression);
  assert.ok(!("ok" in filter), "ok" in filter ? filter.message : "");
  return filter;
}

describe("message filters", () => {
  it("may take a tag whose hash is in the list; two tags may share one", () => {
    assert.equal(hash("costarring"), hash("liquid"), "a known collision of FNV-1a");
    const filter = made(1, "liquid || b");
    assert.equal(mayMatch(filter, hash("liquid")), true);
    assert.equal(mayMatch(filter, hash("b")), true);
    assert.equal(mayMatch(filter, hash("c")), false);
    assert.equal(mayMatch(filter, 0), false, "a message without a tag");
  });

  it("may take any message by SQL92", () => {
    const filter = made(2, "a = 1");
    assert.equal(filter.isAll, false);
    assert.equal(mayMatch(filter, 0), true);
    assert.equal(mayMatch(filter, hash("x")), true);
  });

  it("refuse what is no expression, and unknown types", () => {
    const filters = new MessageFilters();
    const code = (type: number, expression: string) => {
      const filter = filters.filter("ns", type, expression);
      return "ok" in filter ? filter.code : undefined;
    };
    assert.equal(code(1, " || "), Code.IllegalFilterExpression);
    assert.equal(code(7, "a"), Code.IllegalFilterExpression);
    assert.equal(code(-1, "a"), Code.IllegalFilterExpression);
    assert.equal(code(2, "a = "), Code.IllegalFilterExpression);
    assert.equal(code(1, "a".repeat(2_049)), Code.IllegalFilterExpression);
    assert.equal(code(0, "a"), undefined);
    assert.equal(code(2, "a = 1"), undefined);
  });

  it("are the same in all spellings of the same", () => {
    const same: readonly (readonly [number, string, number, string])[] = [
      [1, "a||b", 1, "b || a"],
      [1, "a || b ||", 0, " b||a||a "],
      [1, "*", 1, ""],
      [1, "*", 0, "a || *"],
      [2, "a = 1", 2, "( a=1 )"],
    ];
    for (const [typeA, a, typeB, b] of same) assert.ok(isSameFilter(made(typeA, a), made(typeB, b)), `${a}, ${b}`);
    const different: readonly (readonly [number, string, number, string])[] = [
      [1, "a", 1, "b"],
      [1, "a", 1, "a || b"],
      [1, "a", 1, "*"],
      [1, "a", 1, "A"],
      [1, "a", 2, "a"],
      [1, "*", 2, "TRUE"],
      [2, "a = 1", 2, "a = 2"],
    ];
    for (const [typeA, a, typeB, b] of different)
      assert.ok(!isSameFilter(made(typeA, a), made(typeB, b)), `${a}, ${b}`);
  });
});
