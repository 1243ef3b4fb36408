import assert from "node:assert/strict";
import { TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";

const path = "/v1/namespaces/default/ratelimits";

function limit(name: string, spec: object, namespace = "default"): object {
  return {
    apiVersion: "popmesh.io/v1",
    kind: "RateLimit",
    metadata: { name, namespace },
    spec: { direction: "send", ...spec },
  };
}

describe("rate limits over the HTTP API", () => {
  let controlPlane: TestControlPlane;
  beforeEach(async () => {
    controlPlane = await TestControlPlane.start();
  });
  afterEach(() => controlPlane.stop());

  const post = async (to: string, manifest: object) => {
    const { status, body } = await controlPlane.http("POST", to, JSON.stringify(manifest));
    return { status, ...JSON.parse(body) };
  };
  const outcomeOf = async (manifest: object) => (await post("/v1/apply", manifest)).applied[0].outcome;

  it("are created, unchanged, configured, and told as manifests that can be applied again", async () => {
    assert.equal(await outcomeOf(limit("a", { messagesPerSecond: 5 })), "created");
    const { status, ...manifest } = await controlPlane.json<{ status: object }>(`${path}/a`);
    assert.deepEqual(manifest, {
      ...{ apiVersion: "popmesh.io/v1", kind: "RateLimit", metadata: { namespace: "default", name: "a" } },
      spec: { direction: "send", messagesPerSecond: 5, burst: "1s" },
    });
    assert.equal((status as { scope: string }).scope, 'all of namespace "default"');
    assert.equal(await outcomeOf(manifest), "unchanged");
    assert.equal(await outcomeOf(limit("a", { bytesPerSecond: "1KiB" })), "configured");
    // What a manifest leaves out has its default, not its old value.
    const { spec } = await controlPlane.json<{ spec: object }>(`${path}/a`);
    assert.deepEqual(spec, { direction: "send", bytesPerSecond: 1024, burst: "1s" });
  });

  it("say what they would change, and change nothing", async () => {
    await outcomeOf(limit("a", { messagesPerSecond: 5 }));
    const [difference] = (await post("/v1/diff", limit("a", { messagesPerSecond: 6 }))).differences;
    assert.deepEqual([difference.before.messagesPerSecond, difference.after.messagesPerSecond], [5, 6]);
    const { spec } = await controlPlane.json<{ spec: { messagesPerSecond: number } }>(`${path}/a`);
    assert.equal(spec.messagesPerSecond, 5);
  });

  it("for what does not exist are in force, and say so", async () => {
    const [applied] = (await post("/v1/apply", limit("a", { topic: "orders", messagesPerSecond: 5 }))).applied;
    assert.deepEqual(applied.warnings, [
      'topic "orders" does not exist in namespace "default"; the limit waits for it',
    ]);
    await controlPlane.apply(topicManifest("orders"));
    const [again] = (await post("/v1/apply", limit("a", { topic: "orders", messagesPerSecond: 6 }))).applied;
    assert.equal(again.warnings, undefined);
  });

  it("keep their versions, also when they are deleted", async () => {
    await outcomeOf(limit("a", { messagesPerSecond: 5 }));
    await outcomeOf(limit("a", { messagesPerSecond: 6 }));
    assert.equal((await controlPlane.http("DELETE", `${path}/a`)).status, 200);
    assert.equal((await controlPlane.http("GET", `${path}/a`)).status, 404);
    await controlPlane.restart();
    await outcomeOf(limit("a", { messagesPerSecond: 7 }));
    const { items } = await controlPlane.json<{
      items: { generation: number; action: string; spec: null | { messagesPerSecond: number } }[];
    }>(`${path}/a/history`);
    assert.deepEqual(
      items.map(({ generation, action, spec }) => [generation, action, spec?.messagesPerSecond]),
      [
        [4, "created", 7],
        [3, "deleted", undefined],
        [2, "configured", 6],
        [1, "created", 5],
      ],
    );
  });

  it("of one namespace are not those of another", async () => {
    await outcomeOf(limit("a", { messagesPerSecond: 5 }, "red"));
    await outcomeOf(limit("a", { messagesPerSecond: 6 }, "blue"));
    assert.equal((await controlPlane.http("DELETE", "/v1/namespaces/red/ratelimits/a")).status, 200);
    const { items } = await controlPlane.json<{ items: { spec: { messagesPerSecond: number } }[] }>(
      "/v1/namespaces/blue/ratelimits",
    );
    assert.deepEqual(
      items.map(({ spec }) => spec.messagesPerSecond),
      [6],
    );
    const { status, body } = await controlPlane.http("GET", "/v1/namespaces/red/ratelimits/a");
    assert.equal(status, 404);
    assert.match(body, /popmesh get ratelimits -n red/);
  });
});
