import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture, messageBytes } from "../../../support/broker-fixture.ts";

const hour = 3_600_000;
const day = 24 * hour;

function opened(options: { queueCount?: number; messageTypes?: number } = {}) {
  const f = new BrokerFixture({ groupStart: "beginning" });
  const t = f.topic("ns/orders", options);
  const g = f.group();
  const ids = () => f.receive(t, g).map(({ id }) => id);
  const send = (...messages: Buffer[]) => f.state.send({ topicId: t, laneMark: "", bornHost: "h", messages }, f.now);
  return { f, t, g, ids, send };
}

describe("timed messages", () => {
  it("are in no queue before their time, and in one when it has come, to the millisecond", () => {
    const { f, t, ids } = opened();
    f.sendTimed(t, f.wallMs + 60_000, { id: "later" });
    const figures = () => f.state.topics().find(({ id }) => id === t);
    assert.deepEqual([figures()?.messages, figures()?.delayed], [0, 1]);
    assert.deepEqual(f.state.delayedMessages(), [{ topic: "ns/orders", count: 1 }]);
    f.pass(59_999);
    assert.deepEqual(ids(), []);
    f.pass(1);
    assert.deepEqual(ids(), ["later"]);
    assert.deepEqual([figures()?.messages, figures()?.delayed], [1, 0]);
    assert.deepEqual(f.state.delayedMessages(), []);
  });

  it("tell how large a base image is at least, before one is made", () => {
    const { f, t } = opened();
    const before = f.state.baseBytesMin;
    for (let i = 0; i < 100; i++) f.sendTimed(t, f.wallMs + 60_000);
    const { baseBytesMin, appliedPosition } = f.state;
    assert.ok(
      baseBytesMin >= before + 2_000 && baseBytesMin <= f.state.baseImage(appliedPosition).length,
      `${baseBytesMin}`,
    );
  });

  it("come with their delivery time, their lane mark, and the place and time of their release", () => {
    const { f, t, g } = opened({ queueCount: 4 });
    f.send(t, { id: "before" });
    const dueMs = f.wallMs + 5_000;
    f.sendTimed(t, dueMs, { id: "later", body: "a body", tag: "a", laneMark: "canary" });
    f.pass(5_007);
    const [got] = f.receive(t, g, { filter: "a" });
    const { id, body, laneMark, bornHost, attempt, storeMs } = got!;
    assert.deepEqual(
      { id, body, laneMark, bornHost, attempt, storeMs, due: got?.dueMs, place: [got?.queueId, got?.offset] },
      {
        ...{ id: "later", body: "a body", laneMark: "canary", bornHost: "10.0.0.1:1", attempt: 1 },
        ...{ storeMs: dueMs + 7, due: dueMs, place: [1, 0] },
      },
    );
    assert.equal(f.ack(g, got!.receipt).code, Code.Ok);
    assert.deepEqual(f.receive(t, g, { filter: "a" }), []);
  });

  it("are never early by a part of a millisecond", () => {
    const { f, t, ids } = opened();
    f.sendTimed(t, f.wallMs + 10.25, { id: "later" });
    f.pass(10);
    assert.deepEqual(ids(), []);
    f.pass(1);
    assert.deepEqual(ids(), ["later"]);
  });

  it("become due in the order of their times, and of their sending where the times are equal", () => {
    const { f, t, ids } = opened();
    const at = (ms: number, id: string) => f.sendTimed(t, f.wallMs + ms, { id });
    at(300, "d");
    at(100, "a");
    at(200, "b");
    at(200, "c");
    f.pass(1_000);
    assert.deepEqual(ids(), ["a", "b", "c", "d"]);
  });

  it("take the queue of their message group", () => {
    const { f, t, g } = opened({ queueCount: 8 });
    for (let i = 0; i < 20; i++) f.sendTimed(t, f.wallMs + 10 + i, { id: `m${i}`, group: `user-${i % 5}` });
    for (let i = 0; i < 5; i++) f.send(t, { id: `n${i}`, group: `user-${i}` });
    f.pass(100);
    const queueOf = new Map<string, number>();
    // On a topic that takes FIFO messages, one of each group is in flight at a time.
    for (let got = f.receive(t, g); got.length > 0; got = f.receive(t, g)) {
      for (const { id, queueId, receipt } of got) {
        queueOf.set(id, queueId);
        f.ack(g, receipt);
      }
    }
    assert.equal(queueOf.size, 25);
    for (let i = 0; i < 20; i++) assert.equal(queueOf.get(`m${i}`), queueOf.get(`n${i % 5}`));
  });

  it("are stored as any other message when their time is over already", () => {
    const { f, t, ids, send } = opened();
    const sent = send(messageBytes({ id: "past", dueMs: f.wallMs }));
    assert.ok(sent.ok);
    assert.equal(sent.recallHandles, undefined);
    assert.equal(f.log.countOf(RecordType.TimedMessage), 0);
    f.sync();
    assert.deepEqual(ids(), ["past"]);
    f.sendTimed(t, -5_000, { id: "long past" });
    assert.deepEqual(ids(), ["long past"]);
  });

  it("may be 40 days ahead, and not more", () => {
    const { f, t, ids, send } = opened();
    const tooFar = send(messageBytes({ dueMs: f.wallMs + 40 * day + 1 }));
    assert.equal(!tooFar.ok && tooFar.code, Code.IllegalDeliveryTime);
    assert.match(tooFar.ok ? "" : tooFar.message, /40 days/);
    const farthest = send(messageBytes({ dueMs: 253_402_300_800_000 }));
    assert.equal(!farthest.ok && farthest.code, Code.IllegalDeliveryTime);
    f.sendTimed(t, f.wallMs + 40 * day, { id: "far" });
    f.pass(40 * day - 1);
    assert.deepEqual(ids(), []);
    f.pass(1);
    assert.deepEqual(ids(), ["far"]);
  });

  it("are refused where lite topics are, and where only priorities count", () => {
    for (const [messageTypes, parts] of [
      [1 << 5, { type: 5, lite: "a" }],
      [1 << 6, { type: 6, priority: 1 }],
    ] as const) {
      const { f, send } = opened({ messageTypes, queueCount: 4 });
      const sent = send(messageBytes({ ...parts, dueMs: f.wallMs + 1_000 }));
      assert.equal(!sent.ok && sent.code, Code.MessagePropertyConflictWithType);
    }
  });

  it("are refused beyond what the broker was told to allow", () => {
    const f = new BrokerFixture({ delayMsMax: hour });
    const t = f.topic();
    const messages = [messageBytes({ dueMs: f.wallMs + hour + 1 })];
    const sent = f.state.send({ topicId: t, laneMark: "", bornHost: "", messages }, f.now);
    assert.match(sent.ok ? "" : sent.message, /3600 seconds/);
  });

  it("of one send wait together; a message without a time among them refuses all", () => {
    const { f, ids, send } = opened();
    const mixed = send(messageBytes({ dueMs: f.wallMs + 1 }), messageBytes({ id: "now" }));
    assert.equal(!mixed.ok && mixed.code, Code.BadRequest);
    const sent = send(
      messageBytes({ id: "past", dueMs: f.wallMs - 1 }),
      messageBytes({ id: "b", dueMs: f.wallMs + 9 }),
    );
    assert.ok(sent.ok);
    assert.equal(sent.recallHandles?.length, 2);
    assert.equal(new Set(sent.recallHandles).size, 2);
    f.sync();
    f.advance();
    assert.deepEqual(ids(), ["past"]);
    f.pass(9);
    assert.deepEqual(ids(), ["b"]);
  });

  it("that are due before they are written come as soon as they are, and hold the clock up until then", () => {
    const { f, t, ids } = opened();
    f.sendTimed(t, f.wallMs + 20, { id: "written" });
    f.isAutoSync = false;
    f.sendTimed(t, f.wallMs + 1, { id: "quick" });
    f.pass(1);
    assert.deepEqual(ids(), [], "it cannot be read yet");
    assert.ok(f.state.nextTimerMs() <= f.monotonicMs + 1, "looked at again at once");
    f.log.write();
    f.advance();
    f.sync();
    assert.deepEqual(ids(), ["quick"]);
    f.isAutoSync = true;
    f.pass(19);
    assert.deepEqual(ids(), ["written"]);
    f.assertRebuilt();
  });

  it("that were just carried are recalled and released once they are written", () => {
    const { f, t, ids } = opened();
    const handle = f.sendTimed(t, f.wallMs + 100, { id: "taken back" });
    f.sendTimed(t, f.wallMs + 100, { id: "stays" });
    f.isAutoSync = false;
    assert.equal(f.state.carryBefore(f.log.endPosition, f.now).isFinished, true);
    assert.ok(f.recall(t, handle).ok);
    f.pass(100);
    assert.deepEqual(ids(), []);
    f.log.write();
    f.advance();
    f.sync();
    assert.deepEqual(ids(), ["stays"]);
  });

  it("of one send are stored all or not at all, also when the log fills up or the power goes in between", () => {
    const { f, t, g, send } = opened();
    const three = (name: string) =>
      send(...[1, 2, 3].map((i) => messageBytes({ id: name + i, dueMs: f.wallMs + 1_000 })));
    const append = f.log.append.bind(f.log);
    let left = 2;
    f.log.append = (type, length, fill) => {
      if (left-- === 0) f.log.isFull = true;
      return append(type, length, fill);
    };
    const refused = three("a");
    assert.equal(!refused.ok && refused.code, Code.TooManyRequests);
    assert.equal(f.log.countOf(RecordType.TimedMessage), 2);
    f.log.isFull = false;
    f.sync();
    f.assertRebuilt();
    assert.equal(f.state.topics()[0]?.delayed, 0);
    assert.ok(three("b").ok);
    f.sync();
    assert.equal(f.state.topics()[0]?.delayed, 3);
    f.crash("power");
    f.pass(1_000);
    f.sync();
    assert.deepEqual(
      f.receive(t, g).map(({ id }) => id),
      ["b1", "b2", "b3"],
    );
  });

  it("wake who waits for them", () => {
    const { f, t, g } = opened();
    f.sendTimed(t, f.wallMs + 3_000, { id: "awaited" });
    const { ticket } = f.ask(t, g, { waitMs: 20_000 });
    f.pass(2_999);
    assert.equal(f.answers.has(ticket), false);
    f.pass(1);
    assert.deepEqual(
      f.got(ticket).map(({ id }) => id),
      ["awaited"],
    );
  });

  it("are visible only when their release is durable", () => {
    const { f, t, ids } = opened();
    f.isAutoSync = false;
    f.sendTimed(t, f.wallMs + 10, { id: "later" });
    f.sync();
    f.pass(10);
    assert.deepEqual(ids(), []);
    f.sync();
    assert.deepEqual(ids(), ["later"]);
  });

  it("are released a part at a time, so that a million due at once hold up nobody", () => {
    const { f, t, g } = opened();
    for (let i = 0; i < 1_000; i++) f.sendTimed(t, f.wallMs + 10, { id: `m${i}` });
    f.monotonicMs += 10;
    f.wallMs += 10;
    f.state.advance(f.now);
    const released = f.log.countOf(RecordType.Due);
    assert.ok(released >= 100 && released <= 500, `${released} in one turn`);
    assert.ok(f.state.nextTimerMs() <= f.monotonicMs, "goes on at once");
    f.advance();
    assert.equal(f.log.countOf(RecordType.Due), 1_000);
    assert.equal(f.receive(t, g).length, 32);
  });

  it("go on waiting while the disk takes nothing, and come when it does", () => {
    const { f, t, ids } = opened();
    f.sendTimed(t, f.wallMs + 10, { id: "later" });
    f.log.takesReleases = false;
    f.pass(10);
    assert.equal(f.log.countOf(RecordType.Due), 0);
    const retryMs = f.state.nextTimerMs() - f.monotonicMs;
    assert.ok(retryMs > 0 && retryMs <= 250, `looks again after ${retryMs} ms`);
    f.log.isFull = true;
    f.log.takesReleases = true;
    f.pass(20);
    f.log.isFull = false;
    f.pass(20);
    assert.deepEqual(ids(), ["later"]);
  });

  it("are looked at at least four times a second, so that a jump of the clock is noticed", () => {
    const { f, t, ids } = opened();
    assert.equal(f.state.nextTimerMs(), Number.POSITIVE_INFINITY);
    f.sendTimed(t, f.wallMs + hour, { id: "later" });
    f.advance();
    assert.ok(f.state.nextTimerMs() <= f.monotonicMs + 250);
    f.wallMs += hour;
    f.monotonicMs += 250;
    assert.ok(f.state.nextTimerMs() <= f.monotonicMs);
    f.advance();
    assert.deepEqual(ids(), ["later"]);
  });

  it("are not early when the clock is set back, and not lost when it is set far ahead and back", () => {
    const { f, t, ids } = opened();
    f.sendTimed(t, f.wallMs + hour, { id: "a" });
    f.wallMs -= hour;
    f.pass(hour);
    assert.deepEqual(ids(), [], "an hour of the monotonic clock is not the time");
    f.wallMs += 10 * 365 * day;
    f.advance();
    assert.deepEqual(ids(), ["a"]);
    f.sendTimed(t, f.wallMs + 2_000, { id: "b" });
    f.wallMs -= 10 * 365 * day;
    f.sendTimed(t, f.wallMs + 1_000, { id: "c" });
    f.pass(1_000);
    assert.deepEqual(ids(), ["c"]);
    f.wallMs += 10 * 365 * day;
    f.pass(1_000);
    assert.deepEqual(ids(), ["b"]);
  });

  it("end with their topic", () => {
    const { f, t, ids } = opened();
    const handle = f.sendTimed(t, f.wallMs + 10, { id: "gone" });
    const other = f.topic("ns/other");
    f.sendTimed(other, f.wallMs + 10, { id: "kept" });
    const anew = f.topic("ns/orders", { incarnation: 2 });
    f.pass(10);
    assert.deepEqual(ids.length, 0);
    const figures = f.state.topics().map(({ id, messages, delayed }) => [id, messages, delayed]);
    assert.deepEqual(figures, [
      [other, 1, 0],
      [anew, 0, 0],
    ]);
    const recalled = f.recall(anew, handle);
    assert.equal(!recalled.ok && recalled.code, Code.BadRequest);
    f.assertRebuilt();
  });

  it("are moved to the dead-letter queue as any other message, and read there", () => {
    const { f, t } = opened();
    const g = f.group("ns/strict", { attemptsMax: 1 });
    f.sendTimed(t, f.wallMs + 10, { id: "bad", body: "the body" });
    f.pass(10);
    assert.equal(f.receive(t, g, { invisibleMs: 1_000 }).length, 1);
    f.pass(1_000);
    const dead = f.topic("ns/%DLQ%strict", { incarnation: 9 });
    const [got] = f.receive(dead, f.group("ns/reader"));
    assert.deepEqual([got?.id, got?.body, got?.deadLetter?.messageId], ["bad", "the body", "bad"]);
  });

  it("whose bytes are damaged come out without content, and are not passed over", () => {
    const { f, t, g } = opened();
    f.sendTimed(t, f.wallMs + 10, { id: "broken" });
    const [position] = [...f.log.records()]
      .filter(({ type }) => type === RecordType.TimedMessage)
      .map((r) => r.position);
    f.log.damaged.add(position!);
    f.pass(10);
    const { ticket } = f.ask(t, g);
    const answer = f.answers.get(ticket);
    assert.equal(answer?.kind === "batch" && answer.damagedCount, 1);
  });

  describe("over a restart", () => {
    for (const kind of ["kill", "power"] as const) {
      it(`are all there (${kind})`, () => {
        const { f, t, g } = opened();
        for (let i = 0; i < 5; i++) f.sendTimed(t, f.wallMs + 1_000 * (i + 1), { id: `m${i}` });
        f.pass(1_500);
        const image = f.state.snapshot();
        f.pass(1_000);
        f.crash(kind);
        f.pass(1_000);
        f.crash(kind, image);
        f.pass(10_000);
        assert.deepEqual(
          f.receive(t, g).map(({ id }) => id),
          ["m0", "m1", "m2", "m3", "m4"],
        );
        f.assertRebuilt(image);
      });
    }

    it("are released once when the power goes between the release and its sync", () => {
      const { f, t, ids } = opened();
      f.sendTimed(t, f.wallMs + 10, { id: "once" });
      f.isAutoSync = false;
      f.pass(10);
      assert.equal(f.log.countOf(RecordType.Due), 1);
      f.crash("power");
      f.sync();
      assert.deepEqual(ids(), ["once"]);
      f.sync();
      f.crash("power");
      f.advance();
      f.sync();
      assert.equal(f.log.countOf(RecordType.Due), 1);
      assert.deepEqual(ids(), []);
    });

    it("are released at the start when they became due meanwhile", () => {
      const { f, t, ids } = opened();
      f.sendTimed(t, f.wallMs + day, { id: "overdue" });
      f.wallMs += 2 * day;
      f.bootId = "boot-2";
      f.monotonicMs = 3_000;
      f.crash("power");
      f.sync();
      assert.deepEqual(ids(), ["overdue"]);
    });
  });

  describe("when the log drops its oldest part", () => {
    function carryAll(f: BrokerFixture, position: number): number {
      for (let calls = 1; ; calls++) {
        const { isFinished } = f.state.carryBefore(position, f.now);
        f.sync();
        if (isFinished) return calls;
      }
    }

    it("are written again before it, whole, and nothing else is", () => {
      const { f, t, g } = opened();
      const handle = f.sendTimed(t, f.wallMs + hour, { id: "recalled" });
      f.sendTimed(t, f.wallMs + hour, { id: "kept", body: "b", tag: "x", laneMark: "canary" });
      const done = f.sendTimed(t, f.wallMs + 1_000, { id: "done" });
      assert.notEqual(done, "");
      f.pass(1_000);
      for (const { receipt } of f.receive(t, g)) f.ack(g, receipt);
      f.recall(t, handle);
      const end = f.log.endPosition;
      f.sendTimed(t, f.wallMs + hour, { id: "young" });
      f.log.youngPosition = end;
      carryAll(f, end);
      assert.equal(f.log.countOf(RecordType.Carry), 1);
      carryAll(f, end);
      assert.equal(f.log.countOf(RecordType.Carry), 1, "what was carried is not carried again");
      f.assertRebuilt();
      const image = f.state.snapshot();
      f.log.removeBelow(end);
      f.crash("kill", image);
      f.pass(2 * hour);
      f.sync();
      assert.deepEqual(
        f.receive(t, g).map(({ id, body, laneMark, bornHost }) => [id, body, laneMark, bornHost]),
        [
          ["kept", "b", "canary", "10.0.0.1:1"],
          ["young", "body", "", "10.0.0.1:1"],
        ],
      );
    });

    it("are carried a few megabytes at a time, from the oldest on", () => {
      const { f, t } = opened();
      const body = "x".repeat(100_000);
      for (let i = 0; i < 100; i++) f.sendTimed(t, f.wallMs + hour, { id: `m${i}`, body });
      const end = f.log.endPosition;
      const calls = carryAll(f, end);
      assert.ok(calls >= 3 && calls <= 10, `${calls} calls for 10 MB`);
      assert.equal(f.log.countOf(RecordType.Carry), 100);
      const second = f.log.endPosition;
      carryAll(f, second);
      assert.equal(f.log.countOf(RecordType.Carry), 200, "and again when the log moves on");
    });

    it("that cannot be read hold nothing up", () => {
      const { f, t } = opened();
      f.sendTimed(t, f.wallMs + hour, { id: "broken" });
      f.sendTimed(t, f.wallMs + hour, { id: "sound" });
      const [first] = [...f.log.records()].filter(({ type }) => type === RecordType.TimedMessage);
      f.log.damaged.add(first!.position);
      carryAll(f, f.log.endPosition);
      assert.equal(f.log.countOf(RecordType.Carry), 1);
      const records = f.log.recordCount;
      assert.equal(carryAll(f, f.log.endPosition) <= 2, true);
      assert.equal(f.log.recordCount - records <= 1, true);
    });

    it("are carried by their release when they lie in an old segment, so that no reference outlives its target", () => {
      const { f, t, g } = opened();
      f.sendTimed(t, f.wallMs + 1_000, { id: "old", body: "the body", tag: "x", laneMark: "canary" });
      const end = f.log.endPosition;
      f.log.youngPosition = end;
      f.sendTimed(t, f.wallMs + 1_000, { id: "young", tag: "x" });
      f.pass(1_000);
      const image = f.state.snapshot();
      f.log.removeBelow(end);
      f.crash("kill", image);
      assert.deepEqual(
        f.receive(t, g, { filter: "x" }).map(({ id, body, laneMark }) => [id, body, laneMark]),
        [
          ["old", "the body", "canary"],
          ["young", "body", ""],
        ],
      );
    });
  });
});
