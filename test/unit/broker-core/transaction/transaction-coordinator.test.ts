import assert from "node:assert/strict";
import type { BrokerStateOptions } from "../../../../broker-core/broker-state.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { readDeadLetterRecord } from "../../../../broker-core/record/dead-letter-record.ts";
import { checksPerWindowMax, checkWindowMs } from "../../../../broker-core/transaction/check-pace.ts";
import { rebootGraceMs } from "../../../../broker-core/transaction/transaction-clock.ts";
import { type CheckPolicy, defaultCheckPolicy } from "../../../../broker-core/transaction/transaction-coordinator.ts";
import { Code } from "../../../../proto/code.ts";
import { receiptBrokerName } from "../../../../proto/receipt-handle.ts";
import { BrokerFixture, messageBytes, transactional } from "../../../support/broker-fixture.ts";

const topicName = "ns/orders";
const { firstCheckMs, checkIntervalMs, checksMax, ageMsMax } = defaultCheckPolicy;

function opened(options: Partial<BrokerStateOptions> = {}, topic: { queueCount?: number } = {}) {
  const f = new BrokerFixture({ groupStart: "beginning", ...options });
  const t = f.topic(topicName, topic);
  const g = f.group();
  f.receive(t, g);
  const ids = () => f.receive(t, g, { invisibleMs: 43_200_000 }).map(({ id }) => id);
  return { f, t, g, ids };
}

function codeOf(ended: { ok: true } | { ok: false; code: Code; message: string }): Code {
  if (ended.ok) return Code.Ok;
  assert.notEqual(ended.message, "");
  return ended.code;
}

describe("a half message", () => {
  it("is seen by nobody, takes no offset, and counts as an open transaction", () => {
    const { f, t, ids } = opened();
    f.sendHalf(t);
    assert.deepEqual(ids(), []);
    assert.equal(f.openCount(), 1);
    assert.deepEqual(f.state.openTransactions(), [{ topic: topicName, count: 1 }]);
    assert.deepEqual([f.figures().ready, f.state.topics()[0]?.messages], [0, 0]);
    f.send(t, { id: "plain" });
    assert.deepEqual(ids(), ["plain"]);
    f.assertRebuilt();
  });

  it("is refused together with others, with a message group, with a delivery time, and where the topic takes none", () => {
    const { f, t } = opened();
    const send = (topicId: number, ...messages: Buffer[]) =>
      f.state.send({ topicId, laneMark: "", bornHost: "", messages }, f.now);
    const half = messageBytes({ type: transactional });
    const two = send(t, half, half);
    assert.equal(codeOf(two), Code.BadRequest);
    assert.equal(codeOf(send(t, messageBytes({}), half)), Code.BadRequest);
    const grouped = send(t, messageBytes({ type: transactional, group: "g" }));
    assert.equal(codeOf(grouped), Code.MessagePropertyConflictWithType);
    const normal = f.topic("ns/normal", { messageTypes: 0b10 });
    assert.equal(codeOf(send(normal, half)), Code.MessagePropertyConflictWithType);
    assert.equal(f.log.countOf(RecordType.HalfMessage), 0);
  });

  it("is refused while the disk has no room for messages, and leaves no trace", () => {
    const { f, t } = opened();
    f.log.isFull = true;
    const call = { topicId: t, laneMark: "", bornHost: "", messages: [messageBytes({ type: transactional })] };
    assert.equal(codeOf(f.state.send(call, f.now)), Code.TooManyRequests);
    f.log.isFull = false;
    assert.equal(f.openCount(), 0);
    f.endOk(f.sendHalf(t), "COMMIT");
  });
});

describe("a commit", () => {
  it("makes the message visible once it is durable, with all it was sent with", () => {
    const { f, t, g } = opened({}, { queueCount: 2 });
    const id = f.sendHalf(t, { id: "half", body: "paid", tag: "red" });
    f.pass(1_234);
    f.isAutoSync = false;
    f.endOk(id, "COMMIT");
    assert.deepEqual(f.receive(t, g), [], "the commit is not on disk");
    f.sync();
    const [got] = f.receive(t, g, { filter: "red" });
    assert.deepEqual(
      [got?.id, got?.body, got?.offset, got?.attempt, got?.bornHost, got?.laneMark, got?.storeMs],
      ["half", "paid", 0, 1, "10.0.0.1:1", "gray", f.wallMs],
    );
    assert.equal(f.openCount(), 0);
  });

  it("takes its place in the queue when it comes, and waits for its own record", () => {
    const { f, t, ids } = opened();
    const id = f.sendHalf(t, { id: "half" });
    f.send(t, { id: "later" });
    const ended = f.end(id, "COMMIT");
    assert.ok(ended.ok);
    assert.equal(f.log.read(ended.position).type, RecordType.Commit);
    assert.deepEqual(ids(), ["later", "half"]);
  });

  it("is not copied while the half message is young", () => {
    const { f, t } = opened();
    const id = f.sendHalf(t, { body: "x".repeat(100_000) });
    const before = f.log.endPosition;
    f.endOk(id, "COMMIT");
    assert.ok(f.log.endPosition - before < 200);
  });

  it("carries the message where the half message lies in an old segment", () => {
    const { f, t, ids } = opened();
    const id = f.sendHalf(t, { id: "old" });
    f.log.youngPosition = f.log.endPosition;
    f.endOk(id, "COMMIT");
    for (const { position, type } of f.log.records()) {
      if (type === RecordType.HalfMessage) f.log.damaged.add(position);
    }
    assert.deepEqual(ids(), ["old"]);
  });

  it("repeated, also after a crash, is answered OK, waits for the disk, and stores nothing", () => {
    const { f, t, ids } = opened();
    const id = f.sendHalf(t, { id: "once" });
    f.endOk(id, "COMMIT");
    f.endOk(id, "COMMIT", { isAnswer: true });
    f.crash("power", f.state.snapshot());
    f.isAutoSync = false;
    const last = f.log.endPosition;
    f.send(t, { id: "marks the end of the log" });
    const repeated = f.end(id, "COMMIT");
    assert.ok(repeated.ok && repeated.position >= last);
    f.sync();
    f.isAutoSync = true;
    assert.deepEqual(ids(), ["once", "marks the end of the log"]);
    assert.equal(f.log.countOf(RecordType.Commit), 1);
    f.assertRebuilt();
  });

  it("moves to the dead-letter queue as any message, by a record that points at the half message itself", () => {
    const { f, t } = opened();
    const g = f.group("ns/fragile", { attemptsMax: 1 });
    f.receive(t, g);
    f.endOk(f.sendHalf(t, { id: "poison", body: "bad" }), "COMMIT");
    f.receive(t, g, { invisibleMs: 1_000 });
    f.pass(1_000);
    const dead = f.receive(f.topic("ns/%DLQ%fragile", { incarnation: 7 }), f.group("ns/reader"));
    assert.deepEqual(
      dead.map(({ id, body, deadLetter }) => [id, body, deadLetter?.topic, deadLetter?.messageId]),
      [["poison", "bad", topicName, "poison"]],
    );
    const of = (wanted: RecordType) => [...f.log.records()].find(({ type }) => type === wanted)?.position ?? -1;
    const { body } = f.log.read(of(RecordType.DeadLetter));
    assert.equal(readDeadLetterRecord(body, 0, body.length).messagePosition, of(RecordType.HalfMessage));
    f.assertRebuilt();
  });
});

describe("a rollback", () => {
  it("is written down with its reason, and the message is never seen", () => {
    const { f, t, ids } = opened();
    const id = f.sendHalf(t);
    f.endOk(id, "ROLLBACK");
    f.endOk(id, "ROLLBACK", { isAnswer: true });
    assert.equal(f.log.countOf(RecordType.Rollback), 1);
    assert.deepEqual([ids(), f.openCount()], [[], 0]);
    f.crash("power");
    f.pass(ageMsMax);
    assert.deepEqual([ids(), f.openCount(), f.asked.length], [[], 0, 0]);
    f.assertRebuilt();
  });

  it("cannot be taken back, nor can a commit; the text says what happened", () => {
    const { f, t, ids } = opened();
    const [committed, rolledBack] = [f.sendHalf(t, { id: "c" }), f.sendHalf(t)];
    f.endOk(committed, "COMMIT");
    f.endOk(rolledBack, "ROLLBACK");
    for (const kind of ["power", "kill"] as const) {
      const late = f.end(rolledBack, "COMMIT");
      assert.equal(codeOf(late), Code.BadRequest);
      assert.match(late.ok ? "" : late.message, /rolled back before: its producer said so/);
      const undo = f.end(committed, "ROLLBACK");
      assert.equal(codeOf(undo), Code.BadRequest);
      assert.match(undo.ok ? "" : undo.message, /committed before/);
      f.crash(kind, f.state.snapshot());
    }
    assert.deepEqual(ids(), ["c"]);
  });
});

describe("a transaction id", () => {
  it("names its broker and belongs to one topic", () => {
    const { f, t } = opened();
    const id = f.sendHalf(t);
    assert.equal(receiptBrokerName(id), "broker-a");
    assert.ok(id.length < 128);
    assert.equal(codeOf(f.end(id, "COMMIT", { topic: "ns/other" })), Code.InvalidTransactionId);
    assert.equal(f.openCount(), 1);
  });

  it("that nobody gave out ends nothing", () => {
    const { f, t, g } = opened();
    const id = f.sendHalf(t);
    f.send(t);
    const [delivery] = f.receive(t, g);
    const last = id.slice(-1);
    const wrong = [
      "",
      "nonsense",
      "broker-a.",
      "broker-b.AAAA",
      id.slice(0, -1) + (last === "A" ? "B" : "A"),
      `${id}A`,
      id.replace("broker-a", "broker-b"),
      // A receipt is sealed with the same key.
      delivery!.receipt.toString(),
    ];
    for (const text of wrong) {
      assert.equal(codeOf(f.end(text, "COMMIT")), Code.InvalidTransactionId, text);
      assert.equal(codeOf(f.end(text, "UNKNOWN")), Code.InvalidTransactionId, text);
    }
    assert.equal(f.ack(g, Buffer.from(id)).code, Code.InvalidReceiptHandle, "nor is it a receipt");
    assert.equal(f.openCount(), 1);
  });

  it("ends nothing with a resolution that this version does not know, and keeps waiting on UNKNOWN", () => {
    const { f, t } = opened();
    const id = f.sendHalf(t);
    f.endOk(id, "UNKNOWN");
    const call = { topic: topicName, transactionId: id, resolution: 3, source: 1 };
    assert.equal(codeOf(f.state.endTransaction(call, f.now)), Code.BadRequest);
    assert.equal(f.openCount(), 1);
    f.endOk(id, "COMMIT");
    f.endOk(id, "UNKNOWN");
  });

  it("of a half message that a power cut took is not taken for the next one with its number", () => {
    const { f, t, ids } = opened();
    f.isAutoSync = false;
    const lost = f.sendHalf(t, { id: "lost" });
    f.crash("power");
    assert.equal(codeOf(f.end(lost, "COMMIT")), Code.InvalidTransactionId, "no number is out");
    const next = f.sendHalf(t, { id: "next" });
    f.sync();
    assert.equal(codeOf(f.end(lost, "COMMIT")), Code.InvalidTransactionId, "its number is another's");
    f.endOk(next, "COMMIT");
    f.sync();
    assert.equal(codeOf(f.end(lost, "COMMIT")), Code.InvalidTransactionId, "and was resolved as another's");
    f.isAutoSync = true;
    assert.deepEqual(ids(), ["next"]);
    f.assertRebuilt();
  });

  it("is void when its topic was deleted, and says so", () => {
    const { f, t } = opened();
    const id = f.sendHalf(t);
    const other = f.sendHalf(f.topic("ns/other"));
    f.topic(topicName, { incarnation: 2 });
    assert.equal(codeOf(f.end(id, "COMMIT")), Code.TopicNotFound);
    assert.equal(codeOf(f.end(id, "ROLLBACK")), Code.TopicNotFound);
    f.assertRebuilt();
    f.pass(ageMsMax);
    assert.equal(f.openCount(), 0);
    assert.deepEqual(
      f.givenUp.map(({ topic }) => topic),
      ["ns/other"],
    );
    assert.equal(codeOf(f.end(other, "COMMIT", { topic: "ns/other" })), Code.BadRequest);
  });
});

describe("check-backs", () => {
  it("ask a producer after 6 s, then every 30 s, with the whole message", () => {
    const { f, t } = opened();
    const id = f.sendHalf(t, { id: "half", body: "paid" });
    f.producerCame();
    const stored = f.wallMs;
    f.pass(firstCheckMs - 1);
    assert.equal(f.asked.length, 0);
    f.pass(1);
    for (let checks = 2; checks <= 4; checks++) {
      f.pass(checkIntervalMs - 1);
      assert.equal(f.asked.length, checks - 1);
      f.pass(1);
    }
    assert.deepEqual(
      f.asked.map(({ checks }) => checks),
      [1, 2, 3, 4],
    );
    for (const asked of f.asked) {
      assert.deepEqual(
        { ...asked, checks: 0, position: 0 },
        {
          ...{ topic: topicName, transactionId: id, storeMs: stored, bornHost: "10.0.0.1:1", laneMark: "gray" },
          ...{ message: messageBytes({ id: "half", body: "paid", type: transactional }), checks: 0, position: 0 },
        },
      );
    }
    f.assertRebuilt();
    f.endOk(f.asked[0]!.transactionId, "COMMIT", { isAnswer: true });
    f.pass(10 * checkIntervalMs);
    assert.equal(f.asked.length, 4);
  });

  it("wait at first as long as the message asks for", () => {
    const { f, t } = opened();
    f.producerCame();
    f.sendHalf(t, { id: "patient", recoveryMs: 60_500 });
    f.sendHalf(t, { id: "hasty", recoveryMs: 1_500 });
    f.pass(1_500);
    assert.equal(f.asked.length, 1);
    f.pass(58_999);
    assert.equal(f.asked.filter(({ message }) => message.includes("patient")).length, 0);
    f.pass(1);
    assert.equal(f.asked.filter(({ message }) => message.includes("patient")).length, 1);
  });

  it("end after the maximum: rolled back with a record, told once, and a late commit is refused", () => {
    const { f, t, ids } = opened();
    const id = f.sendHalf(t, { id: "orphan" });
    f.producerCame();
    f.pass(firstCheckMs);
    for (let i = 1; i < checksMax; i++) f.pass(checkIntervalMs);
    assert.equal(f.asked.length, checksMax);
    assert.equal(f.log.countOf(RecordType.Rollback), 0, "the last one asked may still answer");
    f.pass(checkIntervalMs);
    assert.equal(f.log.countOf(RecordType.Rollback), 1);
    assert.deepEqual(f.givenUp, [
      { topic: topicName, messageId: "orphan", checks: checksMax, reason: "checks exhausted" },
    ]);
    const late = f.end(id, "COMMIT");
    assert.equal(codeOf(late), Code.BadRequest);
    assert.match(late.ok ? "" : late.message, /as often as is allowed/);
    f.endOk(id, "ROLLBACK");
    assert.deepEqual([ids(), f.openCount(), f.asked.length], [[], 0, checksMax]);
    f.assertRebuilt();
  });

  it("are counted over crashes, reboots and snapshots", () => {
    const { f, t } = opened();
    f.sendHalf(t);
    f.producerCame();
    f.pass(firstCheckMs);
    for (let i = 1; i < checksMax; i++) {
      if (i % 3 === 0) f.crash("kill", f.state.snapshot());
      else if (i % 3 === 1) f.crash("power");
      else {
        f.bootId = `boot-${i}`;
        f.monotonicMs = 0;
        f.crash("power", i % 2 === 0 ? f.state.snapshot() : undefined);
      }
      f.pass(checkIntervalMs);
    }
    assert.deepEqual(
      f.asked.map(({ checks }) => checks),
      Array.from({ length: checksMax }, (_, i) => i + 1),
    );
    f.pass(checkIntervalMs);
    assert.deepEqual(
      f.givenUp.map(({ checks }) => checks),
      [checksMax],
    );
  });

  it("do not count while nobody can be asked; who comes back is asked at once", () => {
    const { f, t, ids } = opened();
    const id = f.sendHalf(t, { id: "patient" });
    for (let i = 0; i < 3 * checksMax; i++) f.pass(checkIntervalMs);
    assert.equal(f.log.countOf(RecordType.CheckBack), 0);
    f.assertRebuilt();
    f.pass(1_000);
    f.producerCame("ns/another");
    assert.equal(f.asked.length, 0);
    f.producerCame();
    assert.deepEqual(
      f.asked.map(({ checks }) => checks),
      [1],
    );
    f.endOk(id, "COMMIT", { isAnswer: true });
    assert.deepEqual(ids(), ["patient"]);
  });

  it("or not, a transaction ends by its age, with a record", () => {
    const { f, t } = opened();
    const id = f.sendHalf(t, { id: "forgotten" });
    f.pass(ageMsMax - 1);
    assert.equal(f.openCount(), 1);
    f.pass(1);
    assert.deepEqual(f.givenUp, [{ topic: topicName, messageId: "forgotten", checks: 0, reason: "too old" }]);
    assert.match(JSON.stringify(f.end(id, "COMMIT")), /open for longer than is allowed/);
    f.assertRebuilt();
  });

  it("a clock that jumps ages nothing within a boot, and not at once after a reboot", () => {
    const { f, t } = opened();
    f.sendHalf(t);
    f.wallMs += 10 * 365 * 86_400_000;
    f.pass(checkIntervalMs);
    f.crash("kill");
    f.pass(checkIntervalMs);
    assert.equal(f.openCount(), 1);
    f.bootId = "boot-2";
    f.monotonicMs = 1_000;
    f.wallMs += 10 * 365 * 86_400_000;
    f.crash("power", f.state.snapshot());
    f.pass(rebootGraceMs - 1);
    assert.equal(f.openCount(), 1, "its producers have time to come back");
    f.pass(checkIntervalMs);
    assert.equal(f.openCount(), 0);
  });

  it("never speak of a half message whose producer was not told yet that it is stored", () => {
    const { f, t } = opened();
    f.producerCame();
    f.isAutoSync = false;
    f.sendHalf(t, { recoveryMs: 1 });
    f.pass(60_000);
    assert.equal(f.asked.length, 0);
    f.sync();
    f.advance();
    assert.equal(f.asked.length, 1);
  });

  it("of a million orphans go out no faster than a thousand a second, none forgotten", () => {
    const { f, t } = opened();
    f.producerCame();
    const total = 3 * checksPerWindowMax + 7;
    for (let i = 0; i < total; i++) f.sendHalf(t);
    f.pass(firstCheckMs);
    assert.equal(f.asked.length, checksPerWindowMax);
    f.pass(checkWindowMs);
    assert.equal(f.asked.length, 2 * checksPerWindowMax);
    for (let i = 0; i < 2; i++) f.pass(checkWindowMs);
    assert.equal(new Set(f.asked.map(({ transactionId }) => transactionId)).size, total);
  });

  it("go on when the log takes nothing for a while", () => {
    const { f, t } = opened();
    f.sendHalf(t);
    f.producerCame();
    f.log.isFull = true;
    f.pass(firstCheckMs);
    assert.equal(f.asked.length, 0);
    f.log.isFull = false;
    f.pass(1_000);
    assert.deepEqual(
      f.asked.map(({ checks }) => checks),
      [1],
    );
  });

  it("follow another policy after a restart", () => {
    const policy: CheckPolicy = { firstCheckMs: 100, checkIntervalMs: 200, checksMax: 2, ageMsMax: 5_000 };
    const { f, t } = opened({ checkPolicy: policy });
    f.sendHalf(t, { id: "a" });
    f.producerCame();
    f.pass(100);
    f.pass(200);
    f.pass(200);
    assert.deepEqual(
      f.givenUp.map(({ messageId, checks }) => [messageId, checks]),
      [["a", 2]],
    );
  });
});

describe("a segment that is about to go", () => {
  it("gives its waiting half messages to the end of the log; nothing else about them changes", () => {
    const { f, t, ids } = opened();
    const first = f.sendHalf(t, { id: "first", body: "x".repeat(1_000) });
    f.endOk(f.sendHalf(t, { id: "committed" }), "COMMIT");
    const limit = f.log.endPosition;
    const second = f.sendHalf(t, { id: "second" });
    f.producerCame();
    f.pass(firstCheckMs);
    const carried = f.state.carryBefore(limit, f.now);
    f.sync();
    assert.equal(f.log.countOf(RecordType.Carry), 1);
    assert.deepEqual([f.log.read(carried.position).type, carried.isFinished], [RecordType.Carry, true]);
    assert.deepEqual(f.state.carryBefore(limit, f.now), { position: -1, isFinished: true });
    for (const { position } of f.log.records()) if (position < limit) f.log.damaged.add(position);
    f.pass(checkIntervalMs);
    assert.deepEqual(
      f.asked.map(({ transactionId, checks }) => [transactionId === first ? "first" : "second", checks]),
      [
        ["first", 1],
        ["second", 1],
        ["first", 2],
        ["second", 2],
      ],
    );
    f.endOk(first, "COMMIT");
    f.endOk(second, "ROLLBACK");
    f.log.damaged.clear();
    assert.deepEqual(ids(), ["committed", "first"]);
    f.assertRebuilt();
  });

  it("is emptied a few megabytes at a time", () => {
    const { f, t } = opened();
    for (let i = 0; i < 5; i++) f.sendHalf(t, { body: "x".repeat(3 * 1024 * 1024) });
    const limit = f.log.endPosition;
    const calls = Array.from({ length: 3 }, () => f.state.carryBefore(limit, f.now).isFinished);
    assert.deepEqual(calls, [false, false, true]);
    assert.equal(f.log.countOf(RecordType.Carry), 5);
    f.sync();
    f.assertRebuilt();
  });

  it("goes with what is damaged in it; the rest is saved", () => {
    const { f, t, ids } = opened();
    const damaged = f.sendHalf(t);
    f.log.damaged.add([...f.log.records()].find(({ type }) => type === RecordType.HalfMessage)!.position);
    const sound = f.sendHalf(t, { id: "sound" });
    assert.equal(f.state.carryBefore(f.log.endPosition, f.now).isFinished, true);
    f.sync();
    assert.equal(f.log.countOf(RecordType.Carry), 1);
    f.endOk(sound, "COMMIT");
    f.endOk(damaged, "ROLLBACK");
    assert.deepEqual(ids(), ["sound"]);
  });
});
