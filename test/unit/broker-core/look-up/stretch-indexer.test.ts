import assert from "node:assert/strict";
import type { LogHistory, LogStretch } from "../../../../broker-core/commit-log/log-history.ts";
import { StretchIndexer } from "../../../../broker-core/look-up/stretch-indexer.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

describe("the indexer of the log's stretches", () => {
  const stretches: LogStretch[] = [0, 1].map((i) => ({ from: i * 100, to: i * 100 + 100, isSealed: true, nonce: i }));
  const indexes = ["look-up/00000000000000000000.idx", "look-up/00000000000000000100.idx"];

  function indexerOf(disk: SimulatedDisk, held: readonly LogStretch[]): StretchIndexer {
    const history = { stretches: () => held, scan: (_: number, to: number) => to } as unknown as LogHistory;
    return new StretchIndexer(history, { storage: disk, clock: new ManualClock(), log: silentLog });
  }

  it("goes on when the disk is read-only, and removes what is gone when it can be written again", () => {
    const disk = new SimulatedDisk();
    indexerOf(disk, stretches).look();
    assert.deepEqual(disk.paths(), indexes);
    // The next process, after the first stretch was removed.
    const next = indexerOf(disk, stretches.slice(1));
    for (const call of ["open", "unlink", "write", "rename"] as const) {
      disk.fail({ call, at: 1, kind: "read-only", sticky: true });
    }
    next.look();
    assert.deepEqual(disk.paths(), indexes);
    disk.heal();
    next.look();
    assert.deepEqual(disk.paths(), indexes.slice(1));
  });
});
