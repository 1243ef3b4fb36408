import assert from "node:assert/strict";
import { join } from "node:path";
import { compiledRoot, RunningProcess } from "../../../support/running-process.ts";

/** The aim of the plan for a topic of one queue that a group reads and that nobody uses now, its name included. */
const bytesPerQueueMax = 200;

describe("The tables of the broker", function () {
  this.timeout(240_000);

  it(`take at most ${bytesPerQueueMax} bytes for a queue that is idle, its topic, name and reader included`, async () => {
    const script = join(compiledRoot, "test/support/idle-queue-bytes.js");
    const run = new RunningProcess(process.execPath, ["--expose-gc", script]);
    assert.equal(await run.exited(), 0, run.output);
    const bytesPerQueue = Number(run.output);
    assert.ok(bytesPerQueue > 100, `${run.output} bytes a queue: the measure is wrong`);
    assert.ok(bytesPerQueue <= bytesPerQueueMax, `${bytesPerQueue} bytes a queue`);
  });
});
