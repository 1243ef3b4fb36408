import assert from "node:assert/strict";
import { SlotIndex } from "../../../../broker-core/pop/slot-index.ts";
import fc from "../../../support/seeded-fast-check.ts";

describe("the slot index", () => {
  it("finds what was put in and nothing else, also where hashes collide", () => {
    const step = fc.record({
      hash: fc.oneof(fc.nat(3), fc.nat(80), fc.nat()),
      isRemoval: fc.boolean(),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
        const index = new SlotIndex();
        const held: { hash: number; slot: number }[] = [];
        for (const [slot, { hash, isRemoval, pick }] of steps.entries()) {
          if (isRemoval && held.length > 0) {
            const [gone] = held.splice(pick % held.length, 1);
            index.remove(gone!.hash, gone!.slot);
          } else {
            index.insert(hash, slot);
            held.push({ hash, slot });
          }
        }
        for (const hash of new Set(steps.map((s) => s.hash))) {
          const found: number[] = [];
          for (let i = index.first(hash); i >= 0; i = index.next(i, hash)) found.push(index.slotAt(i));
          const expected = held.filter((entry) => entry.hash === hash).map(({ slot }) => slot);
          assert.deepEqual(found.sort(), expected.sort());
        }
      }),
      { numRuns: 300 },
    );
  });

  it("replaces a slot under its hash, and refuses to remove what it does not hold", () => {
    const index = new SlotIndex();
    index.insert(7, 1);
    index.replace(7, 1, 2);
    assert.equal(index.slotAt(index.first(7)), 2);
    assert.throws(() => index.remove(7, 1), /not in the index/);
  });
});
