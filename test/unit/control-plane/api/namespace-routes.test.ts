import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { TestControlPlane } from "../../../support/start-control-plane.ts";

type Kind = "Topic" | "ConsumerGroup" | "LaneRule" | "RateLimit";
const inTeam = (kind: Kind, name: string, spec: object = {}): object => ({
  ...{ apiVersion: "popmesh.io/v1", kind, metadata: { namespace: "team", name }, spec },
});
const team = (spec: object): object => ({
  ...{ apiVersion: "popmesh.io/v1", kind: "Namespace", metadata: { name: "team" }, spec },
});

interface View {
  readonly spec: object;
  readonly status: { readonly holds: { topics: number; groups: number; queues: number } };
}

describe("namespaces over the HTTP API", () => {
  let controlPlane: TestControlPlane;
  beforeEach(async () => {
    controlPlane = await TestControlPlane.start({ argv: ["--auto-create", "on"] });
  });
  afterEach(() => controlPlane.stop());

  const post = async (...manifests: object[]) => {
    const text = manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n");
    const { status, body } = await controlPlane.http("POST", "/v1/apply", text);
    return { status, ...JSON.parse(body) };
  };
  const view = () => controlPlane.json<View>("/v1/namespaces/team");
  const remove = (query = "") => controlPlane.http("DELETE", `/v1/namespaces/team${query}`);

  it("are created and changed in what is said, and told as manifests that can be applied again", async () => {
    await post(team({ quotas: { topics: 3, queues: 20 }, maxMessageSize: "256KiB" }));
    await post(team({ autoCreateGroups: false, quotas: { topics: 4 } }));
    const { status: _, ...manifest } = { ...(await view()) };
    assert.deepEqual(manifest.spec, {
      ...{ autoCreateTopics: true, autoCreateGroups: false },
      ...{ quotas: { topics: 4, queues: 20 }, maxMessageSize: "256KiB" },
    });
    assert.equal((await post(manifest)).applied[0].outcome, "unchanged");
    await post(team({ quotas: { topics: "none", queues: "none" } }));
    assert.deepEqual((await view()).spec, {
      ...{ autoCreateTopics: true, autoCreateGroups: false, maxMessageSize: "256KiB" },
    });
  });

  it("give each topic and group a limit that has none of its own, with shares as any other", async () => {
    const defaultLimits = {
      topicSends: { messagesPerSecond: 10, burst: "2s" },
      groupReceives: { bytesPerSecond: 1024, burst: "1s" },
    };
    await post(team({ defaultLimits }), inTeam("Topic", "a"));
    const { spec, ...rest } = await view();
    assert.deepEqual((spec as { defaultLimits: object }).defaultLimits, defaultLimits);
    assert.equal((await post({ ...rest, spec })).applied[0].outcome, "unchanged");
    const share = async (name: string) => (await controlPlane.share([{ name, messagesWanted: 50 }])).share[0]?.messages;
    assert.equal(await share("team/%sends%a"), 0.95);
    assert.equal(await share("other/%sends%a"), undefined);
    assert.equal(
      (await post(inTeam("RateLimit", "%sends%a", { direction: "send", messagesPerSecond: 5 }))).status,
      400,
    );
    await post(team({ defaultLimits: { topicSends: "none" } }));
    assert.equal(await share("team/%sends%a"), undefined);
    const long = {
      apiVersion: "popmesh.io/v1",
      kind: "Namespace",
      metadata: { name: "n".repeat(121) },
      spec: { defaultLimits },
    };
    assert.equal((await post(long)).status, 409);
  });

  it("hold no more than their quotas, one text counted whole", async () => {
    await post(team({ quotas: { topics: 2, groups: 1, queues: 12 } }), inTeam("Topic", "a", { queues: 4 }));
    const over = await post(inTeam("Topic", "b"), inTeam("Topic", "c", { queues: 1 }));
    assert.equal(over.status, 409);
    assert.match(
      over.mistakes[0].reason,
      /namespace "team", which holds 2 of 2 topics; delete some, or raise spec.quotas.topics/,
    );
    assert.equal((await post(inTeam("Topic", "b"))).status, 200);
    const wide = await post(inTeam("Topic", "a", { queues: 5 }));
    assert.deepEqual([wide.status, wide.mistakes[0].path], [409, "spec.queues"]);
    assert.equal((await post(inTeam("ConsumerGroup", "g"), inTeam("ConsumerGroup", "h"))).status, 409);
    assert.equal((await post(inTeam("ConsumerGroup", "g"))).status, 200);
    assert.deepEqual((await view()).status.holds, { topics: 2, groups: 1, queues: 12 });
    // What is there may be changed, and another namespace has room.
    assert.equal((await post(inTeam("ConsumerGroup", "g", { attemptsMax: 3 }))).status, 200);
    assert.equal((await controlPlane.ensure("Topic", "other/c")).code, Code.Ok);
  });

  it("let sidecars create no more than their quotas, but the dead-letter topic of a group always", async () => {
    await post(team({ quotas: { topics: 1, groups: 1 } }));
    assert.equal((await controlPlane.ensure("Topic", "team/a")).code, Code.Ok);
    const refused = await controlPlane.ensure("Topic", "team/b");
    assert.equal(refused.code, Code.TooManyRequests);
    assert.match(refused.message, /quota of namespace "team"/);
    assert.equal((await controlPlane.ensure("Group", "team/g")).code, Code.Ok);
    assert.equal((await controlPlane.ensure("Group", "team/h")).code, Code.TooManyRequests);
    assert.equal((await controlPlane.ensure("Topic", "team/%DLQ%g")).code, Code.Ok);
    assert.equal((await view()).status.holds.topics, 1);
  });

  it("say when a quota is less than what is there, and take nothing away", async () => {
    await post(inTeam("Topic", "a"), inTeam("Topic", "b"));
    const [applied] = (await post(team({ quotas: { topics: 1 } }))).applied;
    assert.deepEqual(applied.warnings, ["it holds 2 topics already, more than 1; they stay, and no more are taken"]);
    assert.equal((await view()).status.holds.topics, 2);
  });

  it("go only when they are empty, or with all that is in them when that is said", async () => {
    await post(
      inTeam("Topic", "a"),
      inTeam("ConsumerGroup", "g"),
      inTeam("LaneRule", "r", { topic: "a", rules: [{ to: "canary" }] }),
      inTeam("RateLimit", "l", { direction: "send", messagesPerSecond: 5 }),
    );
    await controlPlane.ensure("Topic", "teams/a");
    const refused = await remove();
    assert.equal(refused.status, 409);
    assert.match(refused.body, /holds 1 topics, 1 groups, 1 lane rules, 1 rate limits; .*--cascade/);
    assert.equal((await view()).status.holds.topics, 1);
    assert.equal((await remove("?cascade=true")).status, 200);
    assert.equal((await controlPlane.http("GET", "/v1/namespaces/team")).status, 404);
    for (const path of ["topics/a", "groups/g", "lanerules/r", "ratelimits/l"]) {
      assert.equal((await controlPlane.http("GET", `/v1/namespaces/team/${path}`)).status, 404, path);
    }
    // Whose name begins alike is another one. What comes again is told from what was there.
    assert.equal((await controlPlane.http("GET", "/v1/namespaces/teams/topics/a")).status, 200);
    await controlPlane.ensure("Topic", "team/a");
    const topic = await controlPlane.json<{ status: { incarnation: number } }>("/v1/namespaces/team/topics/a");
    assert.equal(topic.status.incarnation, 2);
    assert.equal((await controlPlane.http("DELETE", "/v1/namespaces/default?cascade=true")).status, 409);
    assert.equal((await controlPlane.http("DELETE", "/v1/namespaces/nobody")).status, 404);
  });

  for (const [spec, path, reason] of [
    [{ quotas: { topics: 0 } }, "spec.quotas.topics", /whole number from 1 to 1000000, or "none"/],
    [{ defaultLimits: { topicSends: { burst: "1s" } } }, "spec.defaultLimits.topicSends", /limits nothing/],
    [{ quotas: { messages: 5 } }, "spec.quotas.messages", /is no field/],
    [{ maxMessageSize: "5MiB" }, "spec.maxMessageSize", /from 1 byte to 4MiB/],
    [{ maxMessageSize: 0 }, "spec.maxMessageSize", /from 1 byte/],
  ] as const) {
    it(`are refused with ${JSON.stringify(spec)}`, async () => {
      const { status, mistakes } = await post(team(spec));
      assert.deepEqual([status, mistakes[0].path], [400, path]);
      assert.match(mistakes[0].reason, reason);
    });
  }
});
