import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { Code } from "../../../../proto/code.ts";
import type { RawV2Client } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { Stopwatch } from "../../../support/stopwatch.ts";
import { waitUntil } from "../../../support/wait-until.ts";

const IPv4 = 1;
const domainName = 3;

describe("QueryRoute and QueryAssignment", () => {
  let mesh: SidecarUnderTest;
  let client: RawV2Client;
  before(async () => {
    mesh = await SidecarUnderTest.start({ argv: ["--removal-grace", "0"] });
    client = mesh.client();
    mesh.plane.setTopic("default/t", { brokers: ["broker-a", "broker-b"], queueCount: 3, messageTypes: 0b1_1110 });
    mesh.plane.setGroup("default/g");
  });
  after(() => mesh.stop());

  const endpoints = (host: string, port: number, scheme: number) => ({ scheme, addresses: [{ host, port }] });
  const query = (topic: string, at = endpoints("127.0.0.1", mesh.sidecar.port, IPv4)) =>
    client.call("QueryRoute", { topic: { name: topic }, endpoints: at });
  const assignment = (topic: string) =>
    client.call("QueryAssignment", {
      topic: { name: topic },
      group: { name: "g" },
      endpoints: endpoints("127.0.0.1", mesh.sidecar.port, IPv4),
    });

  it("[trap 5, 12, 13] shows real brokers with queues from 0, one address, id 0, real types and permissions", async () => {
    const { status, messageQueues } = await query("t");
    assert.equal(status?.code, Code.Ok);
    assert.deepEqual(
      messageQueues.map(({ broker, id }) => `${broker?.name} ${id}`),
      ["broker-a", "broker-b"].flatMap((name) => [0, 1, 2].map((id) => `${name} ${id}`)),
    );
    for (const queue of messageQueues) {
      assert.equal(queue.topic?.name, "t");
      assert.equal(queue.permission, 4);
      assert.deepEqual([...queue.acceptMessageTypes], [1, 2, 3, 4]);
      assert.equal(queue.broker?.id, 0);
      assert.equal(queue.broker?.endpoints?.addresses.length, 1);
    }
  });

  it("echoes the endpoints of the request, name or address, port included", async () => {
    for (const at of [
      endpoints("localhost", 8081, domainName),
      endpoints("10.1.2.3", 9999, IPv4),
      endpoints("mesh.example.com", 443, domainName),
    ]) {
      const { messageQueues } = await query("t", at);
      const shown = messageQueues[0]?.broker?.endpoints;
      assert.equal(shown?.scheme, at.scheme);
      assert.deepEqual({ ...shown?.addresses[0] }, { ...at.addresses[0] });
    }
  });

  it("[trap 12] shows one of several addresses, its own where it is among them", async () => {
    const { port } = mesh.sidecar;
    const two = {
      scheme: IPv4,
      addresses: [
        { host: "10.0.0.1", port: 1 },
        { host: "127.0.0.1", port },
      ],
    };
    const { messageQueues } = await query("t", two);
    assert.deepEqual(
      messageQueues[0]?.broker?.endpoints?.addresses.map((address) => ({ ...address })),
      [{ host: "127.0.0.1", port }],
    );
  });

  it("shows its own address to a client that names none", async () => {
    const { messageQueues } = await client.call("QueryRoute", { topic: { name: "t" } });
    const shown = messageQueues[0]?.broker?.endpoints;
    assert.deepEqual(
      [shown?.scheme, shown?.addresses[0]?.host, shown?.addresses[0]?.port],
      [IPv4, "127.0.0.1", mesh.sidecar.port],
    );
  });

  it("shows a typed topic as what it is, and an untyped one as mixed", async () => {
    mesh.plane.setTopic("default/fifo", { brokers: ["broker-a"], messageTypes: 1 << 2 });
    mesh.plane.setTopic("default/untyped", { brokers: ["broker-a"], messageTypes: 0 });
    const typesOf = async (topic: string) => [...((await query(topic)).messageQueues[0]?.acceptMessageTypes ?? [])];
    assert.deepEqual(await typesOf("fifo"), [2]);
    assert.deepEqual(await typesOf("untyped"), [1, 2, 3, 4]);
  });

  it("shows a read-only topic as readable alone", async () => {
    mesh.plane.setTopic("default/read-only", { brokers: ["broker-a"], state: 2 });
    assert.equal((await query("read-only")).messageQueues[0]?.permission, 2);
    assert.equal((await assignment("read-only")).assignments[0]?.messageQueue?.permission, 2);
  });

  it("[trap 11] never answers OK with an empty route", async () => {
    mesh.plane.setTopic("default/dead", { brokers: ["broker-a"], readable: false, writable: false });
    const { status, messageQueues } = await query("dead");
    assert.equal(status?.code, Code.TopicNotFound);
    assert.equal(messageQueues.length, 0);
  });

  it("[10] says TOPIC_NOT_FOUND within 100 ms for a topic that does not exist and may not be created", async () => {
    mesh.plane.setNamespace("strict", false, false);
    const ask = () =>
      client.call("QueryRoute", { topic: { name: "missing" } }, { headers: { "x-mq-namespace": "strict" } });
    await ask();
    const watch = new Stopwatch();
    const { status } = await client.call(
      "QueryRoute",
      { topic: { name: "missing-too" } },
      { headers: { "x-mq-namespace": "strict" } },
    );
    assert.ok(watch.stop() < 100);
    assert.equal(status?.code, Code.TopicNotFound);
    assert.match(status?.message ?? "", /popmesh topic create missing-too --type normal --namespace strict/);
  });

  it("refuses names that cannot be topics or groups", async () => {
    assert.equal((await query("no.dots")).status?.code, Code.IllegalTopic);
    assert.equal((await query("TBW102")).status?.code, Code.IllegalTopic);
    const bad = await client.call("QueryAssignment", { topic: { name: "t" }, group: { name: "CID_RMQ_SYS_x" } });
    assert.equal(bad.status?.code, Code.IllegalConsumerGroup);
  });

  it("assigns each readable broker as a whole, without types", async () => {
    const { status, assignments } = await assignment("t");
    assert.equal(status?.code, Code.Ok);
    assert.deepEqual(
      assignments.map(({ messageQueue }) => [messageQueue?.broker?.name, messageQueue?.id, messageQueue?.permission]),
      [
        ["broker-a", -1, 4],
        ["broker-b", -1, 4],
      ],
    );
    assert.equal(assignments[0]?.messageQueue?.acceptMessageTypes.length, 0);
  });

  it("[33] repeats an assignment byte for byte, to every consumer", async () => {
    const request = Buffer.from(
      apache.rocketmq.v2.QueryAssignmentRequest.encode({
        topic: { name: "t" },
        group: { name: "g" },
        endpoints: endpoints("127.0.0.1", mesh.sidecar.port, IPv4),
      }).finish(),
    );
    const first = await client.callRaw("QueryAssignment", request);
    for (let i = 0; i < 5; i++) assert.deepEqual(await client.callRaw("QueryAssignment", request), first);
    assert.deepEqual(await mesh.client("another").callRaw("QueryAssignment", request), first);
  });

  it("[33] answers FORBIDDEN instead of an empty assignment", async () => {
    mesh.plane.setTopic("default/losing", { brokers: ["broker-a"] });
    assert.equal((await assignment("losing")).status?.code, Code.Ok);
    mesh.plane.setTopic("default/losing", { brokers: ["broker-a"], readable: false });
    await waitUntil("the new route", async () => (await assignment("losing")).status?.code !== Code.Ok);
    const { status, assignments } = await assignment("losing");
    assert.equal(status?.code, Code.Forbidden);
    assert.equal(assignments.length, 0);
  });
});
