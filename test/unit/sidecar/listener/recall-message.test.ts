import assert from "node:assert/strict";
import type { apache } from "#codec/rocketmq-v2";
import { Code } from "../../../../proto/code.ts";
import { failed } from "../../../support/fake-upstream.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";

type Message = apache.rocketmq.v2.IMessage;
const delay = 3;
const atNoon = { seconds: Date.UTC(2040, 0, 1, 12) / 1_000, nanos: 0 };

describe("RecallMessage", () => {
  let mesh: SidecarUnderTest;
  before(async () => {
    mesh = await SidecarUnderTest.start();
  });
  after(() => mesh.stop());

  const timed = (messageId: string): Message => ({
    topic: { name: "alarms" },
    body: Buffer.from("wake up"),
    systemProperties: { messageId, messageType: delay, deliveryTimestamp: atNoon },
  });
  const recall = (recallHandle: string, topic = "alarms") =>
    mesh.client().call("RecallMessage", { topic: { name: topic }, recallHandle });

  it("is possible by the handle that each timed message was answered with, at the broker that the handle names", async () => {
    const messages = [timed("a"), timed("b")];
    const { status, entries } = await mesh.client().call("SendMessage", { messages });
    assert.equal(status?.code, Code.Ok, status?.message);
    const handles = entries.map(({ recallHandle }) => recallHandle);
    assert.equal(new Set(handles).size, 2);
    assert.ok(
      handles.every((handle) => handle.startsWith("broker-a.")),
      handles.join(),
    );
    mesh.upstream().recallAnswer = { ok: true, messageId: "b" };
    const recalled = await recall(handles[1] ?? "");
    assert.deepEqual([recalled.status?.code, recalled.messageId], [Code.Ok, "b"]);
    const { topic, recallHandle } = mesh.upstream().recalls.at(-1)!;
    assert.deepEqual([topic.name, recallHandle], ["default/alarms", handles[1]]);
  });

  it("refuses handles that can be none, and passes on what the broker says of others", async () => {
    const asked = mesh.upstream().recalls.length;
    for (const handle of ["", "  ", "nonsense", "broker-a.", ".r1", `${"b".repeat(600)}.r1`]) {
      const { status } = await recall(handle);
      assert.equal(status?.code, Code.BadRequest, `"${handle}"`);
      assert.match(status?.message ?? "", /recall handle/);
    }
    assert.equal((await recall("broker-a.r1", "sys tem")).status?.code, Code.IllegalTopic);
    assert.equal(mesh.upstream().recalls.length, asked);
    mesh.upstream().recallAnswer = failed(Code.Forbidden, "it was delivered", "refused");
    const { status } = await recall("broker-a.r1");
    assert.deepEqual([status?.code, status?.message], [Code.Forbidden, "it was delivered"]);
  });

  it("carries handles with a message id of 255 bytes in them", async () => {
    mesh.upstream().recallAnswer = { ok: true, messageId: "long" };
    const handle = `broker-a.${"A".repeat(380)}`;
    assert.equal((await recall(handle)).status?.code, Code.Ok);
    assert.equal(mesh.upstream().recalls.at(-1)?.recallHandle, handle);
  });

  it("refuses a topic that takes no timed messages", async () => {
    mesh.plane.setTopic("default/plain", { brokers: ["broker-a"], messageTypes: 1 << 1 });
    const asked = mesh.upstream().recalls.length;
    assert.equal((await recall("broker-a.r1", "plain")).status?.code, Code.MessagePropertyConflictWithType);
    assert.equal(mesh.upstream().recalls.length, asked);
  });

  it("asks once more when the connection broke over the answer, for a recall happens once", async () => {
    mesh.upstream().recallAnswer = { ok: true, messageId: "a" };
    mesh.upstream().recallFailures = 1;
    const asked = mesh.upstream().recalls.length;
    assert.equal((await recall("broker-a.r1")).status?.code, Code.Ok);
    assert.equal(mesh.upstream().recalls.length, asked + 2);
  });
});
