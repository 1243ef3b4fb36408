import assert from "node:assert/strict";
import { groupManifest, TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";

interface Refusal {
  readonly error: string;
  readonly mistakes: readonly { line: number; column: number; path: string; reason: string }[];
}

describe("the HTTP API", () => {
  let controlPlane: TestControlPlane;
  beforeEach(async () => {
    controlPlane = await TestControlPlane.start();
  });
  afterEach(() => controlPlane.stop());

  const apply = async (text: string) => {
    const { status, body } = await controlPlane.http("POST", "/v1/apply", text);
    return { status, ...(JSON.parse(body) as Partial<Refusal> & { applied?: { outcome: string }[] }) };
  };
  const outcomes = async (...manifests: object[]) =>
    (await apply(manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n"))).applied?.map((a) => a.outcome);
  const topicNames = async (namespace = "default") =>
    (
      await controlPlane.json<{ items: { metadata: { name: string } }[] }>(`/v1/namespaces/${namespace}/topics`)
    ).items.map(({ metadata }) => metadata.name);

  it("creates, then says unchanged, then configures what was said and leaves the rest", async () => {
    assert.deepEqual(await outcomes(topicManifest("orders", { type: "fifo", queues: 4 })), ["created"]);
    assert.deepEqual(await outcomes(topicManifest("orders")), ["unchanged"]);
    assert.deepEqual(await outcomes(topicManifest("orders", { state: "readOnly" })), ["configured"]);
    const { spec } = await controlPlane.json<{ spec: object }>("/v1/namespaces/default/topics/orders");
    assert.deepEqual(spec, { type: "fifo", queues: 4, state: "readOnly" });
  });

  it("answers manifests that can be applied again as they are", async () => {
    await controlPlane.apply(
      topicManifest("orders", { type: "delay" }),
      groupManifest("list", { backoff: { list: ["1s", "90s"] } }),
      groupManifest("exponential", { backoff: { exponential: { initial: "5s", max: "2h", multiplier: 2 } } }),
    );
    for (const path of ["topics/orders", "groups/list", "groups/exponential"]) {
      const { status: _, ...manifest } = await controlPlane.json(`/v1/namespaces/default/${path}`);
      assert.deepEqual(await outcomes(manifest), ["unchanged"], path);
    }
  });

  it("applies all of a file or nothing, and tells every contradiction with its line", async () => {
    await controlPlane.apply(topicManifest("orders", { type: "fifo", queues: 8 }), topicManifest("bills"));
    const text = [
      "apiVersion: popmesh.io/v1\nkind: Topic\nmetadata: { name: new }\n",
      "apiVersion: popmesh.io/v1\nkind: Topic\nmetadata: { name: orders }\nspec: { type: normal }\n",
      "apiVersion: popmesh.io/v1\nkind: Topic\nmetadata: { name: bills }\nspec: { queues: 2 }\n",
    ].join("---\n");
    const { status, mistakes } = await apply(text);
    assert.equal(status, 409);
    assert.deepEqual(
      mistakes?.map(({ line, path }) => `${line} ${path}`),
      ["8 spec.type", "13 spec.queues"],
    );
    assert.deepEqual(await topicNames(), ["bills", "orders"]);
  });

  for (const [what, spec, path, reason] of [
    ["an unknown type", { type: "lifo" }, "spec.type", /normal.*fifo/],
    ["no queues", { queues: 0 }, "spec.queues", /must be 1 or more/],
    ["too many queues", { queues: 1025 }, "spec.queues", /1024/],
    ["half a queue", { queues: 1.5 }, "spec.queues", /must be a whole number, and is 1.5/],
    ["queues as text", { queues: "many" }, "spec.queues", /number/],
    ["an unknown state", { state: "paused" }, "spec.state", /active/],
    ["a misspelt field", { queue: 4 }, "spec.queue", /did you mean "queues"/],
    ["a field of something else", { attemptsMax: 4 }, "spec.attemptsMax", /no field/],
  ] as const) {
    it(`refuses a topic with ${what}`, async () => {
      const { status, mistakes } = await apply(JSON.stringify(topicManifest("orders", spec), null, 2));
      assert.equal(status, 400);
      assert.deepEqual(
        mistakes?.map((mistake) => mistake.path),
        [path],
      );
      assert.match(mistakes?.[0]?.reason ?? "", reason);
      assert.ok((mistakes?.[0]?.line ?? 0) > 1, "the mistake has no place");
      assert.deepEqual(await topicNames(), []);
    });
  }

  for (const [what, spec] of [
    ["no attempts", { attemptsMax: 0 }],
    ["an empty backoff", { backoff: { list: [] } }],
    ["two kinds of backoff", { backoff: { list: ["1s"], exponential: { initial: "1s", max: "2s", multiplier: 2 } } }],
    ["a negative delay", { backoff: { list: ["-1s"] } }],
    ["a backoff that shrinks", { backoff: { exponential: { initial: "1s", max: "2s", multiplier: 0.5 } } }],
    ["a poll longer than a minute", { longPolling: "2m" }],
    ["no batch", { receiveBatchSize: 0 }],
  ] as const) {
    it(`refuses a group with ${what}`, async () => {
      const { status, mistakes } = await apply(JSON.stringify(groupManifest("billing", spec)));
      assert.equal(status, 400);
      assert.ok((mistakes?.length ?? 0) > 0);
      assert.ok(mistakes?.every((mistake) => mistake.path.startsWith("spec.")));
    });
  }

  it("keeps namespaces apart, and makes them with the first resource in them", async () => {
    await controlPlane.apply({
      apiVersion: "popmesh.io/v1",
      kind: "Topic",
      metadata: { name: "orders", namespace: "team-a" },
    });
    assert.deepEqual(await topicNames("team-a"), ["orders"]);
    assert.deepEqual(await topicNames(), []);
    const { items } = await controlPlane.json<{ items: { metadata: { name: string } }[] }>("/v1/namespaces");
    assert.deepEqual(
      items.map(({ metadata }) => metadata.name),
      ["default", "team-a"],
    );
  });

  it("deletes, and says 404 with what to do for what is not there", async () => {
    await controlPlane.apply(topicManifest("orders"), groupManifest("billing"));
    for (const path of ["topics/orders", "groups/billing"]) {
      assert.equal((await controlPlane.http("DELETE", `/v1/namespaces/default/${path}`)).status, 200);
      const again = await controlPlane.http("DELETE", `/v1/namespaces/default/${path}`);
      assert.equal(again.status, 404);
      assert.match(again.body, /popmesh (topic|group) create/);
    }
  });

  it("tells brokers with address, state and how many topics they hold", async () => {
    await controlPlane.registerBroker({ brokerName: "a", draining: true });
    await controlPlane.registerBroker({ brokerName: "b", port: 17_002 });
    await controlPlane.apply(topicManifest("orders"));
    const { items } = await controlPlane.json<{ items: { metadata: object; status: Record<string, unknown> }[] }>(
      "/v1/brokers",
    );
    assert.deepEqual(
      items.map(({ status }) => [status["address"], status["state"], status["topics"]]),
      [
        ["127.0.0.1:17000", "draining", 0],
        ["127.0.0.1:17002", "serving", 1],
      ],
    );
  });

  it("shows who changed what", async () => {
    await controlPlane.apply(topicManifest("orders"));
    const { items } = await controlPlane.json<{ items: { by: string; action: string; name: string }[] }>(
      "/v1/audit?limit=1",
    );
    assert.deepEqual(
      items.map(({ by, action, name }) => `${by} ${action} ${name}`),
      ["http:test created default/orders"],
    );
  });

  describe("does not change anything for", () => {
    const manifest = JSON.stringify(topicManifest("orders"));
    for (const [what, method, path, headers, status] of [
      [
        "a page of another origin",
        "POST",
        "/v1/apply",
        { "x-popmesh-client": "x", origin: "http://evil.example" },
        403,
      ],
      ["a request without our header", "POST", "/v1/apply", { "content-type": "application/json" }, 403],
      ["a rebound host name", "POST", "/v1/apply", { "x-popmesh-client": "x", host: "evil.example" }, 403],
      ["a cross-site fetch", "POST", "/v1/apply", { "x-popmesh-client": "x", "sec-fetch-site": "cross-site" }, 403],
      ["another method", "PUT", "/v1/apply", { "x-popmesh-client": "x" }, 405],
      ["another path", "POST", "/v1/applied", { "x-popmesh-client": "x" }, 404],
    ] as const) {
      it(what, async () => {
        const answer = await controlPlane.http(method, path, manifest, headers as Record<string, string>);
        assert.equal(answer.status, status, answer.body);
        assert.deepEqual(await topicNames(), []);
      });
    }

    it("a body over 12 MiB", async () => {
      const answer = await controlPlane.http("POST", "/v1/apply", `${manifest}\n#${"x".repeat(12 * 1024 * 1024)}`);
      assert.equal(answer.status, 413);
      assert.deepEqual(await topicNames(), []);
    });
  });
});
