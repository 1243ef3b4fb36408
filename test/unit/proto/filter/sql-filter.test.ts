import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { SqlFilter } from "../../../../proto/filter/sql-filter.ts";
import { MeshError } from "../../../../proto/runtime/mesh-error.ts";
import { type Row, type Verdict, verdict } from "../../../support/sql-row.ts";

/** Expression, row, what it is. */
type Case = readonly [string, Row, Verdict];

function check(cases: readonly Case[]): void {
  for (const [expression, row, expected] of cases) {
    assert.equal(verdict(expression, row), expected, `${expression} of ${JSON.stringify(row)}`);
  }
}

describe("SQL92 filters, rule by rule", () => {
  it("a comparison of a missing property is unknown, whatever the comparison", () => {
    check([
      ["a = 'x'", {}, "unknown"],
      ["a <> 'x'", {}, "unknown"],
      ["'x' <> a", {}, "unknown"],
      ["a = 1", {}, "unknown"],
      ["a > 1", {}, "unknown"],
      ["1 < a", {}, "unknown"],
      ["a >= 1.5", {}, "unknown"],
      ["a < 5000000000", {}, "unknown"],
      ["a = TRUE", {}, "unknown"],
      ["a = b", { a: "x" }, "unknown"],
      ["a = b", { b: "x" }, "unknown"],
      ["a <> b", { a: "x" }, "unknown"],
      ["a = b", {}, "unknown"],
      ["a < b", { a: "not a number" }, "unknown"],
      ["a BETWEEN 1 AND 2", {}, "unknown"],
      ["a NOT BETWEEN 1 AND 2", {}, "unknown"],
      ["a IN ('x')", {}, "unknown"],
      ["a NOT IN ('x')", {}, "unknown"],
      ["a", {}, "unknown"],
    ]);
  });

  it("IS NULL is never unknown", () => {
    check([
      ["a IS NULL", {}, "true"],
      ["a IS NULL", { a: "" }, "false"],
      ["a IS NOT NULL", {}, "false"],
      ["a IS NOT NULL", { a: "" }, "true"],
      ["(a > 1) IS NULL", {}, "true"],
      ["(a > 1) IS NOT NULL", { a: "0" }, "true"],
      ["NULL IS NULL", {}, "true"],
      ["5 IS NULL", {}, "false"],
      ["'x' IS NOT NULL", {}, "true"],
      ["TRUE IS NULL", {}, "false"],
      ["-a IS NULL", { a: "5" }, "true"],
    ]);
  });

  it("AND, OR and NOT know three values", () => {
    const word = { true: "TRUE", false: "FALSE", unknown: "NULL" } as const;
    const all = ["true", "false", "unknown"] as const;
    for (const left of all) {
      check([[`NOT ${word[left]}`, {}, left === "unknown" ? left : left === "true" ? "false" : "true"]]);
      for (const right of all) {
        const and = [left, right].includes("false") ? "false" : [left, right].includes("unknown") ? "unknown" : "true";
        const or = [left, right].includes("true") ? "true" : [left, right].includes("unknown") ? "unknown" : "false";
        check([
          [`${word[left]} AND ${word[right]}`, {}, and],
          [`${word[left]} OR ${word[right]}`, {}, or],
        ]);
      }
    }
  });

  it("a missing property makes no match, also under NOT", () => {
    const wanted = (expression: string, row: Row): boolean => {
      const message = apache.rocketmq.v2.Message.encode({ userProperties: { ...row } }).finish() as Buffer;
      return new SqlFilter(expression).matchesMessage(Buffer.from(message), 0, message.length);
    };
    assert.equal(wanted("a = 'x'", {}), false);
    assert.equal(wanted("NOT (a = 'x')", {}), false);
    assert.equal(wanted("NOT (a = 'x')", { a: "y" }), true);
    assert.equal(wanted("a <> 'x' OR a IS NULL", {}), true);
    assert.equal(wanted("NULL", {}), false);
  });

  it("a property is read as the type of the number beside it; what is none fails the evaluation", () => {
    check([
      ["a > 1", { a: "2" }, "true"],
      ["a > 1", { a: "1" }, "false"],
      ["a >= 1", { a: "001" }, "true"],
      ["a = 1", { a: "+1" }, "true"],
      ["a <> 1", { a: "-1" }, "true"],
      ["1 < a", { a: "2" }, "true"],
      ["1 > a", { a: "2" }, "false"],
      ["2 <= a", { a: "2" }, "true"],
      ["a > 1", { a: "1.5" }, "fails"],
      ["a > 1", { a: "" }, "fails"],
      ["a > 1", { a: "x" }, "fails"],
      ["a > 1", { a: " 2" }, "fails"],
      ["a = 1", { a: "x" }, "fails"],
      ["a <> 1", { a: "x" }, "fails"],
      ["a > 1.5", { a: "2" }, "true"],
      ["a > 1.5", { a: " 2.5e0 " }, "true"],
      ["a = 5.0", { a: "5" }, "true"],
      ["a > 1.5", { a: "x" }, "fails"],
      ["a BETWEEN 1 AND 3", { a: "3" }, "true"],
      ["a NOT BETWEEN 1 AND 3", { a: "4" }, "true"],
      ["a BETWEEN 1 AND 3", { a: "x" }, "fails"],
      ["a > -5", { a: "-4" }, "true"],
      ["a > - - 5", { a: "5" }, "false"],
    ]);
  });

  it("an integer is int32 where it fits, else int64, to the last digit", () => {
    check([
      ["a > 5", { a: "2147483647" }, "true"],
      ["a > 5", { a: "2147483648" }, "fails"],
      ["a < 5", { a: "-2147483648" }, "true"],
      ["a < 5", { a: "-2147483649" }, "fails"],
      ["a > 2147483648", { a: "2147483649" }, "true"],
      ["a = 9007199254740993", { a: "9007199254740993" }, "true"],
      ["a = 9007199254740993", { a: "9007199254740992" }, "false"],
      ["a = 9223372036854775807", { a: "9223372036854775807" }, "true"],
      ["a < 9223372036854775807", { a: "9223372036854775806" }, "true"],
      ["a < 9223372036854775807L", { a: "9223372036854775808" }, "fails"],
      ["a >= -9223372036854775807", { a: "-9223372036854775808" }, "false"],
      ["a < -2147483648", { a: "-2147483649" }, "true"],
      ["a = 5L", { a: "5" }, "true"],
    ]);
  });

  it("two properties are ordered as doubles, or the evaluation fails; they are equal as texts", () => {
    check([
      ["a < b", { a: "5", b: "10" }, "true"],
      ["a < b", { a: "1e1", b: "9.5" }, "false"],
      ["a >= b", { a: "1.0", b: "1" }, "true"],
      ["a < b", { a: "x", b: "1" }, "fails"],
      ["a < b", { a: "1", b: "" }, "fails"],
      ["a = b", { a: "1.0", b: "1" }, "false"],
      ["a = b", { a: "1", b: "1" }, "true"],
      ["a <> b", { a: "1.0", b: "1" }, "true"],
      ["a < b", { a: "-0.0", b: "0.0" }, "true"],
      ["a > b", { a: "NaN", b: "Infinity" }, "true"],
    ]);
  });

  it("texts are equal byte by byte", () => {
    check([
      ["a = 'x'", { a: "x" }, "true"],
      ["a = 'x'", { a: "X" }, "false"],
      ["a <> 'x'", { a: "X" }, "true"],
      ["'x' = a", { a: "x" }, "true"],
      ["a = ''", { a: "" }, "true"],
      ["a = 'it''s'", { a: "it's" }, "true"],
      ["a = 'Größe 🦊'", { a: "Größe 🦊" }, "true"],
      ["a = 'e\u0301'", { a: "é" }, "false"],
      ["'x' = 'x'", {}, "true"],
      ["'x' = 'y'", {}, "false"],
    ]);
  });

  it('beside a boolean a text is true when it is "true" in any case, else false', () => {
    check([
      ["a = TRUE", { a: "true" }, "true"],
      ["a = TRUE", { a: "TrUe" }, "true"],
      ["a = TRUE", { a: "yes" }, "false"],
      ["a = FALSE", { a: "yes" }, "true"],
      ["a <> TRUE", { a: "1" }, "true"],
      ["TRUE = a", { a: "true" }, "true"],
      ["a = (b > 1)", { a: "true", b: "2" }, "true"],
      ["(b > 1) = a", { a: "true", b: "0" }, "false"],
      ["a = (b > 1)", { a: "true" }, "unknown"],
      ["(a > 1) = (b > 1)", { a: "0", b: "0" }, "true"],
      ["(a > 1) = TRUE", { a: "2" }, "true"],
      ["(a > 1) = 5", { a: "2" }, "false"],
      ["(a > 1) = 5", {}, "unknown"],
      ["'true' = TRUE", {}, "true"],
      ["TRUE = FALSE", {}, "false"],
    ]);
  });

  it("constants are compared as they are, a text read as the number's type", () => {
    check([
      ["5 = 5.0", {}, "true"],
      ["5 < 7", {}, "true"],
      ["7 <= 5", {}, "false"],
      ["9223372036854775806 < 9223372036854775807", {}, "true"],
      ["'5' = 5", {}, "true"],
      ["5000000000 = '5000000000'", {}, "true"],
      ["'5.0' = 5.0", {}, "true"],
      ["'x' = 5", {}, "fails"],
      ["5 = TRUE", {}, "false"],
      ["a < -b", { a: "5", b: "1" }, "unknown"],
      ["5 < -'x'", {}, "unknown"],
      ["-a = -b", { a: "5", b: "5" }, "unknown"],
    ]);
  });

  it("IN holds texts", () => {
    check([
      ["a IN ('x', 'y')", { a: "y" }, "true"],
      ["a IN ('x', 'y')", { a: "z" }, "false"],
      ["a NOT IN ('x', 'y')", { a: "z" }, "true"],
      ["a NOT IN ('x', 'y')", { a: "x" }, "false"],
      ["(a) IN ('')", { a: "" }, "true"],
      ["a IN ('5')", { a: "05" }, "false"],
      ["a IN ('1','2','3','4','5','6','7')", { a: "7" }, "true"],
    ]);
  });

  it("CONTAINS, STARTSWITH, ENDSWITH and their opposites are false of a missing property and for an empty text", () => {
    for (const search of ["CONTAINS", "STARTSWITH", "ENDSWITH"]) {
      check([
        [`a ${search} 'x'`, {}, "false"],
        [`a NOT ${search} 'x'`, {}, "false"],
        [`a ${search} ''`, { a: "x" }, "false"],
        [`a NOT ${search} ''`, { a: "x" }, "false"],
        [`a NOT ${search} ''`, {}, "false"],
        [`a ${search} 'x'`, { a: "" }, "false"],
        [`a NOT ${search} 'x'`, { a: "" }, "true"],
        [`5 ${search} '5'`, {}, "false"],
        [`5 NOT ${search} '5'`, {}, "false"],
        [`(a > 1) NOT ${search} 'x'`, { a: "2" }, "false"],
        [`(a > 1) ${search} 'x'`, { a: "x" }, "fails"],
        [`'abc' ${search} 'abc'`, {}, "true"],
        [`'abc' NOT ${search} 'abc'`, {}, "false"],
      ]);
    }
    check([
      ["a CONTAINS 'b'", { a: "abc" }, "true"],
      ["a CONTAINS 'aab'", { a: "aaab" }, "true"],
      ["a CONTAINS 'abab'", { a: "abaabab" }, "true"],
      ["a CONTAINS 'abcd'", { a: "abc" }, "false"],
      ["a NOT CONTAINS 'b'", { a: "abc" }, "false"],
      ["a CONTAINS '本'", { a: "日本語" }, "true"],
      ["a STARTSWITH 'ab'", { a: "abc" }, "true"],
      ["a STARTSWITH 'bc'", { a: "abc" }, "false"],
      ["a NOT STARTSWITH 'bc'", { a: "abc" }, "true"],
      ["a ENDSWITH 'bc'", { a: "abc" }, "true"],
      ["a ENDSWITH 'ab'", { a: "abc" }, "false"],
      ["a NOT ENDSWITH 'ab'", { a: "abc" }, "true"],
    ]);
  });

  it("a bare property is false: a text is never a boolean", () => {
    check([
      ["a", { a: "true" }, "false"],
      ["NOT a", { a: "true" }, "true"],
      ["a OR TRUE", { a: "true" }, "true"],
      ["a AND TRUE", {}, "unknown"],
      ["(a)", { a: "true" }, "false"],
    ]);
  });

  it("what fails makes the whole false, unless it need not be evaluated", () => {
    const row = { a: "x", b: "1" };
    check([
      ["a > 1 OR b = 1", row, "fails"],
      ["b = 1 OR a > 1", row, "true"],
      ["b = 2 AND a > 1", row, "false"],
      ["a > 1 AND b = 2", row, "fails"],
      ["NOT (a > 1)", row, "fails"],
      ["(a > 1) IS NULL", row, "fails"],
      ["-(a > 1) IS NULL", row, "fails"],
      ["c < -(a > 1)", row, "unknown"],
    ]);
  });

  it("keywords are read in any case, names of properties as they are", () => {
    check([
      ["A = 'x'", { a: "x" }, "unknown"],
      ["a = 'x' and B is nUlL", { a: "x" }, "true"],
      ["not $a = 1 Or _b2 in ('y')", { _b2: "y", $a: "1" }, "true"],
      ["__proto__ = 'x'", {}, "unknown"],
      ["__proto__ = 'x' OR constructor = 'x' OR toString IS NOT NULL", {}, "unknown"],
    ]);
  });

  it("NOT binds more tightly than a comparison", () => {
    check([
      ["NOT a = TRUE", { a: "x" }, "true"],
      ["NOT (a = TRUE)", { a: "true" }, "false"],
      ["a = 'x' OR b = 'y' AND c = 'z'", { a: "x", b: "n", c: "n" }, "true"],
      ["(a = 'x' OR b = 'y') AND c = 'z'", { a: "x", b: "n", c: "n" }, "false"],
      ["a > 1 = TRUE", { a: "2" }, "true"],
      ["a IS NULL IS NULL", {}, "false"],
    ]);
  });

  it("comments and blanks are nothing", () => {
    check([
      ["/* all */ a /**/ = -- here\n 'x'", { a: "x" }, "true"],
      ["a = 'x' -- to the end", { a: "x" }, "true"],
      ["a = '-- no comment'", { a: "-- no comment" }, "true"],
      ["\ta\r\n=\f'x'", { a: "x" }, "true"],
      ["a/* *** / */='x'", { a: "x" }, "true"],
    ]);
  });

  it("gives one spelling to what is the same by its syntax", () => {
    const same = [
      ["a>1 and b in('x','y')", "(a > 1) AND (b IN ('y', 'x', 'x')) -- !"],
      ["a = 5L", "a=+5"],
      ["a <> 'x'", "NOT (a = 'x')"],
      ["a = 5.0", "a = 5e0"],
      ["a BETWEEN 1 AND 2", "a >= 1 AND a <= 2"],
      ["a is not null", "NOT (a IS NULL)"],
    ] as const;
    for (const [a, b] of same) assert.equal(new SqlFilter(a).canonical, new SqlFilter(b).canonical);
    const different = ["a = 5", "a = 5.0", "a = '5'", "A = 5", "5 = a", "a = TRUE", "a = 'TRUE'", "(a = 5) = TRUE"];
    assert.equal(new Set(different.map((text) => new SqlFilter(text).canonical)).size, different.length);
    for (const text of [...different, ...same.flat(), "-(a) IS NULL", "NOT a NOT CONTAINS 'it''s' = b"]) {
      const { canonical } = new SqlFilter(text);
      assert.equal(new SqlFilter(canonical).canonical, canonical, text);
    }
  });

  it("says when the bytes are no message", () => {
    assert.throws(() => new SqlFilter("a = 1").matchesMessage(Buffer.from([0x12, 0x7f]), 0, 2), MeshError);
  });
});
