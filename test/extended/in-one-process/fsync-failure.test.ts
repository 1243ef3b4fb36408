import assert from "node:assert/strict";
import { runSyncFailure } from "../../support/log-sync-failure.ts";
import { testSeed } from "../../support/test-seed.ts";

describe("T03: the commit log on a disk whose sync fails, 2,000 cases", () => {
  it(`acknowledges nothing after it and loses nothing (seed ${testSeed})`, async () => {
    let acked = 0;
    for (let i = 0; i < 2000; i++) {
      acked += await runSyncFailure({
        seed: (testSeed + i) >>> 0,
        failingCall: 1 + ((i >> 1) % 200),
        sticky: i % 2 === 0,
      });
    }
    assert.ok(acked >= 100_000, `only ${acked} acknowledged records`);
  });
});
