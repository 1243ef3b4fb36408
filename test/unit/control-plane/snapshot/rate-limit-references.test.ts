import assert from "node:assert/strict";
import type { RateLimitRecord } from "../../../../control-plane/resource/rate-limit.ts";
import { RateLimitReferences } from "../../../../control-plane/snapshot/rate-limit-references.ts";

function limit(name: string, said: Partial<RateLimitRecord> = {}): RateLimitRecord {
  return {
    ...{ namespace: "ns", name, topic: "", group: "", client: "", direction: "send", messagesPerSecond: 1 },
    ...{ bytesPerSecond: 0, burstMs: 1_000, generation: 1, createdMs: 0, createdBy: "", changedMs: 0, changedBy: "" },
    ...said,
  } as RateLimitRecord;
}

describe("references to rate limits", () => {
  it("are held by the topic, else by the group, else by the namespace", () => {
    const references = new RateLimitReferences();
    references.set("ns/a", limit("a", { topic: "t", group: "g", direction: "receive" }));
    references.set("ns/b", limit("b", { group: "g", direction: "receive" }));
    references.set("ns/c", limit("c", { client: "x*" }));
    assert.deepEqual(references.of("topic", "ns/t"), ["ns/a"]);
    assert.deepEqual(references.of("group", "ns/g"), ["ns/b"]);
    assert.deepEqual(references.of("namespace", "ns"), ["ns/c"]);
    assert.deepEqual(references.of("topic", "other/t"), []);
  });

  it("come most particular first", () => {
    const references = new RateLimitReferences();
    references.set("ns/all", limit("all", { topic: "t" }));
    references.set("ns/one", limit("one", { topic: "t", client: "c" }));
    references.set("ns/both", limit("both", { topic: "t", client: "c", group: "g", direction: "receive" }));
    assert.deepEqual(references.of("topic", "ns/t"), ["ns/both", "ns/one", "ns/all"]);
  });

  it("move with the target, and say whose changed", () => {
    const references = new RateLimitReferences();
    assert.deepEqual(references.set("ns/a", limit("a", { topic: "t" })), [{ kind: "topic", key: "ns/t" }]);
    assert.deepEqual(references.set("ns/a", limit("a", { topic: "u" })), [
      { kind: "topic", key: "ns/t" },
      { kind: "topic", key: "ns/u" },
    ]);
    assert.deepEqual(references.of("topic", "ns/t"), []);
    assert.deepEqual(references.set("ns/a", undefined), [{ kind: "topic", key: "ns/u" }]);
    assert.deepEqual(references.set("ns/a", undefined), []);
    assert.deepEqual(references.of("topic", "ns/u"), []);
  });
});
