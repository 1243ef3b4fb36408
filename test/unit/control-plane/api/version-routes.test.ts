import assert from "node:assert/strict";
import { TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";

interface Version {
  readonly generation: number;
  readonly at: string;
  readonly by: string;
  readonly action: string;
  readonly contentOf?: number;
  readonly spec: object | null;
}

/** One of the kinds whose versions are kept: where it is, and a manifest whose content is told by a number. */
interface Kind {
  readonly title: string;
  readonly path: string;
  readonly manifest: (size: number) => object;
  /** The number, as a spec of the history tells it. */
  readonly sizeOf: (spec: object) => number | undefined;
}

const kinds: readonly Kind[] = [
  {
    title: "LaneRule team/a",
    path: "/v1/namespaces/team/lanerules/a",
    manifest: (percent) => ({
      ...{ apiVersion: "popmesh.io/v1", kind: "LaneRule", metadata: { namespace: "team", name: "a" } },
      spec: { topic: "orders", rules: [{ percent, to: "canary" }] },
    }),
    sizeOf: (spec) => (spec as { rules: { percent: number }[] }).rules[0]?.percent,
  },
  {
    title: "RateLimit team/a",
    path: "/v1/namespaces/team/ratelimits/a",
    manifest: (messagesPerSecond) => ({
      ...{ apiVersion: "popmesh.io/v1", kind: "RateLimit", metadata: { namespace: "team", name: "a" } },
      spec: { direction: "send", messagesPerSecond },
    }),
    sizeOf: (spec) => (spec as { messagesPerSecond: number }).messagesPerSecond,
  },
  {
    title: "Namespace team",
    path: "/v1/namespaces/team",
    manifest: (topics) => ({
      ...{ apiVersion: "popmesh.io/v1", kind: "Namespace", metadata: { name: "team" } },
      spec: { quotas: { topics } },
    }),
    sizeOf: (spec) => (spec as { quotas?: { topics: number } }).quotas?.topics,
  },
];

for (const { title, path, manifest, sizeOf } of kinds) {
  describe(`the versions of a ${title.split(" ")[0]} over the HTTP API`, () => {
    let controlPlane: TestControlPlane;
    beforeEach(async () => {
      controlPlane = await TestControlPlane.start();
    });
    afterEach(() => controlPlane.stop());

    const history = async () => (await controlPlane.json<{ items: Version[] }>(`${path}/history`)).items;
    const told = async () =>
      (await history()).map(({ generation, action, contentOf, spec }) => [
        ...[generation, action, contentOf, spec === null ? null : sizeOf(spec)],
      ]);
    const rollBack = async (body: object = {}) => {
      const answer = await controlPlane.http("POST", `${path}/rollback`, JSON.stringify(body));
      return { status: answer.status, ...JSON.parse(answer.body) };
    };
    const size = async () => sizeOf((await controlPlane.json<{ spec: object }>(path)).spec);

    it("are gone back to by new ones, each with who made it and when", async () => {
      for (const count of [1, 5, 25]) await controlPlane.apply(manifest(count));
      const back = await rollBack({ to: 1 });
      assert.deepEqual([back.status, back.outcome, back.generation], [200, "configured", 4]);
      assert.equal(await size(), 1);
      assert.deepEqual(await told(), [
        [4, "rolled back", 1, 1],
        [3, "configured", undefined, 25],
        [2, "configured", undefined, 5],
        [1, "created", undefined, 1],
      ]);
      for (const { at, by } of await history()) {
        assert.equal(by, "http:test");
        assert.ok(!Number.isNaN(Date.parse(at)), at);
      }
      // The newest with another content: that of version 3. So a second rollback undoes the first.
      assert.equal((await rollBack()).generation, 5);
      assert.equal(await size(), 25);
      assert.deepEqual(await rollBack({ to: 3 }), {
        ...{ status: 200, outcome: "unchanged", generation: 5 },
        warnings: (await rollBack({ to: 3 })).warnings,
      });
    });

    it("outlive it and a restart, and bring it back", async () => {
      await controlPlane.apply(manifest(5));
      assert.equal((await controlPlane.http("DELETE", path)).status, 200);
      assert.equal((await controlPlane.http("GET", path)).status, 404);
      await controlPlane.restart();
      assert.deepEqual(await told(), [
        [2, "deleted", undefined, null],
        [1, "created", undefined, 5],
      ]);
      const deleted = await rollBack({ to: 2 });
      assert.deepEqual(
        [deleted.status, deleted.error],
        [404, `${title} was deleted with version 2; to have that again, delete it`],
      );
      assert.deepEqual([(await rollBack()).generation, await size()], [3, 5]);
      await controlPlane.apply(manifest(6));
      assert.deepEqual((await told())[0], [4, "configured", undefined, 6]);
    });

    it("that are not there are refused, with those that are", async () => {
      const never = await rollBack();
      assert.deepEqual([never.status, never.error], [404, `${title} has no versions: there never was one`]);
      const { status, body } = await controlPlane.http("GET", `${path}/history`);
      assert.deepEqual([status, JSON.parse(body).error], [404, `${title} has no history: there never was one`]);
      await controlPlane.apply(manifest(5));
      assert.match((await rollBack({ to: 7 })).error, /has no version 7; those that are kept: 1$/);
      assert.match((await rollBack()).error, /has no version with another content$/);
      for (const wrong of [{ to: "1" }, { to: 0 }, { to: 1.5 }, { two: 1 }, []]) {
        assert.equal((await rollBack(wrong)).status, 400);
      }
    });

    it("are kept a hundred times, the newest", async () => {
      for (let i = 0; i < 103; i++) await controlPlane.apply(manifest(1 + (i % 50)));
      await controlPlane.restart();
      const versions = await told();
      assert.deepEqual([versions.length, versions[0]?.[0], versions.at(-1)?.[0]], [100, 103, 4]);
      assert.equal((await rollBack({ to: 3 })).status, 404);
      assert.equal((await rollBack({ to: 4 })).generation, 104);
    });
  });
}

describe("a rollback over the HTTP API", () => {
  let controlPlane: TestControlPlane;
  beforeEach(async () => {
    controlPlane = await TestControlPlane.start();
  });
  afterEach(() => controlPlane.stop());

  it("warns of what may not be meant any more", async () => {
    const limit = (topic: string) => ({
      ...{ apiVersion: "popmesh.io/v1", kind: "RateLimit", metadata: { name: "a" } },
      spec: { topic, direction: "send", messagesPerSecond: 5 },
    });
    await controlPlane.apply(topicManifest("old"), limit("old"));
    await controlPlane.apply(topicManifest("new"), limit("new"));
    await controlPlane.deleteTopic("old");
    const answer = await controlPlane.http("POST", "/v1/namespaces/default/ratelimits/a/rollback", "{}");
    assert.deepEqual(JSON.parse(answer.body).warnings, [
      'topic "old" does not exist in namespace "default"; the limit waits for it',
    ]);
  });

  it("of a namespace takes away what a later version has added, and leaves what it holds", async () => {
    const team = (spec: object) => ({
      ...{ apiVersion: "popmesh.io/v1", kind: "Namespace", metadata: { name: "team" }, spec },
    });
    const topic = (name: string) => ({ ...topicManifest(name), metadata: { namespace: "team", name } });
    await controlPlane.apply(team({ quotas: { topics: 1 } }));
    await controlPlane.apply(
      team({ quotas: { topics: 5, groups: 3 }, defaultLimits: { topicSends: { messagesPerSecond: 9 } } }),
    );
    await controlPlane.apply(topic("a"), topic("b"));
    const answer = await controlPlane.http("POST", "/v1/namespaces/team/rollback", '{"to":1}');
    assert.deepEqual(JSON.parse(answer.body).warnings, [
      "it holds 2 topics already, more than 1; they stay, and no more are taken",
    ]);
    const { spec, status } = await controlPlane.json<{ spec: object; status: { holds: { topics: number } } }>(
      "/v1/namespaces/team",
    );
    assert.deepEqual(spec, { autoCreateTopics: false, autoCreateGroups: false, quotas: { topics: 1 } });
    assert.equal(status.holds.topics, 2);
  });
});
