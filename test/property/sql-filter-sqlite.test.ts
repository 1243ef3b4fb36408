import assert from "node:assert/strict";
import { compareWithSqlite, differentialTable } from "../support/sql-differential.ts";
import { verdict } from "../support/sql-row.ts";
import { openSqlite, type SqliteDatabase } from "../support/sqlite.ts";
import { testSeed, withSeed } from "../support/test-seed.ts";

/** test/extended/in-one-process/sql-filter-sqlite.test.ts takes twenty times as many. */
const expressions = 5_000;

describe("SQL92 filters beside SQLite", function () {
  this.timeout(240_000);
  let sqlite: SqliteDatabase;

  beforeEach(async () => {
    sqlite = await openSqlite();
  });

  afterEach(() => sqlite.close());

  it(`agree on ${expressions} random expressions, true, false and unknown`, () => {
    const startedMs = performance.now();
    withSeed((seed) => {
      const report = compareWithSqlite(sqlite, seed, expressions);
      console.log(`      ${differentialTable(report, seed, performance.now() - startedMs)}`);
      const { verdicts, evaluations } = report;
      assert.equal(evaluations, expressions * report.rows);
      for (const each of ["true", "false", "unknown"] as const) {
        assert.ok(verdicts[each] > evaluations / 20, `only ${verdicts[each]} ${each}: the expressions say too little`);
      }
    }, testSeed);
  });

  describe("differ where docs/filter.md says so", () => {
    /** SQL's answer: 1, 0 or null. */
    const theirs = (expression: string): unknown => sqlite.exec(`SELECT ${expression}`)[0]?.values[0]?.[0];

    it("1: a text that is no number fails the evaluation", () => {
      assert.equal(verdict("a < 1", { a: "x" }), "fails");
      assert.equal(theirs("CAST('x' AS INTEGER) < 1"), 1);
    });

    it("2: an integer literal wants an integer", () => {
      assert.equal(verdict("a > 1", { a: "1.5" }), "fails");
      assert.equal(theirs("1.5 > 1"), 1);
    });

    it("3: integers beyond int32 fail beside a literal that is within", () => {
      assert.equal(verdict("a > 1", { a: "2147483648" }), "fails");
      assert.equal(verdict("a > 2147483648", { a: "2147483649" }), "true");
      assert.equal(theirs("2147483648 > 1"), 1);
    });

    it("4: two properties are ordered as numbers and equal as texts", () => {
      assert.equal(verdict("a < b", { a: "9", b: "10" }), "true");
      assert.equal(theirs("'9' < '10'"), 0);
      assert.equal(verdict("a = b", { a: "1.0", b: "1" }), "false");
      assert.equal(theirs("1.0 = 1"), 1);
      assert.equal(verdict("a < b", { a: "x", b: "y" }), "fails");
      assert.equal(theirs("'x' < 'y'"), 1);
    });

    it("5: a bare property is false", () => {
      assert.equal(verdict("a", { a: "1" }), "false");
      assert.equal(theirs("'1' AND 1"), 1);
    });

    it('6: beside TRUE and FALSE only the text "true" counts', () => {
      assert.equal(verdict("a = TRUE", { a: "1" }), "false");
      assert.equal(theirs("1 = TRUE"), 1);
      assert.equal(verdict("a = TRUE", { a: "True" }), "true");
      assert.equal(theirs("'True' = TRUE"), 0);
    });

    it("7: CONTAINS and its like are false of a missing property, with NOT too", () => {
      assert.equal(verdict("a NOT CONTAINS 'x'"), "false");
      assert.equal(theirs("instr(NULL, 'x') = 0"), null);
    });

    it("8: CONTAINS '' is false", () => {
      assert.equal(verdict("a CONTAINS ''", { a: "x" }), "false");
      assert.equal(theirs("instr('x', '') > 0"), 1);
    });

    it("9: NOT binds tighter than a comparison", () => {
      assert.equal(verdict("NOT b = TRUE", { b: "no" }), "true", "(NOT b) = TRUE, and b is false");
      assert.equal(verdict("NOT FALSE = FALSE"), "false", "(NOT FALSE) = FALSE");
      assert.equal(theirs("NOT FALSE = FALSE"), 0, "NOT (FALSE = FALSE)");
      assert.equal(verdict("NOT NULL IS NULL"), "true", "(NOT NULL) IS NULL");
      assert.equal(theirs("NOT NULL IS NULL"), 0, "NOT (NULL IS NULL)");
    });

    it("10: minus in front of a property is unknown", () => {
      assert.equal(verdict("-a < 1", { a: "5" }), "unknown");
      assert.equal(theirs("-5 < 1"), 1);
    });

    it("11: NaN, Infinity and a letter behind a number, as in Java", () => {
      assert.equal(verdict("a > 1.5", { a: "NaN" }), "true");
      assert.equal(verdict("a = b", { a: "NaN", b: "NaN" }), "true");
      assert.equal(verdict("a >= b", { a: "NaN", b: "NaN" }), "true");
      assert.equal(verdict("a > 1.5", { a: "Infinity" }), "true");
      assert.equal(verdict("a > 1.5", { a: "2f" }), "true");
      assert.equal(theirs("CAST('NaN' AS REAL) > 1.5"), 0);
    });

    it("12: -0.0 is below 0.0, as in Java", () => {
      assert.equal(verdict("a < b", { a: "-0.0", b: "0.0" }), "true");
      assert.equal(theirs("-0.0 < 0.0"), 0);
    });
  });
});
