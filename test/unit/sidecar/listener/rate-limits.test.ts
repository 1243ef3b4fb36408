import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { message, type RawV2Client, receiveRequest } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { waitUntil } from "../../../support/wait-until.ts";

describe("rate limits at a sidecar", () => {
  let mesh: SidecarUnderTest;
  let client: RawV2Client;
  let count = 0;
  before(async () => {
    mesh = await SidecarUnderTest.start();
    client = mesh.client("checkout-1");
  });
  after(() => mesh.stop());

  /** Limits of which the sidecar has a share. */
  async function sharesOf(): Promise<string[]> {
    const dump = (await (await fetch(`${mesh.adminUrl}/config_dump`)).json()) as {
      rateLimitShares: Record<string, { messages: number }>;
    };
    return Object.keys(dump.rateLimitShares).filter((name) => (dump.rateLimitShares[name]?.messages ?? 0) > 0);
  }

  /** A topic of its own, and a limit of so much for it. */
  async function limited(limit: object): Promise<string> {
    const name = `t${++count}`;
    mesh.plane.setRateLimit(`default/${name}`, { topic: name, ...limit });
    mesh.plane.setGroup(`default/${name}`);
    mesh.plane.setTopic(`default/${name}`, { brokers: ["broker-a"], rateLimits: [`default/${name}`] });
    await client.call("QueryRoute", { topic: { name } });
    await waitUntil("the limit is in force", async () => (await sharesOf()).includes(`default/${name}`));
    return name;
  }
  const send = async (from: RawV2Client, topic: string, body = "x", messages = 1) =>
    from.call("SendMessage", { messages: Array.from({ length: messages }, () => message(topic, body)) });

  it("refuse a send beyond them, name themselves, say when to come again, and send nothing", async () => {
    const topic = await limited({ messagesPerSecond: 1 / 3_600, burstMs: 3_600_000 });
    assert.equal((await send(client, topic)).status?.code, Code.Ok);
    const stored = mesh.upstream().sends.length;
    const { status } = await send(client, topic);
    assert.equal(status?.code, Code.TooManyRequests);
    assert.match(
      String(status?.message),
      new RegExp(`^rate limit "${topic}" \\(sends of topic "${topic}" in namespace "default"\\) is used up`),
    );
    assert.match(String(status?.message), /send again in 3[56]\d{5} ms$/);
    assert.equal(mesh.upstream().sends.length, stored);
  });

  it("count each message of a send, and its bytes", async () => {
    const byMessages = await limited({ messagesPerSecond: 1 / 3_600, burstMs: 36_000_000 });
    assert.equal((await send(client, byMessages, "x", 2)).status?.code, Code.TooManyRequests);
    const byBytes = await limited({ bytesPerSecond: 1 / 3_600, burstMs: 3_600_000_000 });
    assert.equal((await send(client, byBytes, "x".repeat(500))).status?.code, Code.TooManyRequests);
  });

  it("for certain clients leave others alone", async () => {
    const topic = await limited({ messagesPerSecond: 1 / 3_600, burstMs: 3_600_000, client: "checkout-*" });
    const other = mesh.client("billing-1");
    assert.equal((await send(client, topic)).status?.code, Code.Ok);
    assert.equal((await send(client, topic)).status?.code, Code.TooManyRequests);
    for (let i = 0; i < 3; i++) assert.equal((await send(other, topic)).status?.code, Code.Ok);
  });

  it("pace receives: fewer at a time, later, none lost, and none popped before it is delivered", async () => {
    const topic = await limited({ direction: 2, messagesPerSecond: 20, burstMs: 500 });
    for (let i = 0; i < 12; i++) assert.equal((await send(client, topic, `m${i}`)).status?.code, Code.Ok);
    const bodies = new Set<string>();
    while (bodies.size < 12) {
      const request = { ...receiveRequest(topic, topic), longPollingTimeout: { seconds: 5, nanos: 0 } };
      const received = await client.receive(request);
      assert.equal(received.code, Code.Ok);
      assert.ok(received.messages.length <= 10, `${received.messages.length} at once with a burst of 10`);
      for (const { body } of received.messages) bodies.add(Buffer.from(body ?? []).toString());
      assert.equal(mesh.upstream().leasedCount(`default/${topic}`, `default/${topic}`), bodies.size);
    }
    const asked = mesh.upstream().receives.filter((request) => request.topic.name === `default/${topic}`);
    assert.ok(asked.every(({ batch }) => batch <= 10));
  });

  it("let a receive that may have nothing in its time end empty, and pop nothing for it", async () => {
    const topic = await limited({ direction: 2, messagesPerSecond: 1 / 3_600, burstMs: 3_600_000 });
    for (let i = 0; i < 2; i++) await send(client, topic);
    assert.equal((await client.receive(receiveRequest(topic, topic))).messages.length, 1);
    const asked = mesh.upstream().receives.length;
    const request = { ...receiveRequest(topic, topic), longPollingTimeout: { seconds: 1, nanos: 0 } };
    const { code, tookMs } = await client.receive(request);
    assert.equal(code, Code.MessageNotFound);
    assert.ok(tookMs >= 900, `after ${tookMs} ms: a loop would spin`);
    assert.equal(mesh.upstream().receives.length, asked);
  });

  it("go out of force when nobody names them any more", async () => {
    const topic = await limited({ messagesPerSecond: 1 / 3_600, burstMs: 3_600_000 });
    await send(client, topic);
    assert.equal((await send(client, topic)).status?.code, Code.TooManyRequests);
    mesh.plane.setTopic(`default/${topic}`, { brokers: ["broker-a"] });
    await waitUntil("sends pass", async () => (await send(client, topic)).status?.code === Code.Ok);
  });

  it("of a namespace hold for all its topics, and for no other namespace's", async () => {
    mesh.plane.setRateLimit("red/all", { messagesPerSecond: 1 / 3_600, burstMs: 3_600_000 });
    mesh.plane.setNamespace("red", true, true, { rateLimits: ["red/all"] });
    mesh.plane.setNamespace("blue", true, true);
    for (const name of ["red/a", "red/b", "blue/a"]) mesh.plane.setTopic(name, { brokers: ["broker-a"] });
    const [red, blue] = ["red", "blue"].map((namespace) =>
      mesh.client(`in-${namespace}`, { "x-mq-namespace": namespace }),
    );
    await waitUntil("the limit is in force", async () => (await send(red!, "a")).status?.code === Code.TooManyRequests);
    assert.equal((await send(red!, "b")).status?.code, Code.TooManyRequests);
    for (let i = 0; i < 3; i++) assert.equal((await send(blue!, "a")).status?.code, Code.Ok);
  });
});
