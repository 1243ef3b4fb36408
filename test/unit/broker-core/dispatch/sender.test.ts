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
    assert.equal(f.log.look(last.position).type, RecordType.Message);
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
    const delay = messageBytes({ id: "d", dueMs: 1_700_000_060_000 });
    const transaction = Buffer.from(
      apache.rocketmq.v2.Message.encode({ systemProperties: { messageId: "t", messageType: 4 } }).finish(),
    );
    const normalOnly = opened({ messageTypes: 0b10 });
    for (const message of [delay, transaction, messageBytes({ group: "g" })]) {
      const sent = normalOnly.send(message);
      assert.equal(!sent.ok && sent.code, Code.MessagePropertyConflictWithType);
    }
    const mixed = opened({ messageTypes: 0b11110 });
    for (const message of [delay, transaction]) assert.equal(mixed.send(message).ok, true);
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

  describe("several at once", () => {
    /** What a group sees after the crash. */
    const seen = (f: BrokerFixture, t: number) =>
      f.receive(t, f.group("ns/reader")).map(({ id, offset }) => `${id}@${offset}`);
    const three = ["a", "b", "c"].map((id) => messageBytes({ id }));

    it("become visible together, when the last is durable", () => {
      const { f, t, send } = opened();
      f.receive(t, f.group("ns/reader"));
      f.isAutoSync = false;
      const sent = send(...three);
      assert.ok(sent.ok);
      f.log.write();
      assert.deepEqual(seen(f, t), []);
      f.log.sync();
      assert.deepEqual(seen(f, t), ["a@0", "b@1", "c@2"]);
      f.assertRebuilt();
    });

    it("are all there after a crash, or none is, wherever it cut the log; and offsets are given again", () => {
      for (let kept = 0; kept <= three.length; kept++) {
        const f = new BrokerFixture({ groupStart: "beginning" });
        const t = f.topic();
        f.send(t, { id: "before" });
        f.isAutoSync = false;
        // Each record in a write of its own: the crash keeps the first `kept`.
        const { append } = f.log;
        let appended = 0;
        f.log.append = function (type, length, fill) {
          const position = append.call(this, type, length, fill);
          if (++appended === kept) f.log.write();
          return position;
        };
        assert.ok(f.state.send({ topicId: t, laneMark: "", bornHost: "", messages: three }, f.now).ok);
        f.log.append = append;
        f.crash("kill");
        f.isAutoSync = true;
        f.send(t, { id: "after" });
        const whole = ["a@1", "b@2", "c@3", "after@4"];
        assert.deepEqual(seen(f, t), ["before@0", ...(kept === 3 ? whole : ["after@1"])], `${kept} records kept`);
        f.assertRebuilt();
      }
    });

    it("are refused as not stored when the log fills up in between, and nothing of them is ever seen", () => {
      const { f, t, send } = opened();
      f.receive(t, f.group("ns/reader"));
      const { append } = f.log;
      let left = 2;
      f.log.append = function (type, length, fill) {
        if (type === RecordType.Message && left-- === 0) f.log.isFull = true;
        return append.call(this, type, length, fill);
      };
      const sent = send(...three);
      assert.ok(!sent.ok && sent.code === Code.TooManyRequests);
      f.log.append = append;
      f.log.isFull = false;
      f.log.sync();
      assert.deepEqual(seen(f, t), []);
      f.send(t, { id: "next" });
      assert.deepEqual(seen(f, t), ["next@0"]);
      f.assertRebuilt();
      f.crash("kill");
      f.pass(100_000);
      assert.deepEqual(seen(f, t), ["next@0"]);
    });

    it("are of one message group, because each group has a queue of its own", () => {
      const { send } = opened({ queueCount: 4 });
      assert.ok(send(messageBytes({ group: "g" }), messageBytes({ group: "g" })).ok);
      const mixed = send(messageBytes({ group: "g" }), messageBytes({ group: "h" }));
      assert.ok(!mixed.ok && mixed.code === Code.BadRequest);
      assert.match(mixed.message, /are of one message group/);
    });
  });

  describe("with priorities", () => {
    const priorityOnly = 1 << 6;
    function prioritized() {
      const made = opened({ queueCount: 4, messageTypes: priorityOnly });
      made.f.receive(made.t, made.f.group());
      const put = (id: string, priority?: number, type = 6) =>
        made.send(messageBytes({ id, type, ...(priority === undefined ? {} : { priority }) }));
      return { ...made, put };
    }

    it("hands out the higher first, and equal ones in the order in which they came", () => {
      const { f, t, put } = prioritized();
      for (const [id, priority] of Object.entries({ low: 0, high1: 3, mid: 1, high2: 3, beyond: 99 }))
        put(id, priority);
      f.sync();
      const got = f.receive(t, f.group());
      assert.deepEqual(
        got.map(({ id }) => id),
        ["high1", "high2", "beyond", "mid", "low"],
      );
      assert.deepEqual(
        got.map(({ queueId }) => queueId),
        [3, 3, 3, 1, 0],
      );
    });

    it("takes a message without a priority as the lowest, also declared NORMAL, and no other kind", () => {
      const { send, put } = prioritized();
      for (const sent of [put("none"), put("normal", 0, 1), put("negative", -5)]) {
        assert.ok(sent.ok && sent.queueId === 0, sent.ok ? "" : sent.message);
      }
      const grouped = send(messageBytes({ group: "g" }));
      assert.ok(!grouped.ok && grouped.code === Code.MessagePropertyConflictWithType);
      const mixed = send(messageBytes({ priority: 1, type: 6 }), messageBytes({ priority: 2, type: 6 }));
      assert.ok(!mixed.ok && mixed.code === Code.BadRequest);
    });

    it("ignores priorities where the topic does not take them", () => {
      const { send } = opened({ queueCount: 4 });
      const sent = [3, 3].map((priority) => send(messageBytes({ priority, type: 1 })));
      assert.deepEqual(
        sent.map((s) => s.ok && s.queueId),
        [0, 1],
      );
    });
  });
});
