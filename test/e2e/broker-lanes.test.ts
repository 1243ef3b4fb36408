import assert from "node:assert/strict";
import { OperatorLink } from "../support/operator-link.ts";
import { commandOutput } from "../support/popmesh-command.ts";
import { BrokerProcess, connectUpstream } from "../support/start-broker.ts";
import { encodedMessage, groupRef, messageIdOf, topicRef, UpstreamClient } from "../support/upstream-client.ts";

const topic = topicRef("orders", { messageTypes: 0b110, queueCount: 2 });
const group = groupRef("billing");
const rule = { clauses: [{ to: "canary", lane: "canary" }], whenEmpty: { action: "spill", afterMs: 300 } };

describe("Lanes of a broker process", function () {
  this.timeout(60_000);

  it("hand each lane its own, fall back when the canary is gone, and go on after SIGKILL", async () => {
    const broker = await BrokerProcess.start();
    let client = new UpstreamClient(connectUpstream(broker.port));
    let operator = new OperatorLink(broker.port);
    const send = async (id: string, laneMark: string) => {
      const sent = await client.send(topic, [encodedMessage(id)], { laneMark, bornHost: "10.1.2.3" });
      assert.ok(sent.ok, sent.ok ? "" : sent.message);
    };
    const handled = new Map<string, string>();
    /** Receives in a lane and acks. */
    const handle = async (lane: string, waitMs = 0): Promise<string[]> => {
      const got = await client.take(topic, group, { lane, clientId: lane, waitMs });
      for (const delivery of got) {
        const id = messageIdOf(delivery);
        assert.equal(handled.has(id), false, `${id} is handled twice`);
        handled.set(id, lane);
        await client.ack(group, delivery.receipt);
      }
      return got.map(messageIdOf).sort();
    };
    try {
      assert.deepEqual(await handle("base"), []);
      await operator.call("lane.rule", { topic: topic.name, name: "release", number: 1, rule });
      const canary = handle("canary", 10_000);
      await send("c0", "canary");
      assert.deepEqual(await canary, ["c0"]);
      for (const id of ["c1", "b1", "c2", "b2"]) await send(id, id.startsWith("c") ? "canary" : "base");
      assert.deepEqual(await handle("canary"), ["c1", "c2"]);
      assert.deepEqual(await handle("base", 5_000), ["b1", "b2"]);
      await send("c3", "canary");
      // Nobody receives in the canary's lane any more: base is given what waits there.
      assert.deepEqual(await handle("base", 10_000), ["c3"]);
      await send("c4", "canary");
      await client.upstream.close(0);
      operator.close();
      await broker.killAndRestart();
      client = new UpstreamClient(connectUpstream(broker.port));
      operator = new OperatorLink(broker.port);
      // The lane is spilled still; a canary that comes takes it back.
      assert.deepEqual(await handle("canary", 5_000), ["c4"]);
      await send("c5", "canary");
      const metrics = await (await fetch(`http://127.0.0.1:${broker.adminPort}/stats/prometheus`)).text();
      assert.match(metrics, /popmesh_broker_lane_spilled\{[^}]*lane="canary"[^}]*\} 0/);
      assert.deepEqual(await handle("canary", 5_000), ["c5"]);
      const told = await operator.call<{ topics: { rules: { number: number }[] }[] }>("lane.list", {});
      assert.equal(told.topics[0]?.rules[0]?.number, 1);
      assert.equal(handled.size, 8);
      await client.upstream.close(0);
      operator.close();
      await broker.stop("SIGKILL");
      const checked = await commandOutput("", ["broker", "check", "--data-dir", broker.dataDirectory]);
      assert.match(checked, /lanes: 1 beside the base lanes, [01] of them spilled, 0 about to end/);
    } finally {
      await client.upstream.close(0);
      operator.close();
      await broker.dispose();
    }
  });
});
