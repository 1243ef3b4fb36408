import assert from "node:assert/strict";
import { clientAliveMs, FilterAgreement } from "../../../../broker-core/filter/filter-agreement.ts";
import { type MessageFilter, MessageFilters } from "../../../../broker-core/filter/message-filter.ts";

const filters = new MessageFilters();

function tags(expression: string): MessageFilter {
  const filter = filters.filter("ns", 1, expression);
  assert.ok(!("ok" in filter));
  return filter;
}

describe("the agreement of a group on its filter", () => {
  it("has the filter of the first in force, in any spelling", () => {
    const agreement = new FilterAgreement(tags("a || b"), "c1", 0);
    assert.ok(agreement.isInForce(tags("b||a")));
    assert.ok(!agreement.isInForce(tags("a")));
  });

  it("is kept by others only, for a bounded time after their last receive", () => {
    const agreement = new FilterAgreement(tags("a"), "c1", 1_000);
    assert.equal(agreement.keeper("c1", 2_000), undefined, "a client does not stand in its own way");
    assert.deepEqual(agreement.keeper("c2", 2_000), { clientId: "c1", seenMs: 1_000 });
    assert.deepEqual(agreement.keeper("c2", 1_000 + clientAliveMs - 1), { clientId: "c1", seenMs: 1_000 });
    assert.equal(agreement.keeper("c2", 1_000 + clientAliveMs), undefined);
  });

  it("remembers every client, and names the one that was seen last", () => {
    const agreement = new FilterAgreement(tags("a"), "c1", 0);
    for (const [client, ms] of [
      ["c2", 10],
      ["c3", 20],
      ["c1", 30],
      ["c2", 40],
    ] as const) {
      agreement.saw(client, ms);
    }
    assert.deepEqual(agreement.keeper("x", 50), { clientId: "c2", seenMs: 40 });
    assert.deepEqual(agreement.keeper("c2", 50), { clientId: "c1", seenMs: 30 });
    assert.deepEqual(agreement.keeper("x", clientAliveMs + 35), { clientId: "c2", seenMs: 40 });
    assert.equal(agreement.keeper("x", clientAliveMs + 40), undefined);
  });

  it("forgets its clients when another filter comes into force", () => {
    const agreement = new FilterAgreement(tags("a"), "c1", 0);
    agreement.saw("c2", 1);
    agreement.replace(tags("b"), "c3", 2);
    assert.ok(agreement.isInForce(tags("b")));
    assert.equal(agreement.keeper("c3", 3), undefined);
    assert.deepEqual(agreement.keeper("c1", 3), { clientId: "c3", seenMs: 2 });
  });

  it("does not grow with clients that are gone", () => {
    const agreement = new FilterAgreement(tags("a"), "c", 0);
    for (let i = 0; i < 100_000; i++) agreement.saw(`client-${i}`, i * 1_000);
    assert.ok(agreement.clientCount <= 3_000, `${agreement.clientCount} clients`);
    assert.deepEqual(agreement.keeper("client-99999", 99_999_000), { clientId: "client-99998", seenMs: 99_998_000 });
  });
});
