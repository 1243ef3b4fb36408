import assert from "node:assert/strict";
import { runSyncFailure } from "../support/log-sync-failure.ts";
import { testSeed } from "../support/test-seed.ts";

describe("The commit log on a disk whose sync fails", () => {
  it(`acknowledges nothing after it and loses nothing, k = 1..200, once or from then on (seed ${testSeed})`, async () => {
    let acked = 0;
    for (let failingCall = 1; failingCall <= 200; failingCall++) {
      const sticky = (failingCall + testSeed) % 2 === 0;
      acked += await runSyncFailure({ seed: (testSeed + failingCall) >>> 0, failingCall, sticky });
    }
    assert.ok(acked >= 20_000, `only ${acked} acknowledged records`);
  }).timeout(240_000);
});
