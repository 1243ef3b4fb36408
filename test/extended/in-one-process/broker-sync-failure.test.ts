import assert from "node:assert/strict";
import { runBrokerSyncFailures } from "../../support/broker-sync-failure.ts";
import { amount, patience } from "../../support/test-factor.ts";
import { testSeed } from "../../support/test-seed.ts";

describe("T03: a whole broker on a disk whose sync fails, at length", () => {
  const cases = amount(400, 2_000);
  it(`acknowledges nothing after it and loses nothing, ${cases} cases (seed ${testSeed})`, async () => {
    const counts = await runBrokerSyncFailures(testSeed, cases);
    console.log(`      ${JSON.stringify(counts)}`);
    const { failures, sent, acked, rewritten } = counts;
    assert.ok(failures >= 0.7 * cases && rewritten >= 0.5 * cases, JSON.stringify(counts));
    assert.ok(sent >= 30 * cases && acked >= 15 * cases, JSON.stringify(counts));
  }).timeout(patience(600_000, 400, 2_000));
});
