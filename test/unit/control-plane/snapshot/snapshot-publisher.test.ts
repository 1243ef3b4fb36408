import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { Catalog } from "../../../../control-plane/catalog/catalog.ts";
import { emptyTables } from "../../../../control-plane/catalog/catalog-table.ts";
import { declareGroup, declareNamespace, declareTopic } from "../../../../control-plane/catalog/declare.ts";
import { declareRateLimit, removeRateLimit } from "../../../../control-plane/catalog/declare-rate-limit.ts";
import { removeResource } from "../../../../control-plane/catalog/remove.ts";
import type { RateLimitSpec } from "../../../../control-plane/resource/rate-limit.ts";
import { ResourceTable } from "../../../../control-plane/snapshot/resource-table.ts";
import { ResourceType } from "../../../../control-plane/snapshot/resource-type.ts";
import { SnapshotPublisher } from "../../../../control-plane/snapshot/snapshot-publisher.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const policy = { autoCreateTopics: true, autoCreateGroups: true };
const spec: RateLimitSpec = {
  ...{ topic: "", group: "", client: "", direction: "receive" },
  ...{ messagesPerSecond: 5, bytesPerSecond: 0, burstMs: 1_000 },
};

describe("what is published of limits", () => {
  let catalog: Catalog;
  let table: ResourceTable;
  /** Ends of writes that the disk has not done, where it is slow. */
  let writes: (() => void)[];
  let isSlow: boolean;
  beforeEach(async () => {
    writes = [];
    isSlow = false;
    catalog = new Catalog({
      tables: emptyTables(),
      store: { write: () => (isSlow ? new Promise((resolve) => writes.push(resolve)) : Promise.resolve()) },
      clock: new ManualClock(),
      isAlive: () => true,
      onStoreFailure: (error) => {
        throw error;
      },
    });
    table = new ResourceTable();
    new SnapshotPublisher(catalog, table, () => true);
    await catalog.change("test", (draft) => {
      for (const name of ["t", "u"]) declareTopic(draft, "ns", name, {}, policy);
      declareGroup(draft, "ns", "g", {}, policy);
    });
  });

  const bytesOf = (type: string, name: string) => table.get(type, name)?.bytes ?? new Uint8Array();
  const topic = (name = "ns/t") => popmesh.v1.TopicRoute.decode(bytesOf(ResourceType.TopicRoute, name));
  const group = () => popmesh.v1.ConsumerGroupPolicy.decode(bytesOf(ResourceType.GroupPolicy, "ns/g"));
  const namespace = () => popmesh.v1.NamespacePolicy.decode(bytesOf(ResourceType.NamespacePolicy, "ns"));
  const limit = (name: string, said: Partial<RateLimitSpec>) =>
    catalog.change("test", (draft) =>
      declareRateLimit(draft, { namespace: "ns", name, spec: { ...spec, ...said } }, policy),
    );

  it("is named by the topic, the group or the namespace that it is for, and moves with its target", async () => {
    await limit("a", { topic: "t" });
    await limit("b", { group: "g" });
    await limit("c", {});
    assert.deepEqual([topic().rateLimits, group().rateLimits, namespace().rateLimits], [["ns/a"], ["ns/b"], ["ns/c"]]);
    await limit("a", { topic: "u" });
    assert.deepEqual([topic().rateLimits, topic("ns/u").rateLimits], [[], ["ns/a"]]);
    await catalog.change("test", (draft) => removeRateLimit(draft, "ns/a"));
    assert.deepEqual(topic("ns/u").rateLimits, []);
    assert.equal(table.get(ResourceType.RateLimit, "ns/a"), undefined);
  });

  it("is the namespace's default where a topic or group has none of its own for all clients", async () => {
    const rates = { messagesPerSecond: 7, bytesPerSecond: 0, burstMs: 1_000 };
    const setDefaults = (said: object) =>
      catalog.change("test", (draft) => declareNamespace(draft, "ns", said, policy));
    await setDefaults({ topicSends: rates, groupReceives: rates });
    assert.deepEqual([topic().rateLimits, group().rateLimits], [["ns/%sends%t"], ["ns/%receives%g"]]);
    const {
      direction,
      topic: target,
      messagesPerSecond,
    } = popmesh.v1.RateLimit.decode(bytesOf(ResourceType.RateLimit, "ns/%sends%t"));
    assert.deepEqual([direction, target, messagesPerSecond], [1, "t", 7]);
    await limit("some", { topic: "t", direction: "send", client: "a*" });
    assert.deepEqual(topic().rateLimits, ["ns/%sends%t", "ns/some"]);
    await limit("own", { topic: "t", direction: "send" });
    assert.deepEqual(topic().rateLimits, ["ns/some", "ns/own"]);
    assert.equal(table.get(ResourceType.RateLimit, "ns/%sends%t"), undefined);
    await catalog.change("test", (draft) => removeRateLimit(draft, "ns/own"));
    assert.deepEqual(topic().rateLimits, ["ns/%sends%t", "ns/some"]);
    await catalog.change("test", (draft) => removeResource(draft, "topic", "ns/u"));
    assert.equal(table.get(ResourceType.RateLimit, "ns/%sends%u"), undefined);
    await setDefaults({ topicSends: null });
    assert.deepEqual([topic().rateLimits, group().rateLimits], [["ns/some"], ["ns/%receives%g"]]);
  });

  it("costs a topic without limits nothing: its bytes are what they were", async () => {
    const before = table.get(ResourceType.TopicRoute, "ns/t")?.version;
    await limit("a", { topic: "u" });
    await limit("c", {});
    assert.equal(table.get(ResourceType.TopicRoute, "ns/t")?.version, before);
  });

  it("is on disk before it is pushed, also what the same resource tells", async () => {
    isSlow = true;
    const first = limit("a", { topic: "t" });
    const second = catalog.change("test", (draft) => declareNamespace(draft, "ns", { maxMessageBytes: 9 }, policy));
    assert.deepEqual([topic().rateLimits, topic().maxMessageBytes, writes.length], [[], 0, 2]);
    writes[0]?.();
    await first;
    assert.deepEqual([topic().rateLimits, topic().maxMessageBytes], [["ns/a"], 0]);
    writes[1]?.();
    await second;
    assert.equal(topic().maxMessageBytes, 9);
  });

  it("tells the topics of a namespace, and no others, how long a message may be", async () => {
    await catalog.change("test", (draft) => declareTopic(draft, "other", "t", {}, policy));
    await catalog.change("test", (draft) => declareNamespace(draft, "ns", { maxMessageBytes: 1_000 }, policy));
    assert.deepEqual(
      [topic().maxMessageBytes, topic("ns/u").maxMessageBytes, topic("other/t").maxMessageBytes],
      [1_000, 1_000, 0],
    );
    await catalog.change("test", (draft) => declareTopic(draft, "ns", "late", {}, policy));
    assert.equal(topic("ns/late").maxMessageBytes, 1_000);
  });
});
