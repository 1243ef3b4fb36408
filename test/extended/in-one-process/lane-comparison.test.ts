import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../../architecture/source-tree.ts";
import { compareMechanisms, comparisonTable } from "../../simulator/lanes/mechanism/comparison.ts";

describe("The comparison of docs/lane-comparison.md", () => {
  it("is what npm run compare:lanes prints, popmesh's repeats of what was in flight aside", () => {
    const rows = compareMechanisms(1, 100, 1_000);
    const table = comparisonTable(rows);
    const text = readFileSync(join(repositoryRoot, "docs/lane-comparison.md"), "utf8");
    const [popmesh, ...others] = rows;
    assert.deepEqual([popmesh?.counts.lost, popmesh?.counts.unexcused, popmesh?.counts.disordered], [0, 0, 0], table);
    for (const row of others) {
      const line = comparisonTable([row]).split("\n").at(-1)!;
      assert.ok(text.includes(`${line}\n`), `the document has another row than\n${line}`);
    }
  }).timeout(300_000);
});
