import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../../../proto/code.ts";
import { FrameKind } from "../../../../proto/frame/frame.ts";
import { type RawSidecar, ServiceFixture } from "../../../support/service-fixture.ts";
import { encodedMessage, messageIdOf } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const { v1 } = popmesh;

describe("Reads of old messages over the frame port", () => {
  let broker: ServiceFixture;
  let client: RawSidecar;
  let topicId = 0;
  let groupId = 0;
  /** Everything is old, and the disk answers when the test says so. */
  let fetches: (() => void)[] = [];

  beforeEach(async () => {
    fetches = [];
    broker = await ServiceFixture.start({}, undefined, {
      isCold: () => true,
      isAtHand: () => false,
      fetch: (_places, done) => void fetches.push(done),
    });
    client = await broker.welcomed();
    const openTopic = { name: "default/t", incarnation: 1, messageTypes: 0b110, queueCount: 1 };
    const topic = client.say(FrameKind.OpenTopic, v1.OpenTopic.encode(openTopic).finish());
    const group = client.say(FrameKind.OpenGroup, v1.OpenGroup.encode({ name: "default/g", generation: 1 }).finish());
    await client.heard();
    broker.log.sync();
    ({ topicId } = v1.OpenTopicAnswer.decode((await client.answered(topic)).body));
    ({ groupId } = v1.OpenGroupAnswer.decode((await client.answered(group)).body));
    const first = receive(client);
    await client.heard();
    broker.log.sync();
    await client.answered(first);
    await store("m0", "m1", "m2", "m3");
  });
  afterEach(() => broker.stop());

  function receive(by: RawSidecar, batch = 2): number {
    const request = { topicId, groupId, batch, invisibleMs: 60_000, waitMs: 0, clientId: "c", lane: "base" };
    return by.say(FrameKind.Receive, v1.ReceiveRequest.encode(request).finish());
  }

  async function store(...ids: string[]): Promise<void> {
    const message = (id: string) => v1.SendRequest.encode({ topicId, message: [encodedMessage(id)] }).finish();
    const sends = ids.map((id) => client.say(FrameKind.Send, message(id)));
    await client.heard();
    broker.log.sync();
    await Promise.all(sends.map((send) => client.answered(send)));
  }

  /** Lets one fetch end and what follows from it be on disk. */
  async function fetched(): Promise<void> {
    await waitUntil("a fetch", () => fetches.length > 0);
    fetches.shift()!();
    await client.heard();
    broker.log.sync();
  }

  async function idsOf(correlation: number): Promise<string[]> {
    const answer = await client.answered(correlation);
    assert.equal(answer.status, Code.Ok);
    return v1.ReceiveAnswer.decode(answer.body).delivery.map((delivery) => messageIdOf(delivery as never));
  }

  it("are answered when their bytes have come, and sends meanwhile go on", async () => {
    const first = receive(client);
    const second = receive(client);
    await store("m4");
    assert.deepEqual([client.answerTo(first), client.answerTo(second)], [undefined, undefined]);
    assert.equal(broker.metric("popmesh_broker_cold_reads_waiting"), 2);
    await fetched();
    assert.deepEqual(await idsOf(first), ["m0", "m1"]);
    await fetched();
    assert.deepEqual(await idsOf(second), ["m2", "m3"]);
    assert.equal(broker.metric("popmesh_broker_cold_reads_waiting"), 0);
  });

  it("are given up at once, and hand nothing out", async () => {
    const given = receive(client);
    const kept = receive(client);
    client.say(FrameKind.Cancel, undefined, given);
    assert.equal((await client.answered(given)).status, Code.MessageNotFound);
    // Its number is free again while its read still waits for the disk.
    const again = receive(client);
    await fetched();
    await fetched();
    assert.deepEqual(await idsOf(kept), ["m0", "m1"]);
    await fetched();
    assert.deepEqual(await idsOf(again), ["m2", "m3"]);
    assert.equal(client.frames.filter(({ correlation }) => correlation === given).length, 1);
  });

  it("hand nothing out to a connection that has gone", async () => {
    const other = await broker.welcomed();
    receive(other);
    await other.heard();
    other.close();
    await waitUntil("it is gone", () => broker.metric("popmesh_broker_connections") === 1);
    await fetched();
    const mine = receive(client, 4);
    await fetched();
    assert.deepEqual(await idsOf(mine), ["m0", "m1", "m2", "m3"]);
  });

  it("wait for the disk also when the group is new to the topic", async () => {
    const group = client.say(FrameKind.OpenGroup, v1.OpenGroup.encode({ name: "default/new", generation: 1 }).finish());
    await client.heard();
    broker.log.sync();
    ({ groupId } = v1.OpenGroupAnswer.decode((await client.answered(group)).body));
    const first = receive(client);
    await client.heard();
    assert.equal(fetches.length, 1);
    await fetched();
    assert.deepEqual(await idsOf(first), ["m0", "m1"]);
  });

  it("bring few large messages at a time, and one that is larger than that by itself", async () => {
    const sizes = [100, 100, 100, 400, 1].map((kib) => "x".repeat(kib * 1024));
    const body = (i: number) => encodedMessage(`large${i}`, { body: sizes[i]! });
    for (let i = 0; i < sizes.length; i++) {
      const sent = client.say(FrameKind.Send, v1.SendRequest.encode({ topicId, message: [body(i)] }).finish());
      await client.heard();
      broker.log.sync();
      await client.answered(sent);
    }
    const got: string[][] = [];
    for (let i = 0; i < 4; i++) {
      const asked = receive(client, 8);
      await fetched();
      got.push(await idsOf(asked));
    }
    const [small, ...large] = [["m0", "m1", "m2", "m3", "large0", "large1"], ["large2"], ["large3"], ["large4"]];
    assert.deepEqual(got, [small, ...large]);
    const request = { topicId, groupId, queueId: 0, offset: 4, batch: 8 };
    const pull = client.say(FrameKind.Pull, v1.PullRequest.encode(request).finish());
    await fetched();
    assert.deepEqual(await idsOf(pull), ["large0", "large1"]);
  });

  it("of a pull that looks for what matches wait again for each stretch of it", async () => {
    await store(...Array.from({ length: 300 }, (_, i) => `other${i}`));
    const request = { topicId, groupId, queueId: 0, offset: 0, batch: 2, waitMs: 5_000 };
    const filter = { filterType: 2, filter: "origin = 'nowhere'" };
    const pull = client.say(FrameKind.Pull, v1.PullRequest.encode({ ...request, ...filter }).finish());
    for (let stretch = 0; stretch < 3; stretch++) await fetched();
    await client.heard();
    assert.deepEqual([fetches.length, client.answerTo(pull)], [0, undefined]);
    await broker.clock.advanceAndSettle(5_000);
    assert.equal(v1.PullAnswer.decode((await client.answered(pull)).body).nextOffset?.toString(), "304");
  });

  it("are answered while the broker drains", async () => {
    const request = { topicId, groupId, queueId: 0, offset: 1, batch: 2, waitMs: 60_000 };
    const pull = client.say(FrameKind.Pull, v1.PullRequest.encode(request).finish());
    await client.heard();
    const drained = broker.server.drain(10_000);
    await waitUntil("a fetch", () => fetches.length > 0);
    fetches.shift()!();
    const answer = v1.PullAnswer.decode((await client.answered(pull)).body);
    assert.deepEqual(
      answer.delivery.map((delivery) => messageIdOf(delivery as never)),
      ["m1", "m2"],
    );
    await broker.clock.advanceAndSettle(1_000);
    await drained;
  });
});
