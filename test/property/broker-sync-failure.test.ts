import assert from "node:assert/strict";
import { runBrokerSyncFailures } from "../support/broker-sync-failure.ts";
import { testSeed } from "../support/test-seed.ts";

describe("A whole broker on a disk whose sync fails (T03)", () => {
  it(`acknowledges nothing after it and loses nothing, k = 1..20, once or from then on (seed ${testSeed})`, async () => {
    const counts = await runBrokerSyncFailures(testSeed, 40);
    const { failures, sent, acked, rewritten } = counts;
    assert.ok(failures >= 30 && sent >= 200 && acked >= 50 && rewritten >= 20, JSON.stringify(counts));
  }).timeout(240_000);
});
