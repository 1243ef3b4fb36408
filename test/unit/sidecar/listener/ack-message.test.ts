import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { message, type RawV2Client, receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";

describe("AckMessage", () => {
  let mesh: SidecarUnderTest;
  let client: RawV2Client;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    client = mesh.client();
    for (const name of ["a", "b"]) {
      mesh.plane.setTopic(`default/on-${name}`, { brokers: [`broker-${name}`] });
    }
    mesh.plane.setGroup("default/g");
    mesh.plane.setGroup("default/other");
  });
  after(() => mesh.stop());

  async function receiveOne(topic: string): Promise<{ messageId: string; receiptHandle: string }> {
    const answer = await client.call("SendMessage", { messages: [message(topic, "x")] });
    assert.equal(answer.status?.code, Code.Ok, answer.status?.message);
    const { messages } = await client.receive(receiveRequest(topic, "g"));
    const system = messages[0]?.systemProperties;
    assert.ok(system);
    return { messageId: system.messageId, receiptHandle: system.receiptHandle ?? "" };
  }
  const ack = (entries: { messageId: string; receiptHandle: string }[], group = "g", by = client) =>
    by.call("AckMessage", { group: { name: group }, topic: { name: "on-a" }, entries });

  it("acks, echoing id and handle", async () => {
    const entry = await receiveOne("on-a");
    const answer = await ack([entry]);
    assert.equal(answer.status?.code, Code.Ok);
    assert.equal(answer.entries[0]?.messageId, entry.messageId);
    assert.equal(answer.entries[0]?.receiptHandle, entry.receiptHandle);
    assert.equal(mesh.upstream().leasedCount("default/on-a", "default/g"), 0);
  });

  it("[25] takes the same ack twice", async () => {
    const entry = await receiveOne("on-a");
    assert.equal((await ack([entry])).status?.code, Code.Ok);
    assert.equal((await ack([entry])).status?.code, Code.Ok);
  });

  it("[25] answers INVALID_RECEIPT_HANDLE for garbage, for a broker that does not exist, for an expired handle", async () => {
    const entry = await receiveOne("on-a");
    for (const receiptHandle of [
      "",
      "garbage",
      "no dots here",
      ".x",
      "broker-a.",
      "ä.b",
      "x".repeat(300),
      "ghost.abc",
    ]) {
      const answer = await ack([{ messageId: "m", receiptHandle }]);
      assert.equal(answer.status?.code, Code.InvalidReceiptHandle, receiptHandle);
      assert.equal(answer.entries[0]?.receiptHandle, receiptHandle);
    }
    await client.call("ChangeInvisibleDuration", {
      group: { name: "g" },
      topic: { name: "on-a" },
      receiptHandle: entry.receiptHandle,
      invisibleDuration: { seconds: 30, nanos: 0 },
    });
    assert.equal((await ack([entry])).status?.code, Code.InvalidReceiptHandle);
  });

  it("[25] answers MULTIPLE_RESULTS for a batch whose entries differ, in the order of the request", async () => {
    const good = await receiveOne("on-a");
    const bad = { messageId: "bad", receiptHandle: "garbage" };
    const answer = await ack([bad, good]);
    assert.equal(answer.status?.code, Code.MultipleResults);
    assert.deepEqual(
      answer.entries.map((entry) => [entry.messageId, entry.status?.code]),
      [
        ["bad", Code.InvalidReceiptHandle],
        [good.messageId, Code.Ok],
      ],
    );
  });

  it("takes each receipt to the broker that it names, whatever the topic of the request", async () => {
    const leased = () =>
      ["a", "b"].map((x) => mesh.upstream(`broker-${x}`).leasedCount(`default/on-${x}`, "default/g"));
    const before = leased();
    const entries = [await receiveOne("on-a"), await receiveOne("on-b")];
    assert.notDeepEqual(leased(), before);
    const answer = await ack(entries);
    assert.equal(answer.status?.code, Code.Ok);
    assert.deepEqual(leased(), before);
  });

  it("[S8] works through another sidecar that has never seen broker, topic or client", async () => {
    const entry = await receiveOne("on-b");
    const second = await SidecarUnderTest.start({ plane: mesh.plane, upstreams: mesh.upstreams });
    try {
      const answer = await ack([entry], "g", second.client("somebody-else"));
      assert.equal(answer.status?.code, Code.Ok);
      assert.equal(mesh.upstream("broker-b").leasedCount("default/on-b", "default/g"), 0);
    } finally {
      await second.stop();
    }
  });

  it("refuses a receipt of another group", async () => {
    const entry = await receiveOne("on-a");
    assert.equal((await ack([entry], "other")).status?.code, Code.InvalidReceiptHandle);
    assert.equal((await ack([entry])).status?.code, Code.Ok);
  });

  it("asks once more when the connection broke: an ack may be repeated", async () => {
    const entry = await receiveOne("on-a");
    mesh.upstream().ackFailures = 1;
    assert.equal((await ack([entry])).status?.code, Code.Ok);
  });

  it("[S1] does not answer OK when the broker cannot be asked", async () => {
    const entry = await receiveOne("on-a");
    mesh.upstream().ackFailures = 2;
    const answer = await ack([entry]);
    assert.equal(answer.status?.code, Code.InternalServerError);
    assert.equal(answer.entries[0]?.status?.code, Code.InternalServerError);
    assert.equal((await ack([entry])).status?.code, Code.Ok);
  });

  it("says so when a request has no entries", async () => {
    assert.equal((await ack([])).status?.code, Code.InternalServerError);
  });

  it("acks many entries at once", async () => {
    await client.call("SendMessage", { messages: Array.from({ length: 32 }, (_, i) => message("on-a", `m${i}`)) });
    const { messages } = await client.receive(receiveRequest("on-a", "g"));
    const entries = messages.map(({ systemProperties }) => ({
      messageId: systemProperties?.messageId ?? "",
      receiptHandle: systemProperties?.receiptHandle ?? "",
    }));
    assert.equal(entries.length, 32);
    const answer = await ack(entries);
    assert.equal(answer.status?.code, Code.Ok);
    assert.equal(answer.entries.length, 32);
  });
});
