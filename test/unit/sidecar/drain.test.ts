import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../../proto/code.ts";
import { message, receiveRequest } from "../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../support/start-sidecar.ts";
import { Stopwatch } from "../../support/stopwatch.ts";
import { waitUntil } from "../../support/wait-until.ts";

const poll = (seconds: number) => ({ longPollingTimeout: { seconds, nanos: 0 } });

describe("drain", () => {
  let mesh: SidecarUnderTest;
  beforeEach(async () => {
    mesh = await SidecarUnderTest.start({ argv: ["--drain-serve", "2s", "--drain-total", "4s"] });
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/g");
  });
  afterEach(() => mesh.stop());

  it("answers waiting receives within 250 ms, new ones after a second, and turns readiness off", async () => {
    const client = mesh.client();
    const waiting = client.receive(receiveRequest("t", "g", poll(20)));
    await waitUntil("the poll is parked", () => mesh.upstream().parkedCount > 0);
    const watch = new Stopwatch();
    const stopping = mesh.sidecar.stop();
    const ended = await waiting;
    assert.equal(ended.code, Code.MessageNotFound);
    assert.ok(watch.stop() < 250);
    assert.equal((await fetch(`${mesh.adminUrl}/ready`)).status, 503);
    const late = await client.receive(receiveRequest("t", "g", poll(20)));
    assert.equal(late.code, Code.MessageNotFound);
    assert.deepEqual(late.order, ["status", "deliveryTimestamp"]);
    assert.ok(late.tookMs >= 900, `answered after ${late.tookMs} ms: a client would spin`);
    client.close();
    await stopping;
  });

  it("goes on serving sends, acks, changes and heartbeats until the application is gone, then ends soon", async () => {
    const client = mesh.client();
    await client.call("SendMessage", { messages: [message("t", "1"), message("t", "2")] });
    const { messages } = await client.receive(receiveRequest("t", "g"));
    const [first, second] = messages.map(({ systemProperties }) => systemProperties?.receiptHandle ?? "");
    const stopping = mesh.sidecar.stop();
    const names = { group: { name: "g" }, topic: { name: "t" } };
    const acked = await client.call("AckMessage", {
      ...names,
      entries: [{ messageId: "1", receiptHandle: first ?? "" }],
    });
    const changed = await client.call("ChangeInvisibleDuration", {
      ...names,
      receiptHandle: second ?? "",
      invisibleDuration: { seconds: 1, nanos: 0 },
    });
    const sent = await client.call("SendMessage", { messages: [message("t", "3")] });
    const beat = await client.call("Heartbeat", { clientType: 3, group: { name: "g" } });
    for (const { status } of [acked, changed, sent, beat]) assert.equal(status?.code, Code.Ok);
    const watch = new Stopwatch();
    client.close();
    await stopping;
    assert.ok(watch.stop() < 1_500, "it waits half a second for clients that come back, no more");
  });

  it("[S7] hands back a batch that the broker gave while the drain began", async () => {
    const client = mesh.client();
    await client.call("SendMessage", { messages: [message("t", "popped")] });
    const upstream = mesh.upstream();
    upstream.holdReceives = true;
    const before = upstream.receives.length;
    const receiving = client.receive(receiveRequest("t", "g", poll(20)));
    await waitUntil("the broker has popped it", () => upstream.receives.length > before);
    const stopping = mesh.sidecar.stop();
    upstream.releaseReceives();
    assert.equal((await receiving).code, Code.MessageNotFound);
    await waitUntil("it is handed back", () => upstream.changes.some(({ kind }) => kind === "hand-back"));
    assert.equal(upstream.leasedCount("default/t", "default/g"), 0);
    client.close();
    await stopping;
  });

  it("[S7] hands back what a client that does not read has not been sent", async () => {
    const client = mesh.client();
    for (let i = 0; i < 20; i++) {
      await client.call("SendMessage", { messages: [message("t", Buffer.alloc(100_000, i))] });
    }
    // A client whose window is never opened again: after 64 KiB nothing moves.
    const session = connectHttp2(`http://${mesh.address}`);
    const stream = session.request({
      ":method": "POST",
      ":path": "/apache.rocketmq.v2.MessagingService/ReceiveMessage",
      "content-type": "application/grpc",
      te: "trailers",
      "x-mq-client-id": "stuck",
    });
    const body = Buffer.from(apache.rocketmq.v2.ReceiveMessageRequest.encode(receiveRequest("t", "g")).finish());
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(body.length, 1);
    stream.end(Buffer.concat([prefix, body]));
    stream.on("error", () => {});
    await waitUntil("the batch is popped", () => mesh.upstream().leasedCount("default/t", "default/g") === 20);
    client.close();
    const stopping = mesh.sidecar.stop();
    const handedBack = () => mesh.upstream().changes.filter(({ kind }) => kind === "hand-back").length;
    await waitUntil("the rest is handed back", () => handedBack() > 0);
    const kept = mesh.upstream().leasedCount("default/t", "default/g");
    assert.equal(kept + handedBack(), 20);
    assert.ok(kept <= 2, `${kept} messages had left for the client`);
    session.destroy();
    await stopping;
  });

  it("ends Telemetry streams cleanly and closes in time although a client stays", async () => {
    const client = mesh.client();
    const telemetry = client.telemetry();
    telemetry.send({ settings: { clientType: 1, publishing: { topics: [] } } });
    await waitUntil("the answer", () => telemetry.commands.length > 0);
    const startedMs = performance.now();
    const watch = new Stopwatch();
    const stopping = mesh.sidecar.stop();
    assert.equal((await telemetry.ended).code, 0);
    assert.ok(performance.now() - startedMs >= 1_900, "not before its time to serve is over");
    await stopping;
    assert.ok(watch.stop() < 5_000);
  });
});
