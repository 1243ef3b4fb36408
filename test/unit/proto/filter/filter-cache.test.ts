import assert from "node:assert/strict";
import { FilterCache } from "../../../../proto/filter/filter-cache.ts";

describe("the cache of filters", () => {
  function counted() {
    const made: string[] = [];
    const cache = new FilterCache((type, expression) => {
      made.push(`${type} ${expression}`);
      return { refusal: expression.startsWith("bad") };
    });
    return { made, cache };
  }

  it("makes each expression once, failures too, TAG and SQL apart", () => {
    const { made, cache } = counted();
    for (let i = 0; i < 3; i++) {
      for (const type of [0, 1, 2]) cache.get("ns", type, "a");
      assert.equal(cache.get("ns", 2, "bad").refusal, true);
    }
    assert.deepEqual(made, ["0 a", "2 a", "2 bad"], "unspecified is TAG");
  });

  it("keeps a hundred per namespace and type, and one namespace does not push out another's", () => {
    const { made, cache } = counted();
    cache.get("quiet", 1, "kept");
    for (let i = 0; i < 200; i++) cache.get("busy", 1, `t${i}`);
    const count = made.length;
    cache.get("quiet", 1, "kept");
    for (let i = 100; i < 200; i++) cache.get("busy", 1, `t${i}`);
    assert.equal(made.length, count);
    cache.get("busy", 1, "t99");
    assert.equal(made.length, count + 1);
  });

  it("is bounded over all namespaces", () => {
    const { made, cache } = counted();
    for (let i = 0; i < 1_025; i++) cache.get(`ns-${i}`, 1, "a");
    cache.get("ns-1024", 1, "a");
    assert.equal(made.length, 1_025);
    cache.get("ns-0", 1, "a");
    assert.equal(made.length, 1_026);
  });

  it("keeps nothing that is too long or of no known type", () => {
    const { made, cache } = counted();
    for (let i = 0; i < 2; i++) {
      cache.get("ns", 1, "x".repeat(2_049));
      cache.get("ns", 3, "a");
      cache.get("ns", -1, "a");
    }
    assert.equal(made.length, 6);
  });
});
