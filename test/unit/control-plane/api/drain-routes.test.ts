import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../../../proto/code.ts";
import { FrameKind } from "../../../../proto/frame/frame.ts";
import { ScriptedBroker } from "../../../support/scripted-broker.ts";
import { TestControlPlane, topicManifest } from "../../../support/start-control-plane.ts";
import { waitUntil } from "../../../support/wait-until.ts";

interface BrokerStatus {
  readonly status: { readonly drain?: string; readonly left?: { readonly unconsumed: number } };
}

describe("draining a broker over the HTTP API", () => {
  const nothing = { unconsumed: 0, behind: [], delayed: 0, openTransactions: 0, deadLetters: 0, unread: 0 };
  let plane: TestControlPlane;
  let broker: ScriptedBroker;
  /** The orders that broker-a got. */
  let orders: { readonly drain: boolean; readonly patienceMs?: number; readonly groupSpread?: number }[] = [];
  let left: typeof nothing = { ...nothing };

  beforeEach(async () => {
    orders = [];
    left = { ...nothing, unconsumed: 3 };
    plane = await TestControlPlane.start();
    broker = new ScriptedBroker();
    broker.welcome = { ...broker.welcome, brokerName: "broker-a" };
    broker.onRequest = (request) => {
      if (request.kind !== FrameKind.Operate) return;
      const { method, arguments: text } = popmesh.v1.OperateRequest.decode(request.body);
      if (method !== "broker.drain") {
        broker.fail(request, Code.NotImplemented, `no operation "${method}"`);
        return;
      }
      orders.push(JSON.parse(text));
      broker.answer(request, popmesh.v1.OperateAnswer.encode({ result: JSON.stringify(left) }).finish());
    };
    await broker.start();
    await plane.registerBroker({ brokerName: "broker-a", port: broker.port });
  });
  afterEach(async () => {
    await plane.stop();
    await broker.stop();
  });

  const statusOf = (name: string) => plane.json<BrokerStatus>(`/v1/brokers/${name}`).then(({ status }) => status);

  it("refuses what cannot be: a broker that nobody knows, and one whose topics nobody could take", async () => {
    await plane.apply(topicManifest("orders"));
    const unknown = await plane.http("POST", "/v1/brokers/broker-x/drain");
    assert.deepEqual([unknown.status, /popmesh get brokers/.test(unknown.body)], [404, true]);
    const alone = await plane.http("POST", "/v1/brokers/broker-a/drain");
    assert.equal(alone.status, 409);
    assert.match(alone.body, /holds 1 topics, and no other broker is there to take them; start one/);
    assert.equal((await plane.http("POST", "/v1/brokers/broker-a/drain?patienceMs=-1")).status, 400);
    assert.equal((await statusOf("broker-a")).drain, undefined);
  });

  it("gives its topics to others, tells the broker, and notices when nothing is left there", async () => {
    await plane.apply(topicManifest("orders"));
    await plane.registerBroker({ brokerName: "broker-b", port: 1 });
    assert.equal((await plane.http("POST", "/v1/brokers/broker-a/drain?patienceMs=5000")).status, 200);
    assert.equal((await statusOf("broker-a")).drain, "draining");
    const brokersOf = async (name: string) => {
      const { status } = await plane.json<{ status: { brokers: string[] } }>(`/v1/namespaces/default/topics/${name}`);
      return status.brokers;
    };
    assert.deepEqual(await brokersOf("orders"), ["broker-a", "broker-b"]);
    await plane.apply(topicManifest("parcels"));
    assert.deepEqual(await brokersOf("parcels"), ["broker-b"]);
    const refused = await plane.http("POST", "/v1/namespaces/default/topics/parcels/brokers/broker-a");
    assert.equal(refused.status, 409);
    await waitUntil("the broker is told", () => orders.some(({ drain }) => drain));
    const { groupSpread = 0, ...order } = orders.at(-1)!;
    assert.deepEqual(order, { drain: true, patienceMs: 5_000 });
    assert.ok(groupSpread > 0, "the broker knows by which spread message groups leave it");
    await waitUntil("what is left is known", async () => (await statusOf("broker-a")).left?.unconsumed === 3);
    left = { ...nothing, deadLetters: 1 };
    await waitUntil("it is drained", async () => (await statusOf("broker-a")).drain === "drained");

    assert.equal((await plane.http("POST", "/v1/brokers/broker-a/undrain")).status, 200);
    await waitUntil("the broker is told that it serves", () => orders.at(-1)?.drain === false);
    assert.equal((await statusOf("broker-a")).drain, undefined);
  });

  it("goes on after a restart of the control plane, and spreads a topic over a broker on request", async () => {
    await plane.apply(topicManifest("orders"));
    await plane.registerBroker({ brokerName: "broker-b", port: 1 });
    const placed = await plane.http("POST", "/v1/namespaces/default/topics/orders/brokers/broker-b");
    assert.deepEqual(JSON.parse(placed.body).status.brokers, ["broker-a", "broker-b"]);
    await plane.http("POST", "/v1/brokers/broker-a/drain");
    await plane.restart();
    orders = [];
    await waitUntil("the broker is told again", () => orders.some(({ drain }) => drain));
    assert.equal((await statusOf("broker-a")).drain, "draining");
  });
});
