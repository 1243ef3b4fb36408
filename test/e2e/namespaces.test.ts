import assert from "node:assert/strict";
import { Code } from "../../proto/code.ts";
import { applyManifests } from "../support/popmesh-command.ts";
import { message, type RawV2Client, receiveRequest } from "../support/raw-v2-client.ts";
import { MeshParts, type SidecarProcess } from "../support/start-parts.ts";
import { waitUntil } from "../support/wait-until.ts";

const [topic, group] = ["orders", "billing"];
const transactional = 4;
const timed = 3;
const commit = 1;

/** A tenant: a client that says its namespace in the header, as the SDKs do. Both tenants use the same names. */
class Tenant {
  readonly client: RawV2Client;
  readonly namespace: string;

  constructor(parts: MeshParts, sidecar: SidecarProcess, namespace: string) {
    this.namespace = namespace;
    this.client = parts.client(sidecar, `client-of-${namespace}`, { "x-mq-namespace": namespace });
  }

  async send(body: string, system = {}) {
    const { status, entries } = await this.client.call("SendMessage", { messages: [message(topic, body, system)] });
    assert.equal(status?.code, Code.Ok, status?.message);
    return entries[0]!;
  }

  async receive(seconds = 1) {
    const request = receiveRequest(topic, group, { longPollingTimeout: { seconds, nanos: 0 } });
    const { messages } = await this.client.receive(request);
    return messages.map(({ body, systemProperties }) => ({
      body: Buffer.from(body).toString(),
      id: systemProperties?.messageId ?? "",
      receipt: systemProperties?.receiptHandle ?? "",
    }));
  }

  /** Receives exactly one message. */
  async take(): Promise<{ body: string; id: string; receipt: string }> {
    const [first, ...others] = await this.receive(10);
    assert.ok(first !== undefined && others.length === 0);
    return first;
  }

  async ack({ id, receipt }: { id: string; receipt: string }): Promise<number> {
    const entries = [{ messageId: id, receiptHandle: receipt }];
    const { status } = await this.client.call("AckMessage", {
      topic: { name: topic },
      group: { name: group },
      entries,
    });
    return status?.code ?? 0;
  }
}

describe("two namespaces with the same names", function () {
  this.timeout(60_000);
  let parts: MeshParts;
  let red: Tenant;
  let blue: Tenant;
  before(async () => {
    parts = await MeshParts.start();
    const manifests = ["red", "blue"].flatMap((namespace) => [
      { kind: "Topic", metadata: { namespace, name: topic }, spec: { type: "mixed", queues: 1 } },
      {
        kind: "ConsumerGroup",
        metadata: { namespace, name: group },
        spec: { backoff: { list: ["1s"] }, attemptsMax: 3 },
      },
    ]);
    const documents = manifests.map((manifest) => JSON.stringify({ apiVersion: "popmesh.io/v1", ...manifest }));
    await applyManifests(parts.api, documents.join("\n---\n"));
    const sidecar = await parts.startSidecar();
    [red, blue] = [new Tenant(parts, sidecar, "red"), new Tenant(parts, sidecar, "blue")];
    // Their groups begin here.
    assert.deepEqual([await red.receive(), await blue.receive()], [[], []]);
  });
  after(() => parts?.stop());

  const names = { topic: { name: topic }, group: { name: group } };
  /** What the other one is told who comes with something of the first. */
  const refused = (code: number | undefined, what: string) => {
    assert.ok(code !== undefined && code >= 40_000 && code < 50_000, `${what} was answered ${code}`);
  };

  it("have their own messages", async () => {
    await red.send("of red");
    await blue.send("of blue");
    for (const [tenant, body] of [
      [red, "of red"],
      [blue, "of blue"],
    ] as const) {
      const taken = await tenant.take();
      assert.equal(taken.body, body);
      assert.equal(await tenant.ack(taken), Code.Ok);
    }
    assert.deepEqual([await red.receive(), await blue.receive()], [[], []]);
  });

  it("settle nothing by a receipt of the other one, and change nothing by it", async () => {
    await red.send("held");
    const held = await red.take();
    refused(await blue.ack(held), "the ack");
    const { client } = blue;
    const invisibleDuration = { seconds: 0, nanos: 0 };
    const handle = { receiptHandle: held.receipt, messageId: held.id };
    const changed = await client.call("ChangeInvisibleDuration", { ...names, ...handle, invisibleDuration });
    refused(changed.status?.code, "the change");
    const forwarded = await client.call("ForwardMessageToDeadLetterQueue", { ...names, ...handle });
    refused(forwarded.status?.code, "the forward");
    // It is still red's: nobody else gets it, and red's receipt is good.
    assert.deepEqual([await red.receive(), await blue.receive()], [[], []]);
    assert.equal(await red.ack(held), Code.Ok);
  });

  it("have dead letters of their own", async () => {
    await red.send("poison");
    const { receipt, id } = await red.take();
    const forwarded = await red.client.call("ForwardMessageToDeadLetterQueue", {
      ...names,
      receiptHandle: receipt,
      messageId: id,
    });
    assert.equal(forwarded.status?.code, Code.Ok, forwarded.status?.message);
    const listed = async (namespace: string) => {
      const path = `${parts.api}/v1/namespaces/${namespace}/groups/${group}/dead-letters/list`;
      const answer = await fetch(path, { method: "POST", headers: { "x-popmesh-client": "test" }, body: "{}" });
      return (await answer.text()).includes(id);
    };
    await waitUntil("red has it", () => listed("red"));
    assert.equal(await listed("blue"), false);
  });

  it("end no transaction of the other one", async () => {
    const { transactionId, messageId } = await red.send("half", { messageType: transactional });
    const end = async ({ client }: Tenant) => {
      const request = { topic: { name: topic }, messageId, transactionId, resolution: commit, source: 1 };
      return (await client.call("EndTransaction", request)).status?.code;
    };
    refused(await end(blue), "the commit");
    assert.deepEqual([await red.receive(), await blue.receive()], [[], []]);
    assert.equal(await end(red), Code.Ok);
    const taken = await red.take();
    assert.equal(taken.body, "half");
    await red.ack(taken);
  });

  it("take back no timed message of the other one", async () => {
    const deliveryTimestamp = { seconds: Math.floor(Date.now() / 1_000) + 3_600, nanos: 0 };
    const { recallHandle } = await red.send("later", { messageType: timed, deliveryTimestamp });
    const recall = async ({ client }: Tenant) =>
      (await client.call("RecallMessage", { topic: { name: topic }, recallHandle })).status?.code;
    refused(await recall(blue), "the recall");
    assert.equal(await recall(red), Code.Ok);
  });

  it("read and move positions of their own alone", async () => {
    await red.send("at an offset");
    const route = await red.client.call("QueryRoute", { topic: { name: topic } });
    const [messageQueue] = route.messageQueues;
    const sameQueue = { id: messageQueue?.id ?? 0, broker: messageQueue?.broker ?? null, topic: { name: topic } };
    const ends = await Promise.all(
      [red, blue].map(async ({ client }) => {
        const { status, offset } = await client.call("QueryOffset", { messageQueue: sameQueue, queryOffsetPolicy: 1 });
        assert.equal(status?.code, Code.Ok, status?.message);
        return offset;
      }),
    );
    assert.notEqual(ends[0], ends[1], "both have the same number of messages, and the test says nothing");
    const bodies = async ({ client }: Tenant) => {
      const pulled = await client.pull({ messageQueue: sameQueue, group: { name: group }, offset: 0, batchSize: 32 });
      return pulled.messages.map(({ body }) => Buffer.from(body).toString());
    };
    assert.ok((await bodies(red)).includes("at an offset"));
    assert.deepEqual(await bodies(blue), ["of blue"]);
    const updated = await blue.client.call("UpdateOffset", {
      messageQueue: sameQueue,
      group: { name: group },
      offset: 1,
    });
    assert.equal(updated.status?.code, Code.Ok, updated.status?.message);
    const taken = await red.take();
    assert.equal(taken.body, "at an offset");
    await red.ack(taken);
  });

  it("see no message of the other one by its id or key", async () => {
    const { messageId } = await red.send("secret", { keys: ["k-1"] });
    const look = async (namespace: string, what: string, parameters: object) => {
      const path = `${parts.api}/v1/namespaces/${namespace}/${what}`;
      const body = JSON.stringify(parameters);
      return (await fetch(path, { method: "POST", headers: { "x-popmesh-client": "test" }, body })).text();
    };
    for (const [what, parameters] of [
      ["messages/get", { id: messageId }],
      ["messages/trace", { id: messageId }],
      ["explain/message", { id: messageId }],
      ["messages/find", { topic, key: "k-1" }],
    ] as const) {
      await waitUntil(`red finds it by ${what}`, async () =>
        (await look("red", what, parameters)).includes("red/orders"),
      );
      const said = await look("blue", what, parameters);
      assert.ok(!said.includes("red/") && !said.includes("secret"), `${what}: ${said}`);
    }
    await red.ack(await red.take());
  });

  it("are not mixed in one call, and not smuggled in by a name", async () => {
    const own = await red.client.receive({
      ...receiveRequest(topic, group),
      group: { name: group, resourceNamespace: "blue" },
      messageQueue: { topic: { name: topic, resourceNamespace: "red" } },
    });
    assert.equal(own.code, Code.BadRequest);
    assert.match(own.message, /of two namespaces, red and blue/);
    for (const name of ["blue%orders", "%DLQ%blue%billing", "blue/orders", "../blue/orders"]) {
      const { status } = await red.client.call("SendMessage", { messages: [message(name, "x")] });
      assert.equal(status?.code, Code.IllegalTopic, name);
    }
    for (const name of ["blue%billing", "blue/billing"]) {
      assert.equal((await red.client.receive(receiveRequest(topic, name))).code, Code.IllegalConsumerGroup, name);
    }
    for (const resourceNamespace of ["blue/orders", "blue%", "blue and red", " blue"]) {
      const of = { topic: { name: topic, resourceNamespace } };
      const { status } = await red.client.call("SendMessage", { messages: [message(topic, "x", {}, of)] });
      assert.ok(status?.code !== Code.Ok, `"${resourceNamespace}" was taken`);
    }
    assert.deepEqual(await blue.receive(), []);
  });

  it("are refused by a sidecar that is bound to others", async () => {
    const bound = await parts.startSidecar(undefined, { namespace: "red,green" });
    const [ours, theirs, nobodys] = [
      new Tenant(parts, bound, "red"),
      new Tenant(parts, bound, "blue"),
      parts.client(bound, "says-nothing"),
    ];
    await ours.send("through the bound one");
    const unnamed = await nobodys.receive(receiveRequest(topic, group));
    assert.equal(
      Buffer.from(unnamed.messages[0]?.body ?? []).toString(),
      "through the bound one",
      "the first is the default",
    );
    const { client } = theirs;
    const sent = await client.call("SendMessage", { messages: [message(topic, "x")] });
    assert.equal(sent.status?.code, Code.Forbidden);
    assert.match(
      String(sent.status?.message),
      /namespace "blue" is not served by this sidecar, which is bound to red, green/,
    );
    assert.equal((await client.receive(receiveRequest(topic, group))).code, Code.Forbidden);
    assert.equal((await client.call("QueryRoute", { topic: { name: topic } })).status?.code, Code.Forbidden);
    assert.equal(
      (await client.call("Heartbeat", { group: { name: group }, clientType: 4 })).status?.code,
      Code.Forbidden,
    );
    const line = client.telemetry();
    line.send({ settings: { clientType: 1, publishing: { topics: [{ name: topic }] } } });
    await line.ended;
    assert.equal(line.commands[0]?.status?.code, Code.Forbidden);
    assert.deepEqual(await blue.receive(), []);
  });
});
