import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { apache } from "#codec/rocketmq-v2";
import { Code } from "../../../../proto/code.ts";
import type { RawV2Client, TelemetryLine } from "../../../support/raw-v2-client.ts";
import { SidecarUnderTest } from "../../../support/start-sidecar.ts";
import { waitUntil } from "../../../support/wait-until.ts";

type Message = apache.rocketmq.v2.IMessage;
const transactional = 4;
const commit = 1;
const rollback = 2;

describe("EndTransaction", () => {
  let mesh: SidecarUnderTest;
  let count = 0;
  before(async () => {
    mesh = await SidecarUnderTest.start();
  });
  after(() => mesh.stop());

  /** A topic of its own for each test. */
  const newTopic = (messageTypes?: number): string => {
    const topic = `tx-${++count}`;
    if (messageTypes !== undefined) mesh.plane.setTopic(`default/${topic}`, { brokers: ["broker-a"], messageTypes });
    return topic;
  };
  const half = (topic: string, properties: Message["systemProperties"] = {}): Message => ({
    topic: { name: topic },
    body: Buffer.from("paid"),
    systemProperties: { messageId: "half", messageType: transactional, ...properties },
  });
  const send = (client: RawV2Client, ...messages: Message[]) => client.call("SendMessage", { messages });
  const begin = async (client: RawV2Client, topic: string): Promise<string> => {
    const { status, entries } = await send(client, half(topic));
    assert.equal(status?.code, Code.Ok, status?.message);
    assert.equal(entries[0]?.messageId, "half");
    return entries[0].transactionId;
  };
  const end = async (client: RawV2Client, topic: string, transactionId: string, resolution: number) => {
    const request = { topic: { name: topic }, messageId: "half", transactionId, resolution, source: 1 };
    return (await client.call("EndTransaction", request)).status;
  };
  /** A producer with an open Telemetry stream. */
  const producer = (topics: readonly string[], clientId?: string): { client: RawV2Client; line: TelemetryLine } => {
    const client = mesh.client(clientId);
    const line = client.telemetry();
    line.send({ settings: { clientType: 1, publishing: { topics: topics.map((name) => ({ name })) } } });
    return { client, line };
  };
  const orders = (line: TelemetryLine) =>
    line.commands.flatMap(({ recoverOrphanedTransactionCommand: order }) => (order == null ? [] : [order]));
  const announced = (topic: string) =>
    mesh.upstream().announced.flatMap(([name, isLive]) => (name === `default/${topic}` ? [isLive] : []));

  it("carries the decision to the broker that the id names, with its topic and source", async () => {
    const client = mesh.client();
    const topic = newTopic();
    const id = await begin(client, topic);
    assert.match(id, /^broker-a\./);
    assert.equal((await end(client, topic, id, commit))?.code, Code.Ok);
    assert.deepEqual(mesh.upstream().ends.at(-1), {
      ...{ topic: `default/${topic}`, transactionId: id, resolution: commit, source: 1 },
    });
    const other = await begin(client, topic);
    assert.equal((await end(client, topic, other, rollback))?.code, Code.Ok);
    assert.deepEqual(
      [mesh.upstream().halves.get(id)?.end, mesh.upstream().halves.get(other)?.end],
      ["committed", "rolled back"],
    );
  });

  it("refuses ids that can be none, and passes on what the broker says of others", async () => {
    const client = mesh.client();
    const topic = newTopic();
    await begin(client, topic);
    const asked = mesh.upstream().ends.length;
    for (const id of ["", "  ", "nonsense", "broker-a.", ".t1", `${"b".repeat(300)}.t1`]) {
      const status = await end(client, topic, id, commit);
      assert.equal(status?.code, Code.InvalidTransactionId, `"${id}"`);
      assert.notEqual(status?.message, "");
    }
    assert.equal(mesh.upstream().ends.length, asked);
    assert.equal((await end(client, topic, "broker-a.unknown", commit))?.code, Code.InvalidTransactionId);
    assert.equal((await end(client, "sys tem", "broker-a.t1", commit))?.code, Code.IllegalTopic);
  });

  it("asks once more when the connection broke over the answer, for a decision happens once", async () => {
    const client = mesh.client();
    const topic = newTopic();
    const id = await begin(client, topic);
    mesh.upstream().endFailures = 1;
    assert.equal((await end(client, topic, id, commit))?.code, Code.Ok);
    assert.equal(mesh.upstream().ends.filter(({ transactionId }) => transactionId === id).length, 2);
  });

  it("is refused a half message that has what only other types have, comes with others, or goes to the wrong topic", async () => {
    const client = mesh.client();
    const topic = newTopic();
    const conflicts: NonNullable<Message["systemProperties"]>[] = [
      { messageGroup: "g" },
      { deliveryTimestamp: { seconds: Math.floor(Date.now() / 1000) + 60, nanos: 0 } },
      { liteTopic: "l" },
    ];
    for (const properties of conflicts) {
      const { status } = await send(client, half(topic, properties));
      assert.equal(status?.code, Code.MessagePropertyConflictWithType, JSON.stringify(properties));
    }
    assert.equal((await send(client, half(topic), half(topic))).status?.code, Code.BadRequest);
    const plain: Message = { ...half(topic), systemProperties: { messageId: "plain", messageType: 1 } };
    assert.equal((await send(client, plain, half(topic))).status?.code, Code.BadRequest);
    const normalOnly = newTopic(0b10);
    assert.equal((await send(client, half(normalOnly))).status?.code, Code.MessagePropertyConflictWithType);
    assert.equal([...mesh.upstream().halves.values()].filter((h) => h.topic === `default/${topic}`).length, 0);
  });

  it("is asked of a producer that declared the topic, with the message complete and its digest", async () => {
    const topic = newTopic();
    const { line } = producer([topic]);
    const id = await begin(mesh.client(), topic);
    await waitUntil("the broker is told", () => announced(topic).at(-1) === true);
    mesh.upstream().checkBack(id);
    await waitUntil("an order", () => orders(line).length === 1);
    const [order] = orders(line);
    assert.equal(order?.transactionId, id);
    const { message } = order;
    assert.deepEqual([message?.topic?.name, Buffer.from(message?.body ?? []).toString()], [topic, "paid"]);
    const properties = message?.systemProperties;
    const md5 = createHash("md5").update("paid").digest("hex").toUpperCase();
    assert.deepEqual(
      [properties?.messageId, properties?.messageType, properties?.bodyDigest?.type, properties?.bodyDigest?.checksum],
      ["half", transactional, 2, md5],
    );
    assert.deepEqual(
      [properties?.receiptHandle ?? "", properties?.bodyEncoding, properties?.storeHost],
      ["", 1, "broker-a"],
    );
    assert.ok(properties?.bornTimestamp != null && properties.storeTimestamp != null);
    line.cancel();
  });

  it("is asked of producers in turn, and no more of one whose stream ended or who said goodbye", async () => {
    const topic = newTopic();
    const [a, b, c] = [producer([topic]), producer([topic]), producer([topic])];
    const id = await begin(mesh.client(), topic);
    const counts = () => [a, b, c].map(({ line }) => orders(line).length);
    await waitUntil("the streams are open", () => [a, b, c].every(({ line }) => line.commands.length > 0));
    for (let i = 0; i < 6; i++) mesh.upstream().checkBack(id);
    await waitUntil("two questions each", () => counts().join() === "2,2,2");
    a.line.cancel();
    await b.client.call("NotifyClientTermination", {});
    await waitUntil("the stream's end is noticed", async () => {
      mesh.upstream().checkBack(id);
      return counts()[2]! >= 5;
    });
    assert.deepEqual(counts().slice(1, 2), [2], "who said goodbye");
    assert.deepEqual(announced(topic), [true]);
    c.line.cancel();
    await waitUntil("the last one's leave is told", () => announced(topic).at(-1) === false);
    assert.deepEqual(announced(topic), [true, false]);
    mesh.upstream().checkBack(id);
    assert.deepEqual(announced(topic), [true, false, false], "and told again when the broker asks all the same");
    b.line.cancel();
  });

  it("is asked of a producer that declared nothing but sent a half message to the topic", async () => {
    const topic = newTopic();
    const { client, line } = producer([]);
    await waitUntil("the stream is open", () => line.commands.length > 0);
    const id = await begin(client, topic);
    assert.deepEqual(announced(topic), [true]);
    mesh.upstream().checkBack(id);
    await waitUntil("an order", () => orders(line).length === 1);
    // The next settings of the client do not name the topic either.
    line.send({ settings: { clientType: 1, publishing: { topics: [] } } });
    mesh.upstream().checkBack(id);
    await waitUntil("another order", () => orders(line).length === 2);
    line.cancel();
  });

  it("is never asked of a consumer of the topic", async () => {
    const topic = newTopic();
    const client = mesh.client();
    const line = client.telemetry();
    const subscriptions = [{ topic: { name: topic }, expression: { type: 1, expression: "*" } }];
    line.send({ settings: { clientType: 3, subscription: { group: { name: "g" }, subscriptions } } });
    await waitUntil("the stream is open", () => line.commands.length > 0);
    assert.deepEqual(announced(topic), []);
    line.cancel();
  });

  it("tells a broker that comes later of the producers that are there", async () => {
    const topic = `late-${++count}`;
    mesh.plane.setTopic(`default/${topic}`, { brokers: ["broker-b"] });
    const { client, line } = producer([topic]);
    await waitUntil("the stream is open", () => line.commands.length > 0);
    const { status, entries } = await send(client, half(topic));
    assert.equal(status?.code, Code.Ok);
    assert.match(entries[0]?.transactionId ?? "", /^broker-b\./);
    const told = mesh.upstream("broker-b").announced.filter(([name]) => name === `default/${topic}`);
    assert.deepEqual(told.at(-1), [`default/${topic}`, true]);
    line.cancel();
  });
});
