import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readSources, repositoryRoot } from "./source-tree.ts";

describe("The table of what goes wrong with lanes", () => {
  const text = readFileSync(join(repositoryRoot, "docs/lane-hazards.md"), "utf8");
  const rows = [...text.matchAll(/^\| (F\d+) \|.*\| "([^"]+)" \|$/gm)].map(([, hazard = "", title = ""]) => ({
    hazard,
    title,
  }));

  it("has a row for each of F1 to F18, in order", () => {
    assert.deepEqual(
      rows.map(({ hazard }) => hazard),
      Array.from({ length: 18 }, (_, i) => `F${i + 1}`),
    );
  });

  it("names for each a test that there is, and that is called after it", () => {
    const tests = readSources().filter(({ path }) => path.startsWith("test/") && path.endsWith(".test.ts"));
    const missing = rows.filter(
      ({ hazard, title }) =>
        !title.startsWith(`${hazard}: `) || !tests.some(({ text: code }) => code.includes(`it("${title}", `)),
    );
    assert.deepEqual(missing, []);
  });
});
