import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Reader } from "protobufjs/minimal.js";
import { apache, type google } from "#codec/rocketmq-v2";
import { DeliveredMessage } from "../../proto/codec/delivered-message.ts";
import { MessageScan, scanMessage } from "../../proto/codec/message-scan.ts";
import type { Randomness } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { pick, randomMessage } from "../support/random-message.ts";
import { loadSchema, officialPackage, protoFolder } from "../support/schema.ts";
import { withSeed } from "../support/test-seed.ts";
import { encodeVariant } from "../support/wire-variants.ts";

const v2 = apache.rocketmq.v2;
const runs = 500;
const messageType = loadSchema(protoFolder, "apache").lookupType("apache.rocketmq.v2.Message");

describe("a delivered message", () => {
  it("is the stored one with the fields of the server, whatever the producer put there", () => {
    everyRun((stored, delivered) => {
      const scan = scanned(stored);
      const response = Buffer.alloc(delivered.measure(scan) + 1, 0xa5);
      assert.equal(delivered.write(response, 0), response.length - 1);
      assert.equal(response.at(-1), 0xa5);
      const decoded = v2.ReceiveMessageResponse.decode(response.subarray(0, -1));
      assert.equal(decoded.content, "message");
      assert.deepEqual(plain(decoded.message), plain(expected(v2.Message.decode(stored), delivered)));
    });
  });

  it("keeps unknown fields of the message, its topic and its system properties", () => {
    let seen = 0;
    everyRun((stored, delivered) => {
      const before = decodeWithUnknown(stored);
      const after = decodeWithUnknown(messageAlone(stored, delivered));
      assert.deepEqual(unknownFields(after), unknownFields(before));
      assert.deepEqual(unknownFields(after.topic), unknownFields(before.topic));
      assert.deepEqual(unknownFields(after.systemProperties), unknownFields(before.systemProperties));
      seen += unknownFields(before.systemProperties).length;
    });
    assert.ok(seen > runs / 10);
  });

  it("has its system properties in one piece, which the official stub reads as we do", () => {
    const require = createRequire(join(officialPackage, "package.json"));
    const stubs = require(join(officialPackage, "proto/apache/rocketmq/v2/definition_pb.js")) as {
      Message: { deserializeBinary(bytes: Uint8Array): { toObject(): Record<string, Record<string, unknown>> } };
    };
    everyRun((stored, delivered) => {
      const bytes = messageAlone(stored, delivered);
      const stub = stubs.Message.deserializeBinary(bytes).toObject();
      const message = v2.Message.decode(bytes);
      const theirs = stub["systemProperties"] ?? {};
      const ours = message.systemProperties;
      assert.equal(stub["topic"]?.["name"] ?? "", message.topic?.name ?? "");
      assert.equal(stub["topic"]?.["resourceNamespace"] ?? "", message.topic?.resourceNamespace ?? "");
      for (const name of ["bornTimestamp", "deliveryTimestamp", "orphanedTransactionRecoveryDuration"] as const) {
        const time = ours?.[name];
        assert.deepEqual(theirs[name], time ? { seconds: time.seconds, nanos: time.nanos } : undefined, name);
      }
      assert.deepEqual(theirs["keysList"], ours?.keys);
      // Stubs give "" for a text that is absent.
      for (const name of ["messageId", "tag", "receiptHandle", "bornHost", "storeHost"] as const) {
        assert.equal(theirs[name], ours?.[name] ?? "", name);
      }
      for (const name of ["queueOffset", "deliveryAttempt", "bodyEncoding"] as const) {
        assert.equal(theirs[name], ours?.[name], name);
      }
    });
  });

  it("copies topic, properties and body as they were stored", () => {
    everyRun((stored, delivered) => {
      const scan = scanned(stored);
      const alone = messageAlone(stored, delivered);
      const before = scan.bytes.subarray(scan.start, scan.systemFieldStart);
      const behind = scan.bytes.subarray(scan.systemFieldEnd, scan.end);
      assert.ok(alone.subarray(0, before.length).equals(before));
      assert.ok(alone.subarray(alone.length - behind.length).equals(behind));
    });
  });
});

function everyRun(check: (stored: Buffer, delivered: DeliveredMessage) => void): void {
  withSeed((seed) => {
    const randomness = new SeededRandomness(seed);
    // One object for all runs: nothing of a message may be left for the next.
    const delivered = new DeliveredMessage();
    for (let i = 0; i < runs; i++) {
      const stored = encodeVariant(messageType, randomMessage(messageType, randomness), randomness, {
        pieces: i % 4 === 0,
      });
      Object.assign(delivered, randomFields(randomness));
      check(stored, delivered);
    }
  });
}

function randomFields(randomness: Randomness) {
  const isDead = randomness.fraction() < 0.3;
  return {
    receiptHandle: pick(["", "broker-0.AAAA", "x".repeat(200)], randomness),
    queueId: pick([0, 1, 200], randomness),
    queueOffset: pick([0, 1, 2 ** 40], randomness),
    storeMs: pick([0, 1_700_000_000_000, 1_700_000_000_123], randomness),
    storeHost: pick(["", "10.0.0.1:17000"], randomness),
    deliveryAttempt: pick([1, 2, 128], randomness),
    invisibleMs: pick([0, 1, 30_000], randomness),
    bornHost: pick(["", "10.1.2.3"], randomness),
    deadLetterTopic: isDead ? "orders" : "",
    deadLetterMessageId: isDead ? pick(["", "01AB"], randomness) : "",
  };
}

function scanned(stored: Buffer): MessageScan {
  const scan = new MessageScan();
  scanMessage(stored, 0, stored.length, scan);
  return scan;
}

function messageAlone(stored: Buffer, delivered: DeliveredMessage): Buffer {
  const alone = Buffer.alloc(delivered.measureMessage(scanned(stored)));
  assert.equal(delivered.writeMessage(alone, 0), alone.length);
  return alone;
}

/** What a consumer must see, by the general codec. */
function expected(message: apache.rocketmq.v2.Message, server: DeliveredMessage): apache.rocketmq.v2.Message {
  const system = (message.systemProperties ??= new v2.SystemProperties());
  system.bodyDigest = v2.Digest.create({
    type: v2.DigestType.MD5,
    checksum: createHash("md5").update(message.body).digest("hex").toUpperCase(),
  });
  if (system.bodyEncoding === v2.Encoding.ENCODING_UNSPECIFIED) system.bodyEncoding = v2.Encoding.IDENTITY;
  system.bornTimestamp ??= time(server.storeMs);
  if (system.bornHost === "") system.bornHost = server.bornHost;
  system.storeTimestamp = time(server.storeMs);
  system.storeHost = server.storeHost;
  system.receiptHandle = server.receiptHandle === "" ? null : server.receiptHandle;
  system.queueId = server.queueId;
  system.queueOffset = server.queueOffset;
  system.invisibleDuration = server.invisibleMs === 0 ? null : time(server.invisibleMs);
  system.deliveryAttempt = server.deliveryAttempt;
  system.deadLetterQueue =
    server.deadLetterTopic === ""
      ? null
      : v2.DeadLetterQueue.create({ topic: server.deadLetterTopic, messageId: server.deadLetterMessageId });
  return message;
}

function time(ms: number): google.protobuf.Timestamp {
  return v2.SystemProperties.decode(
    v2.SystemProperties.encode({
      storeTimestamp: { seconds: Math.floor(ms / 1000), nanos: (ms % 1000) * 1e6 },
    }).finish(),
  ).storeTimestamp as google.protobuf.Timestamp;
}

/** Through the wire once more: defaults and absent fields in one form. Properties by name, for the order of a map is free. */
function plain(message: apache.rocketmq.v2.Message | null): unknown {
  const decoded = v2.Message.decode(v2.Message.encode(message ?? {}).finish());
  const entries = Object.entries(decoded.userProperties).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.parse(JSON.stringify({ ...decoded, userProperties: entries }));
}

type WithUnknown = { $unknowns?: Uint8Array[] } | null;

function decodeWithUnknown(bytes: Buffer): apache.rocketmq.v2.Message {
  const reader = Reader.create(bytes);
  reader.discardUnknown = false;
  return v2.Message.decode(reader);
}

function unknownFields(message: object | null): string[] {
  return ((message as WithUnknown)?.$unknowns ?? []).map((bytes) => Buffer.from(bytes).toString("hex"));
}
