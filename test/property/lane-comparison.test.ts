import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { drawLaneSchedule } from "../simulator/lanes/lane-schedule.ts";
import { compareMechanisms, comparisonTable } from "../simulator/lanes/mechanism/comparison.ts";
import { runFilterSwitch } from "../simulator/lanes/mechanism/filter-switch.ts";
import { LaneTally } from "../simulator/lanes/mechanism/lane-tally.ts";
import { runQueueSplit } from "../simulator/lanes/mechanism/queue-split.ts";
import { repositoryRoot } from "../support/running-process.ts";
import { againWithSeed, testSeed } from "../support/test-seed.ts";

/** A small share of what `npm run compare:lanes` does. */
describe("popmesh and the usual mechanisms on the same schedules", () => {
  const quiet = { ...drawLaneSchedule(1, { messages: 300, loadMs: 5_000, onlyLanes: true }), steps: [] };

  it(`loses nothing, doubles nothing but what was in flight at a kill, and keeps order; each of them breaks one (seed ${testSeed})`, () => {
    const rows = compareMechanisms(testSeed, 8, 600);
    const table = comparisonTable(rows);
    const [popmesh, ...others] = rows.map(({ counts }) => counts);
    assert.ok(popmesh !== undefined && popmesh.messages === 8 * 600);
    assert.deepEqual([popmesh.lost, popmesh.unexcused, popmesh.disordered], [0, 0, 0], table + againWithSeed());
    for (const { messages, lost, unexcused, disordered } of others) {
      assert.equal(messages, popmesh.messages);
      assert.ok(lost + unexcused + disordered > 0, table + againWithSeed());
    }
  }).timeout(240_000);

  it("are all without fault while there is no rule and no canary", () => {
    const right = { messages: 300, lost: 0, duplicates: 0, unexcused: 0, disordered: 0 };
    for (const pollMs of [undefined, 15_000])
      for (const keepsOffset of [true, false]) assert.deepEqual(runFilterSwitch(quiet, { pollMs, keepsOffset }), right);
    assert.deepEqual(runQueueSplit(quiet), right);
  });

  it("are counted alike: what nobody handled, what was handled twice, and what came after a later one of its group", () => {
    const message = {
      atMs: 0,
      topic: 1,
      kind: "fifo",
      mark: "base",
      tag: "red",
      orderKey: 1,
      shareText: "g1",
    } as const;
    const tally = new LaneTally([message, message, message, message]);
    for (const number of [0, 2, 1, 2, 2]) tally.handled(number);
    tally.cut(2);
    assert.deepEqual(tally.counts(), { messages: 4, lost: 1, duplicates: 2, unexcused: 1, disordered: 1 });
  });

  it("are all in the table of the document", () => {
    const text = readFileSync(join(repositoryRoot, "docs/lane-comparison.md"), "utf8");
    const rows = compareMechanisms(1, 0, 1).map(({ mechanism }) => mechanism);
    for (const mechanism of rows) assert.match(text, new RegExp(`^\\| ${mechanism} \\| 100000 \\|`, "m"));
  });
});
