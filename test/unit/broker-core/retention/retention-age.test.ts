import assert from "node:assert/strict";
import { type RetainedState, Retention } from "../../../../broker-core/retention/retention.ts";
import { silentLog } from "../../../../proto/runtime/log.ts";
import { MetricRegistry } from "../../../../proto/runtime/metric.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { SimulatedDisk } from "../../../support/simulated-disk.ts";

const hour = 3_600_000;
const year = 365 * 24 * hour;

describe("Retention by age when the wall clock is wrong at a start", () => {
  /** A log of four segments of which the first two are an hour old, kept for three days. */
  const started = (wrongMs: number) => {
    const clock = new ManualClock();
    const nowMs = clock.wallMs();
    const trims: number[] = [];
    const state: RetainedState = {
      ...{ appliedPosition: 4_000, logBegin: 0, baseBytesMin: 0 },
      baseImage: () => assert.fail("the log has not rolled"),
      unconsumedBelow: () => [],
      carryBefore: () => ({ isFinished: true }) as ReturnType<RetainedState["carryBefore"]>,
      trimLog: (begin) => trims.push(begin),
    };
    const segments = [0, 1_000, 2_000, 3_000].map((base) => ({ base, end: base + 1_000, bytes: 1_000 }));
    clock.jumpWall(wrongMs);
    const retention = new Retention(
      state,
      { segments, syncedPosition: 5_000, removeBelow: async () => 0 },
      {
        ...{ storage: new SimulatedDisk(), clock, log: silentLog, metrics: new MetricRegistry() },
        settings: { ageMs: 72 * hour, bytes: 0 },
        bases: [{ position: 2_000, takenMs: nowMs - hour }],
      },
    );
    return { clock, trims, retention };
  };

  it("removes nothing when it is put right within ten minutes", async () => {
    const { clock, trims, retention } = started(10 * year);
    await clock.advanceAndSettle(9 * 60_000);
    clock.jumpWall(-10 * year);
    await clock.advanceAndSettle(hour);
    assert.deepEqual(trims, []);
    await retention.stop();
  });

  it("removes what is old when the ten minutes are over, and not before", async () => {
    const { clock, trims, retention } = started(72 * hour);
    await clock.advanceAndSettle(10 * 60_000 - 1);
    assert.deepEqual(trims, []);
    await clock.advanceAndSettle(1_000);
    assert.equal(trims[0], 2_000);
    await retention.stop();
  });
});
