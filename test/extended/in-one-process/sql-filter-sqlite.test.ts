import assert from "node:assert/strict";
import { compareWithSqlite, differentialTable } from "../../support/sql-differential.ts";
import { openSqlite } from "../../support/sqlite.ts";
import { testSeed, withSeed } from "../../support/test-seed.ts";

const expressions = 100_000;

describe("SQL92 filters beside SQLite, at length", () => {
  it(`agree on ${expressions} random expressions`, async function () {
    this.timeout(0);
    const sqlite = await openSqlite();
    const startedMs = performance.now();
    withSeed((seed) => {
      const report = compareWithSqlite(sqlite, seed, expressions);
      console.log(`      ${differentialTable(report, seed, performance.now() - startedMs)}`);
      assert.equal(report.evaluations, expressions * report.rows);
    }, testSeed);
    sqlite.close();
  });
});
