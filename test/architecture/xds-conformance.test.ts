import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readSources, repositoryRoot } from "./source-tree.ts";

const document = "docs/xds-conformance.md";

describe(document, () => {
  const rows = readFileSync(join(repositoryRoot, document), "utf8")
    .split("\n")
    .filter((line) => line.startsWith("|") && !/^\|(---| # | rule )/.test(line));
  const titlesOf = (row: string) => [...row.matchAll(/"([^"]+)"/g)].map(([, title = ""]) => title);

  it("has the thirty rows of the checklist, in order", () => {
    const numbers = rows.flatMap((row) => Number(/^\| (\d+) \|/.exec(row)?.[1] ?? Number.NaN)).filter((n) => n > 0);
    assert.deepEqual(
      numbers,
      Array.from({ length: 30 }, (_, i) => i + 1),
    );
  });

  it("names at least one test in each row", () => {
    assert.ok(rows.length >= 55, `only ${rows.length} rows`);
    assert.deepEqual(
      rows.filter((row) => titlesOf(row).length === 0),
      [],
    );
  });

  it("names only tests that there are", () => {
    const tests = readSources().filter(({ path }) => path.endsWith(".test.ts") && /xds/.test(path));
    const isTest = (title: string) => tests.some(({ text }) => text.includes(`it("${title}"`));
    assert.deepEqual(
      rows.flatMap(titlesOf).filter((title) => !isTest(title)),
      [],
    );
  });
});
