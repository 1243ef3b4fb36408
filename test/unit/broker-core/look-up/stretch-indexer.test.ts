import assert from "node:assert/strict";
import type { LogHistory, LogStretch } from "../../../../broker-core/commit-log/log-history.ts";
import { StretchIndexer } from "../../../../broker-core/look-up/stretch-indexer.ts";
import type { Clock } from "../../../../proto/runtime/clock.ts";
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

  it("takes a twentieth of the thread at most, and pauses five milliseconds in any case", () => {
    const [stretch] = stretches;
    let nowMs = 0;
    let sliceMs = 0;
    const pauses: number[] = [];
    const clock = {
      monotonicMs: () => nowMs,
      every: () => ({ cancel() {} }),
      after(ms: number, action: () => void) {
        pauses.push(ms);
        if (pauses.length < 4) action();
        return { cancel() {} };
      },
    } as unknown as Clock;
    const history = {
      stretches: () => [stretch],
      scan(from: number) {
        nowMs += sliceMs;
        sliceMs += 1;
        return from + 1;
      },
    } as unknown as LogHistory;
    new StretchIndexer(history, { storage: new SimulatedDisk(), clock, log: silentLog }).look();
    assert.deepEqual(pauses, [5, 19, 38, 57]);
  });

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
