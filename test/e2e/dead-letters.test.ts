import assert from "node:assert/strict";
import { ConsumeResult, type MessageView, Producer, PushConsumer } from "rocketmq-client-nodejs";
import { commandOutput } from "../support/popmesh-command.ts";
import { quietLogger } from "../support/quiet-logger.ts";
import { type Mesh, startMesh } from "../support/start-mesh.ts";
import { waitUntil } from "../support/wait-until.ts";

describe("an operator of dead letters and positions", function () {
  this.timeout(90_000);
  let mesh: Mesh;
  let producer: Producer;

  before(async () => {
    mesh = await startMesh();
    producer = new Producer({ endpoints: mesh.endpoint, namespace: "", topics: ["payments"], logger: quietLogger });
    await popmesh("topic", "create", "payments");
    // The Node.js SDK knows exponential backoff only.
    await popmesh("group", "create", "billing", "--attempts-max", "2");
    await producer.startup();
  });
  after(async () => {
    await producer?.shutdown();
    await mesh?.stop();
  });

  const popmesh = (...argv: string[]) => commandOutput(`http://${mesh.api}`, argv);

  const send = async (body: string) =>
    (await producer.send({ topic: "payments", tag: "created", body: Buffer.from(body) })).messageId;

  /** A push consumer of `billing` that keeps book, and fails at what `isPoison` says. */
  async function consumer(isPoison: (message: MessageView) => boolean) {
    const handled: string[] = [];
    const failed: string[] = [];
    const push = new PushConsumer({
      ...{ endpoints: mesh.endpoint, namespace: "", logger: quietLogger, consumerGroup: "billing" },
      subscriptions: new Map([["payments", "*"]]),
      messageListener: {
        async consume(message) {
          const list = isPoison(message) ? failed : handled;
          list.push(message.messageId);
          return list === failed ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
        },
      },
    });
    await push.startup();
    return { push, handled, failed };
  }

  it("finds what the official SDK failed at, redrives it, and the mended consumer handles it once", async () => {
    const broken = await consumer(({ body }) => body.toString().startsWith("poison"));
    const fine = await Promise.all(["a", "b", "c"].map(send));
    const poison = await Promise.all(["poison 1", "poison 2"].map(send));
    const dead = async () =>
      JSON.parse(await popmesh("dlq", "list", "billing", "-o", "json")) as { messageId: string; attempts: number }[];
    // Asked from then on only: each question is a process.
    await waitUntil("both have failed twice", () => broken.failed.length >= 2 * poison.length, 30_000);
    await waitUntil("both are dead letters", async () => (await dead()).length === 2, 30_000);
    assert.deepEqual((await dead()).map(({ messageId }) => messageId).sort(), [...poison].sort());
    assert.deepEqual([...new Set(broken.failed)].sort(), [...poison].sort());
    assert.ok((await dead()).every(({ attempts }) => attempts === 2));
    await waitUntil("the rest is handled", () => broken.handled.length === 3);
    assert.deepEqual([...broken.handled].sort(), [...fine].sort());
    await broken.push.shutdown();

    const text = await popmesh("dlq", "list", "billing");
    assert.match(text, /MESSAGE ID +TOPIC +LANE +STATE +REASON/);
    assert.match(text, /default\/payments +base +dead +attempts exhausted +2/);
    assert.match(await popmesh("dlq", "show", "billing", poison[0]!), /bodyBase64: "?cG9pc29u/);
    assert.match(await popmesh("group", "describe", "billing"), /default\/payments +0 +0 +0 +0 +2 /);
    assert.match(await popmesh("dlq", "redrive", "billing", "--dry-run"), /2 dead letters would be redriven/);
    assert.match(await popmesh("dlq", "redrive", "billing", "--reason", "forwarded"), /^0 dead letters redriven/);

    const trace = await popmesh("message", "trace", poison[0]!);
    assert.match(trace, /stored in queue \d+ of default\/payments at offset \d+\n/);
    assert.match(trace, /handed out to \S+ of lane base, attempt 1.*handed out to \S+ of lane base, attempt 2/s);
    assert.match(trace, /moved to the dead-letter queue: attempts exhausted \(attempt 2, last held by \S+\)/);
    assert.match(await popmesh("message", "get", poison[0]!), /body +8 bytes: poison 1\n.*in its dead-letter queue/s);
    const found = await popmesh("message", "find", "--topic", "payments", "--tag", "created", "--since", "10m");
    assert.deepEqual(
      [...fine, ...poison].filter((id) => !found.includes(id)),
      [],
    );

    const mended = await consumer(() => false);
    assert.match(await popmesh("dlq", "redrive", "billing", "--rate", "50/s"), /^2 dead letters redriven/);
    await waitUntil("both are handled", () => mended.handled.length === 2, 30_000);
    assert.deepEqual([...mended.handled].sort(), [...poison].sort());
    assert.match(await popmesh("dlq", "list", "billing"), /redriven/);
    assert.match(await popmesh("group", "describe", "billing"), /default\/payments +0 +\d+ +0 /);

    // The whole topic again, from a time before the first message.
    const all = [...fine, ...poison];
    const dry = await popmesh("group", "reset", "billing", "--to", "1h", "--topic", "payments", "--dry-run");
    assert.match(dry, /\n5 messages would come again, 0 would be skipped; nothing was changed/);
    assert.equal(mended.handled.length, 2);
    assert.match(await popmesh("group", "reset", "billing", "--to", "1h"), /\n5 messages come again, 0 are skipped/);
    await waitUntil("all were handled again", () => mended.handled.length === 7, 30_000);
    assert.deepEqual(mended.handled.slice(2).sort(), all.sort());
    await mended.push.shutdown();
  });

  it("says what is wrong with a command, and what to write instead", async () => {
    const wrong = (...argv: string[]) => commandOutput(`http://${mesh.api}`, argv, 1);
    assert.match(await wrong("group", "reset", "billing", "--to", "yesterday"), /"yesterday" is no time; write 2026-/);
    assert.match(await wrong("dlq", "redrive", "billing", "--rate", "fast"), /"fast" is no rate; write 100\/s/);
    assert.match(await wrong("dlq", "list", "billing", "--reason", "bored"), /dlq\.list: reason: /);
    assert.match(await wrong("dlq", "show", "billing", "none"), /no message "none" lies in the dead-letter queue/);
    assert.match(await popmesh("dlq", "list", "nobody"), /no dead letters of "nobody" fit/);
    assert.match(await popmesh("group", "reset", "nobody", "--to", "latest"), /has no position there/);
  });
});
