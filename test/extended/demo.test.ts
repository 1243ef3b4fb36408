import assert from "node:assert/strict";
import { join } from "node:path";
import { RunningProcess, repositoryRoot } from "../support/running-process.ts";

const demo = join(repositoryRoot, "examples/demo/demo.mjs");

/** A row of its last table. */
function count(output: string, row: string): number {
  return Number(new RegExp(`^  ${row} +(\\d+)$`, "m").exec(output)?.[1] ?? Number.NaN);
}

describe("npm run demo", function () {
  this.timeout(300_000);

  const run = async (...argv: string[]) => {
    const running = RunningProcess.node(demo, argv);
    try {
      return { exit: await running.exited(), output: running.output };
    } finally {
      await running.stop("SIGKILL");
    }
  };

  it("shows a canary killed, back, and a bad one rolled back, and its counts hold", async () => {
    const { exit, output } = await run();
    assert.equal(exit, 0, output);
    for (const row of ["lost", "doubled", "order violations", "dead letters"])
      assert.equal(count(output, row), 0, output);
    assert.ok(count(output, "handled by canary") >= 80, output);
    assert.equal(count(output, "handled by base") + count(output, "handled by canary"), count(output, "sent"), output);
    assert.match(output, /rolled back by itself: failures of group default\/billing at [\d.]+ % with a limit of/);
    assert.match(output, /nobody is in its lane: base handles/);
  });

  it("fails when a consumer acks what it has not handled", async () => {
    const { exit, output } = await run("--base", "forgetful");
    assert.equal(exit, 1, output);
    assert.ok(count(output, "lost") > 0, output);
    assert.match(output, /The counts do not hold/);
  });
});
