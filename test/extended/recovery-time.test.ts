import assert from "node:assert/strict";
import { join } from "node:path";
import { compiledRoot, RunningProcess } from "../support/running-process.ts";
import { amount, patience } from "../support/test-factor.ts";

const logMiB = amount(1_024, 20 * 1_024);

/** T28. How long the starts take is printed and not judged here; that each finds what there is, and reads no more than it must, is. */
describe(`T28: starts of a broker on a log of ${logMiB} MiB`, () => {
  it("find everything: after SIGKILL, after a clean stop, and with nothing but the log", async () => {
    const bench = RunningProcess.node(join(compiledRoot, "test/bench/recovery.js"), [String(logMiB)]);
    assert.equal(await bench.exited(), 0, bench.output);
    console.log(bench.output.replace(/^(?=.)/gm, "      ").trimEnd());
    const recordsRead = (start: string) => {
      return Number(new RegExp(`^start ${start} .* (\\d+) records read$`, "m").exec(bench.output)?.[1]);
    };
    // A message of 1 KiB each, in 32 of one send, and the record of the topic.
    assert.equal(recordsRead("from the log alone"), logMiB * 1_024 + 1, bench.output);
    assert.equal(recordsRead("after a clean stop"), 0, bench.output);
    assert.ok(recordsRead("after SIGKILL") < (logMiB * 1_024) / 2, `no checkpoint was used:\n${bench.output}`);
    assert.match(bench.output, /^popmesh broker check +\d+ ms$/m);
  }).timeout(patience(180_000, 1_024, 20 * 1_024));
});
