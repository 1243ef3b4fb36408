import assert from "node:assert/strict";
import { runRetentionReaders } from "../support/retention-readers-run.ts";
import { amount, patience } from "../support/test-factor.ts";
import { testSeed } from "../support/test-seed.ts";

const reads = amount(200_000, 10_000_000);
const segments = amount(500, 25_000);

describe("T22: readers while segments roll and go", () => {
  it(`get the bytes that were written or are told that they are gone, ${reads} reads over ${segments} segments (seed ${testSeed})`, async () => {
    const startedMs = performance.now();
    const report = await runRetentionReaders(testSeed, { reads, segments });
    const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1);
    console.log(`      ${seconds} s: ${JSON.stringify(report)}`);
    assert.ok(report.reads >= reads && report.removedSegments >= segments);
    // Each way of reading has met what goes.
    assert.ok(report.trimmed > 0 && report.fetches > segments / 10 && report.scanned > reads / 10);
  }).timeout(patience(120_000, 200_000, 10_000_000));
});
