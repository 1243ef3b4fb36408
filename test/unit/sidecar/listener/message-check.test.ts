import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { Code, codeName } from "../../../../proto/code.ts";
import { SendMessageScan } from "../../../../proto/codec/send-message.ts";
import { refuseSend, refuseTypes } from "../../../../sidecar/listener/message-check.ts";
import { MessageType } from "../../../../sidecar/route/route-match.ts";
import { message } from "../../../support/raw-v2-client.ts";

type Message = apache.rocketmq.v2.IMessage;

function scanOf(messages: Message[]): SendMessageScan {
  const bytes = Buffer.from(apache.rocketmq.v2.SendMessageRequest.encode({ messages }).finish());
  const scan = new SendMessageScan();
  scan.read(bytes, 0, bytes.length);
  return scan;
}

function codeOf(...messages: Message[]): string {
  const refusal = refuseSend(scanOf(messages), "default");
  return refusal === undefined ? "OK" : codeName(refusal.code);
}

const properties = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, "v"]));

/** [what, at the border, one beyond, the code of the latter]; §5.4 of the v2 API. */
const borders: readonly [string, Message, Message, string][] = [
  [
    "body size",
    message("t", Buffer.alloc(4 * 1024 * 1024)),
    message("t", Buffer.alloc(4 * 1024 * 1024 + 1)),
    "MESSAGE_BODY_TOO_LARGE",
  ],
  ["body", message("t", "x"), message("t", ""), "MESSAGE_BODY_EMPTY"],
  [
    "number of properties",
    message("t", "x", {}, { userProperties: properties(128) }),
    message("t", "x", {}, { userProperties: properties(129) }),
    "MESSAGE_PROPERTIES_TOO_LARGE",
  ],
  [
    "bytes of properties, tag and keys together",
    message("t", "x", { tag: "ab", keys: ["cd"] }, { userProperties: { k: "v".repeat(16_384 - 5) } }),
    message("t", "x", { tag: "ab", keys: ["cde"] }, { userProperties: { k: "v".repeat(16_384 - 5) } }),
    "MESSAGE_PROPERTIES_TOO_LARGE",
  ],
  [
    "property key",
    message("t", "x", {}, { userProperties: { KEYSTONE: "v" } }),
    message("t", "x", {}, { userProperties: { KEYS: "v" } }),
    "ILLEGAL_MESSAGE_PROPERTY_KEY",
  ],
  [
    "property key with control characters",
    message("t", "x", {}, { userProperties: { "a b": "v" } }),
    message("t", "x", {}, { userProperties: { "a\u0001b": "v" } }),
    "ILLEGAL_MESSAGE_PROPERTY_KEY",
  ],
  [
    "property value with control characters of two bytes",
    message("t", "x", {}, { userProperties: { k: "\u00a0" } }),
    message("t", "x", {}, { userProperties: { k: "\u009f" } }),
    "ILLEGAL_MESSAGE_PROPERTY_KEY",
  ],
  ["empty tag", message("t", "x", { tag: "" }), message("t", "x", { tag: "  " }), "ILLEGAL_MESSAGE_TAG"],
  ["tag", message("t", "x", { tag: "a&b" }), message("t", "x", { tag: "a|b" }), "ILLEGAL_MESSAGE_TAG"],
  [
    "tag with control characters",
    message("t", "x", { tag: "ä" }),
    message("t", "x", { tag: "a\u007f" }),
    "ILLEGAL_MESSAGE_TAG",
  ],
  ["key", message("t", "x", { keys: ["a b"] }), message("t", "x", { keys: ["ok", " "] }), "ILLEGAL_MESSAGE_KEY"],
  [
    "key with control characters",
    message("t", "x", { keys: ["", "a"] }),
    message("t", "x", { keys: ["a\n"] }),
    "ILLEGAL_MESSAGE_KEY",
  ],
  [
    "message group",
    message("t", "x", { messageGroup: "g".repeat(63) }),
    message("t", "x", { messageGroup: "g".repeat(64) }),
    "ILLEGAL_MESSAGE_GROUP",
  ],
  [
    "message group in bytes of UTF-8",
    message("t", "x", { messageGroup: "ä".repeat(31) }),
    message("t", "x", { messageGroup: "ä".repeat(32) }),
    "ILLEGAL_MESSAGE_GROUP",
  ],
  ["message group that is blank", message("t", "x"), message("t", "x", { messageGroup: " " }), "ILLEGAL_MESSAGE_GROUP"],
  ["message id", message("t", "x", { messageId: "1" }), message("t", "x", { messageId: " " }), "ILLEGAL_MESSAGE_ID"],
  [
    "orphaned transaction recovery duration",
    message("t", "x", { orphanedTransactionRecoveryDuration: { seconds: 3_600, nanos: 0 } }),
    message("t", "x", { orphanedTransactionRecoveryDuration: { seconds: 3_601, nanos: 0 } }),
    "BAD_REQUEST",
  ],
  ["topic name", message("t".repeat(127), "x"), message("t".repeat(128), "x"), "ILLEGAL_TOPIC"],
  ["topic name's characters", message("%DLQ%a|b-c_d9", "x"), message("a.b", "x"), "ILLEGAL_TOPIC"],
  ["topic name of the system", message("rmqsys_x", "x"), message("rmq_sys_x", "x"), "ILLEGAL_TOPIC"],
  ["topic name that is blank", message("x", "x"), message(" ", "x"), "ILLEGAL_TOPIC"],
];

describe("message check", () => {
  for (const [what, atBorder, beyond, code] of borders) {
    it(`[15] takes a ${what} at the border and answers ${code} one beyond`, () => {
      assert.equal(codeOf(atBorder), "OK");
      assert.equal(codeOf(beyond), code);
    });
  }

  it("[15] wants at least one message, and all of one topic", () => {
    assert.equal(codeOf(), "MESSAGE_CORRUPTED");
    assert.equal(codeOf(message("a", "x"), message("a", "x")), "OK");
    assert.equal(codeOf(message("a", "x"), message("b", "x")), "MESSAGE_CORRUPTED");
    const inOtherNamespace = message("a", "x", {}, { topic: { name: "a", resourceNamespace: "n" } });
    assert.equal(codeOf(message("a", "x"), inOtherNamespace), "MESSAGE_CORRUPTED");
  });

  it("refuses what is internal although the reference server lets it pass", () => {
    for (const key of ["__SHARDINGKEY", "TRACE_CONTEXT", "__RMQ.anything", "INNER_NUM"]) {
      assert.equal(codeOf(message("t", "x", {}, { userProperties: { [key]: "v" } })), "ILLEGAL_MESSAGE_PROPERTY_KEY");
    }
  });

  it("ignores what only a server may set", () => {
    assert.equal(codeOf(message("t", "x", { deliveryAttempt: -7, receiptHandle: "forged", queueOffset: 99 })), "OK");
  });

  const classicTypes = [MessageType.Normal, MessageType.Fifo, MessageType.Delay, MessageType.Transaction];
  const messageOfType = (type: number): Message =>
    message("t", "x", {
      messageType: type,
      ...(type === MessageType.Fifo ? { messageGroup: "g" } : {}),
      ...(type === MessageType.Delay ? { deliveryTimestamp: { seconds: 1_900_000_000, nanos: 0 } } : {}),
    });

  it("[16] holds each topic type against each message type: 25 combinations", () => {
    for (const topicType of [...classicTypes, 0]) {
      for (const type of [...classicTypes, MessageType.Priority]) {
        const refusal = refuseTypes(scanOf([messageOfType(type)]), topicType === 0 ? 0b1_1110 : 1 << topicType);
        const effective = type === MessageType.Priority ? MessageType.Normal : type;
        const fits = topicType === 0 || topicType === effective;
        assert.equal(refusal?.code, fits ? undefined : Code.MessagePropertyConflictWithType, `${topicType} ${type}`);
      }
    }
  });

  it("[16] goes by the fields a message carries, not by the type it declares", () => {
    const declaredNormal = message("t", "x", { messageType: MessageType.Normal, messageGroup: "g" });
    assert.equal(refuseTypes(scanOf([declaredNormal]), 1 << MessageType.Fifo), undefined);
    assert.match(
      refuseTypes(scanOf([declaredNormal]), 1 << MessageType.Normal)?.message ?? "",
      /takes NORMAL.*is FIFO/,
    );
  });

  it("[16] takes a PRIORITY message for a topic of that type, whatever its other fields", () => {
    const urgent = message("t", "x", { messageType: MessageType.Priority, priority: 1 });
    assert.equal(refuseTypes(scanOf([urgent]), 1 << MessageType.Priority), undefined);
  });
});
