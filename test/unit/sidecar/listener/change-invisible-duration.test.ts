import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { message, type RawV2Client, receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const nodeJs = { language: 8, version: "1.0.8" };

describe("ChangeInvisibleDuration", () => {
  let mesh: SidecarUnderTest;
  let client: RawV2Client;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    client = mesh.client();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/g", { backoff: { delayMs: [5_000, 20_000, 60_000] } });
  });
  after(() => mesh.stop());

  async function receiveOne(by = client, autoRenew = false): Promise<string> {
    await by.call("SendMessage", { messages: [message("t", "x")] });
    const { messages } = await by.receive(receiveRequest("t", "g", { autoRenew }));
    return messages[0]?.systemProperties?.receiptHandle ?? "";
  }
  const change = (receiptHandle: string, ms: number, by = client, over = {}) =>
    by.call("ChangeInvisibleDuration", {
      group: { name: "g" },
      topic: { name: "t" },
      receiptHandle,
      invisibleDuration: { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 },
      ...over,
    });
  const ackCode = async (receiptHandle: string) =>
    (
      await client.call("AckMessage", {
        group: { name: "g" },
        topic: { name: "t" },
        entries: [{ messageId: "m", receiptHandle }],
      })
    ).status?.code;

  it("[26] gives a new handle that works, and the old one does not any more", async () => {
    const old = await receiveOne();
    const answer = await change(old, 30_000);
    assert.equal(answer.status?.code, Code.Ok);
    assert.notEqual(answer.receiptHandle, old);
    assert.equal(await ackCode(old), Code.InvalidReceiptHandle);
    assert.equal(await ackCode(answer.receiptHandle), Code.Ok);
  });

  it("[26] takes 0 s and 12 h, refuses 12 h and a second, and echoes the request's handle with every error", async () => {
    const receipt = await receiveOne();
    const tooLong = await change(receipt, 12 * 3_600_000 + 1_000);
    assert.equal(tooLong.status?.code, Code.IllegalInvisibleTime);
    assert.equal(tooLong.receiptHandle, receipt);
    const longest = await change(receipt, 12 * 3_600_000);
    assert.equal(longest.status?.code, Code.Ok);
    const none = await change(longest.receiptHandle, 0);
    assert.equal(none.status?.code, Code.Ok);
    for (const [request, code] of [
      [change("garbage", 10_000), Code.InvalidReceiptHandle],
      [change(receipt, 10_000), Code.InvalidReceiptHandle],
      [change(receipt, 10_000, client, { group: { name: "bad.name" } }), Code.IllegalConsumerGroup],
      [change(receipt, 10_000, client, { topic: { name: "" } }), Code.IllegalTopic],
      [change(receipt, 10_000, mesh.client("")), Code.ClientIdRequired],
    ] as const) {
      const answer = await request;
      assert.equal(answer.status?.code, code);
      assert.notEqual(answer.receiptHandle, "");
    }
  });

  it("passes suspend on: the attempt does not count", async () => {
    await change(await receiveOne(), 1_000, client, { suspend: true });
    assert.equal(mesh.upstream().changes.at(-1)?.kind, "suspend");
  });

  it("[30] takes a nack of milliseconds of a Node.js push consumer for the group's own policy", async () => {
    const push = mesh.client("push-consumer");
    const telemetry = push.telemetry();
    const subscription = {
      group: { name: "g" },
      subscriptions: [{ topic: { name: "t" }, expression: { type: 1, expression: "*" } }],
    };
    telemetry.send({ settings: { clientType: 2, subscription, userAgent: nodeJs } });
    await waitUntil("settings", () => telemetry.commands.length > 0);
    const first = await change(await receiveOne(push, true), 5, push);
    assert.equal(first.status?.code, Code.Ok);
    assert.equal(mesh.upstream().changes.at(-1)?.invisibleMs, 5_000, "the first delay of the policy");
    await change(await receiveOne(push, true), 2_000, push);
    assert.equal(mesh.upstream().changes.at(-1)?.invisibleMs, 2_000, "what can be meant is done");
    telemetry.halfClose();
  });

  it("does what a simple consumer asks, to the millisecond", async () => {
    await change(await receiveOne(), 5);
    assert.equal(mesh.upstream().changes.at(-1)?.invisibleMs, 5);
  });
});
