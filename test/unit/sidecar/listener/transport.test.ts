import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { type RawV2Client, receiveRequest, unaryRpcs } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";

describe("the messaging service on the wire", () => {
  let mesh: SidecarUnderTest;
  let anonymous: RawV2Client;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    anonymous = mesh.client("");
  });
  after(() => mesh.stop());

  for (const rpc of unaryRpcs) {
    it(`[3] answers ${rpc} without a client id with CLIENT_ID_REQUIRED in the message`, async () => {
      const answer = (await anonymous.call(rpc, {})) as { status?: { code: number } | null };
      assert.equal(answer.status?.code, Code.ClientIdRequired);
      const blank = (await anonymous.call(rpc, {}, { headers: { "x-mq-client-id": "" } })) as typeof answer;
      assert.equal(blank.status?.code, Code.ClientIdRequired);
    });
  }

  it("[3] answers a receive without a client id in its stream", async () => {
    const received = await anonymous.receive(receiveRequest("t", "g"));
    assert.equal(received.code, Code.ClientIdRequired);
    assert.deepEqual(received.order, ["status", "deliveryTimestamp"]);
  });

  it("[3] gives a Telemetry stream without a client id a status alone and a clean end", async () => {
    const telemetry = anonymous.telemetry();
    const { code } = await telemetry.ended;
    assert.equal(code, 0);
    assert.equal(telemetry.commands.length, 1);
    assert.equal(telemetry.commands[0]?.status?.code, Code.ClientIdRequired);
    assert.equal(telemetry.commands[0]?.command, undefined);
  });

  it("[4, trap 20] takes any language, protocol, date and request id, or none", async () => {
    for (const headers of [
      { "x-mq-language": "HTTP", "x-mq-protocol": "v2", "x-mq-date-time": "20260101T000000Z" },
      { "x-mq-language": "nonsense", "x-mq-protocol": "GRPC_V2", "x-mq-date-time": "2026-01-01T00:00:00+01:00" },
      { "x-mq-protocol-version": "2.0.0", "x-mq-date-time": "yesterday" },
      { authorization: "MQv2-HMAC-SHA1 Credential=, SignedHeaders=x-mq-date-time, Signature=" },
      {},
    ] as Record<string, string>[]) {
      const answer = await mesh.client("c", headers).call("Heartbeat", { clientType: 1 });
      assert.equal(answer.status?.code, Code.Ok);
    }
  });
});
