import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { LaneRuleBroker } from "../../../support/lane-rule-broker.ts";
import { groupManifest, TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";
import { waitUntil } from "../../../support/wait-until.ts";

interface View {
  readonly metadata: object;
  readonly spec: { readonly rules: readonly { percent?: number; to: string }[] };
  readonly status: {
    readonly generation: number;
    readonly lanes: string[];
    readonly brokers: readonly Standing[];
    readonly publication: {
      readonly state: string;
      readonly first?: readonly string[];
      readonly waitsFor: readonly string[];
    };
    readonly rolledBackBecause?: string;
  };
}
interface Standing {
  readonly broker: string;
  readonly state: string;
  readonly generation: number | null;
  readonly reason?: string;
}
interface Version {
  readonly generation: number;
  readonly by: string;
  readonly action: string;
  readonly contentOf?: number;
  readonly reason?: string;
  readonly spec: View["spec"] | null;
}

const path = "/v1/namespaces/default/lanerules";

/** A rule of topic orders that sends a share to lane canary. */
function share(name: string, percent: number, spec: object = {}): object {
  const rules = [{ percent, to: "canary" }];
  return {
    apiVersion: "popmesh.io/v1",
    kind: "LaneRule",
    metadata: { name },
    spec: { topic: "orders", rules, ...spec },
  };
}

describe("lane rules over the HTTP API", () => {
  let controlPlane: TestControlPlane;
  beforeEach(async () => {
    controlPlane = await TestControlPlane.start();
  });
  afterEach(() => controlPlane.stop());

  const post = async (to: string, ...manifests: object[]) => {
    const text = manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n");
    const { status, body } = await controlPlane.http("POST", to, text);
    return { status, ...JSON.parse(body) };
  };
  const apply = (...manifests: object[]) => post("/v1/apply", ...manifests);
  const view = (name: string) => controlPlane.json<View>(`${path}/${name}`);
  const history = async (name: string) =>
    (await controlPlane.json<{ items: Version[] }>(`${path}/${name}/history`)).items;
  const rollBack = async (name: string, body: object = {}) => {
    const answer = await controlPlane.http("POST", `${path}/${name}/rollback`, JSON.stringify(body));
    return { status: answer.status, ...JSON.parse(answer.body) };
  };

  it("are created, unchanged, configured, and told as manifests that can be applied again", async () => {
    await controlPlane.apply(topicManifest("orders"), groupManifest("billing"));
    const first = await apply(share("canary", 5, { group: "billing" }));
    const line = { kind: "LaneRule", namespace: "default", name: "canary", outcome: "created", generation: 1 };
    assert.deepEqual(first.applied, [line]);
    const { status: _, ...manifest } = await view("canary");
    assert.equal((await apply(manifest)).applied[0].outcome, "unchanged");
    assert.equal((await apply(share("canary", 20, { group: "billing" }))).applied[0].outcome, "configured");
    const { status, spec } = await view("canary");
    assert.equal(status.generation, 2);
    assert.deepEqual(status.lanes, ["canary"]);
    assert.deepEqual(spec, {
      topic: "orders",
      group: "billing",
      rules: [{ percent: 20, to: "canary" }],
      whenEmpty: { action: "spill", after: "2s" },
    });
  });

  it("take what a manifest leaves out from the defaults, not from the version before", async () => {
    await controlPlane.apply(topicManifest("orders"));
    await apply(share("canary", 5, { whenEmpty: { action: "hold" } }));
    await apply(share("canary", 5));
    assert.deepEqual((await view("canary")).spec, {
      topic: "orders",
      rules: [{ percent: 5, to: "canary" }],
      whenEmpty: { action: "spill", after: "2s" },
    });
  });

  it("that name nothing are in force with a warning, unless the same text brings it", async () => {
    const [alone] = (await apply(share("canary", 5, { group: "billing" }))).applied;
    assert.deepEqual(alone.warnings, [
      'topic "orders" does not exist; the rule waits for it',
      'group "billing" does not exist; the rule waits for it',
    ]);
    const brought = await apply(share("blue", 5, { topic: "bills" }), topicManifest("bills"));
    assert.equal(brought.applied[0].warnings, undefined);
  });

  it("for one topic and group are one, and a second is refused with the one that is there (L10)", async () => {
    await controlPlane.apply(topicManifest("orders"), groupManifest("billing"));
    await apply(share("canary", 5, { group: "billing" }));
    const refused = await apply(share("blue", 5, { group: "billing" }));
    assert.equal(refused.status, 409);
    assert.equal(refused.mistakes[0].path, "spec.topic");
    assert.match(refused.mistakes[0].reason, /for which LaneRule default\/canary decides already/);
    assert.equal((await apply(share("first", 5, { topic: "new" }), share("second", 5, { topic: "new" }))).status, 409);
    // In another namespace it is another topic.
    const elsewhere = share("blue", 5, { group: "billing" }) as { metadata: object };
    assert.equal((await apply({ ...elsewhere, metadata: { name: "blue", namespace: "team-a" } })).status, 200);
  });

  it("for every group say which groups have a rule of their own (L10)", async () => {
    await controlPlane.apply(topicManifest("orders"), groupManifest("billing"));
    await apply(share("billing", 5, { group: "billing" }));
    const [general] = (await apply(share("all", 5))).applied;
    assert.deepEqual(general.warnings, ['group "billing" is decided by LaneRule default/billing and not by this one']);
    const [named] = (await apply(share("billing", 6, { group: "billing" }))).applied;
    assert.deepEqual(named.warnings, [
      'LaneRule default/all does not decide for group "billing" any more, this one does',
    ]);
  });

  it("keep their topic and group for life", async () => {
    await apply(share("canary", 5));
    const refused = await apply(share("canary", 5, { group: "billing" }));
    assert.equal(refused.status, 409);
    assert.equal(refused.mistakes[0].path, "spec.group");
    assert.match(refused.mistakes[0].reason, /use another name, or delete it first/);
  });

  it("are compared with what is in force, and nothing changes by it", async () => {
    await controlPlane.apply(topicManifest("orders"));
    await apply(share("canary", 5));
    const { differences } = await post(
      "/v1/diff",
      share("canary", 20),
      share("blue", 1, { topic: "bills" }),
      topicManifest("orders"),
    );
    assert.deepEqual(
      differences.map(({ outcome }: { outcome: string }) => outcome),
      ["configured", "created", "unchanged"],
    );
    assert.equal(differences[0].before.rules[0].percent, 5);
    assert.equal(differences[0].after.rules[0].percent, 20);
    assert.equal(differences[1].before, null);
    assert.equal((await view("canary")).status.generation, 1);
    assert.equal((await controlPlane.http("GET", `${path}/blue`)).status, 404);
    assert.equal((await post("/v1/diff", share("canary", 5, { group: "billing" }))).status, 409);
  });

  it("have a history, and go back in it by new versions", async () => {
    for (const percent of [1, 5, 25]) await apply(share("canary", percent));
    const back = await rollBack("canary", { to: 1 });
    assert.deepEqual([back.status, back.outcome, back.generation], [200, "configured", 4]);
    assert.equal((await view("canary")).spec.rules[0]?.percent, 1);
    assert.deepEqual(
      (await history("canary")).map(({ generation, action, contentOf, by, spec }) => [
        ...[generation, action, contentOf, by, spec?.rules[0]?.percent],
      ]),
      [
        [4, "rolled back", 1, "http:test", 1],
        [3, "configured", undefined, "http:test", 25],
        [2, "configured", undefined, "http:test", 5],
        [1, "created", undefined, "http:test", 1],
      ],
    );
    // The newest with another content: that of version 3.
    assert.equal((await rollBack("canary")).generation, 5);
    assert.equal((await view("canary")).spec.rules[0]?.percent, 25);
    assert.equal((await rollBack("canary", { to: 3 })).outcome, "unchanged");
  });

  it("keep their history when they are deleted, and come back by it", async () => {
    await apply(share("canary", 5));
    assert.equal((await controlPlane.http("DELETE", `${path}/canary`)).status, 200);
    assert.equal((await controlPlane.http("GET", `${path}/canary`)).status, 404);
    assert.equal((await controlPlane.http("DELETE", `${path}/canary`)).status, 404);
    assert.deepEqual(
      (await history("canary")).map(({ generation, action, spec }) => [generation, action, spec === null]),
      [
        [2, "deleted", true],
        [1, "created", false],
      ],
    );
    assert.match((await rollBack("canary", { to: 2 })).error, /was deleted with version 2/);
    assert.deepEqual((await rollBack("canary")).generation, 3);
    assert.equal((await view("canary")).status.generation, 3);
  });

  it("refuse a rollback to what is not there, or into another rule's place", async () => {
    assert.equal((await rollBack("canary")).status, 404);
    await apply(share("canary", 5));
    assert.match((await rollBack("canary", { to: 7 })).error, /has no version 7; those that are kept: 1/);
    assert.match((await rollBack("canary")).error, /no version with another content/);
    for (const body of [{ to: "1" }, { to: 0 }, { two: 1 }]) assert.equal((await rollBack("canary", body)).status, 400);
    await controlPlane.http("DELETE", `${path}/canary`);
    await apply(share("blue", 5));
    assert.equal((await rollBack("canary")).status, 409);
  });

  it("keep their last hundred versions, also across a restart", async () => {
    for (let i = 0; i < 103; i++) assert.equal((await apply(share("canary", 1 + (i % 50)))).status, 200);
    await controlPlane.restart();
    const versions = await history("canary");
    assert.equal(versions.length, 100);
    assert.deepEqual([versions[0]?.generation, versions.at(-1)?.generation], [103, 4]);
    assert.equal((await rollBack("canary", { to: 4 })).generation, 104);
  });

  describe("on their way to several brokers", () => {
    const names = ["a", "b", "c", "d", "e"];
    let brokers: LaneRuleBroker[];
    beforeEach(async () => {
      brokers = names.map((name) => new LaneRuleBroker(name));
      for (const [i, broker] of brokers.entries()) {
        await broker.start();
        await controlPlane.registerBroker({ brokerName: names[i]!, port: broker.port, runId: 1 });
      }
      await controlPlane.apply(topicManifest("orders"));
    });
    afterEach(() => Promise.all(brokers.map((broker) => broker.stop())));

    /** By what passes: it is asked again. */
    const keepOff = (broker: LaneRuleBroker) => {
      broker.refusal = "its disk is full";
      broker.refusalCode = Code.InternalServerError;
    };
    const letOn = (broker: LaneRuleBroker) => {
      broker.refusal = undefined;
      broker.refusalCode = Code.BadRequest;
    };
    const generationsAt = () => brokers.map(({ rules }) => [...rules.values()][0]?.generation ?? 0);
    const published = (generation: number) =>
      waitUntil(`version ${generation} is everywhere`, async () => {
        const { status } = await view("canary");
        return status.generation === generation && status.publication.state === "complete";
      });

    it("go to a quarter first, and to the others when those have it", async () => {
      await apply(share("canary", 5));
      await published(1);
      keepOff(brokers[0]!);
      keepOff(brokers[1]!);
      await apply(share("canary", 20));
      const { status } = await view("canary");
      assert.deepEqual([status.publication.state, status.publication.first], ["first brokers", ["a", "b"]]);
      const others = status.brokers.slice(2);
      assert.ok(
        others.every(({ state, reason }) => state === "pending" && reason === "it gets this version when a, b have it"),
      );
      letOn(brokers[0]!);
      await waitUntil("the first has it", () => generationsAt()[0] === 2);
      assert.deepEqual(generationsAt(), [2, 1, 1, 1, 1], "the second of the first has not said that it has it");
      letOn(brokers[1]!);
      await published(2);
      assert.deepEqual(generationsAt(), [2, 2, 2, 2, 2]);
    });

    it("are taken back everywhere when one broker refuses them, and the reason is kept", async () => {
      await apply(share("canary", 5));
      await published(1);
      brokers[4]!.refusal = "no room for it";
      brokers[4]!.refusedGeneration = 2;
      await apply(share("canary", 20));
      await published(3);
      assert.deepEqual(generationsAt(), [3, 3, 3, 3, 3]);
      const { spec, status } = await view("canary");
      assert.equal(spec.rules[0]?.percent, 5);
      assert.equal(status.rolledBackBecause, 'broker "e" refused version 2: no room for it');
      const [latest] = await history("canary");
      assert.deepEqual([latest?.action, latest?.contentOf, latest?.by], ["rolled back", 1, "control-plane"]);
    });

    it("go back to the last version that was everywhere, not to one that was on its way", async () => {
      await apply(share("canary", 5));
      await published(1);
      keepOff(brokers[0]!);
      await apply(share("canary", 20));
      letOn(brokers[0]!);
      for (const broker of brokers) {
        broker.refusal = "no";
        broker.refusedGeneration = 3;
      }
      await apply(share("canary", 30));
      await waitUntil("it was taken back", async () => (await view("canary")).status.rolledBackBecause !== undefined);
      await published(4);
      assert.equal((await view("canary")).spec.rules[0]?.percent, 5);
    });

    it("go on where they were when the control plane ends in the middle", async () => {
      await apply(share("canary", 5));
      await published(1);
      keepOff(brokers[0]!);
      await apply(share("canary", 20));
      assert.equal((await view("canary")).status.publication.state, "first brokers");
      await controlPlane.restart();
      assert.equal((await view("canary")).status.publication.state, "first brokers");
      assert.equal(Math.max(...generationsAt().slice(2)), 1);
      letOn(brokers[0]!);
      await published(2);
      assert.deepEqual(generationsAt(), [2, 2, 2, 2, 2]);
    });
  });

  describe("and brokers", () => {
    let broker: LaneRuleBroker;
    beforeEach(async () => {
      broker = new LaneRuleBroker("a");
      await broker.start();
    });
    afterEach(() => broker.stop());

    const register = (runId = 1) => controlPlane.registerBroker({ brokerName: "a", port: broker.port, runId });
    const standing = async (name: string) => (await view(name)).status.brokers;
    const becomes = (name: string, state: string) =>
      waitUntil(`${name} is ${state}`, async () => (await standing(name))[0]?.state === state);
    const generations = () => [...broker.rules.values()].map(({ name, generation }) => `${name} ${generation}`);

    it("a broker gets each version at once, and describe says so", async () => {
      await register();
      await controlPlane.apply(topicManifest("orders"));
      await apply(share("canary", 5));
      await becomes("canary", "in force");
      await apply(share("canary", 20));
      await waitUntil("version 2 is there", () => generations()[0] === "default/canary 2");
      await becomes("canary", "in force");
      assert.deepEqual(await standing("canary"), [{ broker: "a", state: "in force", generation: 2 }]);
      assert.deepEqual([...broker.rules.values()][0]?.rule, {
        clauses: [{ to: "canary", percent: 20 }],
        whenEmpty: { action: "spill", afterMs: 2_000 },
      });
      await controlPlane.http("DELETE", `${path}/canary`);
      await waitUntil("it is withdrawn", () => broker.rules.size === 0);
      assert.equal(broker.calls.at(-1), "lane.rule default/canary 3 withdrawn");
    });

    it("a rule waits for its topic", async () => {
      await register();
      await apply(share("canary", 5));
      await controlPlane.apply(topicManifest("orders"));
      await becomes("canary", "in force");
    });

    it("a first version that a broker refuses is taken back, with the broker's words, and does not stop other rules", async () => {
      await register();
      await controlPlane.apply(topicManifest("orders"), topicManifest("bills"));
      broker.refusal = "lane.rule: clause 0: no more outcomes fit";
      await apply(share("canary", 5));
      await waitUntil("it is gone", async () => (await controlPlane.http("GET", `${path}/canary`)).status === 404);
      const reason = 'broker "a" refused version 1: lane.rule: clause 0: no more outcomes fit';
      const told = JSON.parse((await controlPlane.http("GET", `${path}/canary`)).body);
      assert.ok(told.error.includes(`its last version was rolled back because ${reason}; `), told.error);
      const [latest] = await history("canary");
      assert.deepEqual([latest?.action, latest?.by, latest?.reason], ["rolled back", "control-plane", reason]);
      broker.refusal = undefined;
      await apply(share("blue", 5, { topic: "bills" }));
      await becomes("blue", "in force");
      await apply(share("canary", 6));
      await becomes("canary", "in force");
      assert.equal((await view("canary")).status.rolledBackBecause, undefined);
    });

    it("an order that fails by what passes is given again", async () => {
      await register();
      await controlPlane.apply(topicManifest("orders"));
      broker.refusal = "the disk is full";
      broker.refusalCode = Code.InternalServerError;
      await apply(share("canary", 5));
      await becomes("canary", "unanswered");
      assert.equal((await standing("canary"))[0]?.reason, "the disk is full");
      broker.refusal = undefined;
      await becomes("canary", "in force");
    });

    it("a broker that comes back gets what changed, and loses what was deleted, while it was away", async () => {
      await register();
      await controlPlane.apply(topicManifest("orders"), topicManifest("bills"));
      await apply(share("canary", 5), share("blue", 5, { topic: "bills" }));
      await waitUntil("both are there", () => broker.rules.size === 2);
      await broker.stop();
      await controlPlane.http("DELETE", `${path}/canary`);
      await apply(share("blue", 7, { topic: "bills" }));
      await becomes("blue", "unanswered");
      assert.match((await standing("blue"))[0]?.reason ?? "", /"a" cannot be asked/);
      await broker.start();
      await register(2);
      await waitUntil("it is in step", () => generations().join() === "default/blue 2");
      await becomes("blue", "in force");
    });

    it("a rule takes the place of a deleted one of another name", async () => {
      await register();
      await controlPlane.apply(topicManifest("orders"));
      for (const percent of [1, 2, 3]) await apply(share("canary", percent));
      await becomes("canary", "in force");
      await controlPlane.http("DELETE", `${path}/canary`);
      await apply(share("blue", 5));
      await becomes("blue", "in force");
      assert.deepEqual(generations(), ["default/blue 5"], "brokers count per topic and group");
    });

    it("a control plane that was away asks what the broker has, and orders only what differs", async () => {
      await register();
      await controlPlane.apply(topicManifest("orders"), topicManifest("bills"));
      await apply(share("canary", 5), share("blue", 5, { topic: "bills" }));
      await waitUntil("both are there", () => broker.rules.size === 2);
      broker.rules.delete("default/bills ");
      broker.calls.splice(0);
      await controlPlane.restart();
      await becomes("blue", "in force");
      assert.deepEqual(broker.calls, ["lane.list", "lane.rule default/blue 1"]);
    });

    it("a broker that is ahead, because the store is an older copy, is told so and overtaken", async () => {
      await register();
      await controlPlane.apply(topicManifest("orders"));
      await apply(share("canary", 5));
      await becomes("canary", "in force");
      const at = broker.rules.get("default/orders ");
      assert.ok(at);
      broker.rules.set("default/orders ", { ...at, generation: 9 });
      await register(2);
      await becomes("canary", "ahead");
      await apply(share("canary", 6));
      await waitUntil("it is overtaken", () => generations()[0] === "default/canary 10");
      await becomes("canary", "in force");
    });
  });
});
