import assert from "node:assert/strict";
import { runSyncFailure } from "../support/log-sync-failure.ts";
import { testSeed } from "../support/test-seed.ts";

describe("T03: the commit log on a disk whose sync fails", () => {
  for (const sticky of [false, true]) {
    it(`acknowledges nothing after it and loses nothing, k = 1..200, ${sticky ? "sticky" : "once"} (seed ${testSeed})`, async () => {
      let acked = 0;
      for (let failingCall = 1; failingCall <= 200; failingCall++) {
        acked += await runSyncFailure({ seed: (testSeed + failingCall) >>> 0, failingCall, sticky });
      }
      assert.ok(acked >= 20_000, `only ${acked} acknowledged records`);
    });
  }
});
