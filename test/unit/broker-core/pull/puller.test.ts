import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import type { OffsetCall, PullCall } from "../../../../broker-core/broker-port.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

describe("reading by offset", () => {
  function stored(count = 5) {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic();
    const g = f.group();
    const storedMs: number[] = [];
    for (let i = 0; i < count; i++) {
      storedMs.push(f.wallMs);
      f.send(t, { tag: i % 2 === 0 ? "even" : "odd" });
      f.pass(1_000);
    }
    const pull = (offset: number, parts: Partial<PullCall> = {}) =>
      f.state.pull({
        ...{ topicId: t, groupId: g, queueId: 0, offset, batch: 32, filterType: 1, filter: "*", bytesMax: 0 },
        ...parts,
      });
    const ids = (offset: number, parts: Partial<PullCall> = {}) => {
      const pulled = pull(offset, parts);
      assert.ok(pulled.ok, pulled.ok ? "" : pulled.message);
      const names = pulled.messages.map(
        ({ bytes }) => apache.rocketmq.v2.Message.decode(bytes).systemProperties?.messageId,
      );
      return [names, pulled.nextOffset, pulled.isAtEnd] as const;
    };
    const offset = (policy: OffsetCall["policy"], parts: Partial<OffsetCall> = {}) =>
      f.state.queryOffset({ policy, topicId: t, groupId: g, queueId: 0, value: 0, ...parts });
    const update = (value: number, parts: Partial<OffsetCall> = {}) => {
      const found = f.state.updateOffset(
        { policy: "group", topicId: t, groupId: g, queueId: 0, value, ...parts },
        f.now,
      );
      f.sync();
      return found;
    };
    return { f, t, g, storedMs, pull, ids, offset, update };
  }

  it("gives messages in order, tells where to go on, and grants and changes nothing", () => {
    const { f, t, g, ids } = stored();
    const records = f.log.recordCount;
    assert.deepEqual(ids(0, { batch: 2 }), [["m1", "m2"], 2, false]);
    assert.deepEqual(ids(2), [["m3", "m4", "m5"], 5, true]);
    assert.deepEqual(ids(5), [[], 5, true]);
    assert.deepEqual(ids(0, { batch: 2 }), [["m1", "m2"], 2, false], "as often as one likes");
    assert.equal(f.log.recordCount, records);
    assert.equal(f.receive(t, g).length, 5, "a pop gets all of them still");
  });

  it("passes what the filter does not match, and goes on behind it", () => {
    const { ids, pull } = stored();
    assert.deepEqual(ids(0, { filter: "odd" }), [["m2", "m4"], 5, true]);
    assert.deepEqual(ids(1, { filter: "nothing" }), [[], 5, true]);
    assert.deepEqual(ids(0, { filterType: 2, filter: "TAGS = 'even'", batch: 2 }), [["m1", "m3"], 3, false]);
    const wrong = pull(0, { filterType: 2, filter: "AND" });
    assert.ok(!wrong.ok && wrong.code === Code.IllegalFilterExpression);
  });

  it("keeps to the bytes asked for, but always gives one", () => {
    const { ids } = stored();
    assert.deepEqual(ids(0, { bytesMax: 1 }), [["m1"], 1, false]);
  });

  it("sees only what is durable", () => {
    const { f, t, ids } = stored(1);
    f.isAutoSync = false;
    f.send(t);
    assert.deepEqual(ids(0), [["m1"], 1, true]);
    f.sync();
    assert.deepEqual(ids(0), [["m1", "m2"], 2, true]);
  });

  it("refuses an offset outside the queue, with what the queue holds", () => {
    const { pull, f, t, g } = stored();
    const beyond = pull(6);
    assert.ok(!beyond.ok && beyond.code === Code.IllegalOffset);
    assert.match(beyond.message, /holds the offsets 0 to 4, the next is 5; 6 is outside/);
    const noQueue = pull(0, { queueId: 3 });
    assert.ok(!noQueue.ok && noQueue.code === Code.BadRequest);
    assert.match(noQueue.message, /has the queues 0 to 0 here, and no queue 3/);
    const unknown = f.state.pull({ ...{ topicId: 99, groupId: g, queueId: 0, offset: 0, batch: 1 }, ...tagAll });
    assert.ok(!unknown.ok && unknown.code === Code.TopicNotFound);
    const nobody = f.state.pull({ ...{ topicId: t, groupId: 99, queueId: 0, offset: 0, batch: 1 }, ...tagAll });
    assert.ok(!nobody.ok && nobody.code === Code.ConsumerGroupNotFound);
  });
  const tagAll = { filterType: 1, filter: "*", bytesMax: 0 } as const;

  it("finds the ends of a queue and the first message of a time", () => {
    const { storedMs, offset } = stored();
    const at = (found: ReturnType<typeof offset>) => (found.ok ? found.offset : -1);
    assert.deepEqual([at(offset("begin")), at(offset("end"))], [0, 5]);
    storedMs.forEach((ms, i) => {
      assert.equal(at(offset("time", { value: ms })), i);
      assert.equal(at(offset("time", { value: ms + 1 })), i + 1);
    });
  });

  it("keeps a group's offset, which is where its pops go on, through a crash", () => {
    const { f, t, g, offset, update } = stored();
    const unread = offset("group");
    assert.ok(!unread.ok && unread.code === Code.OffsetNotFound);
    assert.ok(update(3).ok);
    assert.deepEqual(offset("group"), { ok: true, offset: 3, position: -1 });
    assert.equal(f.log.countOf(RecordType.CursorReset), 1);
    f.crash("power");
    assert.deepEqual(offset("group"), { ok: true, offset: 3, position: -1 });
    assert.deepEqual(
      f.receive(t, g).map(({ id }) => id),
      ["m4", "m5"],
    );
    assert.deepEqual(offset("group"), { ok: true, offset: 5, position: -1 });
    const beyond = update(6);
    assert.ok(!beyond.ok && beyond.code === Code.IllegalOffset);
    f.assertRebuilt();
  });

  it("serves a waiting pop with what an update brings back", () => {
    const { f, t, g, update } = stored(2);
    f.receive(t, g);
    const { ticket } = f.ask(t, g, { waitMs: 20_000 });
    update(0);
    assert.equal(f.got(ticket).length, 2);
  });

  it("reads a dead-letter queue like any other, with where each message came from", () => {
    const { f, t, g } = stored(1);
    f.deadLetter(g, f.receive(t, g)[0]!.receipt);
    const dead = f.topic("ns/%DLQ%billing", { incarnation: 7 });
    const pulled = f.state.pull({ ...{ topicId: dead, groupId: g, queueId: 0, offset: 0, batch: 9 }, ...tagAll });
    assert.ok(pulled.ok);
    assert.deepEqual(
      pulled.messages.map(({ offset, deadLetter }) => [offset, deadLetter?.topic, deadLetter?.messageId]),
      [[0, "ns/orders", "m1"]],
    );
  });
});
