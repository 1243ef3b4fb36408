import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { message, type RawV2Client, receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";

describe("ForwardMessageToDeadLetterQueue", () => {
  let mesh: SidecarUnderTest;
  let client: RawV2Client;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    client = mesh.client();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a"] });
    mesh.plane.setGroup("default/g");
  });
  after(() => mesh.stop());

  const forward = async (receiptHandle: string) =>
    (
      await client.call("ForwardMessageToDeadLetterQueue", {
        ...{ group: { name: "g" }, topic: { name: "t" }, receiptHandle, messageId: "m" },
      })
    ).status;

  it("asks the broker that the receipt names, and says OK again to a client that repeats it", async () => {
    await client.call("SendMessage", { messages: [message("t", "poison")] });
    const { messages } = await client.receive(receiveRequest("t", "g"));
    const receipt = messages[0]?.systemProperties?.receiptHandle ?? "";
    assert.equal((await forward(receipt))?.code, Code.Ok);
    assert.equal((await forward(receipt))?.code, Code.Ok);
    assert.deepEqual(mesh.upstream("broker-a").deadLetters, [receipt, receipt]);
  });

  it("refuses what is no receipt of this mesh, without asking anybody", async () => {
    const asked = mesh.upstream("broker-a").deadLetters.length;
    for (const text of ["", "nonsense", "x".repeat(300)]) {
      const status = await forward(text);
      assert.equal(status?.code, Code.InvalidReceiptHandle, text);
      assert.match(status?.message ?? "", /no receipt handle of this mesh/);
    }
    assert.equal(mesh.upstream("broker-a").deadLetters.length, asked);
  });

  it("passes the broker's refusal on", async () => {
    assert.equal((await forward("broker-a.AAAA"))?.code, Code.InvalidReceiptHandle);
  });
});
