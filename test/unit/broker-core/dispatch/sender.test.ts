import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { messageBytesMax } from "../../../../broker-core/dispatch/sender.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture, messageBytes } from "../../../support/broker-fixture.ts";

describe("storing messages", () => {
  function opened(options: { queueCount?: number; messageTypes?: number } = {}) {
    const f = new BrokerFixture();
    const t = f.topic("ns/orders", options);
    const send = (...messages: Buffer[]) =>
      f.state.send({ topicId: t, laneMark: "gray", bornHost: "10.1.1.1:5", messages }, f.now);
    return { f, t, send };
  }

  it("gives dense offsets from 0 in each queue, and names the record to wait for", () => {
    const { f, send } = opened({ queueCount: 2 });
    const sent = Array.from({ length: 6 }, (_, i) => send(messageBytes({ id: `${i}` })));
    assert.deepEqual(
      sent.map((s) => s.ok && [s.queueId, s.firstOffset]),
      [
        [0, 0],
        [1, 0],
        [0, 1],
        [1, 1],
        [0, 2],
        [1, 2],
      ],
    );
    const last = sent.at(-1);
    assert.ok(last?.ok);
    assert.equal(f.log.read(last.position).type, RecordType.Message);
  });

  it("stores all messages of a call in one queue, in order", () => {
    const { f, t, send } = opened({ queueCount: 4 });
    const g = f.group();
    f.receive(t, g);
    const sent = send(messageBytes({ id: "a" }), messageBytes({ id: "b" }), messageBytes({ id: "c" }));
    assert.ok(sent.ok);
    f.sync();
    assert.deepEqual(
      f.receive(t, g).map(({ id, queueId, offset, laneMark, bornHost }) => [id, queueId, offset, laneMark, bornHost]),
      ["a", "b", "c"].map((id, i) => [id, sent.queueId, i, "gray", "10.1.1.1:5"]),
    );
  });

  it("stores none of a call when one of them cannot be", () => {
    const { f, send } = opened();
    const sent = send(messageBytes({ id: "a" }), Buffer.from([0xff, 0xff]));
    assert.ok(!sent.ok);
    assert.equal(sent.code, Code.MessageCorrupted);
    assert.match(sent.message, /message 1/);
    assert.equal(f.log.countOf(RecordType.Message), 0);
  });

  it("keeps the messages of a group in one queue, and spreads groups", () => {
    const { send } = opened({ queueCount: 8 });
    const queueOf = (group: string) => {
      const sent = send(messageBytes({ group }));
      assert.ok(sent.ok);
      return sent.queueId;
    };
    const groups = Array.from({ length: 64 }, (_, i) => `user-${i}`);
    const first = groups.map(queueOf);
    assert.deepEqual(groups.map(queueOf), first);
    assert.ok(new Set(first).size >= 7);
  });

  it("puts a message together that came in pieces, so that every decoder reads it", () => {
    const { f, t, send } = opened();
    const g = f.group();
    f.receive(t, g);
    const { Message } = apache.rocketmq.v2;
    const part = (systemProperties: apache.rocketmq.v2.ISystemProperties) =>
      Message.encode({ systemProperties }).finish();
    send(
      Buffer.concat([
        part({ messageId: "whole" }),
        part({ tag: "a" }),
        Message.encode({ body: Buffer.from("b") }).finish(),
      ]),
    );
    f.sync();
    const [got] = f.receive(t, g, { filter: "a" });
    assert.deepEqual([got?.id, got?.body], ["whole", "b"]);
  });

  it("refuses what the topic does not take, and what this broker does not store yet", () => {
    const delay = Buffer.from(
      apache.rocketmq.v2.Message.encode({
        systemProperties: { messageId: "d", deliveryTimestamp: { seconds: 4_000_000_000, nanos: 0 } },
      }).finish(),
    );
    const transaction = Buffer.from(
      apache.rocketmq.v2.Message.encode({ systemProperties: { messageId: "t", messageType: 4 } }).finish(),
    );
    const normalOnly = opened({ messageTypes: 0b10 });
    for (const message of [delay, transaction, messageBytes({ group: "g" })]) {
      const sent = normalOnly.send(message);
      assert.equal(!sent.ok && sent.code, Code.MessagePropertyConflictWithType);
    }
    const mixed = opened({ messageTypes: 0b11110 });
    const sent = mixed.send(delay);
    assert.equal(!sent.ok && sent.code, Code.NotImplemented);
    assert.equal(mixed.send(transaction).ok, true);
    assert.equal(mixed.send(messageBytes({ group: "g" })).ok, true);
  });

  it("refuses an unknown topic, an empty call, and a message that is too large", () => {
    const { f, t, send } = opened();
    const to99 = f.state.send({ topicId: 99, laneMark: "", bornHost: "", messages: [messageBytes({})] }, f.now);
    assert.equal(!to99.ok && to99.code, Code.TopicNotFound);
    const none = send();
    assert.equal(!none.ok && none.code, Code.MessageCorrupted);
    const large = send(Buffer.alloc(messageBytesMax + 1));
    assert.equal(!large.ok && large.code, Code.MessageBodyTooLarge);
    assert.equal(f.state.topics().find(({ id }) => id === t)?.messages, 0);
  });

  it("refuses when the disk has no room for messages, and answers a log that refuses one with its code", () => {
    const { f, send } = opened();
    f.log.takesMessages = false;
    const full = send(messageBytes({}));
    assert.equal(!full.ok && full.code, Code.TooManyRequests);
    f.log.takesMessages = true;
    f.log.isFull = true;
    const refused = send(messageBytes({}));
    assert.equal(!refused.ok && refused.code, Code.TooManyRequests);
    f.log.isFull = false;
    const next = send(messageBytes({}));
    assert.equal(next.ok && next.firstOffset, 0, "what was refused took no offset");
  });
});
