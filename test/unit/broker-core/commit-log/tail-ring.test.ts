import assert from "node:assert/strict";
import { TailRing } from "../../../../broker-core/commit-log/tail-ring.ts";

describe("TailRing", () => {
  const text = (ring: TailRing, position: number, count: number): string | undefined => {
    const at = ring.indexOf(position, count);
    return at < 0 ? undefined : ring.bytes.toString("latin1", at, at + count);
  };

  it("gives back what was put last and nothing that was overwritten", () => {
    const ring = new TailRing(16, 100);
    ring.put(Buffer.from("abcdefghij"), 10, 100);
    assert.equal(text(ring, 102, 4), "cdef");
    ring.put(Buffer.from("klmnopqrst"), 10, 110);
    assert.equal(text(ring, 102, 4), undefined, "overwritten");
    assert.equal(text(ring, 104, 4), "efgh");
    assert.equal(text(ring, 116, 4), "qrst");
    assert.equal(text(ring, 118, 4), undefined, "beyond the end");
    assert.equal(text(ring, 99, 1), undefined, "before the start");
  });

  it("does not give what lies in two pieces", () => {
    const ring = new TailRing(16, 0);
    ring.put(Buffer.from("0123456789abcdefgh"), 18, 0);
    assert.equal(text(ring, 14, 4), undefined);
    assert.equal(text(ring, 16, 2), "gh");
  });

  it("takes more than it holds and jumps in position", () => {
    const ring = new TailRing(8, 0);
    ring.put(Buffer.from("0123456789"), 10, 0);
    assert.equal(text(ring, 2, 1), "2");
    assert.equal(text(ring, 8, 2), "89");
    ring.put(Buffer.from("xy"), 2, 1000);
    assert.equal(text(ring, 1000, 2), "xy");
    assert.equal(text(ring, 8, 2), undefined);
  });

  it("of no size keeps nothing", () => {
    const ring = new TailRing(0, 0);
    ring.put(Buffer.from("a"), 1, 0);
    assert.equal(ring.indexOf(0, 1), -1);
  });
});
