import assert from "node:assert/strict";
import { LaneRuleBroker } from "../../../support/lane-rule-broker.ts";
import { groupManifest, TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";
import { waitUntil } from "../../../support/wait-until.ts";

interface View {
  readonly spec: Record<string, unknown>;
  readonly status: {
    readonly phase: string;
    readonly step: number;
    readonly percent: number;
    readonly waitsFor: string;
    readonly rolledBackBecause?: string;
    readonly outcomes: readonly { readonly lane: { readonly acks: number } }[];
  };
}

const path = "/v1/namespaces/default/rollouts";

const rule = {
  apiVersion: "popmesh.io/v1",
  kind: "LaneRule",
  metadata: { name: "orders-canary" },
  spec: {
    topic: "orders",
    group: "billing",
    rules: [
      { when: { lane: "canary" }, to: "canary" },
      { percent: 50, to: "canary" },
    ],
  },
};

function rollout(spec: object = {}, name = "ramp"): object {
  return {
    apiVersion: "popmesh.io/v1",
    kind: "Rollout",
    metadata: { name },
    spec: {
      laneRule: "orders-canary",
      steps: [{ percent: 1, pause: "1s" }, { percent: 25, pause: {} }, { percent: 100 }],
      guards: { failureRate: { max: 5 } },
      samplesMin: 10,
      ...spec,
    },
  };
}

/** What a broker counts: acks and failures of lane canary. */
function counts(acks: number, failures: number): object {
  const item = { group: "default/billing", deadLetters: 0, buckets: [], lagMs: 0 };
  return {
    run: 1,
    items: [
      { ...item, lane: "base", acks: 0, failures: 0 },
      { ...item, lane: "canary", acks, failures },
    ],
  };
}

describe("rollouts over the HTTP API", () => {
  let controlPlane: TestControlPlane;
  let broker: LaneRuleBroker;
  beforeEach(async () => {
    controlPlane = await TestControlPlane.start();
    broker = new LaneRuleBroker("a");
    await broker.start();
    await controlPlane.registerBroker({ brokerName: "a", port: broker.port, runId: 1 });
    await controlPlane.apply(topicManifest("orders"), groupManifest("billing"), rule);
  });
  afterEach(async () => {
    await controlPlane.stop();
    await broker.stop();
  });

  const post = async (to: string, ...manifests: object[]) => {
    const text = manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n");
    const { status, body } = await controlPlane.http("POST", to, text);
    return { status, ...JSON.parse(body) };
  };
  const view = (name = "ramp") => controlPlane.json<View>(`${path}/${name}`);
  const order = (what: string) => post(`${path}/ramp/${what}`);
  const becomes = (phase: string, step: number) =>
    waitUntil(`${phase}, step ${step}`, async () => {
      const { status } = await view();
      return status.phase === phase && status.step === step;
    });
  const ruleAtBroker = () => [...broker.rules.values()].find(({ name }) => name === "default/orders-canary")?.rule;
  const shareAtBroker = () => ruleAtBroker()?.clauses.at(-1)?.percent;
  /** So many more outcomes of the canary than the broker told before: what it tells first is of before the step. */
  const outcome = async (acks: number, failures: number) => {
    broker.outcomes = counts(1_000, 0);
    await waitUntil("the first figures are there", async () => (await view()).status.outcomes.length === 1);
    broker.outcomes = counts(1_000 + acks, failures);
  };

  it("begin with their first step, go on with good figures, and wait for a person where that is said", async () => {
    assert.deepEqual((await post("/v1/apply", rollout())).applied[0].outcome, "created");
    assert.equal((await post("/v1/apply", rollout())).applied[0].outcome, "unchanged");
    await waitUntil("the share is at the broker", () => shareAtBroker() === 1);
    await outcome(20, 1);
    await becomes("progressing", 2);
    await waitUntil("the share is at the broker", () => shareAtBroker() === 25);
    await waitUntil("it says so", async () => /popmesh rollout promote/.test((await view()).status.waitsFor));
    assert.match((await order("promote")).what, /step 3 of 3, 100 %/);
    await waitUntil("the share is at the broker", () => shareAtBroker() === 100);
  });

  it("are rolled back by real outcomes, over a restart too, and stay so until a person resumes", async () => {
    await controlPlane.apply(rollout());
    await outcome(20, 10);
    await becomes("rolled back", 1);
    assert.match(
      (await view()).status.rolledBackBecause ?? "",
      /failures of group default\/billing at 33.3 % .*limit of 5 %/,
    );
    await waitUntil("the lane is taken back", () => ruleAtBroker()?.withdrawn?.[0] === "canary");
    assert.equal(shareAtBroker(), 0);
    await controlPlane.restart();
    await controlPlane.registerBroker({ brokerName: "a", port: broker.port, runId: 1 });
    broker.outcomes = counts(9_000, 10);
    assert.equal((await view()).status.phase, "rolled back");
    // Somebody applies the rule as it was in the file.
    const { applied } = await post("/v1/apply", rule);
    assert.equal(applied[0].outcome, "unchanged", "not even for a moment");
    assert.match(applied[0].warnings[0], /Rollout default\/ramp sets the percent/);
    // And somebody rolls the rule back, to the version before, and to that of the file.
    const rollBack = (body: object) => post("/v1/namespaces/default/lanerules/orders-canary/rollback", body);
    assert.match((await rollBack({})).error, /has no version with another content/);
    const back = await rollBack({ to: 1 });
    assert.equal(back.outcome, "unchanged", "not even for a moment");
    assert.match(back.warnings[0], /Rollout default\/ramp sets the percent/);
    assert.equal(shareAtBroker(), 0);
    assert.equal((await order("resume")).phase, "progressing");
    await waitUntil("the lane is given back", () => shareAtBroker() === 1 && ruleAtBroker()?.withdrawn === undefined);
    const { items } = await controlPlane.json<{ items: { what: string }[] }>(`${path}/ramp/history`);
    assert.deepEqual(
      items.map(({ what }) => what.split(":")[0]),
      ["begun again", "rolled back at 1 %", "begun"],
    );
  });

  it("go on where they were after a restart", async () => {
    await controlPlane.apply(rollout());
    await order("promote");
    await controlPlane.restart();
    await controlPlane.registerBroker({ brokerName: "a", port: broker.port, runId: 1 });
    const { status } = await view();
    assert.deepEqual([status.phase, status.step, status.percent], ["progressing", 2, 25]);
    await waitUntil("the share is at the broker", () => shareAtBroker() === 25);
    await outcome(0, 30);
    await becomes("rolled back", 2);
  });

  it("pass no step while lanes are off at a broker, and say so", async () => {
    await controlPlane.apply(rollout());
    assert.equal((await controlPlane.http("POST", "/v1/lanes", '{"state":"off"}')).status, 200);
    await outcome(20, 0);
    await waitUntil("it waits for lanes", async () =>
      /^lanes are off at broker a; popmesh lanes on/.test((await view()).status.waitsFor),
    );
    assert.equal((await view()).status.step, 1);
    assert.equal((await controlPlane.http("POST", "/v1/lanes", '{"state":"on"}')).status, 200);
    await becomes("progressing", 2);
  });

  it("are paused, resumed and aborted by persons, and say so when that means nothing", async () => {
    await controlPlane.apply(rollout());
    assert.equal((await order("pause")).phase, "paused");
    assert.equal((await order("pause")).status, 409);
    assert.equal((await order("resume")).phase, "progressing");
    assert.equal((await order("abort")).phase, "aborted");
    await waitUntil(
      "the lane is taken back",
      () => shareAtBroker() === 0 && ruleAtBroker()?.withdrawn?.[0] === "canary",
    );
    assert.equal((await controlPlane.http("POST", `${path}/none/abort`)).status, 404);
    assert.equal((await controlPlane.http("DELETE", `${path}/ramp`)).status, 200);
    assert.equal((await controlPlane.http("GET", `${path}/ramp`)).status, 404);
    assert.equal(shareAtBroker(), 0, "the rule stays as it stands");
  });

  it("make a rule for a topic, group and lane that has none", async () => {
    await controlPlane.apply(groupManifest("mailing"));
    const { laneRule: _, ...target } = { laneRule: "", topic: "orders", group: "mailing", lane: "blue" };
    const { apiVersion, kind, metadata, spec } = rollout({}, "blue") as Record<string, object>;
    const { laneRule: __, ...others } = spec as { laneRule: string };
    const manifest = { apiVersion, kind, metadata, spec: { ...target, ...others } };
    await controlPlane.apply(manifest);
    const made = await controlPlane.json<{ spec: { rules: object[] } }>("/v1/namespaces/default/lanerules/blue");
    assert.deepEqual(made.spec.rules, [
      { when: { lane: "blue" }, to: "blue" },
      { percent: 1, to: "blue" },
    ]);
    assert.equal((await post("/v1/apply", manifest)).applied[0].outcome, "unchanged");
    const told = await view("blue");
    assert.equal(
      (await post("/v1/apply", { apiVersion, kind, metadata, spec: told.spec })).applied[0].outcome,
      "unchanged",
    );
  });

  it("are refused where they make no sense, with what to do", async () => {
    const reasonOf = async (...manifests: object[]) => JSON.stringify((await post("/v1/apply", ...manifests)).mistakes);
    assert.match(
      await reasonOf(rollout({ laneRule: "none" })),
      /LaneRule default\/none, which does not exist; apply it first/,
    );
    assert.match(await reasonOf(rollout({ clause: 3 })), /has no clause 3/);
    assert.match(await reasonOf(rollout({ lane: "blue" })), /no clause with a percent to lane \\"blue\\"/);
    assert.match(await reasonOf(rollout({ steps: [{ percent: 5 }, { percent: 5 }] })), /must be more than the 5/);
    assert.match(await reasonOf(rollout({ guards: { failureRate: {} } })), /holds no limit/);
    assert.match(await reasonOf(rollout({ steps: [{ percent: 5, pause: 5 }] })), /must be a duration.*or \{\}/);
    assert.match(await reasonOf(rollout({ topic: "orders" })), /no place beside laneRule/);
    await controlPlane.apply(rollout());
    assert.match(await reasonOf(rollout({}, "second")), /Rollout default\/ramp raises already/);
    const { differences } = await post("/v1/diff", rollout({ samplesMin: 11 }));
    assert.equal(differences[0].outcome, "configured");
  });
});
