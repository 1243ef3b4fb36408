import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { Code } from "../../../../proto/code.ts";
import { failed } from "../../../support/fake-upstream.ts";
import { message, type RawV2Client, receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { Stopwatch } from "../../../support/stopwatch.ts";
import { waitUntil } from "../../../support/wait-until.ts";

describe("ReceiveMessage", () => {
  let mesh: SidecarUnderTest;
  let client: RawV2Client;
  let topicCount = 0;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    client = mesh.client();
  });
  after(() => mesh.stop());

  /** A topic and a group of its own, so that tests do not meet. */
  function fresh(): string {
    const name = `t${++topicCount}`;
    mesh.plane.setTopic(`default/${name}`, { brokers: ["broker-a"] });
    mesh.plane.setGroup(`default/${name}`);
    return name;
  }
  const send = (topic: string, body: string | Uint8Array, system = {}, rest = {}) =>
    client.call("SendMessage", { messages: [message(topic, body, system, rest)] });
  const poll = (seconds: number) => ({ longPollingTimeout: { seconds, nanos: 0 } });

  for (const [pollSeconds, deadlineMs] of [
    [1, 4_000],
    [5, 2_000],
    [30, 1_500],
  ] as const) {
    it(`[21] ends an empty receive of ${pollSeconds} s in time for a deadline of ${deadlineMs} ms: status first, timestamp last`, async () => {
      const name = fresh();
      const received = await client.receive(receiveRequest(name, name, poll(pollSeconds)), { deadlineMs });
      assert.equal(received.code, Code.MessageNotFound);
      assert.deepEqual(received.order, ["status", "deliveryTimestamp"]);
      const expectedMs = Math.min(pollSeconds * 1000, deadlineMs - 200);
      assert.ok(received.tookMs >= expectedMs - 50, `after ${received.tookMs} ms, too early: a loop would spin`);
    });
  }

  it("[22] delivers a message that arrives during a poll at once and ends the stream", async () => {
    const name = fresh();
    const receiving = client.receive(receiveRequest(name, name, poll(10)));
    await waitUntil("the poll is parked", () => mesh.upstream().parkedCount > 0);
    const watch = new Stopwatch();
    await send(name, "now");
    const received = await receiving;
    assert.ok(watch.stop() < 5_000, "long before the poll of 10 s is over");
    assert.deepEqual(received.order, ["status", "message", "deliveryTimestamp"]);
    assert.equal(received.code, Code.Ok);
  });

  it("[23] hands a cancelled poll to the broker; nothing is lost and the attempt does not count", async () => {
    const name = fresh();
    const abort = new AbortController();
    const receiving = client.receive(receiveRequest(name, name, poll(10)), { signal: abort.signal });
    await waitUntil("the poll is parked", () => mesh.upstream().parkedCount > 0);
    abort.abort();
    await assert.rejects(receiving);
    await waitUntil("the broker forgot it", () => mesh.upstream().parkedCount === 0);
    await send(name, "kept");
    const received = await client.receive(receiveRequest(name, name));
    assert.equal(received.messages[0]?.systemProperties?.deliveryAttempt, 1);
  });

  it("[23] gives back what the broker handed out while the client gave up", async () => {
    const name = fresh();
    await send(name, "popped");
    const upstream = mesh.upstream();
    upstream.holdReceives = true;
    const abort = new AbortController();
    const before = upstream.receives.length;
    const cancelled = upstream.cancelCount;
    const receiving = client.receive(receiveRequest(name, name, poll(10)), { signal: abort.signal });
    await waitUntil("the broker has popped it", () => upstream.receives.length > before);
    abort.abort();
    await assert.rejects(receiving);
    await waitUntil("the broker was told", () => upstream.cancelCount > cancelled);
    upstream.releaseReceives();
    await waitUntil("it was handed back", () => upstream.changes.some(({ kind }) => kind === "hand-back"));
    const received = await client.receive(receiveRequest(name, name));
    assert.equal(received.messages.length, 1);
    assert.equal(received.messages[0]?.systemProperties?.deliveryAttempt, 1, "the attempt did not count");
  });

  it("[24] gives every message the MD5 of its body in upper-case hex, identity or gzip", async () => {
    const name = fresh();
    const gzip = gzipSync("compressed by the producer");
    await send(name, "plain");
    await send(name, gzip, { bodyEncoding: 2 });
    await send(name, "unspecified", { bodyEncoding: 0, bodyDigest: { type: 1, checksum: "forged" } });
    const { messages } = await client.receive(receiveRequest(name, name));
    assert.equal(messages.length, 3);
    for (const { body, systemProperties } of messages) {
      assert.equal(systemProperties?.bodyDigest?.type, 2);
      const md5 = createHash("md5").update(body).digest("hex").toUpperCase();
      assert.equal(systemProperties?.bodyDigest?.checksum, md5);
    }
    assert.deepEqual(
      messages.map((delivered) => delivered.systemProperties?.bodyEncoding),
      [1, 2, 1],
    );
  });

  it("fills every field that some SDK needs in a delivered message", async () => {
    const name = fresh();
    const sent = message(
      name,
      "all",
      { tag: "blue", keys: ["k1", "k2"], traceContext: "ctx", messageGroup: "g", messageType: 2 },
      { userProperties: { shop: "north", empty: "" } },
    );
    await client.call("SendMessage", { messages: [sent] });
    const { messages } = await client.receive(receiveRequest(name, name));
    const [delivered] = messages;
    const system = delivered?.systemProperties;
    assert.equal(delivered?.topic?.name, name);
    assert.deepEqual({ ...delivered?.userProperties }, { shop: "north", empty: "" });
    assert.equal(system?.messageId, sent.systemProperties?.messageId);
    assert.equal(system?.tag, "blue");
    assert.deepEqual(system?.keys, ["k1", "k2"]);
    assert.equal(system?.messageGroup, "g");
    assert.equal(system?.traceContext, "ctx");
    assert.equal(system?.bornHost, "test-host");
    assert.ok((system?.bornTimestamp?.seconds ?? 0) > 0);
    assert.ok((system?.storeTimestamp?.seconds ?? 0) > 0);
    assert.equal(system?.storeHost, "broker-a");
    assert.equal(system?.queueOffset, 0);
    assert.equal(system?.deliveryAttempt, 1);
    assert.equal(system?.invisibleDuration?.seconds, 30);
    assert.match(system?.receiptHandle ?? "", /^broker-a\./);
  });

  it("fills in birth and host where a producer left them out", async () => {
    const name = fresh();
    await send(name, "bare", { bornTimestamp: null, bornHost: "" });
    const { messages } = await client.receive(receiveRequest(name, name));
    assert.ok((messages[0]?.systemProperties?.bornTimestamp?.seconds ?? 0) > 0);
    assert.equal(messages[0]?.systemProperties?.bornHost, "127.0.0.1");
  });

  it("caps a batch at 32 and treats a batch of 0 as 1", async () => {
    const name = fresh();
    const messages = Array.from({ length: 40 }, (_, i) => message(name, `m${i}`));
    await client.call("SendMessage", { messages });
    assert.equal((await client.receive(receiveRequest(name, name, { batchSize: 0 }))).messages.length, 1);
    assert.equal((await client.receive(receiveRequest(name, name, { batchSize: 1_000 }))).messages.length, 32);
  });

  it("asks the broker for no more bytes than it is ready to hold", async () => {
    const name = fresh();
    await client.receive(receiveRequest(name, name, poll(0)));
    assert.equal(mesh.upstream().receives.at(-1)?.bytesMax, 4 * 1024 * 1024);
  });

  it("refuses an invisible duration out of range, status first, timestamp last", async () => {
    const name = fresh();
    for (const invisibleDuration of [null, { seconds: 9, nanos: 0 }, { seconds: 12 * 3600 + 1, nanos: 0 }]) {
      const received = await client.receive(receiveRequest(name, name, { invisibleDuration }));
      assert.equal(received.code, Code.IllegalInvisibleTime);
      assert.deepEqual(received.order, ["status", "deliveryTimestamp"]);
    }
  });

  it("chooses 60 s for a push consumer, whatever it says", async () => {
    const name = fresh();
    await send(name, "x");
    const request = receiveRequest(name, name, { autoRenew: true, invisibleDuration: { seconds: 5, nanos: 0 } });
    const { messages } = await client.receive(request);
    assert.equal(messages[0]?.systemProperties?.invisibleDuration?.seconds, 60);
    assert.equal(mesh.upstream().receives.at(-1)?.invisibleMs, 60_000);
  });

  it("[32] hands the filter of the request to the broker and refuses one that is none", async () => {
    const name = fresh();
    await send(name, "1", { tag: "red" });
    await send(name, "2", { tag: "green" });
    await send(name, "3", { tag: "blue" });
    const filtered = (expression: string, type = 1) =>
      client.receive(receiveRequest(name, name, { filterExpression: { type, expression }, ...poll(0) }));
    const { messages } = await filtered("red || blue");
    assert.deepEqual(
      messages.map(({ systemProperties }) => systemProperties?.tag),
      ["red", "blue"],
    );
    assert.equal((await filtered("||")).code, Code.IllegalFilterExpression);
    assert.equal((await filtered("", 2)).code, Code.IllegalFilterExpression);
  });

  it("goes to the broker that the client names, ignores the queue id, and takes any for a broker unknown to the topic", async () => {
    mesh.plane.setTopic("default/two", { brokers: ["broker-a", "broker-b"] });
    mesh.plane.setGroup("default/two");
    const from = async (name: string) => {
      const messageQueue = { topic: { name: "two" }, id: -1, broker: { name } };
      const received = await client.receive(receiveRequest("two", "two", { messageQueue, ...poll(0) }));
      assert.equal(received.code, Code.MessageNotFound);
    };
    for (let i = 0; i < 4; i++) await from("broker-b");
    const ofTopic = (name: string) =>
      mesh.upstream(name).receives.filter(({ topic }) => topic.name === "default/two").length;
    assert.deepEqual([ofTopic("broker-a"), ofTopic("broker-b")], [0, 4]);
    for (let i = 0; i < 4; i++) await from("broker-gone");
    assert.deepEqual([ofTopic("broker-a"), ofTopic("broker-b")], [2, 6], "in turn");
  });

  it("creates topic and group on first use where the namespace allows it", async () => {
    const received = await client.receive(receiveRequest("brand-new", "brand-new-group", poll(0)));
    assert.equal(received.code, Code.MessageNotFound);
    assert.ok(mesh.plane.ensured.includes("default/brand-new"));
    assert.ok(mesh.plane.ensured.includes("default/brand-new-group"));
  });

  it("says TOPIC_NOT_FOUND and CONSUMER_GROUP_NOT_FOUND where it does not, and how to create them", async () => {
    mesh.plane.setNamespace("strict", false, false);
    const headers = { "x-mq-namespace": "strict" };
    const noTopic = await client.receive(receiveRequest("nope", "g"), { headers });
    assert.equal(noTopic.code, Code.TopicNotFound);
    assert.match(noTopic.message, /popmesh topic create nope --type/);
    mesh.plane.setTopic("strict/there", { brokers: ["broker-a"] });
    const noGroup = await client.receive(receiveRequest("there", "g"), { headers });
    assert.equal(noGroup.code, Code.ConsumerGroupNotFound);
    assert.match(noGroup.message, /popmesh group create g/);
  });

  it("answers TOO_MANY_REQUESTS of a broker late, with the stream in order", async () => {
    const name = fresh();
    mesh.upstream().receiveFailure = failed(Code.TooManyRequests, "polling full", "refused");
    try {
      const received = await client.receive(receiveRequest(name, name));
      assert.equal(received.code, Code.TooManyRequests);
      assert.ok(received.tookMs >= 20, `after ${received.tookMs} ms`);
      assert.deepEqual(received.order, ["status", "deliveryTimestamp"]);
    } finally {
      mesh.upstream().receiveFailure = undefined;
    }
  });

  it("holds a broker's refusal of the filter for a second, with the words of the broker", async () => {
    const name = fresh();
    mesh.upstream().receiveFailure = failed(
      Code.IllegalFilterExpression,
      "group g reads t with another filter",
      "refused",
    );
    try {
      const received = await client.receive(receiveRequest(name, name));
      assert.equal(received.code, Code.IllegalFilterExpression);
      assert.equal(received.message, "group g reads t with another filter");
      assert.ok(received.tookMs >= 950, `after ${received.tookMs} ms`);
    } finally {
      mesh.upstream().receiveFailure = undefined;
    }
  });

  it("outlives a lost connection to the broker within the poll's own time", async () => {
    const name = fresh();
    const upstream = mesh.upstream();
    upstream.receiveFailure = failed(Code.InternalServerError, "connection lost", "unknown");
    const before = upstream.receives.length;
    const receiving = client.receive(receiveRequest(name, name, poll(8)));
    await waitUntil("it was tried", () => upstream.receives.length > before);
    upstream.receiveFailure = undefined;
    await send(name, "after the restart");
    const received = await receiving;
    assert.equal(received.code, Code.Ok);
    assert.ok(upstream.receives.length - before < 10, "no busy loop");
  });

  it("repeats delivery_attempt as the broker counts it", async () => {
    const name = fresh();
    await send(name, "again");
    for (const attempt of [1, 2, 3]) {
      const { messages } = await client.receive(receiveRequest(name, name));
      const system = messages[0]?.systemProperties;
      assert.equal(system?.deliveryAttempt, attempt);
      const changed = await client.call("ChangeInvisibleDuration", {
        group: { name },
        topic: { name },
        receiptHandle: system?.receiptHandle ?? "",
        invisibleDuration: { seconds: 0, nanos: 0 },
        messageId: system?.messageId ?? "",
      });
      assert.equal(changed.status?.code, Code.Ok);
    }
  });

  it("delivers a batch of megabytes to a client that reads it, in order", async () => {
    const name = fresh();
    const bodies = Array.from({ length: 12 }, (_, i) => Buffer.alloc(900_000, i));
    for (const body of bodies) await send(name, body);
    const { messages, code } = await client.receive(receiveRequest(name, name));
    assert.equal(code, Code.Ok);
    assert.deepEqual(
      messages.map(({ body }) => body[0]),
      bodies.map((_, i) => i),
    );
  });

  it("serves a client that never sent settings", async () => {
    const name = fresh();
    await send(name, "for a stranger");
    const received = await mesh.client("stranger").receive(receiveRequest(name, name, { autoRenew: true }));
    assert.equal(received.code, Code.Ok);
  });
});
