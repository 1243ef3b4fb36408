import assert from "node:assert/strict";
import { TrimReason } from "../../../../broker-core/record/log-trimmed-record.ts";
import {
  decideRetention,
  type RetentionView,
  removalFloor,
} from "../../../../broker-core/retention/retention-policy.ts";

describe("The retention policy", () => {
  /** Ten segments of 100 bytes; a base image stands 5 bytes into each but the first, one hour apart. */
  const hour = 3_600_000;
  const segments = Array.from({ length: 10 }, (_, i) => ({ base: i * 100, end: (i + 1) * 100, bytes: 100 }));
  const view: RetentionView = {
    nowMs: 9 * hour,
    logBegin: 0,
    segments,
    bases: segments.slice(1).map(({ base }, i) => ({ position: base + 5, takenMs: (i + 1) * hour })),
    freeBytes: Number.POSITIVE_INFINITY,
    totalBytes: Number.POSITIVE_INFINITY,
  };
  const none = { ageMs: 0, bytes: 0 };

  it("leaves everything where nothing asks for room", () => {
    assert.equal(decideRetention(view, none), undefined);
    assert.equal(decideRetention(view, { ageMs: 9 * hour, bytes: 1000 }), undefined);
    assert.equal(decideRetention({ ...view, segments: [], bases: [] }, { ageMs: 1, bytes: 1 }), undefined);
  });

  it("removes what is older than the age, to the millisecond and never before", () => {
    const at = (nowMs: number) => decideRetention({ ...view, nowMs }, { ageMs: 6 * hour, bytes: 0 });
    assert.deepEqual(at(9 * hour), { begin: 305, reason: TrimReason.Age });
    assert.deepEqual(at(9 * hour - 1), { begin: 205, reason: TrimReason.Age });
    assert.equal(at(7 * hour - 1), undefined);
    assert.equal(decideRetention({ ...view, logBegin: 305 }, { ageMs: 6 * hour, bytes: 0 }), undefined);
  });

  it("removes as much as the size asks for, counting the segment that stays for those that point back", () => {
    const size = (bytes: number) => decideRetention(view, { ageMs: 0, bytes });
    assert.deepEqual(size(800), { begin: 305, reason: TrimReason.Size });
    assert.equal(removalFloor(segments, 305), 200);
    assert.equal(removalFloor(segments, 5), 0);
    assert.equal(size(1000), undefined);
  });

  it("never takes the two youngest segments, whatever is asked", () => {
    assert.deepEqual(decideRetention(view, { ageMs: 1, bytes: 0 }), { begin: 705, reason: TrimReason.Age });
    assert.deepEqual(decideRetention(view, { ageMs: 0, bytes: 1 }), { begin: 705, reason: TrimReason.Size });
  });

  it("takes young ones when the disk is over 85 % full, and lets a roomy disk be", () => {
    const disk = (freeBytes: number, totalBytes: number) =>
      decideRetention({ ...view, freeBytes, totalBytes }, { ageMs: 72 * hour, bytes: 0 });
    assert.equal(disk(1500, 10_000), undefined, "85 %");
    assert.deepEqual(disk(1400, 10_000), { begin: 205, reason: TrimReason.Disk });
    assert.deepEqual(disk(1200, 10_000), { begin: 405, reason: TrimReason.Disk });
    assert.deepEqual(disk(0, 10_000), { begin: 705, reason: TrimReason.Disk });
    assert.equal(disk(25 * 1024 ** 3, 1024 ** 4), undefined);
  });
});
