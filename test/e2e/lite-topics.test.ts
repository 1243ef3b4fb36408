import assert from "node:assert/strict";
import { ConsumeResult, LitePushConsumerImpl, type MessageView, Producer } from "rocketmq-client-nodejs";
import { commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";
import { waitUntil } from "../support/wait-until.ts";

describe("lite topics with the official SDK", function () {
  this.timeout(90_000);
  let mesh: Mesh;
  before(async () => {
    mesh = await startMesh();
    await commandOutput(`http://${mesh.api}`, ["topic", "create", "chat", "--type", "lite"]);
  });
  after(() => mesh?.stop());

  it("reach the consumers that subscribe to them, also after a change of the set, each message once", async () => {
    const producer = new Producer({ endpoints: mesh.endpoint, namespace: "", topics: ["chat"], logger: quietLogger });
    await producer.startup();
    const got = new Map<string, string[]>();
    const consumer = async (name: string, ...liteTopics: string[]) => {
      got.set(name, []);
      const made = new LitePushConsumerImpl({
        ...{ endpoints: mesh.endpoint, namespace: "", logger: quietLogger, consumerGroup: "agents", bindTopic: "chat" },
        subscriptions: new Map([["chat", "*"]]),
        messageListener: {
          async consume(message: MessageView) {
            got.get(name)!.push(`${message.liteTopic} ${message.body.toString()}`);
            return ConsumeResult.SUCCESS;
          },
        },
      });
      await made.startup();
      for (const liteTopic of liteTopics) await made.subscribeLite(liteTopic);
      return made;
    };
    const say = (liteTopic: string, text: string) =>
      producer.send({ topic: "chat", liteTopic, body: Buffer.from(text) });

    const alice = await consumer("alice", "room-1", "room-2");
    const bob = await consumer("bob", "room-3");
    await Promise.all([say("room-1", "a"), say("room-2", "b"), say("room-3", "c"), say("room-4", "d")]);
    await waitUntil(
      "the subscribed rooms are heard",
      () => got.get("alice")!.length + got.get("bob")!.length === 3,
      20_000,
    );
    assert.deepEqual(got.get("alice")!.sort(), ["room-1 a", "room-2 b"]);
    assert.deepEqual(got.get("bob"), ["room-3 c"]);

    await alice.unsubscribeLite("room-1");
    await bob.subscribeLite("room-1");
    await Promise.all([say("room-1", "e"), say("room-2", "f")]);
    await waitUntil(
      "the changed sets are heard",
      () => got.get("alice")!.length + got.get("bob")!.length === 5,
      20_000,
    );
    assert.deepEqual(got.get("alice")!.at(-1), "room-2 f");
    assert.deepEqual(got.get("bob"), ["room-3 c", "room-1 e"]);

    await Promise.all([alice.shutdown(), bob.shutdown(), producer.shutdown()]);
  });
});
