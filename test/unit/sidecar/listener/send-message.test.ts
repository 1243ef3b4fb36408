import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { message, receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";

describe("SendMessage", () => {
  let mesh: SidecarUnderTest;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/orders", { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/billing");
  });
  after(() => mesh.stop());

  it("stores a message and says under which offset", async () => {
    const client = mesh.client();
    const sent = message("orders", "hello");
    const answer = await client.call("SendMessage", { messages: [sent] });
    assert.equal(answer.status?.code, Code.Ok);
    assert.equal(answer.entries.length, 1);
    assert.equal(answer.entries[0]?.messageId, sent.systemProperties?.messageId);
    const received = await client.receive(receiveRequest("orders", "billing"));
    assert.equal(received.code, Code.Ok);
    assert.equal(Buffer.from(received.messages[0]?.body ?? []).toString(), "hello");
  });
});
