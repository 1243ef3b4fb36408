import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../../../proto/code.ts";
import { failed } from "../../../support/fake-upstream.ts";
import { message, type RawV2Client, receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { waitUntil } from "../../../support/wait-until.ts";

describe("SendMessage", () => {
  let mesh: SidecarUnderTest;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/orders", { brokers: ["broker-a"] });
    mesh.plane.setTopic("default/wide", { brokers: ["broker-a", "broker-b"] });
    mesh.plane.setGroup("default/billing");
  });
  after(() => mesh.stop());
  afterEach(() => {
    for (const upstream of mesh.upstreams.values()) {
      upstream.sendFailure = undefined;
      upstream.isReady = true;
    }
  });

  it("answers with one entry per message: status, the client's id, the offset", async () => {
    const client = mesh.client();
    const messages = [message("orders", "a"), message("orders", "b"), message("orders", "c")];
    const answer = await client.call("SendMessage", { messages });
    assert.equal(answer.status?.code, Code.Ok);
    assert.deepEqual(
      answer.entries.map((entry) => entry.messageId),
      messages.map((sent) => sent.systemProperties?.messageId),
    );
    const first = answer.entries[0]?.offset ?? -1;
    assert.deepEqual(
      answer.entries.map((entry) => [entry.status?.code, entry.offset]),
      [0, 1, 2].map((i) => [Code.Ok, first + i]),
    );
    assert.equal(mesh.upstream().sends.at(-1)?.messages.length, 3, "all messages of a request go in one send");
  });

  it("takes no body that is longer than the topic's namespace allows", async () => {
    mesh.plane.setTopic("default/short", { brokers: ["broker-a"], maxMessageBytes: 10 });
    const client = mesh.client();
    const send = async (...bodies: string[]) =>
      (await client.call("SendMessage", { messages: bodies.map((body) => message("short", body)) })).status;
    assert.equal((await send("0123456789"))?.code, Code.Ok);
    const refused = await send("0123456789", "0123456789a");
    assert.equal(refused?.code, Code.MessageBodyTooLarge);
    assert.match(String(refused?.message), /the body has 11 bytes, namespace "default" allows 10/);
    assert.equal(mesh.upstream().sends.filter(({ topic }) => topic === "default/short").length, 1);
  });

  it("forwards the message byte for byte, stamped with the lane of the instance", async () => {
    const sent = message(
      "orders",
      Buffer.from([0, 1, 2, 255]),
      { tag: "t", keys: ["k1", "k2"], traceContext: "trace" },
      { userProperties: { a: "1", b: "" } },
    );
    await mesh.client().call("SendMessage", { messages: [sent] });
    const forwarded = mesh.upstream().sends.at(-1);
    assert.equal(forwarded?.laneMark, "base");
    assert.deepEqual(forwarded?.messages[0], Buffer.from(apache.rocketmq.v2.Message.encode(sent).finish()));
  });

  it("is marked by what the application says, and refuses what is no lane", async () => {
    const client = mesh.client();
    const send = (userProperties: Record<string, string>) =>
      client.call("SendMessage", { messages: [message("orders", "x", {}, { userProperties })] });
    assert.equal((await send({ "x-popmesh-lane": "canary" })).status?.code, Code.Ok);
    assert.equal(mesh.upstream().sends.at(-1)?.laneMark, "canary");
    assert.equal((await send({ baggage: "k=v,popmesh-lane=blue" })).status?.code, Code.Ok);
    assert.equal(mesh.upstream().sends.at(-1)?.laneMark, "blue");
    const count = mesh.upstream().sends.length;
    const { status } = await send({ "x-popmesh-lane": "no lane" });
    assert.equal(status?.code, Code.BadRequest);
    assert.match(status?.message ?? "", /x-popmesh-lane is "no lane"/);
    assert.equal(mesh.upstream().sends.length, count);
  });

  it("marks what is sent in the trace of a delivered message with that one's lane (L11)", async () => {
    mesh.plane.setTopic("default/traced", { brokers: ["broker-a"] });
    const client = mesh.client();
    const traceparent = (span: string) => `00-4bf92f3577b34da6a3ce929d0e0e4736-${span}-01`;
    const send = (lane: Record<string, string>, span: string) =>
      client.call("SendMessage", {
        messages: [message("traced", "x", {}, { userProperties: { ...lane, traceparent: traceparent(span) } })],
      });
    await send({}, "00f067aa0ba902b7");
    assert.equal(mesh.upstream().sends.at(-1)?.laneMark, "base", "nothing was delivered yet");
    await send({ "x-popmesh-lane": "canary" }, "00f067aa0ba902b7");
    const { messages } = await client.receive(receiveRequest("traced", "billing", { batchSize: 2 }));
    assert.equal(messages.length, 2);
    await send({}, "b7ad6b7169203331");
    assert.equal(mesh.upstream().sends.at(-1)?.laneMark, "canary");
  });

  it("[6] takes a body of 4 MiB with its properties; one byte more is told so and is no gRPC error", async () => {
    const client = mesh.client();
    const largest = message(
      "orders",
      Buffer.alloc(4 * 1024 * 1024, 7),
      {},
      { userProperties: { k: "v".repeat(16_000) } },
    );
    assert.equal((await client.call("SendMessage", { messages: [largest] })).status?.code, Code.Ok);
    const tooLarge = message("orders", Buffer.alloc(4 * 1024 * 1024 + 1));
    const answer = await client.call("SendMessage", { messages: [tooLarge] });
    assert.equal(answer.status?.code, Code.MessageBodyTooLarge);
    assert.equal(answer.entries.length, 0);
  });

  it("[14] keeps the messages of one group on one broker and spreads the others", async () => {
    const client = mesh.client();
    const brokersOf = async (messageGroup: string | undefined, count: number) => {
      const before = new Map([...mesh.upstreams].map(([name, upstream]) => [name, upstream.sends.length]));
      for (let i = 0; i < count; i++) {
        const system = messageGroup === undefined ? {} : { messageGroup, messageType: 2, queueId: i };
        const answer = await client.call("SendMessage", { messages: [message("wide", "x", system)] });
        assert.equal(answer.status?.code, Code.Ok);
      }
      return [...mesh.upstreams]
        .filter(([name, { sends }]) => sends.length > (before.get(name) ?? 0))
        .map(([name]) => name);
    };
    await brokersOf(undefined, 1);
    assert.equal((await brokersOf(undefined, 40)).length, 2);
    const used = new Set<string>();
    for (let group = 0; group < 10; group++) {
      const brokers = await brokersOf(`group-${group}`, 10);
      assert.equal(brokers.length, 1, `group ${group}`);
      used.add(String(brokers[0]));
    }
    assert.equal(used.size, 2, "ten groups all landed on one of two brokers");
  });

  it("[17] sends on a retry with the id that the client gave it, and gives the same id back", async () => {
    const client = mesh.client();
    const sent = message("orders", "again");
    const first = await client.call("SendMessage", { messages: [sent] });
    const second = await client.call("SendMessage", { messages: [sent] });
    assert.equal(first.entries[0]?.messageId, second.entries[0]?.messageId);
  });

  it("[S1] never answers OK when the broker did not", async () => {
    const client = mesh.client();
    for (const reach of ["refused", "unknown", "not-sent"] as const) {
      mesh.upstream().sendFailure = failed(Code.InternalServerError, "the disk is full", reach);
      const answer = await client.call("SendMessage", { messages: [message("orders", "x")] });
      assert.equal(answer.status?.code, Code.InternalServerError, reach);
      assert.equal(answer.status?.message, "the disk is full");
      assert.equal(answer.entries.length, 0);
    }
  });

  it("[16] refuses a message of a type that the topic does not take", async () => {
    mesh.plane.setTopic("default/fifo-only", { brokers: ["broker-a"], messageTypes: 1 << 2 });
    const client = mesh.client();
    const normal = await client.call("SendMessage", { messages: [message("fifo-only", "x")] });
    assert.equal(normal.status?.code, Code.MessagePropertyConflictWithType);
    assert.match(normal.status?.message ?? "", /takes FIFO messages, this one is NORMAL/);
    const ordered = message("fifo-only", "x", { messageGroup: "g", messageType: 2 });
    assert.equal((await client.call("SendMessage", { messages: [ordered] })).status?.code, Code.Ok);
  });

  it("answers FORBIDDEN for a topic that takes no sends now", async () => {
    mesh.plane.setTopic("default/closed", { brokers: ["broker-a"], state: 2 });
    const answer = await mesh.client().call("SendMessage", { messages: [message("closed", "x")] });
    assert.equal(answer.status?.code, Code.Forbidden);
  });

  it("[18] answers TOO_MANY_REQUESTS so late that a loop makes fewer than 50 calls a second", async () => {
    mesh.upstream().sendFailure = failed(Code.TooManyRequests, "busy", "refused");
    const client = mesh.client();
    const startedMs = performance.now();
    let calls = 0;
    for (; performance.now() - startedMs < 500; calls++) {
      const answer = await client.call("SendMessage", { messages: [message("orders", "x")] });
      assert.equal(answer.status?.code, Code.TooManyRequests);
    }
    assert.ok(calls < 25, `${calls} calls in half a second`);
  });

  it("answers BAD_REQUEST for bytes that are no message", async () => {
    const bytes = await mesh.client().callRaw("SendMessage", Buffer.from([0x0a, 0x7f, 0x01]));
    assert.equal(apache.rocketmq.v2.SendMessageResponse.decode(bytes).status?.code, Code.BadRequest);
  });

  it("uses the namespace of the resource, else of the header, else the default", async () => {
    mesh.plane.setNamespace("team", true, true);
    const client = mesh.client();
    const inResource = message("n1", "x", {}, { topic: { name: "n1", resourceNamespace: "team" } });
    await client.call("SendMessage", { messages: [inResource] }, { headers: { "x-mq-namespace": "other" } });
    await client.call("SendMessage", { messages: [message("n2", "x")] }, { headers: { "x-mq-namespace": "team" } });
    await client.call("SendMessage", { messages: [message("n3", "x")] }, { headers: { "x-mq-namespace": "" } });
    const topics = mesh
      .upstream()
      .sends.slice(-3)
      .map(({ topic }) => topic);
    assert.deepEqual(topics, ["team/n1", "team/n2", "default/n3"]);
  });

  it("delivers what it sent", async () => {
    const client = mesh.client();
    await client.call("SendMessage", { messages: [message("round", "trip")] });
    mesh.plane.setGroup("default/round");
    const received = await client.receive(receiveRequest("round", "round"));
    assert.equal(Buffer.from(received.messages[0]?.body ?? []).toString(), "trip");
  });
});

/** Each with brokers of its own: failures eject a broker from sends for a while, and then there is nothing to repeat. */
describe("SendMessage to brokers that fail", () => {
  let mesh: SidecarUnderTest;
  let client: RawV2Client;
  beforeEach(async () => {
    mesh = await SidecarUnderTest.start();
    mesh.plane.setTopic("default/wide", { brokers: ["broker-a", "broker-b"] });
    client = mesh.client();
    await client.call("SendMessage", { messages: [message("wide", "warm up")] });
  });
  afterEach(() => mesh.stop());

  const attempts = () => mesh.upstream("broker-a").sends.length + mesh.upstream("broker-b").sends.length;

  it("[S2] tries another broker when the first provably took nothing", async () => {
    const a = mesh.upstream("broker-a");
    const b = mesh.upstream("broker-b");
    a.sendFailure = failed(Code.InternalServerError, "no connection", "not-sent");
    const before = b.sends.length;
    for (let i = 0; i < 10; i++) {
      const answer = await client.call("SendMessage", { messages: [message("wide", `m${i}`)] });
      assert.equal(answer.status?.code, Code.Ok);
    }
    assert.equal(b.sends.length - before, 10, "each message was stored once, by the broker that works");
    assert.equal(b.sends.at(-1)?.messages[0]?.includes(Buffer.from("m9")), true, "with its own bytes");
  });

  it("[S2] does not repeat a send that may have been stored", async () => {
    for (const reach of ["unknown", "refused"] as const) {
      for (const name of ["broker-a", "broker-b"]) {
        mesh.upstream(name).sendFailure = failed(Code.InternalServerError, "connection lost", reach);
      }
      const before = attempts();
      await client.call("SendMessage", { messages: [message("wide", "once")] });
      assert.equal(attempts() - before, 1, reach);
    }
  });

  it("[S2, S3] answers a send whose broker is silent before the caller's deadline, and does not repeat it", async () => {
    for (const name of ["broker-a", "broker-b"]) mesh.upstream(name).sendFailure = "silent";
    const before = attempts();
    const answer = await client.call("SendMessage", { messages: [message("wide", "x")] }, { deadlineMs: 600 });
    assert.equal(answer.status?.code, Code.ProxyTimeout);
    assert.equal(attempts() - before, 1);
  });

  it("asks the homes that a message group had before, until they have nothing of it left", async () => {
    const [a, b] = [mesh.upstream("broker-a"), mesh.upstream("broker-b")];
    const set = [{ broker: ["broker-b"] }, { broker: ["broker-a"] }];
    const brokers = ["broker-a", "broker-b"];
    mesh.plane.setTopic("default/moving", { brokers, groupSpread: { number: 7, set, gone: [] } });
    const send = (group: string, body: string) =>
      client.call("SendMessage", { messages: [message("moving", body, { messageGroup: group, messageType: 2 })] });
    const asked = () => [a, b].map(({ sends }) => sends.filter(({ topic }) => topic === "default/moving").length);
    assert.equal((await send("g", "while it has messages there")).status?.code, Code.Ok);
    assert.deepEqual(asked(), [1, 0]);
    a.sendFailure = failed(Code.TooManyRequests, "nothing is left", "moved");
    assert.equal((await send("g", "the next one")).status?.code, Code.Ok);
    assert.equal(b.sends.at(-1)?.messages[0]?.includes(Buffer.from("the next one")), true);
    assert.equal((await send("g", "and one more")).status?.code, Code.Ok);
    assert.deepEqual(asked(), [2, 2], "what has arrived is not asked for again");
    assert.equal((await send("h", "another group")).status?.code, Code.Ok);
    assert.deepEqual(asked(), [3, 3]);
    // It may hold what must come first.
    mesh.plane.setBroker("broker-a", [{ port: 1, health: 2 }]);
    let [text, count]: [string | null | undefined, number] = ["", 0];
    await waitUntil("the sidecar knows that it is down", async () => {
      const { status } = await send(`i${count++}`, "x");
      text = status?.message;
      return status?.code !== Code.Ok;
    });
    assert.match(text ?? "", /broker broker-a has the message group .* popmesh forget-broker/);
  });

  it("waits for the newer route that a broker knows of which does not take a message group any more", async () => {
    const [a, b] = [mesh.upstream("broker-a"), mesh.upstream("broker-b")];
    const moved = failed(Code.TooManyRequests, "another one takes it", "moved");
    [a.sendFailure, b.sendFailure] = [moved, moved];
    const system = { messageGroup: "g", messageType: 2 };
    const before = attempts();
    const sending = client.call("SendMessage", { messages: [message("wide", "in order", system)] });
    await waitUntil("its home was asked", () => attempts() > before);
    b.sendFailure = undefined;
    mesh.plane.setTopic("default/wide", { brokers: ["broker-b"] });
    assert.equal((await sending).status?.code, Code.Ok);
    assert.equal(b.sends.at(-1)?.messages[0]?.includes(Buffer.from("in order")), true, "with its own bytes");
    // A route that does not come is waited for as long as the call lasts.
    b.sendFailure = moved;
    const answer = await client.call("SendMessage", { messages: [message("wide", "x", system)] }, { deadlineMs: 600 });
    assert.equal(answer.status?.code, Code.TooManyRequests);
  });

  it("does not send the messages of a group elsewhere when their broker fails: order matters more", async () => {
    for (const name of ["broker-a", "broker-b"]) {
      mesh.upstream(name).sendFailure = failed(Code.InternalServerError, "no connection", "not-sent");
    }
    const before = attempts();
    const system = { messageGroup: "g", messageType: 2 };
    await client.call("SendMessage", { messages: [message("wide", "x", system)] });
    assert.equal(attempts() - before, 1);
  });
});
