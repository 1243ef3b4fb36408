import assert from "node:assert/strict";
import type { Catalog } from "../../../../control-plane/catalog/catalog.ts";
import { BrokerOperator } from "../../../../control-plane/operation/broker-operator.ts";
import type { BrokerRecord } from "../../../../control-plane/resource/broker.ts";
import { Code } from "../../../../proto/code.ts";
import { MeshError } from "../../../../proto/runtime/mesh-error.ts";
import { NodeClock } from "../../../../proto/runtime/node-clock.ts";
import { freePorts } from "../../../support/free-port.ts";
import { ServiceFixture } from "../../../support/service-fixture.ts";
import { waitUntil } from "../../../support/wait-until.ts";

/** As the registry keeps it; only name and address matter here. */
function record(name: string, port: number, state: BrokerRecord["state"] = "serving"): BrokerRecord {
  const rest = { host: "127.0.0.1", runId: 1, replacedRunIds: [], writable: true, firstSeenMs: 0 };
  return { name, port, state, ...rest };
}

describe("The operator of brokers", () => {
  let broker: ServiceFixture;
  let operator: BrokerOperator;
  const records = new Map<string, BrokerRecord>();

  beforeEach(async () => {
    broker = await ServiceFixture.start();
    records.clear();
    records.set("broker-a", record("broker-a", broker.port));
    const catalog = { tables: { broker: records } } as unknown as Catalog;
    operator = new BrokerOperator(catalog, "control-plane-test", new NodeClock());
  });
  afterEach(() => {
    operator.close();
    broker.stop();
  });

  const rejected = async (call: Promise<unknown>): Promise<MeshError> => {
    const error = await call.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof MeshError, `it succeeded, or failed with ${String(error)}`);
    return error;
  };

  it("asks a real broker over the frame port, several calls on one connection", async () => {
    const calls = ["one", "two", "three"].map((group) => operator.call("broker-a", "group.describe", { group }));
    assert.deepEqual(
      await Promise.all(calls),
      ["one", "two", "three"].map((group) => ({ group, isKnown: false, topics: [] })),
    );
    assert.equal(broker.metric("popmesh_broker_connections"), 1);
  });

  it("passes the broker's refusal on with its code", async () => {
    const error = await rejected(operator.call("broker-a", "group.dance", {}));
    assert.equal(error.code, Code.NotImplemented);
    assert.match(error.message, /knows no operation "group\.dance"/);
  });

  it("connects anew after the connection broke", async () => {
    await operator.call("broker-a", "group.describe", { group: "g" });
    broker.server.close("the broker restarts");
    await waitUntil("the broker is gone", () => broker.metric("popmesh_broker_connections") === 0);
    const other = await ServiceFixture.start();
    try {
      records.set("broker-a", record("broker-a", other.port));
      await waitUntil("the link is gone", async () => {
        try {
          await operator.call("broker-a", "group.describe", { group: "g" });
          return true;
        } catch {
          return false;
        }
      });
      assert.equal(other.metric("popmesh_broker_connections"), 1);
    } finally {
      other.stop();
    }
  });

  it("asks all that are not stopped, and keeps the answers apart from a failure", async () => {
    const [nobody] = await freePorts(1);
    records.set("broker-b", record("broker-b", nobody!));
    records.set("broker-c", record("broker-c", nobody!, "stopped"));
    const answers = await operator.callAll("group.describe", { group: "g" });
    assert.deepEqual(
      answers.map(({ broker: name, ok }) => [name, ok]),
      [
        ["broker-a", true],
        ["broker-b", false],
      ],
    );
    assert.match(String(answers[1]?.ok === false && answers[1].error.message), /"broker-b" cannot be asked: .*REFUSED/);
  });

  it("refuses what answers under another name", async () => {
    records.set("broker-x", record("broker-x", broker.port));
    const error = await rejected(operator.call("broker-x", "group.describe", { group: "g" }));
    assert.equal(error.code, Code.ProxyTimeout);
    assert.match(error.message, /"broker-x" cannot be asked: at its address answers broker "broker-a"/);
  });

  it("gives up a call that is not answered in time", async () => {
    broker.state.operate = () => new Promise(() => {});
    const error = await rejected(operator.call("broker-a", "group.describe", { group: "g" }, 50));
    assert.equal(error.code, Code.ProxyTimeout);
    assert.match(error.message, /did not answer group\.describe within 50 ms/);
  });
});
