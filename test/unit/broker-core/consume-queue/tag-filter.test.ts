import assert from "node:assert/strict";
import { mayMatch, TagFilters } from "../../../../broker-core/consume-queue/tag-filter.ts";
import { hashBytes } from "../../../../broker-core/consume-queue/text-hash.ts";
import { Code } from "../../../../proto/code.ts";

const hash = (text: string) => hashBytes(Buffer.from(text), 0, Buffer.byteLength(text));

describe("tag filters", () => {
  it("may take a tag whose hash is in the list; two tags may share one", () => {
    assert.equal(hash("costarring"), hash("liquid"), "a known collision of FNV-1a");
    const filter = new TagFilters().filter(1, "liquid || b");
    assert.ok(!("ok" in filter));
    assert.equal(mayMatch(filter, hash("liquid")), true);
    assert.equal(mayMatch(filter, hash("b")), true);
    assert.equal(mayMatch(filter, hash("c")), false);
    assert.equal(mayMatch(filter, 0), false, "a message without a tag");
  });

  it("refuse expressions without a tag, unknown types, SQL for now, and very long lists", () => {
    const filters = new TagFilters();
    const code = (type: number, expression: string) => {
      const filter = filters.filter(type, expression);
      return "ok" in filter ? filter.code : undefined;
    };
    assert.equal(code(1, " || "), Code.IllegalFilterExpression);
    assert.equal(code(1, " "), Code.IllegalFilterExpression);
    assert.equal(code(7, "a"), Code.IllegalFilterExpression);
    assert.equal(code(2, "a = 1"), Code.NotImplemented);
    assert.equal(code(1, "a".repeat(5_000)), Code.IllegalFilterExpression);
    assert.equal(code(0, "a"), undefined);
  });

  it("parse an expression once, and forget the oldest of too many", () => {
    const filters = new TagFilters();
    const first = filters.filter(1, "a || b");
    assert.equal(filters.filter(1, "a || b"), first);
    for (let i = 0; i < 2_000; i++) filters.filter(1, `tag-${i}`);
    assert.notEqual(filters.filter(1, "a || b"), first);
    assert.deepEqual(filters.filter(1, "a || b"), first);
  });
});
