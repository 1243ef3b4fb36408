import assert from "node:assert/strict";
import { answered, ChangeKind } from "../../../../broker-core/broker-port.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { scanEntriesMax } from "../../../../broker-core/pop/pop-plan.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

const call = {
  batch: 1,
  invisibleMs: 10_000,
  waitMs: 0,
  filterType: 1,
  filter: "*",
  clientId: "client-3",
  attemptId: "",
  lane: "",
  bytesMax: 0,
};

const ids = (got: readonly { readonly id: string }[]) => got.map(({ id }) => id);

describe("receiving", () => {
  function opened(options: ConstructorParameters<typeof BrokerFixture>[0] = {}, queueCount = 1) {
    const f = new BrokerFixture(options);
    const t = f.topic("ns/orders", { queueCount });
    const g = f.group();
    f.receive(t, g);
    return { f, t, g };
  }

  it("hands out what was stored, byte for byte, with its place and time", () => {
    const { f, t, g } = opened();
    f.send(t, { id: "a", body: "ü\u0000z" });
    const [got] = f.receive(t, g);
    assert.deepEqual(
      { ...got, receipt: "" },
      {
        id: "a",
        body: "ü\u0000z",
        receipt: "",
        queueId: 0,
        offset: 0,
        attempt: 1,
        bornHost: "10.0.0.1:1",
        mirrorOf: "",
        laneMark: "",
        storeMs: f.wallMs,
        dueMs: undefined,
        deadLetter: undefined,
        group: "",
      },
    );
    assert.ok(got!.receipt.length <= 255);
  });

  it("gives two receives of one turn different messages", () => {
    const { f, t, g } = opened();
    f.sendMany(t, 4);
    f.isAutoSync = false;
    const first = f.receive(t, g, { batch: 2 });
    const second = f.receive(t, g, { batch: 2, clientId: "client-2" });
    assert.deepEqual([...ids(first), ...ids(second)], ["m1", "m2", "m3", "m4"]);
  });

  it("shows each group every message", () => {
    const { f, t, g } = opened();
    const other = f.group("ns/audit");
    f.receive(t, other);
    f.sendMany(t, 3);
    assert.deepEqual(ids(f.receive(t, g)), ids(f.receive(t, other)));
  });

  it("shows nothing that is not durable (B3)", () => {
    const { f, t, g } = opened();
    f.isAutoSync = false;
    f.send(t);
    assert.deepEqual(f.receive(t, g), []);
    f.log.write();
    assert.deepEqual(f.receive(t, g), []);
    f.sync();
    assert.deepEqual(ids(f.receive(t, g)), ["m1"]);
  });

  it("starts a group that is new to a topic at the end, and keeps that start in the log", () => {
    const f = new BrokerFixture();
    const t = f.topic();
    const g = f.group();
    f.sendMany(t, 2);
    assert.deepEqual(f.receive(t, g), []);
    f.crash("kill");
    f.send(t);
    assert.deepEqual(ids(f.receive(t, g)), ["m3"]);
  });

  it("starts at the beginning where the broker is told so", () => {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic();
    f.sendMany(t, 2);
    assert.equal(f.receive(t, f.group()).length, 2);
  });

  it("counts a message that was on its way to the disk as new", () => {
    const f = new BrokerFixture();
    const t = f.topic();
    const g = f.group();
    f.isAutoSync = false;
    f.send(t);
    assert.deepEqual(f.receive(t, g), []);
    f.sync();
    assert.deepEqual(ids(f.receive(t, g)), ["m1"]);
  });

  it("cuts a batch at 32 messages and takes 0 for 1", () => {
    const { f, t, g } = opened();
    f.sendMany(t, 40);
    assert.equal(f.receive(t, g, { batch: 1000 }).length, 32);
    assert.equal(f.receive(t, g, { batch: 0 }).length, 1);
  });

  it("stops adding messages at the byte limit, but always gives one", () => {
    const { f, t, g } = opened();
    f.sendMany(t, 3, { body: "x".repeat(1000) });
    assert.equal(f.receive(t, g, { bytesMax: 1 }).length, 1);
    assert.equal(f.receive(t, g, { bytesMax: 2_100 }).length, 2);
  });

  it("lets no queue starve behind a busy one", () => {
    const { f, t, g } = opened({}, 4);
    f.sendMany(t, 40);
    const queues = new Set(Array.from({ length: 4 }, () => f.receive(t, g, { batch: 1 })[0]?.queueId));
    assert.deepEqual([...queues].sort(), [0, 1, 2, 3]);
  });

  it("refuses unknown topics and groups, bad times, bad filters", () => {
    const { f, t, g } = opened();
    const code = (call: Parameters<BrokerFixture["ask"]>[2], topicId = t, groupId = g) =>
      f.refusal(f.ask(topicId, groupId, call).ticket).code;
    assert.equal(code({}, 99), Code.TopicNotFound);
    assert.equal(code({}, t, 99), Code.ConsumerGroupNotFound);
    assert.equal(code({ invisibleMs: 0 }), Code.IllegalInvisibleTime);
    assert.equal(code({ invisibleMs: 43_200_001 }), Code.IllegalInvisibleTime);
    assert.equal(code({ filter: "||" }), Code.IllegalFilterExpression);
    assert.equal(code({ filterType: 2, filter: "a >" }), Code.IllegalFilterExpression);
    assert.equal(code({ lane: "x".repeat(64) }), Code.BadRequest);
  });

  it("leaves out a message whose bytes are damaged, and gives the others", () => {
    const { f, t, g } = opened();
    f.sendMany(t, 2);
    const [first] = [...f.log.records()].filter(({ type }) => type === RecordType.Message);
    f.log.damaged.add(first!.position);
    const { ticket } = f.ask(t, g);
    const answer = f.answers.get(ticket);
    assert.ok(answer?.kind === "batch");
    assert.deepEqual([ids(answer.got), answer.damagedCount], [["m2"], 1]);
  });

  describe("requirement 3: redelivery by reference", () => {
    it("stores a message once however often it is handed out, and counts the attempts", () => {
      const { f, t, g } = opened();
      f.send(t);
      for (let attempt = 1; attempt <= 20; attempt++) {
        assert.equal(f.receive(t, g)[0]?.attempt, attempt);
        f.pass(10_000);
      }
      assert.equal(f.log.countOf(RecordType.Message), 1);
      assert.deepEqual(
        f.state.topics().map(({ name }) => name),
        ["ns/orders"],
        "no retry topic",
      );
    });

    it("gives redeliveries first, oldest message first", () => {
      const { f, t, g } = opened();
      f.sendMany(t, 3);
      f.receive(t, g);
      f.send(t);
      f.pass(10_000);
      assert.deepEqual(
        f.receive(t, g).map(({ id, attempt }) => `${id}/${attempt}`),
        ["m1/2", "m2/2", "m3/2", "m4/1"],
      );
    });
  });

  describe("requirement 4: every transition to visible wakes who waits", () => {
    function waiting() {
      const { f, t, g } = opened();
      f.send(t);
      const [held] = f.receive(t, g);
      const { ticket, handle } = f.ask(t, g, { waitMs: 20_000, clientId: "client-2" });
      assert.notEqual(handle, answered);
      assert.equal(f.answers.has(ticket), false);
      return { f, t, g, held: held!, ticket };
    }

    it("a message that became durable", () => {
      const { f, t, ticket } = waiting();
      f.isAutoSync = false;
      f.send(t);
      assert.equal(f.answers.has(ticket), false);
      f.sync();
      assert.deepEqual(ids(f.got(ticket)), ["m2"]);
    });

    it("a lease that ended, within 50 ms, by the timer the state asks for", () => {
      const { f, ticket } = waiting();
      const dueMs = f.monotonicMs + 10_000;
      while (!f.answers.has(ticket)) {
        const next = f.state.nextTimerMs();
        assert.ok(next > f.monotonicMs && Number.isFinite(next), "the state asks for a time to come");
        f.pass(next - f.monotonicMs);
      }
      assert.equal(f.got(ticket)[0]?.attempt, 2);
      assert.ok(
        f.monotonicMs >= dueMs && f.monotonicMs <= dueMs + 50,
        `woken ${f.monotonicMs - dueMs} ms after the end`,
      );
    });

    for (const [what, kind, attempt] of [
      ["a nack of 0", ChangeKind.Renew, 2],
      ["a hand-back", ChangeKind.HandBack, 1],
      ["a suspension of 0", ChangeKind.Suspend, 1],
    ] as const) {
      it(what, () => {
        const { f, g, held, ticket } = waiting();
        f.change(g, held.receipt, kind, 0);
        assert.deepEqual(
          f.got(ticket).map((d) => [d.id, d.attempt]),
          [["m1", attempt]],
        );
      });
    }

    it("room below the in-flight limit: by an ack, and by a dead letter", () => {
      const f = new BrokerFixture();
      const t = f.topic();
      const g = f.group("ns/billing", { inflightMax: 1, attemptsMax: 1 });
      f.receive(t, g);
      const waiters = [1, 2].map(() => f.ask(t, g, { waitMs: 60_000, batch: 1 }).ticket);
      f.send(t);
      f.send(t);
      f.send(t);
      const [first] = f.got(waiters[0]!);
      assert.equal(f.answers.has(waiters[1]!), false, "the limit holds for calls that wait");
      f.ack(g, first!.receipt);
      assert.deepEqual(ids(f.got(waiters[1]!)), ["m2"]);
      const third = f.state.receive({ ...call, topicId: t, groupId: g }, 99, {
        monotonicMs: f.monotonicMs,
        wallMs: f.wallMs,
      });
      assert.equal(third, answered);
      assert.equal(f.refusal(99).code, Code.TooManyRequests, "who comes to a full group is refused");
    });

    it("room below the in-flight limit, when a message dies", () => {
      const f = new BrokerFixture();
      const t = f.topic();
      const g = f.group("ns/billing", { inflightMax: 1, attemptsMax: 1 });
      const waiters = [1, 2].map(() => f.ask(t, g, { waitMs: 60_000, batch: 1 }).ticket);
      f.sendMany(t, 2);
      assert.equal(f.answers.has(waiters[1]!), false);
      f.pass(10_000);
      assert.deepEqual(ids(f.got(waiters[1]!)), ["m2"]);
      assert.equal(f.figures().deadLetters, 1);
    });

    it("after a restart: leases that ended meanwhile", () => {
      const { f, t, g } = waiting();
      f.crash("kill");
      const { ticket } = f.ask(t, g, { waitMs: 20_000 });
      f.pass(10_000);
      assert.deepEqual(ids(f.got(ticket)), ["m1"]);
    });
  });

  describe("waiting", () => {
    it("answers empty when the wait is over, not before", () => {
      const { f, t, g } = opened();
      const { ticket } = f.ask(t, g, { waitMs: 5_000 });
      f.pass(4_999);
      assert.equal(f.answers.has(ticket), false);
      f.pass(1);
      assert.deepEqual(f.got(ticket), []);
      assert.equal(f.state.nextTimerMs(), Number.POSITIVE_INFINITY);
    });

    it("serves first come, first served", () => {
      const { f, t, g } = opened();
      const tickets = Array.from({ length: 5 }, () => f.ask(t, g, { waitMs: 5_000, batch: 1 }).ticket);
      f.sendMany(t, 5);
      assert.deepEqual(f.answeredTickets.slice(-5), tickets);
      assert.deepEqual(
        tickets.map((ticket) => ids(f.got(ticket))[0]),
        ["m1", "m2", "m3", "m4", "m5"],
      );
    });

    it("forgets a cancelled call, and gives its turn and its message to the next", () => {
      const { f, t, g } = opened();
      const first = f.ask(t, g, { waitMs: 5_000 });
      const second = f.ask(t, g, { waitMs: 5_000 });
      assert.equal(f.state.cancelReceive(first.handle), true);
      assert.equal(f.state.cancelReceive(first.handle), false);
      f.send(t);
      assert.equal(f.answers.has(first.ticket), false);
      assert.deepEqual(ids(f.got(second.ticket)), ["m1"]);
      assert.equal(f.state.cancelReceive(second.handle), false, "an answered call cannot be cancelled");
    });

    it("does not take a new call for the old one whose slot it got", () => {
      const { f, t, g } = opened();
      const old = f.ask(t, g, { waitMs: 5_000 });
      f.state.cancelReceive(old.handle);
      const young = f.ask(t, g, { waitMs: 5_000 });
      assert.equal(f.state.cancelReceive(old.handle), false);
      assert.equal(f.state.cancelReceive(young.handle), true);
    });

    it("refuses the waiting calls of a topic that is deleted", () => {
      const { f, t, g } = opened();
      const { ticket } = f.ask(t, g, { waitMs: 5_000 });
      f.topic("ns/orders", { incarnation: 2 });
      assert.equal(f.refusal(ticket).code, Code.TopicNotFound);
      f.pass(6_000);
    });

    it("keeps 10 000 calls of one group in order, and serves the oldest", () => {
      const { f, t, g } = opened();
      const calls = Array.from({ length: 10_000 }, () => f.ask(t, g, { waitMs: 60_000, batch: 1 }));
      for (const [i, { handle }] of calls.entries()) if (i % 2 === 0) f.state.cancelReceive(handle);
      f.send(t);
      assert.deepEqual(ids(f.got(calls[1]!.ticket)), ["m1"]);
      assert.equal(f.figures().waiting, 4_999);
    });
  });

  describe("requirement 7: the same attempt gets the same batch", () => {
    const attemptId = "6f9b0c1e-4c1e-4a70-9a8e-0d6d0c3c7a11";

    it("with the same receipts and attempts, without a record", () => {
      const { f, t, g } = opened({}, 3);
      f.sendMany(t, 5);
      const first = f.receive(t, g, { attemptId, batch: 4 });
      const records = f.log.recordCount;
      const again = f.receive(t, g, { attemptId, batch: 1 });
      assert.equal(f.log.recordCount, records);
      assert.deepEqual(again.map(({ id }) => id).sort(), first.map(({ id }) => id).sort());
      for (const { id, receipt, attempt } of again) {
        const before = first.find((d) => d.id === id);
        assert.deepEqual([before?.receipt, before?.attempt], [receipt, attempt]);
      }
    });

    it("gives what is left of it when part was acked", () => {
      const { f, t, g } = opened();
      f.sendMany(t, 3);
      const first = f.receive(t, g, { attemptId });
      f.ack(g, first[1]!.receipt);
      assert.deepEqual(ids(f.receive(t, g, { attemptId })), ["m1", "m3"]);
    });

    it("is a new receive when all of it was acked, renewed or has ended", () => {
      const { f, t, g } = opened();
      f.sendMany(t, 2);
      const [one] = f.receive(t, g, { attemptId, batch: 1 });
      f.ack(g, one!.receipt);
      const [two] = f.receive(t, g, { attemptId, batch: 1 });
      assert.equal(two?.id, "m2");
      f.change(g, two!.receipt, ChangeKind.Renew, 20_000);
      assert.deepEqual(f.receive(t, g, { attemptId }), []);
      f.pass(20_000);
      assert.equal(f.receive(t, g, { attemptId })[0]?.attempt, 2);
    });

    it("does not lose the right by an empty answer", () => {
      const { f, t, g } = opened();
      assert.deepEqual(f.receive(t, g, { attemptId }), []);
      f.send(t);
      const first = f.receive(t, g, { attemptId });
      assert.deepEqual(f.receive(t, g, { attemptId }), first);
    });

    it("is another attempt for another client, group or id", () => {
      const { f, t, g } = opened();
      const other = f.group("ns/audit");
      f.receive(t, other);
      f.send(t);
      const first = f.receive(t, g, { attemptId });
      assert.equal(first.length, 1);
      assert.deepEqual(f.receive(t, g, { attemptId, clientId: "client-2" }), []);
      assert.deepEqual(f.receive(t, g, { attemptId: `${attemptId}1` }), []);
      assert.equal(f.receive(t, other, { attemptId })[0]?.attempt, 1);
    });

    it("survives the death of the broker, and an extension", () => {
      const { f, t, g } = opened();
      f.sendMany(t, 3);
      const first = f.receive(t, g, { attemptId });
      f.crash("kill");
      f.change(g, first[0]!.receipt, ChangeKind.Extend, 10_000);
      assert.deepEqual(f.receive(t, g, { attemptId }), first);
      f.crash("kill", f.state.snapshot());
      assert.deepEqual(f.receive(t, g, { attemptId }), first);
    });

    it("stays with the repeated call when a sidecar hands back the answer to the first", () => {
      const { f, t, g } = opened();
      f.send(t);
      const [first] = f.receive(t, g, { attemptId });
      const [again] = f.receive(t, g, { attemptId });
      assert.equal(f.change(g, first!.receipt, ChangeKind.HandBack, 0).code, Code.Ok);
      assert.deepEqual(f.receive(t, g, { clientId: "client-2" }), [], "somebody has it");
      assert.equal(f.ack(g, again!.receipt).code, Code.Ok);
    });

    it("is given up when every answer to it was handed back, and after another change", () => {
      const { f, t, g } = opened();
      f.send(t);
      for (let i = 0; i < 3; i++) f.receive(t, g, { attemptId });
      const [{ receipt } = { receipt: Buffer.alloc(0) }] = f.receive(t, g, { attemptId });
      for (let i = 0; i < 4; i++) f.change(g, receipt, ChangeKind.HandBack, 0);
      const [other] = f.receive(t, g, { attemptId, clientId: "client-2" });
      assert.equal(other?.attempt, 1);
      f.receive(t, g, { attemptId, clientId: "client-2" });
      const renewed = f.change(g, other!.receipt, ChangeKind.Renew, 10_000);
      f.change(g, renewed.receipt!, ChangeKind.HandBack, 0);
      assert.equal(f.receive(t, g).length, 1, "of the renewed lease there is one copy");
    });

    it("works for ids longer than a record holds", () => {
      const { f, t, g } = opened();
      f.send(t);
      const long = "ü".repeat(300);
      const first = f.receive(t, g, { attemptId: long, clientId: long });
      assert.deepEqual(f.receive(t, g, { attemptId: long, clientId: long }), first);
    });

    it("answers a repeated call that waits together with the one that came first", () => {
      const { f, t, g } = opened();
      const tickets = [1, 2].map(() => f.ask(t, g, { attemptId, waitMs: 5_000 }).ticket);
      f.send(t);
      assert.deepEqual(f.got(tickets[0]!), f.got(tickets[1]!));
      assert.equal(f.got(tickets[1]!)[0]?.attempt, 1);
    });
  });

  describe("requirement 8: the in-flight limit", () => {
    it("is exact, refuses beyond with a text that says what to do, and lets go with every ack", () => {
      const f = new BrokerFixture();
      const t = f.topic();
      const g = f.group("ns/billing", { inflightMax: 10 });
      f.receive(t, g);
      f.sendMany(t, 20);
      const got = f.receive(t, g);
      assert.equal(got.length, 10);
      const refusal = f.refusal(f.ask(t, g).ticket);
      assert.equal(refusal.code, Code.TooManyRequests);
      assert.match(refusal.message, /10 messages of ns\/orders in flight.*acknowledge/);
      f.ack(g, got[0]!.receipt);
      assert.equal(f.receive(t, g).length, 1);
      f.pass(10_000);
      assert.deepEqual([f.figures().inFlight, f.figures().ready], [0, 19]);
      assert.equal(f.receive(t, g).length, 10, "what came back does not count");
    });

    it("is 20 000 without a policy", () => {
      const { f } = opened();
      assert.equal(f.figures().inFlightMax, 20_000);
    });

    it("refuses hand-outs that cannot be written down, and hands out nothing", () => {
      const { f, t, g } = opened();
      f.send(t);
      f.log.isFull = true;
      assert.equal(f.refusal(f.ask(t, g).ticket).code, Code.TooManyRequests);
      assert.equal(f.figures().inFlight, 0);
      const { ticket } = f.ask(t, g, { waitMs: 1_000 });
      assert.equal(f.refusal(ticket).code, Code.TooManyRequests);
      f.log.isFull = false;
      assert.equal(f.receive(t, g)[0]?.attempt, 1);
      f.assertRebuilt();
    });

    it("leaves parked calls parked while nothing can be written, and ends their wait in time", () => {
      const { f, t, g } = opened();
      const { ticket } = f.ask(t, g, { waitMs: 1_000 });
      f.isAutoSync = false;
      f.send(t);
      f.log.isFull = true;
      f.sync();
      assert.equal(f.answers.has(ticket), false);
      f.pass(1_000);
      assert.deepEqual(f.got(ticket), []);
      f.log.isFull = false;
      assert.equal(f.receive(t, g).length, 1);
    });
  });

  describe("requirement 10: filtering costs the client no polls", () => {
    it("compares the real tag, not only its hash", () => {
      const { f, t, g } = opened();
      // FNV-1a, 32 bits: these two collide.
      f.send(t, { tag: "costarring" });
      f.send(t, { tag: "liquid" });
      f.send(t, { tag: "Liquid" });
      f.send(t);
      assert.deepEqual(ids(f.receive(t, g, { filter: "liquid" })), ["m2"]);
    });

    it("takes lists of tags, spaces, empty parts and the star", () => {
      for (const [filter, expected] of [
        ["a || b", ["m1", "m2"]],
        ["a||", ["m1"]],
        ["*", ["m1", "m2", "m3", "m4"]],
        ["", ["m1", "m2", "m3", "m4"]],
        ["a || *", ["m1", "m2", "m3", "m4"]],
        ["  c ", ["m3"]],
      ] as const) {
        const { f, t, g } = opened();
        for (const tag of ["a", "b", "c"]) f.send(t, { tag });
        f.send(t);
        assert.deepEqual(ids(f.receive(t, g, { filter })), expected, `"${filter}"`);
      }
    });

    it("advances past what does not match, by a record, so that a restart does not look again", () => {
      const { f, t, g } = opened();
      f.sendMany(t, 5, { tag: "a" });
      assert.deepEqual(f.receive(t, g, { filter: "b" }), []);
      assert.equal(f.figures().ready, 0);
      f.crash("kill");
      assert.equal(f.figures().ready, 0);
    });

    it("never loses a wake-up behind messages that do not match", () => {
      const { f, t, g } = opened();
      const { ticket } = f.ask(t, g, { waitMs: 20_000, filter: "b" });
      f.sendMany(t, 50, { tag: "a" });
      assert.equal(f.answers.has(ticket), false);
      f.send(t, { id: "wanted", tag: "b" });
      assert.deepEqual(ids(f.got(ticket)), ["wanted"]);
    });

    it("goes on by itself through a backlog larger than one slice", () => {
      const { f, t, g } = opened();
      f.isAutoSync = false;
      f.sendMany(t, scanEntriesMax * 3, { tag: "a" });
      f.send(t, { id: "wanted", tag: "b" });
      f.sync();
      f.isAutoSync = true;
      const { ticket } = f.ask(t, g, { waitMs: 20_000, filter: "b" });
      assert.equal(f.answers.has(ticket), false, "one slice per turn");
      let turns = 0;
      while (!f.answers.has(ticket) && f.state.nextTimerMs() <= f.monotonicMs) {
        f.state.advance(f.now);
        turns++;
      }
      assert.deepEqual(ids(f.got(ticket)), ["wanted"]);
      assert.ok(turns >= 2 && turns <= 4, `${turns} turns`);
    });

    it("looks through several slices for a receive that does not wait", () => {
      const { f, t, g } = opened();
      f.isAutoSync = false;
      f.sendMany(t, scanEntriesMax * 2, { tag: "a" });
      f.send(t, { id: "wanted", tag: "b" });
      f.sync();
      assert.deepEqual(ids(f.receive(t, g, { filter: "b" })), ["wanted"]);
    });

    it("keeps a redelivery for a consumer whose filter takes it", () => {
      const { f, t, g } = opened();
      f.send(t, { tag: "a" });
      f.receive(t, g, { filter: "a" });
      f.pass(10_000);
      assert.deepEqual(f.receive(t, g, { filter: "b" }), []);
      assert.deepEqual(ids(f.receive(t, g, { filter: "a" })), ["m1"]);
    });
  });

  it("requirement 11: tells ready from in flight, exactly", () => {
    const { f, t, g } = opened({}, 3);
    f.sendMany(t, 10);
    const got = f.receive(t, g, { batch: 4 });
    assert.deepEqual([f.figures().ready, f.figures().inFlight], [6, 4]);
    f.ack(g, got[0]!.receipt);
    f.change(g, got[1]!.receipt, ChangeKind.Renew, 0);
    assert.deepEqual([f.figures().ready, f.figures().inFlight], [7, 2]);
    f.pass(10_000);
    assert.deepEqual([f.figures().ready, f.figures().inFlight], [9, 0]);
  });

  it("requirement 12: counts the first hand-out as attempt 1", () => {
    const { f, t, g } = opened();
    f.send(t);
    assert.equal(f.receive(t, g)[0]?.attempt, 1);
  });
});
