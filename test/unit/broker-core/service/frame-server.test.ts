import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { Code } from "../../../../proto/code.ts";
import { answerBit, FrameKind, frameBytesMax } from "../../../../proto/frame/frame.ts";
import { failureText, type RawFrame, type RawSidecar, ServiceFixture } from "../../../support/service-fixture.ts";
import { encodedMessage } from "../../../support/upstream-client.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const { v1 } = popmesh;

describe("The frame server", () => {
  let broker: ServiceFixture;
  beforeEach(async () => {
    broker = await ServiceFixture.start();
  });
  afterEach(() => broker.stop());

  describe("when a sidecar says hello", () => {
    it("welcomes it with its name, its windows and the highest common version", async () => {
      const answer = await broker.connect().hello({ versionMin: 1, versionMax: 9, features: ["from-the-future"] });
      assert.equal(answer.status, Code.Ok);
      const welcome = v1.Welcome.decode(answer.body);
      assert.deepEqual([welcome.version, welcome.brokerName, welcome.runId], [1, "broker-a", 7]);
      assert.ok(welcome.requestWindow > 0 && welcome.receiveWindow > 0 && welcome.byteWindow >= frameBytesMax);
      assert.deepEqual(welcome.features, ["lane-presence"], "features it does not know are not named back");
    });

    it("skips fields it does not know", async () => {
      const client = broker.connect();
      const known = v1.Hello.encode({ versionMin: 1, versionMax: 1, sidecarId: "s" }).finish();
      const unknown = Buffer.from([0xfa, 0x07, 0x03, 0x61, 0x62, 0x63]); // field 127, "abc"
      assert.equal((await client.ask(FrameKind.Hello, Buffer.concat([known, unknown]))).status, Code.Ok);
    });

    it("refuses one without a common version, names both ranges and closes", async () => {
      const client = broker.connect();
      const answer = await client.hello({ versionMin: 2, versionMax: 3 });
      assert.equal(answer.status, Code.VersionUnsupported);
      assert.match(failureText(answer), /2 to 3.*1 to 1/);
      await client.closed();
    });

    it("closes when the first frame is no Hello, on a second Hello, and after 5 s of silence", async () => {
      const rude = broker.connect();
      rude.say(FrameKind.Ping);
      await rude.closed();
      const twice = await broker.welcomed();
      twice.say(FrameKind.Hello);
      await twice.closed();
      const mute = broker.connect();
      await waitUntil("it is connected", () => broker.metric("popmesh_broker_connections") === 1);
      for (let i = 0; i < 4; i++) broker.clock.advance(1_000);
      assert.equal(broker.metric("popmesh_broker_connections"), 1);
      for (let i = 0; i < 2; i++) broker.clock.advance(1_000);
      await mute.closed();
    });
  });

  it("cuts a peer that has been silent for 15 s, and spares it when the broker itself had stopped", async () => {
    const client = await broker.welcomed();
    broker.clock.advance(0);
    for (let i = 0; i < 14; i++) broker.clock.advance(1_000);
    await client.heard();
    for (let i = 0; i < 14; i++) broker.clock.advance(1_000);
    assert.equal(client.isClosed, false);
    for (let i = 0; i < 2; i++) broker.clock.advance(1_000);
    await client.closed();
  });

  it("closes a connection whose bytes are no frames, and no other", async () => {
    const other = await broker.welcomed();
    const client = await broker.welcomed();
    client.socket.write(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    await client.closed();
    await other.heard();
  });

  it("answers requests of kinds it does not know, and bodies that are none", async () => {
    const client = await broker.welcomed();
    const unknown = await client.ask(99);
    assert.deepEqual([unknown.kind, unknown.status], [99 | answerBit, Code.NotImplemented]);
    for (const kind of [FrameKind.Send, FrameKind.Receive, FrameKind.Ack, FrameKind.Change, FrameKind.OpenTopic]) {
      const answer = await client.ask(kind, Buffer.from([0x0a, 0xff]));
      assert.deepEqual([answer.kind, answer.status], [kind | answerBit, Code.BadRequest]);
    }
    await client.heard();
  });

  it("answers ids it does not know with the code that makes a sidecar open the name again", async () => {
    const client = await broker.welcomed();
    const send = await client.ask(
      FrameKind.Send,
      v1.SendRequest.encode({ topicId: 99, message: [encodedMessage("x")] }).finish(),
    );
    assert.equal(send.status, Code.TopicNotFound);
    const receive = await client.ask(FrameKind.Receive, receiveBody(99, 99));
    assert.equal(receive.status, Code.TopicNotFound);
    const ack = await client.ask(
      FrameKind.Ack,
      v1.AckRequest.encode({ groupId: 99, receipt: [Buffer.from("r")] }).finish(),
    );
    assert.equal(ack.status, Code.ConsumerGroupNotFound);
  });

  describe("answers", () => {
    let client: RawSidecar;
    let topicId: number;
    let groupId: number;
    beforeEach(async () => {
      client = await broker.welcomed();
      ({ topicId, groupId } = await openNames(broker, client));
    });

    it("an opening when it is durable", async () => {
      const correlation = client.say(FrameKind.OpenTopic, openTopicBody("default/late"));
      await client.heard();
      broker.log.write();
      await client.heard();
      assert.equal(client.answerTo(correlation), undefined);
      broker.log.sync();
      assert.equal((await client.answered(correlation)).status, Code.Ok);
    });

    it("a send when its batch is durable, not when it is written", async () => {
      const correlation = client.say(FrameKind.Send, sendBody(topicId, "a"));
      await client.heard();
      broker.log.write();
      await client.heard();
      assert.equal(client.answerTo(correlation), undefined, "written is not enough");
      broker.log.sync();
      const answer = await client.answered(correlation);
      assert.equal(answer.status, Code.Ok);
      assert.equal(v1.SendAnswer.decode(answer.body).storeMs, broker.clock.wallMs());
      for (let i = 0; i < 40; i++) client.say(FrameKind.Send, sendBody(topicId, `m${i}`));
      await client.heard();
      broker.log.sync();
      const measured = broker.metric("popmesh_broker_send_durable_seconds_count");
      assert.ok(measured === 2 || measured === 3, `${measured} of 41 were measured`);
    });

    it("that another broker takes a send, when what it rests on is durable", async () => {
      const message = [encodedMessage("a", { messageGroup: "red" })];
      const send = { topicId, message, groupSpread: 5, earlierHome: true };
      const correlation = client.say(FrameKind.Send, v1.SendRequest.encode(send).finish());
      await client.heard();
      broker.log.write();
      await client.heard();
      assert.equal(client.answerTo(correlation), undefined, "a power cut would forget the spread");
      broker.log.sync();
      const answer = await client.answered(correlation);
      const { moved, message: text } = v1.Failure.decode(answer.body);
      assert.deepEqual([answer.status, moved], [Code.TooManyRequests, true], text);
      const again = await client.answered(client.say(FrameKind.Send, v1.SendRequest.encode(send).finish()));
      assert.equal(v1.Failure.decode(again.body).moved, true, "it is known by now: nothing is written");
    });

    it("an ack and a renewal when durable; an extension and a hand-back when written", async () => {
      const receipts = await handOut(broker, client, topicId, groupId, ["a", "b", "c", "d"]);
      const change = (kind: popmesh.v1.ChangeKind, receipt: Uint8Array) =>
        v1.ChangeRequest.encode({ groupId, change: [{ receipt, kind, invisibleMs: 60_000 }] }).finish();
      const ack = client.say(FrameKind.Ack, v1.AckRequest.encode({ groupId, receipt: [receipts[0]!] }).finish());
      const renewal = client.say(FrameKind.Change, change(v1.ChangeKind.RENEW, receipts[1]!));
      const extension = client.say(FrameKind.Change, change(v1.ChangeKind.EXTEND, receipts[2]!));
      const handBack = client.say(FrameKind.Change, change(v1.ChangeKind.HAND_BACK, receipts[3]!));
      await client.heard();
      const answers = () => [ack, renewal, extension, handBack].map((it) => client.answerTo(it) !== undefined);
      assert.deepEqual(answers(), [false, false, false, false]);
      broker.log.write();
      await client.heard();
      assert.deepEqual(answers(), [false, false, true, true]);
      broker.log.sync();
      await client.heard();
      assert.deepEqual(answers(), [true, true, true, true]);
      const renewed = v1.ChangeAnswer.decode((await client.answered(renewal)).body).result[0];
      assert.equal(renewed?.code, Code.Ok);
      assert.ok(renewed.receipt.length > 0);
    });

    it("a hand-out when its record is written, and hands out only what is durable", async () => {
      const receive = client.say(FrameKind.Receive, receiveBody(topicId, groupId, 60_000));
      client.say(FrameKind.Send, sendBody(topicId, "a"));
      await client.heard();
      broker.log.write();
      await client.heard();
      assert.equal(client.answerTo(receive), undefined, "the message is not durable");
      assert.equal(broker.log.countOf(RecordType.Pop), 0);
      broker.log.sync();
      await client.heard();
      assert.equal(broker.log.countOf(RecordType.Pop), 1);
      assert.equal(client.answerTo(receive), undefined, "its record is not written");
      broker.log.write();
      const { delivery } = v1.ReceiveAnswer.decode((await client.answered(receive)).body);
      assert.deepEqual(
        delivery.map((it) => Buffer.from(it.message)),
        [Buffer.from(encodedMessage("a"))],
      );
    });

    it("a hand-out of a message whose turn has come when the ack before it is durable", async () => {
      const send = (id: string) => {
        const message = encodedMessage(id, { messageGroup: "g" });
        client.say(FrameKind.Send, v1.SendRequest.encode({ topicId, message: [message] }).finish());
      };
      send("a");
      send("b");
      await client.heard();
      broker.log.sync();
      const first = client.say(FrameKind.Receive, receiveBody(topicId, groupId));
      await client.heard();
      broker.log.sync();
      const { delivery } = v1.ReceiveAnswer.decode((await client.answered(first)).body);
      client.say(FrameKind.Ack, v1.AckRequest.encode({ groupId, receipt: [delivery[0]!.receipt] }).finish());
      const next = client.say(FrameKind.Receive, receiveBody(topicId, groupId));
      await client.heard();
      broker.log.write();
      await client.heard();
      assert.equal(broker.log.countOf(RecordType.Pop), 2);
      assert.equal(client.answerTo(next), undefined, "a power cut would undo the ack");
      broker.log.sync();
      assert.equal(v1.ReceiveAnswer.decode((await client.answered(next)).body).delivery.length, 1);
    });

    it("the first receive of a broadcast group's instance when it is durable where that began", async () => {
      const broadcast = { group: "default/all", clientId: "c", expiryMs: 60_000 };
      const opening = { name: "default/all@c", generation: 1, broadcast };
      const opened = client.say(FrameKind.OpenGroup, v1.OpenGroup.encode(opening).finish());
      await client.heard();
      broker.log.sync();
      const instance = v1.OpenGroupAnswer.decode((await client.answered(opened)).body).groupId;
      const first = client.say(FrameKind.Receive, receiveBody(topicId, instance));
      await client.heard();
      broker.log.write();
      await client.heard();
      assert.equal(client.answerTo(first), undefined, "after a power cut it would begin anew");
      broker.log.sync();
      assert.equal(v1.ReceiveAnswer.decode((await client.answered(first)).body).delivery.length, 0);
      const second = await client.ask(FrameKind.Receive, receiveBody(topicId, instance));
      assert.equal(second.status, Code.Ok, "the next one does not wait");
    });

    it("a receive with nothing when its wait is over", async () => {
      const receive = client.say(FrameKind.Receive, receiveBody(topicId, groupId, 500));
      await client.heard();
      broker.log.sync();
      broker.clock.advance(499);
      await client.heard();
      assert.equal(client.answerTo(receive), undefined);
      await waitUntil("the wait is over", () => {
        broker.clock.advance(1);
        return client.answerTo(receive) !== undefined;
      });
      const answer = await client.answered(receive);
      assert.deepEqual([answer.status, answer.body.length], [Code.Ok, 0]);
    });

    it("a parked receive that is cancelled, at once", async () => {
      const receive = client.say(FrameKind.Receive, receiveBody(topicId, groupId, 60_000));
      client.say(FrameKind.Cancel, undefined, receive);
      assert.equal((await client.answered(receive)).status, Code.MessageNotFound);
      assert.equal(broker.metric("popmesh_broker_parked_receives"), 0);
      client.say(FrameKind.Cancel, undefined, 4_711);
      await client.heard();
    });

    it("all that is open with INTERNAL_SERVER_ERROR when the disk fails, and closes", async () => {
      const send = client.say(FrameKind.Send, sendBody(topicId, "a"));
      await client.heard();
      broker.server.failOpenRequests("the disk failed");
      const answer = await client.answered(send);
      assert.deepEqual([answer.status, failureText(answer)], [Code.InternalServerError, "the disk failed"]);
      await client.closed();
    });
  });

  describe("when a connection breaks", () => {
    it("forgets its parked receives", async () => {
      const client = await broker.welcomed();
      const { topicId, groupId } = await openNames(broker, client);
      client.say(FrameKind.Receive, receiveBody(topicId, groupId, 60_000));
      await client.heard();
      assert.equal(broker.metric("popmesh_broker_parked_receives"), 1);
      client.close();
      await waitUntil("the broker noticed", () => broker.metric("popmesh_broker_connections") === 0);
      assert.equal(broker.metric("popmesh_broker_parked_receives"), 0);
      assert.equal(broker.state.subscriptions()[0]?.waiting, 0);
    });

    it("hands back at once what was popped for it and not written to it", async () => {
      const client = await broker.welcomed();
      const { topicId, groupId } = await openNames(broker, client);
      await store(broker, client, topicId, ["a", "b"]);
      client.say(FrameKind.Receive, receiveBody(topicId, groupId));
      await client.heard();
      assert.equal(broker.state.subscriptions()[0]?.inFlight, 2, "they are popped, their record waits to be written");
      client.close();
      await waitUntil("the broker noticed", () => broker.metric("popmesh_broker_connections") === 0);
      broker.log.write();
      assert.equal(broker.state.subscriptions()[0]?.inFlight, 0);
      assert.equal(broker.metric("popmesh_broker_messages_handed_back_total"), 2);
      const another = await broker.welcomed();
      const receive = another.say(FrameKind.Receive, receiveBody(topicId, groupId));
      await another.heard();
      broker.log.sync();
      const { delivery } = v1.ReceiveAnswer.decode((await another.answered(receive)).body);
      assert.deepEqual(
        delivery.map((it) => it.attempt),
        [1, 1],
        "the attempt does not count",
      );
    });

    it("hands back what waited for the disk, and its message group goes on from there", async () => {
      const client = await broker.welcomed();
      const { topicId, groupId } = await openNames(broker, client);
      const message = encodedMessage("a", { messageGroup: "g" });
      client.say(FrameKind.Send, v1.SendRequest.encode({ topicId, message: [message] }).finish());
      await client.heard();
      broker.log.sync();
      client.say(FrameKind.Receive, receiveBody(topicId, groupId));
      await client.heard();
      broker.log.write();
      client.close();
      await waitUntil("the broker noticed", () => broker.metric("popmesh_broker_connections") === 0);
      broker.log.sync();
      assert.equal(broker.metric("popmesh_broker_messages_handed_back_total"), 1);
      const { ready, inFlight } = broker.state.subscriptions()[0]!;
      assert.deepEqual([ready, inFlight], [1, 0]);
    });

    it("hands back what its socket did not take", async () => {
      const client = await broker.welcomed();
      const { topicId, groupId } = await openNames(broker, client);
      // More than the socket buffers of both ends hold, for a sidecar that does not read.
      const body = Buffer.alloc(1024 * 1024);
      for (let i = 0; i < 24; i++) await store(broker, client, topicId, [`m${i}`], body);
      client.socket.pause();
      for (let i = 0; i < 24; i++) client.say(FrameKind.Receive, receiveBody(topicId, groupId, 0, 1));
      await waitUntil("all are popped", () => {
        broker.log.sync();
        return broker.state.subscriptions()[0]?.inFlight === 24;
      });
      await new Promise((resolve) => setImmediate(resolve));
      client.close();
      await waitUntil("the broker noticed", () => broker.metric("popmesh_broker_connections") === 0);
      broker.log.sync();
      const handedBack = broker.metric("popmesh_broker_messages_handed_back_total");
      assert.ok(handedBack > 0 && handedBack < 24, `${handedBack} of 24 came back`);
      assert.equal(broker.state.subscriptions()[0]?.inFlight, 24 - handedBack);
    });

    it("is cut when it asks for more than it reads, and others get what it did not", async () => {
      broker.stop();
      broker = await ServiceFixture.start({ untakenBytes: 8 * 1024 * 1024 });
      const client = await broker.welcomed();
      const { topicId, groupId } = await openNames(broker, client);
      const body = Buffer.alloc(1024 * 1024);
      for (let i = 0; i < 32; i++) await store(broker, client, topicId, [`m${i}`], body);
      client.socket.pause();
      for (let i = 0; i < 32; i++) client.say(FrameKind.Receive, receiveBody(topicId, groupId, 0, 1));
      await waitUntil("it is cut", () => {
        broker.log.sync();
        return broker.metric("popmesh_broker_connections") === 0;
      });
      broker.log.sync();
      assert.ok(broker.metric("popmesh_broker_messages_handed_back_total") >= 8);
    });

    it("keeps the sends it had made, and answers nobody", async () => {
      const client = await broker.welcomed();
      const { topicId } = await openNames(broker, client);
      client.say(FrameKind.Send, sendBody(topicId, "a"));
      await client.heard();
      client.close();
      await waitUntil("the broker noticed", () => broker.metric("popmesh_broker_connections") === 0);
      broker.log.sync();
      assert.equal(broker.state.topics()[0]?.messages, 1);
    });
  });

  describe("draining", () => {
    it("says GoAway, answers what is parked, waits for what is open, then closes", async () => {
      const client = await broker.welcomed();
      const { topicId, groupId } = await openNames(broker, client);
      const parked = client.say(FrameKind.Receive, receiveBody(topicId, groupId, 60_000));
      const send = client.say(FrameKind.Send, sendBody(topicId, "a"));
      await client.heard();
      let isDrained = false;
      const drained = broker.server.drain(5_000).then(() => {
        isDrained = true;
      });
      await waitUntil("GoAway", () => client.frames.some(({ kind }) => kind === FrameKind.GoAway));
      assert.equal((await client.answered(parked)).status, Code.MessageNotFound);
      await broker.clock.advanceAndSettle(1_000);
      assert.equal(isDrained, false, "a send is open");
      const late = await client.ask(FrameKind.Receive, receiveBody(topicId, groupId, 60_000));
      assert.equal(late.status, Code.Ok, "nothing is parked any more");
      broker.log.sync();
      assert.equal((await client.answered(send)).status, Code.Ok);
      await waitUntil("the drain ends", async () => {
        await broker.clock.advanceAndSettle(10);
        return isDrained;
      });
      await drained;
      await client.closed();
    });

    it("ends after the grace when something stays open", async () => {
      const client = await broker.welcomed();
      const { topicId } = await openNames(broker, client);
      client.say(FrameKind.Send, sendBody(topicId, "a"));
      await client.heard();
      const drained = broker.server.drain(300);
      await broker.clock.advanceAndSettle(400);
      await drained;
      await client.closed();
    });
  });
});

describe("The windows of a connection", () => {
  let broker: ServiceFixture;
  beforeEach(async () => {
    broker = await ServiceFixture.start({ requests: 4, receives: 2, requestBytes: 3_000 });
  });
  afterEach(() => broker.stop());

  it("are told in the Welcome", async () => {
    const welcome = v1.Welcome.decode((await broker.connect().hello()).body);
    assert.deepEqual([welcome.requestWindow, welcome.receiveWindow, welcome.byteWindow], [4, 2, 3_000]);
  });

  it("refuse the request beyond, and open again with every answer", async () => {
    const client = await broker.welcomed();
    const { topicId } = await openNames(broker, client);
    const sends = [1, 2, 3, 4, 5].map((i) => client.say(FrameKind.Send, sendBody(topicId, `m${i}`)));
    assert.equal((await client.answered(sends[4]!)).status, Code.TooManyRequests);
    broker.log.sync();
    for (const send of sends.slice(0, 4)) assert.equal((await client.answered(send)).status, Code.Ok);
    const again = client.say(FrameKind.Send, sendBody(topicId, "m6"));
    await client.heard();
    broker.log.sync();
    assert.equal((await client.answered(again)).status, Code.Ok);
  });

  it("refuse the receive beyond, which does not count as a request", async () => {
    const client = await broker.welcomed();
    const { topicId, groupId } = await openNames(broker, client);
    const receives = [1, 2, 3].map(() => client.say(FrameKind.Receive, receiveBody(topicId, groupId, 60_000)));
    assert.equal((await client.answered(receives[2]!)).status, Code.TooManyRequests);
    const send = client.say(FrameKind.Send, sendBody(topicId, "a"));
    await client.heard();
    assert.equal(client.answerTo(send), undefined, "it was taken");
    client.say(FrameKind.Cancel, undefined, receives[0]);
    await client.answered(receives[0]!);
    const again = client.say(FrameKind.Receive, receiveBody(topicId, groupId, 60_000));
    await client.heard();
    assert.equal(client.answerTo(again), undefined, "it is parked");
  });

  it("refuse sends beyond the bytes, but take a single large one", async () => {
    const client = await broker.welcomed();
    const { topicId } = await openNames(broker, client);
    const large = client.say(FrameKind.Send, sendBody(topicId, "large", Buffer.alloc(10_000)));
    const second = client.say(FrameKind.Send, sendBody(topicId, "small"));
    assert.equal((await client.answered(second)).status, Code.TooManyRequests);
    broker.log.sync();
    assert.equal((await client.answered(large)).status, Code.Ok);
  });
});

function openTopicBody(name: string): Uint8Array {
  return v1.OpenTopic.encode({ name, incarnation: 1, messageTypes: 0b110, queueCount: 1 }).finish();
}

async function openNames(broker: ServiceFixture, client: RawSidecar): Promise<{ topicId: number; groupId: number }> {
  const topic = client.say(FrameKind.OpenTopic, openTopicBody("default/t"));
  const group = client.say(FrameKind.OpenGroup, v1.OpenGroup.encode({ name: "default/g", generation: 1 }).finish());
  await client.heard();
  broker.log.sync();
  const { topicId } = v1.OpenTopicAnswer.decode((await client.answered(topic)).body);
  const { groupId } = v1.OpenGroupAnswer.decode((await client.answered(group)).body);
  return { topicId, groupId };
}

function sendBody(topicId: number, id: string, body?: Uint8Array): Uint8Array {
  const message = body === undefined ? encodedMessage(id) : encodedMessage(id, { body });
  return v1.SendRequest.encode({ topicId, message: [message] }).finish();
}

function receiveBody(topicId: number, groupId: number, waitMs = 0, batch = 32): Uint8Array {
  const request = { topicId, groupId, batch, invisibleMs: 60_000, waitMs, clientId: "c", lane: "base" };
  return v1.ReceiveRequest.encode(request).finish();
}

async function store(
  broker: ServiceFixture,
  client: RawSidecar,
  topicId: number,
  ids: readonly string[],
  body?: Uint8Array,
): Promise<void> {
  const sends = ids.map((id) => client.say(FrameKind.Send, sendBody(topicId, id, body)));
  await client.heard();
  broker.log.sync();
  await Promise.all(sends.map((send) => client.answered(send)));
}

/** Stores and pops; returns the receipts. */
async function handOut(
  broker: ServiceFixture,
  client: RawSidecar,
  topicId: number,
  groupId: number,
  ids: readonly string[],
): Promise<Uint8Array[]> {
  await store(broker, client, topicId, ids);
  const receive = client.say(FrameKind.Receive, receiveBody(topicId, groupId));
  await client.heard();
  broker.log.sync();
  const answer: RawFrame = await client.answered(receive);
  const { delivery } = v1.ReceiveAnswer.decode(answer.body);
  assert.equal(delivery.length, ids.length);
  return delivery.map((it) => it.receipt);
}
