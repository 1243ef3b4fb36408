import assert from "node:assert/strict";
import { popmesh } from "#codec/popmesh-v1";
import { Code } from "../../../../proto/code.ts";
import { FrameKind } from "../../../../proto/frame/frame.ts";
import { randomIndex } from "../../../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { type RawSidecar, ServiceFixture } from "../../../support/service-fixture.ts";
import { testSeed } from "../../../support/test-seed.ts";
import { encodedMessage } from "../../../support/upstream-client.ts";

const { v1 } = popmesh;
const framesPerConnection = 250;
const connectionCount = 24;

/** X1: no bytes from the network end the process, and other connections are served as before. */
describe("The frame server under hostile frames", () => {
  it("answers or closes, whatever the kinds and bodies, and goes on serving others", async () => {
    const randomness = new SeededRandomness(testSeed);
    const broker = await ServiceFixture.start();
    try {
      const honest = await broker.welcomed();
      // A topic of its own: a body changed into a newer incarnation drops what the other had, and is right to.
      const [own] = await honestBodies(broker, honest, "default/own");
      const seeds = await honestBodies(broker, honest, "default/t");
      for (let i = 0; i < connectionCount; i++) {
        const attacker = await broker.welcomed();
        for (let frame = 0; frame < framesPerConnection && !attacker.isClosed; frame++) {
          const { kind, body } = seeds[randomIndex(randomness, seeds.length)]!;
          const anyKind = randomIndex(randomness, 20) === 0 ? randomness.uint32() & 0xff : kind;
          attacker.say(anyKind, mutated(body, randomness));
        }
        // Bytes that are no frames come last.
        if (i % 3 === 0) attacker.socket.write(randomness.bytes(200));
        await honest.heard();
        broker.log.sync();
        broker.clock.advance(10);
        attacker.close();
      }
      const send = honest.say(FrameKind.Send, own!.body);
      await honest.heard();
      broker.log.sync();
      assert.equal((await honest.answered(send)).status, Code.Ok, `seed ${testSeed}`);
    } finally {
      broker.stop();
    }
  });
});

interface Seed {
  readonly kind: number;
  readonly body: Uint8Array;
}

/** One good body of each kind, for names that exist. */
async function honestBodies(broker: ServiceFixture, client: RawSidecar, name: string): Promise<Seed[]> {
  const openTopic = v1.OpenTopic.encode({
    name,
    incarnation: 1,
    messageTypes: 0b110,
    queueCount: 2,
  }).finish();
  const openGroup = v1.OpenGroup.encode({ name: "default/g", generation: 1, backoff: { delayMs: [1, 2] } }).finish();
  const asked = [client.say(FrameKind.OpenTopic, openTopic), client.say(FrameKind.OpenGroup, openGroup)];
  await client.heard();
  broker.log.sync();
  const { topicId } = v1.OpenTopicAnswer.decode((await client.answered(asked[0]!)).body);
  const { groupId } = v1.OpenGroupAnswer.decode((await client.answered(asked[1]!)).body);
  const message = [encodedMessage("a", { messageGroup: "k" }), encodedMessage("b", { tag: "x", messageGroup: "k" })];
  const receipt = Buffer.from("broker-a.AQAAAAEAAAABAAAAAAAAAAAAAAEAAAEAAQRiYXNl7");
  const receive = { topicId, groupId, batch: 3, invisibleMs: 1_000, waitMs: 50, filterType: 1, filter: "x || y" };
  return [
    { kind: FrameKind.Send, body: v1.SendRequest.encode({ topicId, message, laneMark: "canary" }).finish() },
    { kind: FrameKind.Receive, body: v1.ReceiveRequest.encode({ ...receive, clientId: "c", attemptId: "a" }).finish() },
    { kind: FrameKind.Ack, body: v1.AckRequest.encode({ groupId, receipt: [receipt, receipt] }).finish() },
    {
      kind: FrameKind.Change,
      body: v1.ChangeRequest.encode({ groupId, change: [{ receipt, kind: 2, invisibleMs: 9 }] }).finish(),
    },
    { kind: FrameKind.OpenTopic, body: openTopic },
    { kind: FrameKind.OpenGroup, body: openGroup },
    { kind: FrameKind.Cancel, body: new Uint8Array(0) },
    { kind: FrameKind.Ping, body: new Uint8Array(0) },
  ];
}

/** Flips, cuts, inserts and repeats bytes; sometimes leaves them alone. */
function mutated(body: Uint8Array, randomness: SeededRandomness): Uint8Array {
  let bytes = Buffer.from(body);
  for (let i = randomIndex(randomness, 4); i > 0 && bytes.length > 0; i--) {
    const at = randomIndex(randomness, bytes.length);
    switch (randomIndex(randomness, 4)) {
      case 0:
        bytes[at] = randomness.uint32() & 0xff;
        break;
      case 1:
        bytes = bytes.subarray(0, at);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), randomness.bytes(8), bytes.subarray(at)]);
        break;
      default:
        bytes = Buffer.concat([bytes, bytes.subarray(at)]);
    }
  }
  return bytes;
}
