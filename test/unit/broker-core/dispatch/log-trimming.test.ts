import assert from "node:assert/strict";
import { TrimReason } from "../../../../broker-core/record/log-trimmed-record.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

describe("A log that begins at a later position", () => {
  /** Ten messages in two queues; the first six lie below `begin`. */
  function stored() {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic("ns/orders", { queueCount: 2 });
    const g = f.group("ns/billing", { attemptsMax: 3 });
    const old = f.sendMany(t, 6);
    const begin = f.log.endPosition;
    f.base = f.state.baseImage(begin);
    const young = f.sendMany(t, 4);
    const trim = () => {
      f.state.trimLog(begin, TrimReason.Age, f.now);
      f.sync();
      f.log.removeBelow(begin);
    };
    return { f, t, g, old, young, begin, trim };
  }

  it("hands out what lies behind it, and offsets stay what they were", () => {
    const { f, t, g, young, begin, trim } = stored();
    trim();
    assert.equal(f.state.logBegin, begin);
    const offsetAt = (policy: "begin" | "end") =>
      f.state.queryOffset({ topicId: t, groupId: g, queueId: 0, policy, value: 0 });
    assert.deepEqual(
      [offsetAt("begin"), offsetAt("end")].map((found) => found.ok && found.offset),
      [3, 5],
    );
    assert.equal(f.state.topics().find(({ name }) => name === "ns/orders")?.messages, 4);
    const got = f.receive(t, g);
    assert.deepEqual(got.map(({ id }) => id).sort(), [...young].sort());
    assert.deepEqual(got.map(({ offset }) => offset).sort(), [3, 3, 4, 4]);
    f.assertRebuilt();
  });

  it("moves groups that are behind, and tells before what they lose", () => {
    const { f, t, g, begin, trim } = stored();
    f.receive(t, g, { batch: 2, invisibleMs: 60_000 });
    f.ack(g, f.receive(t, g, { batch: 1 })[0]!.receipt);
    assert.deepEqual(f.state.unconsumedBelow(begin), [{ group: "ns/billing", topic: "ns/orders", messages: 5 }]);
    assert.deepEqual(f.state.unconsumedBelow(0), []);
    trim();
    assert.deepEqual(f.state.unconsumedBelow(begin), []);
    assert.deepEqual([f.figures().ready, f.figures().inFlight], [4, 0]);
    f.assertRebuilt();
  });

  it("answers receipts of what is gone clearly, whether it was acknowledged or not", () => {
    const { f, t, g, trim } = stored();
    const [acked, held] = f.receive(t, g, { batch: 2, invisibleMs: 60_000 });
    f.ack(g, acked!.receipt);
    trim();
    for (const { receipt } of [acked!, held!]) {
      const { code, message } = f.ack(g, receipt);
      assert.equal(code, Code.InvalidReceiptHandle);
      assert.match(message, /removed by retention/);
    }
  });

  it("is the same log for who starts from its base image, whatever its records say of what is gone", () => {
    const { f, t, g, trim } = stored();
    // Between the base image and the trim: hand-outs, acks, nacks, deaths, redrives and resets of messages below it.
    const got = f.receive(t, g, { batch: 6, invisibleMs: 1_000 });
    f.ack(g, got[0]!.receipt);
    f.change(g, got[1]!.receipt, 1, 500);
    for (let i = 0; i < 4; i++) {
      f.pass(1_500);
      f.receive(t, g, { batch: 6, invisibleMs: 1_000 });
    }
    f.pass(1_500);
    assert.ok(f.figures().deadLetters > 2);
    f.operate("dlq.redrive", { group: "ns/billing", count: 1 });
    f.operate("group.reset", { group: "ns/billing", queue: 0, to: "earliest" });
    f.receive(t, g, { batch: 3, invisibleMs: 60_000, attemptId: "a" });
    trim();
    f.assertRebuilt();
    f.receive(t, g, { batch: 3, invisibleMs: 60_000, attemptId: "b" });
    f.assertRebuilt();
    f.crash("kill");
    f.assertRebuilt();
  });

  it("lets go of leases, so that a full group has room again for who waits", () => {
    const { f, t, g, begin, young } = stored();
    f.group("ns/billing", { generation: 2, inflightMax: 6 });
    f.receive(t, g, { batch: 6, invisibleMs: 60_000 });
    const { ticket } = f.ask(t, g, { waitMs: 1_000 });
    assert.match(f.refusal(ticket).message, /in flight, its limit/);
    f.state.trimLog(begin, TrimReason.Disk, f.now);
    assert.equal(f.receive(t, g).length, young.length - 2, "two of them are among the six that were in flight");
  });

  it("gives the next of a message group its turn where the one before is gone, redriven ones first", () => {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic("ns/orders", { messageTypes: 0b100 });
    const g = f.group("ns/billing", { attemptsMax: 1 });
    const die = () => {
      const [got] = f.receive(t, g, { invisibleMs: 1_000 });
      f.pass(1_000);
      return got?.id;
    };
    f.send(t, { id: "a1", group: "ann" });
    f.send(t, { id: "b1", group: "bob" });
    const begin = f.log.endPosition;
    const base = f.state.baseImage(begin);
    f.send(t, { id: "a2", group: "ann" });
    f.send(t, { id: "a3", group: "ann" });
    f.send(t, { id: "b2", group: "bob" });
    assert.deepEqual([die(), die(), die()], ["a1", "a2", "a3"], "b1 and b2 died beside them");
    f.operate("dlq.redrive", { group: "ns/billing", messageIds: ["a1"] });
    f.operate("dlq.redrive", { group: "ns/billing", messageIds: ["a2"] });
    f.operate("dlq.redrive", { group: "ns/billing", messageIds: ["a3"] });
    assert.deepEqual([f.figures().ready, f.figures().blocked], [1, 2], "a2 and a3 wait for a1");
    f.state.trimLog(begin, TrimReason.Age, f.now);
    assert.deepEqual([f.figures().ready, f.figures().blocked], [1, 1], "a2 is next, a3 waits for it");
    f.assertRebuilt();
    f.base = base;
    f.assertRebuilt();
    assert.deepEqual(
      f.receive(t, g).map(({ id }) => id),
      ["a2"],
    );
    f.assertRebuilt();
  });

  it("is found again by a broker that is killed between any two steps", () => {
    for (const step of ["base image", "trimmed", "durable", "removed"] as const) {
      const { f, t, g, old, young, begin } = stored();
      const { base } = f;
      // Until segments are removed a start does not need it.
      f.base = undefined;
      f.isAutoSync = false;
      if (step !== "base image") f.state.trimLog(begin, TrimReason.Age, f.now);
      if (step === "durable" || step === "removed") f.sync();
      if (step === "removed") {
        f.log.removeBelow(begin);
        f.base = base;
      }
      f.crash("power");
      f.isAutoSync = true;
      const expected = step === "durable" || step === "removed" ? young : [...old, ...young];
      assert.deepEqual(
        f
          .receive(t, g)
          .map(({ id }) => id)
          .sort(),
        expected.toSorted(),
        step,
      );
      f.assertRebuilt();
    }
  });
});
