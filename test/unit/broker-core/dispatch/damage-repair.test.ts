import assert from "node:assert/strict";
import { ChangeKind } from "../../../../broker-core/broker-port.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { TrimReason } from "../../../../broker-core/record/log-trimmed-record.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture, messageBytes } from "../../../support/broker-fixture.ts";

/** The `nth` record of a type is found lost by a broker that starts now. */
function lose(f: BrokerFixture, ...which: readonly (readonly [type: RecordType, nth: number])[]): void {
  for (const [type, nth] of which) {
    const ofType = Array.from(f.log.records()).filter((record) => record.type === type);
    f.lost.add(ofType[nth]!.position);
    f.log.damaged.add(ofType[nth]!.position);
  }
  f.crash("kill");
}

function fixture() {
  const f = new BrokerFixture({ groupStart: "beginning" });
  const t = f.topic();
  const g = f.group();
  return { f, t, g, ids: () => f.receive(t, g).map(({ id }) => id) };
}

describe("a start on a log with lost records", () => {
  it("keeps the offset of a lost message taken, gives nothing for it, and says where it was", () => {
    const { f, t, ids } = fixture();
    f.sendMany(t, 4);
    lose(f, [RecordType.Message, 1], [RecordType.Message, 2]);
    assert.deepEqual(f.state.damageConsequences.messages, [
      { topic: "ns/orders", queueId: 0, firstOffset: 1, count: 2 },
    ]);
    assert.deepEqual(ids(), ["m1", "m4"]);
    const { items, damaged } = f.operate<{ items: { offset: number }[]; damaged: number[] }>("topic.export", {
      ...{ topic: "ns/orders", queueId: 0, from: 0 },
    });
    assert.deepEqual(
      [items.map(({ offset }) => offset), damaged],
      [
        [0, 3],
        [1, 2],
      ],
    );
  });

  it("brings back what a lost hand-out held, also behind the messages of it whose acks are left", () => {
    const { f, t, g, ids } = fixture();
    f.sendMany(t, 3);
    const [first] = f.receive(t, g, { batch: 2 });
    f.ack(g, first!.receipt);
    f.receive(t, g);
    lose(f, [RecordType.Pop, 0]);
    f.pass(11_000);
    assert.deepEqual(ids(), ["m2", "m3"]);
  });

  it("looks for a lost hand-out until its group goes on, also when no hand-out is in a part that is lost later", () => {
    const { f, g } = fixture();
    const t = f.topic("ns/unordered", { messageTypes: 0b11011 });
    const other = f.group("ns/other");
    f.sendMany(t, 1);
    f.receive(t, g);
    const [first] = f.receive(t, other);
    f.ack(other, first!.receipt);
    f.sendMany(t, 1);
    f.receive(t, other);
    f.receive(t, g);
    // Of the ack's part, the next hand-out says that it held none.
    lose(f, [RecordType.Pop, 0], [RecordType.Ack, 0]);
    f.pass(11_000);
    assert.equal(f.receive(t, g).length, 2);
  });

  it("leaves lanes what is theirs, where it is lost that their group began to read", () => {
    const { f, t, g } = fixture();
    const order = { topic: "ns/orders", group: "", name: "rule" };
    const rule = { clauses: [{ to: "canary", lane: "canary" }], whenEmpty: { action: "hold" } };
    f.operate("lane.rule", { ...order, number: 1, rule });
    for (const [id, laneMark] of [
      ["a", "canary"],
      ["b", ""],
    ] as const) {
      const sent = f.state.send({ topicId: t, laneMark, bornHost: "h", messages: [messageBytes({ id })] }, f.now);
      assert.ok(sent.ok);
    }
    f.sync();
    const got = f.receive(t, g).map(({ id }) => id);
    assert.deepEqual(got, ["b"]);
    f.operate("lane.rule", { ...order, number: 2, rule });
    lose(f, [RecordType.CursorOpened, 0]);
    assert.deepEqual(
      f.receive(t, g, { lane: "canary" }).map(({ id }) => id),
      ["a"],
    );
  });

  it("looks for nothing that a lane was handed before the log began where it does", () => {
    const { f, g } = fixture();
    const t = f.topic("ns/unordered", { messageTypes: 0b11011 });
    const rule = { clauses: [{ to: "canary", lane: "canary" }], whenEmpty: { action: "hold" } };
    f.operate("lane.rule", { topic: "ns/unordered", group: "", name: "rule", number: 1, rule });
    f.receive(t, g);
    const messages = [messageBytes({ id: "a" })];
    assert.ok(f.state.send({ topicId: t, laneMark: "canary", bornHost: "h", messages }, f.now).ok);
    f.sync();
    const begin = f.state.appliedPosition;
    f.base = f.state.baseImage(begin);
    f.send(t, { id: "b" });
    f.receive(t, g);
    f.receive(t, g, { lane: "canary" });
    f.state.trimLog(begin, TrimReason.Age, f.now);
    f.sync();
    f.log.removeBelow(begin);
    lose(f, [RecordType.Pop, 0]);
    assert.deepEqual(
      f.receive(t, g).map(({ id }) => id),
      ["b"],
    );
  });

  it("counts a send of several as whole that it cuts in two, and serves what is left of it", () => {
    const { f, t, ids } = fixture();
    const messages = ["a", "b", "c"].map((id) => messageBytes({ id }));
    f.state.send({ topicId: t, laneMark: "", bornHost: "", messages }, f.now);
    f.sync();
    f.send(t, { id: "d" });
    lose(f, [RecordType.Message, 1]);
    assert.deepEqual(ids(), ["a", "c", "d"]);
  });

  it("does so without its last record too, as long as its offsets were not given out again", () => {
    for (const isTorn of [false, true]) {
      const { f, t, ids } = fixture();
      const messages = ["a", "b", "c"].map((id) => messageBytes({ id }));
      f.state.send({ topicId: t, laneMark: "", bornHost: "", messages }, f.now);
      f.sync();
      if (isTorn) {
        // The crash came before the last record; what lies there now is something else, and lost.
        const last = Array.from(f.log.records()).at(-1)!.position;
        f.log.cut(last);
        f.crash("kill");
        f.topic("ns/other");
      }
      f.send(t, { id: "d" });
      lose(f, isTorn ? [RecordType.TopicOpened, 1] : [RecordType.Message, 2]);
      assert.deepEqual(ids(), isTorn ? ["d"] : ["a", "b", "d"]);
    }
  });

  it("refuses unknown groups while one has lost its name, until an operator says which it is: no position is reset", () => {
    const { f, t, g } = fixture();
    f.sendMany(t, 3);
    const [first] = f.receive(t, g, { batch: 1 });
    f.ack(g, first!.receipt);
    lose(f, [RecordType.GroupOpened, 0], [RecordType.CursorOpened, 0]);
    const backoff = { delaysMs: [1000], initialMs: 0, maxMs: 0, multiplier: 0 };
    const opening = { name: "ns/billing", generation: 1, attemptsMax: 3, inflightMax: 0, backoff };
    const refused = f.state.openGroup(opening, f.now);
    assert.ok(!refused.ok && refused.code === Code.InternalServerError, "a lost name is no unknown group");
    assert.match(refused.message, /the name of group 1 is lost .*"group.adopt"/);
    const asNew = f.operate<{ groupId: number }>("group.adopt", { group: "ns/other" });
    assert.equal(asNew.groupId, 2);
    const wrong = f.state.operate("group.adopt", { group: "ns/billing", groupId: 2 }, f.now);
    assert.ok(!(wrong instanceof Promise) && !wrong.ok && /those are 1/.test(wrong.message));
    f.operate("group.adopt", { group: "ns/billing", groupId: 1 });
    const opened = f.state.openGroup(opening, f.now);
    assert.ok(opened.ok && opened.id === 1);
    f.sync();
    assert.deepEqual(
      f.receive(t, 1).map(({ id }) => id),
      ["m2", "m3"],
    );
    f.knownFrom = f.log.endPosition;
    f.assertRebuilt();
  });

  it("tells the producer of a lost half message so, and remembers the end of one whose end is left", () => {
    const { f, t, ids } = fixture();
    const transactions = [f.sendHalf(t, { id: "a" }), f.sendHalf(t, { id: "b" }), f.sendHalf(t, { id: "c" })];
    f.endOk(transactions[1]!, "COMMIT");
    lose(f, [RecordType.HalfMessage, 0], [RecordType.HalfMessage, 1]);
    const ended = f.end(transactions[0]!, "COMMIT");
    assert.ok(!ended.ok && ended.code === Code.InvalidTransactionId);
    assert.match(ended.message, /the half message is lost with a damaged part of the log/);
    f.endOk(transactions[1]!, "COMMIT");
    f.endOk(transactions[2]!, "COMMIT");
    assert.deepEqual(ids(), ["c"], "the offset that b was given is passed by");
  });

  it("lets a topic live on whose opening is lost, as its next opening says it is", () => {
    for (const messageTypes of [0b110, 0b10]) {
      const f = new BrokerFixture({ groupStart: "beginning" });
      const t = f.topic("ns/orders", { messageTypes, queueCount: 2 });
      f.send(t, messageTypes === 0b110 ? { group: "ann" } : {});
      f.sendMany(t, 3);
      lose(f, [RecordType.TopicOpened, 0]);
      const again = f.topic("ns/orders", { messageTypes, queueCount: 2, incarnation: 5 });
      assert.equal(again, t);
      const found = new Set(f.receive(t, f.group()).map(({ id }) => id));
      assert.equal(found.size, 4);
      const changed = { name: "ns/orders", incarnation: 5, queueCount: 2, messageTypes: messageTypes ^ 0b100 };
      assert.equal(f.state.openTopic(changed, f.now).ok, false, "from then on order is for life");
    }
  });

  it("takes nothing that a topic was handed for proof about the one that came after it", () => {
    const fifo = 1 << 2;
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic("ns/orders", { messageTypes: fifo, queueCount: 1 });
    const g = f.group();
    f.receive(t, g);
    const begin = f.log.endPosition;
    f.base = f.state.baseImage(begin);
    f.sendMany(t, 3, { group: "red" });
    for (let i = 0; i < 3; i++) f.ack(g, f.receive(t, g)[0]!.receipt);
    const anew = f.topic("ns/orders", { messageTypes: fifo, queueCount: 1, incarnation: 2 });
    f.send(anew, { id: "held", group: "red" });
    f.send(anew, { id: "behind", group: "red" });
    const [held] = f.receive(anew, g, { batch: 2 });
    f.state.trimLog(begin, TrimReason.Age, f.now);
    f.sync();
    f.log.removeBelow(begin);
    lose(f, [RecordType.LogTrimmed, 0]);
    f.ack(g, held!.receipt);
    assert.deepEqual(
      f.receive(anew, g).map(({ id }) => id),
      ["behind"],
    );
  });

  it("believes an ack of a message that waited its turn, though hand-out and order are lost", () => {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic("ns/orders", { messageTypes: 1 << 2, queueCount: 1 });
    const g = f.group();
    f.receive(t, g);
    const begin = f.log.endPosition;
    f.base = f.state.baseImage(begin);
    f.sendMany(t, 3, { group: "red" });
    for (let i = 0; i < 2; i++) f.ack(g, f.receive(t, g)[0]!.receipt);
    f.state.trimLog(begin, TrimReason.Age, f.now);
    f.sync();
    f.log.removeBelow(begin);
    lose(f, [RecordType.Pop, 1], [RecordType.LogTrimmed, 0]);
    assert.deepEqual(
      f.receive(t, g).map(({ id }) => id),
      ["m3"],
    );
  });

  it("lets what waits for a lost message wait on when only its lease was changed", () => {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic("ns/orders", { messageTypes: 1 << 2, queueCount: 1 });
    const g = f.group();
    f.sendMany(t, 2, { group: "red" });
    const [first] = f.receive(t, g, { batch: 1 });
    f.change(g, first!.receipt, ChangeKind.Extend, 60_000);
    f.receive(t, g);
    f.sendMany(t, 1, { group: "blue" });
    for (const { receipt } of f.receive(t, g)) f.ack(g, receipt);
    lose(f, [RecordType.Message, 0], [RecordType.CursorOpened, 0]);
    f.pass(120_000);
    assert.deepEqual(
      f.receive(t, g).map(({ id }) => id),
      ["m2"],
    );
  });
});
