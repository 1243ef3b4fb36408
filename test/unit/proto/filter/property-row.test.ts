import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { PropertyNames, SystemProperty } from "../../../../proto/filter/property-names.ts";
import { PropertyRow } from "../../../../proto/filter/property-row.ts";

const { Message } = apache.rocketmq.v2;

/** What a row holds of a message for these names; undefined where it is missing. */
function valuesOf(message: apache.rocketmq.v2.IMessage | Buffer, names: readonly string[], row = new PropertyRow()) {
  const bytes = Buffer.isBuffer(message) ? message : Buffer.from(Message.encode(message).finish());
  // In the middle of other bytes, as in the log.
  const around = Buffer.concat([Buffer.alloc(7, 0xff), bytes, Buffer.alloc(7, 0xff)]);
  row.readMessage(around, 7, 7 + bytes.length, new PropertyNames(names));
  return names.map((_, number) =>
    row.starts[number]! < 0 ? undefined : row.sources[number]!.toString("utf8", row.starts[number], row.ends[number]),
  );
}

describe("the properties of a message that a filter asks for", () => {
  it("finds user properties by their bytes", () => {
    const userProperties = { a: "1", ab: "2", Größe: "3", "": "4", b: "", ["__proto__"]: "never" };
    Object.defineProperty(userProperties, "__proto__", { value: "5", enumerable: true });
    assert.deepEqual(valuesOf({ userProperties }, ["ab", "a", "b", "B", "__proto__", "c"]), [
      "2",
      "1",
      "",
      undefined,
      "5",
      undefined,
    ]);
  });

  it("finds every one of many", () => {
    const names = Array.from({ length: 64 }, (_, i) => `property_${i}`);
    const userProperties = Object.fromEntries(
      names.flatMap((name, i) => [
        [name, `${i}`],
        [`x${name}`, "other"],
      ]),
    );
    assert.deepEqual(
      valuesOf({ userProperties }, names),
      names.map((_, i) => `${i}`),
    );
  });

  it("knows what the system keeps, by RocketMQ's names", () => {
    const message = {
      systemProperties: {
        tag: "paid",
        keys: ["k1", "k2", "k3"],
        messageId: "01ABC",
        messageGroup: "g",
        traceContext: "00-trace",
        bornTimestamp: { seconds: 1_700_000_000, nanos: 123_456_789 },
        deliveryTimestamp: { seconds: 1_800_000_000 },
      },
    };
    const names = Object.values(SystemProperty);
    const expected = ["paid", "k1 k2 k3", "01ABC", "g", "00-trace", "1700000000123", "1800000000000"];
    assert.deepEqual(valuesOf(message, names), expected);
    assert.deepEqual(valuesOf({ systemProperties: { keys: ["one"] } }, ["KEYS"]), ["one"]);
    assert.deepEqual(
      valuesOf({ systemProperties: { tag: "", bodyEncoding: 1 } }, names),
      names.map(() => undefined),
    );
    assert.deepEqual(
      valuesOf({ body: Buffer.from("x") }, names),
      names.map(() => undefined),
    );
    assert.deepEqual(valuesOf(message, ["RECONSUME_TIME", "tag", "paid"]), [undefined, undefined, undefined]);
  });

  it("takes the last of a key that comes twice, and forgets the message before", () => {
    const row = new PropertyRow();
    const once = Message.encode({ userProperties: { a: "1" } }).finish();
    const twice = Buffer.concat([once, Message.encode({ userProperties: { a: "2" } }).finish()]);
    assert.deepEqual(valuesOf(twice, ["a"], row), ["2"]);
    assert.deepEqual(valuesOf({}, ["a"], row), [undefined]);
  });

  it("makes room for long keys without losing what was set before", () => {
    const keys = Array.from({ length: 50 }, (_, i) => `key-${i}-${"x".repeat(50)}`);
    const message = { systemProperties: { keys, bornTimestamp: { seconds: 5 }, deliveryTimestamp: { seconds: 6 } } };
    for (const names of [
      ["KEYS", "BORN_TIMESTAMP", "TIMER_DELIVER_MS"],
      ["TIMER_DELIVER_MS", "BORN_TIMESTAMP", "KEYS"],
    ]) {
      const expected: Record<string, string> = {
        KEYS: keys.join(" "),
        BORN_TIMESTAMP: "5000",
        TIMER_DELIVER_MS: "6000",
      };
      assert.deepEqual(
        valuesOf(message, names),
        names.map((name) => expected[name]),
      );
    }
  });
});
