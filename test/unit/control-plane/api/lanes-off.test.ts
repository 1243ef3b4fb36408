import assert from "node:assert/strict";
import { LaneRuleBroker } from "../../../support/lane-rule-broker.ts";
import { TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";
import { waitUntil } from "../../../support/wait-until.ts";

interface RuleView {
  readonly status: {
    readonly lanesOffAt: readonly string[];
    readonly brokers: readonly { readonly broker: string; readonly state: string; readonly lanes?: string }[];
  };
}

const rule = {
  apiVersion: "popmesh.io/v1",
  kind: "LaneRule",
  metadata: { name: "canary" },
  spec: { topic: "orders", rules: [{ percent: 5, to: "canary" }] },
};

describe("lanes that are off at a broker", () => {
  let controlPlane: TestControlPlane;
  let broker: LaneRuleBroker;
  beforeEach(async () => {
    controlPlane = await TestControlPlane.start();
    broker = new LaneRuleBroker("a");
    await broker.start();
    await register(false);
    await controlPlane.apply(topicManifest("orders"), rule);
    await waitUntil("the rule is in force", async () => (await standing()).brokers[0]?.state === "in force");
  });
  afterEach(async () => {
    await controlPlane.stop();
    await broker.stop();
  });

  const register = (lanesOff: boolean, brokerName = "a", port = broker.port) =>
    controlPlane.registerBroker({ brokerName, port, runId: 1, lanesOff });
  const standing = async () => (await controlPlane.json<RuleView>("/v1/namespaces/default/lanerules/canary")).status;
  const lanesOfBrokers = async () => {
    const { items } = await controlPlane.json<{ items: { status: { lanes: string } }[] }>("/v1/brokers");
    return items.map(({ status }) => status.lanes);
  };
  const warnings = async (): Promise<readonly string[]> => {
    const { body } = await controlPlane.http("POST", "/v1/diff", JSON.stringify(rule));
    return JSON.parse(body).differences[0].warnings ?? [];
  };
  const figure = async () => {
    const { body } = await controlPlane.http("GET", "/stats/prometheus");
    return Number(/^popmesh_control_plane_brokers_lanes_off (\d+)$/m.exec(body)?.[1]);
  };

  it("are told with the rule, the broker, a warning and a metric, from its word on until its next", async () => {
    assert.deepEqual([(await standing()).lanesOffAt, await lanesOfBrokers(), await figure()], [[], ["on"], 0]);
    assert.deepEqual(await warnings(), []);
    await register(true);
    await waitUntil("the broker was asked anew", async () => (await standing()).brokers[0]?.state === "in force");
    assert.deepEqual(await standing(), {
      ...(await standing()),
      lanesOffAt: ["a"],
      brokers: [{ broker: "a", state: "in force", generation: 1, lanes: "off" }],
    });
    assert.deepEqual([await lanesOfBrokers(), await figure()], [["off"], 1]);
    assert.deepEqual(await warnings(), [
      "lanes are off at broker a: base handles everything there until somebody lets them go on with popmesh lanes on",
    ]);
    await controlPlane.restart();
    assert.deepEqual(await lanesOfBrokers(), ["off"], "what it said last");
    await register(false);
    assert.deepEqual([(await standing()).lanesOffAt, await lanesOfBrokers(), await figure()], [[], ["on"], 0]);
    assert.deepEqual(await warnings(), []);
  });

  it("are known at once to the control plane that turned them off, and the trail says who did", async () => {
    const turn = (state: string) => controlPlane.http("POST", "/v1/lanes", JSON.stringify({ state }));
    assert.deepEqual(JSON.parse((await turn("off")).body).brokers, [{ broker: "a", state: "off" }]);
    assert.deepEqual([await lanesOfBrokers(), (await standing()).lanesOffAt], [["off"], ["a"]]);
    const { items } = await controlPlane.json<{ items: { by: string; kind: string; name: string }[] }>(
      "/v1/audit?limit=1",
    );
    assert.deepEqual([items[0]?.by, items[0]?.kind, items[0]?.name], ["http:test", "broker", "a"]);
    await turn("on");
    assert.deepEqual([await lanesOfBrokers(), (await standing()).lanesOffAt], [["on"], []]);
  });

  it("concern the rules of topics that lie on it, and no others", async () => {
    await register(true, "b", 1);
    assert.deepEqual(await lanesOfBrokers(), ["on", "off"]);
    assert.deepEqual([(await standing()).lanesOffAt, await warnings()], [[], []]);
  });
});
