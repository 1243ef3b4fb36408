import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { message, receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { waitUntil } from "../../../support/wait-until.ts";

describe("NotifyClientTermination and Heartbeat", () => {
  let mesh: SidecarUnderTest;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/g");
  });
  after(() => mesh.stop());

  it("[trap 10] is always OK: for strangers, for producers with an empty group, for impossible groups", async () => {
    for (const request of [{}, { group: {} }, { group: { name: "" } }, { group: { name: "no.dots" } }]) {
      const answer = await mesh.client().call("NotifyClientTermination", request);
      assert.equal(answer.status?.code, Code.Ok);
    }
  });

  it("ends the client's waiting receives at once, and nobody else's", async () => {
    const leaving = mesh.client();
    const staying = mesh.client();
    const poll = (seconds: number) => receiveRequest("t", "g", { longPollingTimeout: { seconds, nanos: 0 } });
    // Were it not ended, it would outlast the other one.
    const ended = leaving.receive(poll(20));
    const kept = staying.receive(poll(10));
    await waitUntil("both are parked", () => mesh.upstream().parkedCount === 2);
    await leaving.call("NotifyClientTermination", { group: { name: "g" } });
    assert.equal((await ended).code, Code.MessageNotFound);
    // Neither was over by itself: the other one still waits, and gets what comes.
    assert.equal(mesh.upstream().parkedCount, 1);
    await leaving.call("SendMessage", { messages: [message("t", "awaited")] });
    const { messages } = await kept;
    assert.deepEqual(
      messages.map(({ body }) => Buffer.from(body).toString()),
      ["awaited"],
    );
    await staying.call("AckMessage", {
      ...{ topic: { name: "t" }, group: { name: "g" } },
      entries: messages.map(({ systemProperties }) => ({ receiptHandle: systemProperties?.receiptHandle ?? "" })),
    });
  });

  it("[28] lets what the client held come back after about a second", async () => {
    const leaving = mesh.client();
    await leaving.call("SendMessage", { messages: [message("t", "held")] });
    const { messages } = await leaving.receive(receiveRequest("t", "g", { autoRenew: true }));
    assert.equal(messages.length, 1);
    const startedMs = performance.now();
    await leaving.call("NotifyClientTermination", { group: { name: "g" } });
    const again = await mesh
      .client()
      .receive(receiveRequest("t", "g", { longPollingTimeout: { seconds: 5, nanos: 0 } }));
    assert.equal(again.messages.length, 1);
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs > 800, `came back after ${tookMs} ms`);
    const { kind, invisibleMs } = mesh.upstream().changes.at(-1) ?? {};
    assert.deepEqual([kind, invisibleMs], ["renew", 1_000]);
  });

  it("[34] takes heartbeats of clients it does not know, whatever they say about themselves", async () => {
    for (const request of [{}, { clientType: 1 }, { clientType: 2, group: { name: "g" } }, { clientType: 99 }]) {
      const answer = await mesh.client().call("Heartbeat", request);
      assert.equal(answer.status?.code, Code.Ok);
    }
    const wrong = await mesh.client().call("Heartbeat", { clientType: 2, group: { name: "no.dots" } });
    assert.equal(wrong.status?.code, Code.IllegalConsumerGroup);
  });
});
