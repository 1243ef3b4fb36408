import assert from "node:assert/strict";
import { expressionBytesMax, readFilterExpression } from "../../../../proto/filter/filter-expression.ts";

function message(type: number, expression: string): string {
  const read = readFilterExpression(type, expression);
  assert.ok(!read.ok, `${expression} is taken`);
  return read.message;
}

function canonical(type: number, expression: string): string {
  const read = readFilterExpression(type, expression);
  assert.ok(read.ok, read.ok ? "" : read.message);
  return read.canonical;
}

describe("a filter expression", () => {
  it("of type TAG, or of none, is a list of tags", () => {
    for (const [expression, expected] of [
      ["", "*"],
      ["*", "*"],
      ["  ", "*"],
      ["a || *", "*"],
      ["b||a", "a || b"],
      [" a || b || a ||", "a || b"],
      ["Größe", "Größe"],
    ] as const) {
      assert.equal(canonical(0, expression), expected);
      assert.equal(canonical(1, expression), expected);
    }
  });

  it("of type SQL is parsed, and never means everything by being empty", () => {
    assert.equal(canonical(2, "a>5"), "a > 5");
    assert.match(message(2, ""), /the SQL92 filter is refused: it is empty/);
    assert.match(message(2, "*"), /filter "\*" of type TAG/);
  });

  it("says what is wrong with tags", () => {
    assert.match(message(1, "||"), /the tag filter is refused: it holds separators but no tag; write "a \|\| b"/);
    assert.match(message(1, "a|b"), /no message has the tag "a\|b".*write "a \|\| b"/);
    assert.match(message(1, "a\nb"), /no message has the tag "aU\+000Ab".*control characters/);
    const tags = (count: number) => Array.from({ length: count }, (_, i) => `t${i}`).join("||");
    assert.equal(canonical(1, tags(128)).split(" || ").length, 128);
    assert.match(message(1, tags(129)), /names 129 tags, 128 are allowed/);
  });

  it("is bounded in bytes, not in characters", () => {
    assert.doesNotThrow(() => canonical(1, "a".repeat(expressionBytesMax)));
    assert.match(message(1, "a".repeat(expressionBytesMax + 1)), /it has 2049 bytes, 2048 are allowed/);
    assert.match(message(2, `a = '${"é".repeat(1_024)}'`), /bytes, 2048 are allowed/);
  });

  it("is text: no half of a surrogate pair", () => {
    assert.match(message(2, "a = '\ud83d'"), /at character 6: half of a surrogate pair/);
    assert.match(message(1, "\udc00"), /at character 1: half/);
    assert.match(message(1, "🦊\ud83d🦊"), /at character 3: half/);
    assert.equal(canonical(1, "🦊"), "🦊");
  });

  it("is of a known type", () => {
    for (const type of [-1, 3, 99]) assert.match(message(type, "a"), new RegExp(`type ${type} is unknown`));
  });
});
