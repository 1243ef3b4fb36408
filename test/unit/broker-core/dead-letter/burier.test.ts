import assert from "node:assert/strict";
import { ChangeKind } from "../../../../broker-core/broker-port.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { TrimReason } from "../../../../broker-core/record/log-trimmed-record.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

const deadTopic = "ns/%DLQ%billing";

describe("requirement 5: the dead-letter queue", () => {
  function opened(attemptsMax: number) {
    const f = new BrokerFixture();
    const t = f.topic();
    const g = f.group("ns/billing", { attemptsMax });
    f.receive(t, g);
    return { f, t, g };
  }

  /** Reads the dead letters as a group of its own does. */
  function deadLetters(f: BrokerFixture) {
    return f.receive(f.topic(deadTopic, { incarnation: 7 }), f.group("ns/reader"));
  }

  it("takes a message the moment its last allowed attempt ends, by one record, and never hands it out again", () => {
    const { f, t, g } = opened(2);
    f.send(t, { id: "poison" });
    f.receive(t, g, { clientId: "client-1" });
    f.pass(10_000);
    f.receive(t, g, { clientId: "client-2" });
    assert.equal(f.log.countOf(RecordType.DeadLetter), 0);
    const records = f.log.recordCount;
    f.pass(10_000);
    assert.equal(f.log.countOf(RecordType.DeadLetter), 1);
    assert.equal(f.log.recordCount, records + 2, "the topic of the dead letters, and the move");
    f.pass(100_000);
    assert.deepEqual(f.receive(t, g), []);
    assert.deepEqual([f.figures().deadLetters, f.figures().inFlight, f.figures().ready], [1, 0, 0]);
    f.assertRebuilt();
  });

  it("says where the message came from, why it is here, and who had it last", () => {
    const { f, t, g } = opened(1);
    f.send(t);
    f.send(t, { id: "poison", body: "bad", tag: "a" });
    f.receive(t, g, { clientId: "client-9" });
    f.pass(10_000);
    const dead = deadLetters(f).find(({ id }) => id === "poison");
    assert.equal(dead?.body, "bad");
    assert.equal(dead?.attempt, 1, "attempts count anew for who reads the dead letters");
    assert.deepEqual(dead?.deadLetter, {
      topic: "ns/orders",
      messageId: "poison",
      queueId: 0,
      offset: 1,
      attempts: 1,
      reason: "attempts exhausted",
      lastHolder: "client-9",
      deadMs: f.wallMs,
    });
  });

  it("copies no body", () => {
    const { f, t, g } = opened(1);
    f.send(t, { body: "x".repeat(100_000) });
    f.receive(t, g);
    const before = f.log.endPosition;
    f.pass(10_000);
    assert.ok(f.log.endPosition - before < 1_000);
  });

  it("carries a message that lies too far back to be pointed at, and so outlives its segment", () => {
    const { f, t, g } = opened(1);
    f.send(t, { id: "poison", body: "bad" });
    f.receive(t, g);
    f.log.youngPosition = f.log.endPosition;
    f.pass(10_000);
    const [again] = deadLetters(f);
    assert.deepEqual([again?.id, again?.body, again?.deadLetter?.offset], ["poison", "bad", 0]);
    f.log.youngPosition = f.log.endPosition;
    // A reader of the dead letters lets it die as well: that one carries it on.
    const reader = f.group("ns/second-reader", { attemptsMax: 1 });
    f.receive(f.topic(deadTopic, { incarnation: 7 }), reader);
    const begin = f.log.endPosition;
    f.base = f.state.baseImage(begin);
    f.log.youngPosition = begin;
    f.pass(10_000);
    f.state.trimLog(begin, TrimReason.Age, f.now);
    f.sync();
    f.log.removeBelow(begin);
    assert.equal(f.log.begin, begin, "nothing points back");
    const [last] = f.receive(f.topic("ns/%DLQ%second-reader", { incarnation: 7 }), f.group("ns/third-reader"));
    assert.deepEqual([last?.id, last?.body, last?.deadLetter?.topic], ["poison", "bad", deadTopic]);
    assert.deepEqual(deadLetters(f), [], "the one before is gone with its record");
    f.assertRebuilt();
  });

  it("comes with the nack of the last attempt: at once, or when its delay is over", () => {
    const { f, t, g } = opened(1);
    f.sendMany(t, 2);
    const [first, second] = f.receive(t, g);
    f.change(g, first!.receipt, ChangeKind.Renew, 0);
    assert.equal(f.figures().deadLetters, 1);
    f.change(g, second!.receipt, ChangeKind.Renew, 5_000);
    f.pass(4_999);
    assert.equal(f.figures().deadLetters, 1);
    f.pass(1);
    assert.equal(f.figures().deadLetters, 2);
  });

  it("voids the receipt of what lies in it", () => {
    const { f, t, g } = opened(1);
    f.send(t);
    const [got] = f.receive(t, g);
    f.pass(10_000);
    assert.match(f.ack(g, got!.receipt).message, /dead-letter queue/);
    assert.match(f.change(g, got!.receipt, ChangeKind.Extend, 1).message, /dead-letter queue/);
  });

  it("never takes anything of a group without a limit", () => {
    const { f, t, g } = opened(0);
    f.send(t);
    for (let i = 0; i < 50; i++) {
      assert.equal(f.receive(t, g).length, 1);
      f.pass(10_000);
    }
    assert.equal(f.figures().deadLetters, 0);
  });

  it("takes, at the next receive, what a tightened policy no longer allows", () => {
    const { f, t, g } = opened(5);
    f.sendMany(t, 40);
    for (let i = 0; i < 3; i++) {
      f.receive(t, g);
      f.receive(t, g);
      f.pass(10_000);
    }
    f.group("ns/billing", { attemptsMax: 2, generation: 2 });
    f.send(t, { id: "young" });
    assert.deepEqual(
      f.receive(t, g).map(({ id }) => id),
      ["young"],
    );
    assert.equal(f.figures().deadLetters, 40);
    f.assertRebuilt();
  });

  it("does what it did not come to before the crash", () => {
    const { f, t, g } = opened(1);
    f.send(t, { id: "poison" });
    f.receive(t, g);
    f.monotonicMs += 10_000;
    f.wallMs += 10_000;
    f.crash("kill");
    f.sync();
    assert.equal(f.figures().deadLetters, 1);
    assert.equal(deadLetters(f)[0]?.id, "poison");
  });

  it("holds a message once, whatever part of the move a power cut took", () => {
    const { f, t, g } = opened(1);
    f.send(t, { id: "poison" });
    f.receive(t, g);
    f.isAutoSync = false;
    f.pass(10_000);
    f.crash("power");
    f.isAutoSync = true;
    f.advance();
    assert.equal(f.figures().deadLetters, 1);
    assert.deepEqual(
      deadLetters(f).map(({ id }) => id),
      ["poison"],
    );
  });

  it("is adopted, not emptied, by the first opening that knows its incarnation", () => {
    const { f, t, g } = opened(1);
    f.send(t);
    f.receive(t, g);
    f.pass(10_000);
    const id = f.topic(deadTopic, { incarnation: 7 });
    assert.equal(f.topic(deadTopic, { incarnation: 7 }), id);
    assert.equal(f.state.topics().find(({ name }) => name === deadTopic)?.messages, 1);
    assert.notEqual(f.topic(deadTopic, { incarnation: 8 }), id, "deleted and created again: a new one");
    assert.equal(f.state.topics().find(({ name }) => name === deadTopic)?.messages, 0);
  });

  it("can itself be consumed to death: the second move points at the message too", () => {
    const { f, t, g } = opened(1);
    f.send(t, { id: "poison", body: "bad" });
    f.receive(t, g);
    f.pass(10_000);
    const d = f.topic(deadTopic, { incarnation: 7 });
    const reader = f.group("ns/reader", { attemptsMax: 1 });
    assert.equal(f.receive(d, reader).length, 1);
    f.pass(10_000);
    const [twice] = f.receive(f.topic("ns/%DLQ%reader", { incarnation: 3 }), f.group("ns/last"));
    assert.deepEqual([twice?.id, twice?.body, twice?.deadLetter?.topic], ["poison", "bad", deadTopic]);
    f.assertRebuilt();
  });

  it("is filtered by the tag of the message", () => {
    const { f, t, g } = opened(1);
    f.send(t, { tag: "a" });
    f.send(t, { tag: "b" });
    f.receive(t, g);
    f.pass(10_000);
    const got = f.receive(f.topic(deadTopic, { incarnation: 7 }), f.group("ns/reader"), { filter: "b" });
    assert.deepEqual(
      got.map(({ id }) => id),
      ["m2"],
    );
  });

  it("waits in the group while the log takes nothing, and is not handed out instead", () => {
    const { f, t, g } = opened(1);
    f.send(t, { id: "poison" });
    f.receive(t, g);
    f.log.isFull = true;
    f.pass(10_000);
    assert.deepEqual([f.figures().deadLetters, f.figures().ready], [0, 1]);
    f.log.isFull = false;
    assert.deepEqual(f.receive(t, g), []);
    assert.equal(f.figures().deadLetters, 1);
    f.assertRebuilt();
  });

  describe("when the consumer forwards a message", () => {
    it("takes it at once, with the reason and the attempts made so far", () => {
      const { f, t, g } = opened(16);
      f.send(t, { id: "poison" });
      const [held] = f.receive(t, g, { clientId: "client-1" });
      assert.equal(f.deadLetter(g, held!.receipt).code, Code.Ok);
      f.pass(100_000);
      assert.deepEqual(f.receive(t, g), []);
      assert.deepEqual([f.figures().deadLetters, f.figures().inFlight], [1, 0]);
      const [dead] = deadLetters(f);
      assert.deepEqual(
        [dead?.id, dead?.deadLetter?.reason, dead?.deadLetter?.attempts, dead?.deadLetter?.lastHolder],
        ["poison", "forwarded by the consumer", 1, "client-1"],
      );
      f.assertRebuilt();
    });

    it("says OK again without another record, to the receipt that forwarded or acked it and to no other", () => {
      const { f, t, g } = opened(16);
      f.sendMany(t, 2);
      const [first, second] = f.receive(t, g);
      f.deadLetter(g, first!.receipt);
      f.ack(g, second!.receipt);
      const records = f.log.recordCount;
      assert.equal(f.deadLetter(g, first!.receipt).code, Code.Ok);
      assert.equal(f.deadLetter(g, second!.receipt).code, Code.Ok);
      assert.equal(f.log.recordCount, records);
      assert.equal(f.ack(g, first!.receipt).code, Code.InvalidReceiptHandle, "an ack would not be true");
    });

    it("refuses a lease that is over and the receipt of another group, and moves nothing", () => {
      const { f, t, g } = opened(16);
      f.send(t);
      const [old] = f.receive(t, g);
      f.pass(10_000);
      assert.equal(f.deadLetter(g, old!.receipt).code, Code.InvalidReceiptHandle);
      const [held] = f.receive(t, g);
      assert.equal(f.deadLetter(f.group("ns/other"), held!.receipt).code, Code.InvalidReceiptHandle);
      assert.equal(f.log.countOf(RecordType.DeadLetter), 0);
      f.deadLetter(g, held!.receipt);
      assert.equal(f.deadLetter(g, old!.receipt).code, Code.InvalidReceiptHandle, "another lease forwarded it");
    });

    it("makes room in a full group: who waits is served", () => {
      const f = new BrokerFixture();
      const t = f.topic();
      const g = f.group("ns/billing", { inflightMax: 1 });
      const first = f.ask(t, g, { batch: 1, waitMs: 20_000 });
      const second = f.ask(t, g, { batch: 1, waitMs: 20_000 });
      f.sendMany(t, 2);
      const [held] = f.got(first.ticket);
      assert.equal(f.answers.has(second.ticket), false, "the group is at its limit");
      f.deadLetter(g, held!.receipt);
      assert.equal(f.got(second.ticket).length, 1);
    });
  });
});
