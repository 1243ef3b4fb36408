import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { consumersPerConnectionMax } from "../../../../broker-core/service/lane-presences.ts";
import { answerBit, FrameKind } from "../../../../proto/frame/frame.ts";
import { type RawSidecar, ServiceFixture } from "../../../support/service-fixture.ts";
import { encodedMessage } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const { v1 } = popmesh;

describe("The presence of lanes over the frame port", () => {
  let broker: ServiceFixture;
  beforeEach(async () => {
    broker = await ServiceFixture.start();
  });
  afterEach(() => broker.stop());

  const say = async (from: RawSidecar, groups: readonly string[], lane = "canary", leaseMs = 6_000) => {
    const consumer = groups.map((group) => ({ group: `default/${group}`, topic: "default/t" }));
    from.say(FrameKind.LanePresence, v1.LanePresence.encode({ lane, leaseMs, consumer }).finish(), 0);
    await from.heard();
  };
  /** Since the last look: "+canary a" or "-canary a". */
  const told = () =>
    broker.presences
      .splice(0)
      .map(({ presence, isThere }) => `${isThere ? "+" : "-"}${presence.lane} ${presence.group.slice(8)}`)
      .join(", ");

  it("is offered in the Welcome", async () => {
    const client = await broker.welcomed();
    const [welcome] = client.frames;
    assert.ok(welcome);
    assert.deepEqual(v1.Welcome.decode(welcome.body).features, ["lane-presence"]);
  });

  it("is passed on: who came, who stays, who left", async () => {
    const client = await broker.welcomed();
    await say(client, ["a", "b"]);
    assert.equal(told(), "+canary a, +canary b");
    await say(client, ["b", "c"]);
    assert.equal(told(), "-canary a, +canary b, +canary c");
    assert.equal(broker.metric("popmesh_broker_lane_consumers"), 2);
    await say(client, []);
    assert.equal(told(), "-canary b, -canary c");
    assert.ok(
      client.frames.every(({ kind }) => (kind & ~answerBit) !== FrameKind.LanePresence),
      "it was answered",
    );
  });

  it("lasts as long as any sidecar says so", async () => {
    const [a, b] = [await broker.welcomed(), await broker.welcomed()];
    await say(a, ["g"]);
    await say(b, ["g"]);
    await say(b, ["g"], "blue");
    assert.equal(told(), "+canary g, +canary g, +blue g");
    await say(a, []);
    assert.equal(told(), "-canary g", "b is in another lane now");
  });

  it("ends with the connection, at once", async () => {
    const [a, b] = [await broker.welcomed(), await broker.welcomed()];
    await say(a, ["g", "h"]);
    await say(b, ["g"]);
    told();
    a.close();
    await waitUntil("it is told", () => broker.presences.length > 0);
    assert.equal(told(), "-canary h");
  });

  it("ends when its lease does, and is granted no longer one than a minute", async () => {
    const client = await broker.welcomed();
    await say(client, ["g"], "canary", 6_000);
    broker.clock.advance(5_000);
    await say(client, ["g"], "canary", 6_000);
    broker.clock.advance(5_000);
    assert.equal(told(), "+canary g, +canary g");
    broker.clock.advance(2_000);
    assert.equal(told(), "-canary g");
    await say(client, ["g"], "canary", 3_600_000);
    told();
    for (let i = 0; i < 12; i++) {
      // It is alive all the time.
      client.say(FrameKind.Ping);
      await client.heard();
      broker.clock.advance(5_000);
    }
    broker.clock.advance(2_000);
    assert.equal(told(), "-canary g");
  });

  it("is bounded per connection", async () => {
    const client = await broker.welcomed();
    await say(
      client,
      Array.from({ length: consumersPerConnectionMax + 5 }, (_, i) => `g${i}`),
    );
    assert.equal(broker.metric("popmesh_broker_lane_consumers"), consumersPerConnectionMax);
  });

  it("keeps a lane from spilling whose consumer is busy for long, and spills it as soon as that one is gone (F18)", async () => {
    const [canary, base] = [await broker.welcomed(), await broker.welcomed()];
    const ask = async (from: RawSidecar, kind: number, body: Uint8Array) => {
      const correlation = from.say(kind, body);
      await from.heard();
      broker.log.write();
      broker.log.sync();
      return (await from.answered(correlation)).body;
    };
    const opening = { name: "default/t", incarnation: 1, messageTypes: 0b10, queueCount: 1 };
    const opened = await ask(base, FrameKind.OpenTopic, v1.OpenTopic.encode(opening).finish());
    const { topicId } = v1.OpenTopicAnswer.decode(opened);
    const group = await ask(
      base,
      FrameKind.OpenGroup,
      v1.OpenGroup.encode({ name: "default/g", generation: 1 }).finish(),
    );
    const { groupId } = v1.OpenGroupAnswer.decode(group);
    const receive = async (from: RawSidecar, lane: string) => {
      const request = { topicId, groupId, batch: 1, invisibleMs: 600_000, waitMs: 0, clientId: lane, lane };
      const body = await ask(from, FrameKind.Receive, v1.ReceiveRequest.encode(request).finish());
      return v1.ReceiveAnswer.decode(body).delivery.length;
    };
    const send = (laneMark: string) =>
      ask(base, FrameKind.Send, v1.SendRequest.encode({ topicId, laneMark, message: [encodedMessage("m")] }).finish());
    await receive(base, "base");
    const rule = { clauses: [{ lane: "canary", to: "canary" }], whenEmpty: { action: "spill", afterMs: 2_000 } };
    const order = { topic: "default/t", group: "", name: "default/rule", number: 1, rule };
    const call = v1.OperateRequest.encode({ method: "lane.rule", arguments: JSON.stringify(order) }).finish();
    await ask(base, FrameKind.Operate, call);

    await send("canary");
    assert.equal(await receive(canary, "canary"), 1);
    await say(canary, ["g"]);
    await send("canary");
    for (let i = 0; i < 4; i++) {
      broker.clock.advance(2_000);
      broker.clock.endTurn();
      // Both are alive; the canary works on its first message all the time.
      assert.equal(await receive(base, "base"), 0, "base got a message of a lane whose consumer is there");
      await say(canary, ["g"]);
    }
    await say(canary, []);
    assert.equal(await receive(base, "base"), 1);
  });

  it("that cannot be read ends its connection, and no other", async () => {
    const [rude, client] = [await broker.welcomed(), await broker.welcomed()];
    rude.say(FrameKind.LanePresence, Buffer.from([0x0a, 0xff]), 0);
    await waitUntil("it is cut", () => rude.isClosed);
    await say(client, ["g"]);
    assert.equal(told(), "+canary g");
  });
});
