import assert from "node:assert/strict";
import { ChangeKind } from "../../../../broker-core/broker-port.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { hashBytes } from "../../../../broker-core/consume-queue/text-hash.ts";
import { scanEntriesMax } from "../../../../broker-core/pop/pop-plan.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture, type Got } from "../../../support/broker-fixture.ts";

const ids = (got: readonly Got[]) => got.map(({ id }) => id);
const fifo = 1 << 2;

/** Order within message groups (B7), requirement by requirement. Each test ends with the state rebuilt from the log. */
describe("message groups", () => {
  function opened(
    options: { messageTypes?: number; attemptsMax?: number; inflightMax?: number; queueCount?: number } = {},
  ) {
    const { messageTypes = fifo, attemptsMax = 0, inflightMax = 0, queueCount = 1 } = options;
    const f = new BrokerFixture();
    const t = f.topic("ns/orders", { messageTypes, queueCount });
    const g = f.group("ns/billing", { attemptsMax, inflightMax });
    f.receive(t, g);
    /** "a1" is message 1 of group a. */
    const send = (...names: string[]) => {
      for (const id of names) f.send(t, { id, group: id.slice(0, 1) });
    };
    const receive = (call: Parameters<BrokerFixture["ask"]>[2] = {}) => f.receive(t, g, call);
    const ack = (got: Got | undefined) => assert.equal(f.ack(g, got!.receipt).code, Code.Ok);
    const change = (got: Got, kind: ChangeKind, ms: number) => f.change(g, got.receipt, kind, ms);
    const lag = () => {
      const { ready, blocked, inFlight } = f.figures();
      return [ready, blocked, inFlight];
    };
    return { f, t, g, send, receive, ack, change, lag };
  }

  describe("one message of a group is out at a time", () => {
    it("hands out the next when the one before is acked, and not before", () => {
      const { f, send, receive, ack } = opened();
      send("a1", "a2", "a3");
      for (const id of ["a1", "a2", "a3"]) {
        const got = receive();
        assert.deepEqual(ids(got), [id]);
        assert.deepEqual(receive(), [], "the group is locked");
        ack(got[0]);
      }
      assert.deepEqual(receive(), []);
      f.assertRebuilt();
    });

    it("lets the other groups of the queue go on: a batch holds one message of each", () => {
      const { f, send, receive, ack } = opened();
      send("a1", "a2", "b1", "b2", "c1", "a3");
      const first = receive();
      assert.deepEqual(ids(first), ["a1", "b1", "c1"]);
      ack(first[1]);
      assert.deepEqual(ids(receive()), ["b2"], "b goes on while a stands");
      ack(first[0]);
      assert.deepEqual(ids(receive()), ["a2"]);
      f.assertRebuilt();
    });

    it("locks for one consumer group only", () => {
      const { f, t, send, receive } = opened();
      const other = f.group("ns/audit");
      f.receive(t, other);
      send("a1", "a2");
      assert.deepEqual(ids(receive()), ["a1"]);
      assert.deepEqual(ids(f.receive(t, other)), ["a1"]);
      f.assertRebuilt();
    });

    it("binds messages with a group only, where a topic takes both", () => {
      const { f, t, send, receive } = opened({ messageTypes: 0b11110 });
      send("a1", "a2");
      f.sendMany(t, 3);
      assert.deepEqual(ids(receive()), ["a1", "m1", "m2", "m3"]);
      f.assertRebuilt();
    });

    it("binds nobody in a dead-letter topic", () => {
      const { f, send, receive } = opened({ attemptsMax: 1 });
      send("a1", "a2");
      for (const id of ["a1", "a2"]) {
        assert.deepEqual(ids(receive({ invisibleMs: 100 })), [id]);
        f.pass(100);
      }
      const dead = f.topic("ns/%DLQ%billing", { incarnation: 1 });
      assert.deepEqual(ids(f.receive(dead, f.group("ns/reader"))), ["a1", "a2"]);
      f.assertRebuilt();
    });

    it("keeps two groups apart whose hashes agree as far as it can: each in its order, one of both at a time", () => {
      const hash = (text: string) => hashBytes(Buffer.from(text), 0, text.length);
      assert.equal(hash("costarring"), hash("liquid"));
      const { f, t, receive, ack } = opened();
      for (const [i, group] of ["costarring", "liquid", "liquid", "costarring"].entries()) {
        f.send(t, { id: `${group}-${i}`, group });
      }
      const seen: string[] = [];
      for (let got = receive(); got.length > 0; got = receive()) {
        assert.equal(got.length, 1);
        seen.push(got[0]!.id);
        ack(got[0]);
      }
      assert.deepEqual(seen, ["costarring-0", "liquid-1", "liquid-2", "costarring-3"]);
    });
  });

  describe("a message that comes back", () => {
    it("still holds the lock: neither the end of its lease nor any change of it lets the next one out", () => {
      const { f, send, receive, ack, change } = opened();
      send("a1", "a2");
      let [got] = receive({ invisibleMs: 1_000 });
      f.pass(1_000);
      [got] = receive();
      assert.deepEqual([got?.id, got?.attempt], ["a1", 2]);
      for (const [kind, ms] of [
        [ChangeKind.Renew, 0],
        [ChangeKind.HandBack, 0],
        [ChangeKind.Suspend, 500],
        [ChangeKind.Renew, 500],
        [ChangeKind.Extend, 500],
      ] as const) {
        change(got!, kind, ms);
        if (ms > 0) assert.deepEqual(receive(), [], `nothing while a1 waits, kind ${kind}`);
        f.pass(ms);
        const next = receive();
        assert.deepEqual(ids(next), ["a1"], `a1 again after kind ${kind}`);
        got = next[0];
      }
      f.assertRebuilt();
      ack(got);
      assert.deepEqual(ids(receive()), ["a2"]);
    });

    it("comes before what is new, and alone: what was acked of the batch stays acked", () => {
      const { f, send, receive, ack } = opened();
      send("a1", "b1", "c1", "a2", "b2", "c2");
      const first = receive({ invisibleMs: 1_000 });
      assert.deepEqual(ids(first), ["a1", "b1", "c1"]);
      ack(first[1]);
      f.pass(1_000);
      send("a3");
      assert.deepEqual(
        receive().map(({ id, attempt }) => [id, attempt]),
        [
          ["a1", 2],
          ["c1", 2],
          ["b2", 1],
        ],
      );
      f.assertRebuilt();
    });

    it("is dead after its last attempt, and its group goes on", () => {
      const { f, send, receive, lag } = opened({ attemptsMax: 2 });
      send("a1", "a2", "a3");
      for (const [id, attempt] of [
        ["a1", 1],
        ["a1", 2],
        ["a2", 1],
      ] as const) {
        const [got] = receive({ invisibleMs: 1_000 });
        assert.deepEqual([got?.id, got?.attempt], [id, attempt]);
        assert.deepEqual(receive(), []);
        f.pass(1_000);
      }
      assert.equal(f.figures().deadLetters, 1);
      assert.deepEqual(lag(), [1, 1, 0]);
      f.assertRebuilt();
    });

    it("is dead when a tightened policy says so, and the same receive gets the next", () => {
      const { f, send, receive } = opened();
      send("a1", "a2");
      for (let i = 0; i < 3; i++) {
        receive({ invisibleMs: 1_000 });
        f.pass(1_000);
      }
      f.group("ns/billing", { generation: 2, attemptsMax: 2 });
      assert.deepEqual(ids(receive()), ["a2"]);
      assert.equal(f.figures().deadLetters, 1);
      f.assertRebuilt();
    });

    it("makes the late ack of its last holder void, and the group waits for the new one", () => {
      const { f, g, send, receive, ack } = opened();
      send("a1", "a2");
      const [late] = receive({ invisibleMs: 1_000 });
      f.pass(1_000);
      const [got] = receive();
      assert.equal(f.ack(g, late!.receipt).code, Code.InvalidReceiptHandle);
      assert.deepEqual(receive(), []);
      ack(got);
      assert.deepEqual(ids(receive()), ["a2"]);
    });

    it("holds its group up though its bytes are damaged, until it is dead", () => {
      const { f, t, g, send, receive } = opened({ attemptsMax: 1 });
      send("a1", "a2");
      const [first] = [...f.log.records()].filter(({ type }) => type === RecordType.Message);
      f.log.damaged.add(first!.position);
      const answer = f.answers.get(f.ask(t, g, { invisibleMs: 1_000 }).ticket);
      assert.equal(answer?.kind === "batch" && answer.damagedCount, 1);
      assert.deepEqual(receive(), []);
      f.pass(1_000);
      assert.deepEqual(ids(receive()), ["a2"]);
    });
  });

  describe("a call that waits", () => {
    it("gets the next message in the moment the one before is acked", () => {
      const { f, t, g, send, receive, ack } = opened();
      send("a1", "a2");
      const [first] = receive();
      const { ticket } = f.ask(t, g, { waitMs: 20_000, clientId: "client-2" });
      assert.equal(f.answers.has(ticket), false);
      ack(first);
      assert.deepEqual(ids(f.got(ticket)), ["a2"]);
    });

    it("gets it when the one before dies", () => {
      const { f, t, g, send, receive } = opened({ attemptsMax: 1 });
      send("a1", "a2");
      receive({ invisibleMs: 1_000 });
      const { ticket } = f.ask(t, g, { waitMs: 20_000 });
      f.pass(1_000);
      assert.deepEqual(ids(f.got(ticket)), ["a2"]);
    });

    it("is not woken by a message of a locked group, and costs no processor meanwhile", () => {
      const { f, t, g, send, receive } = opened();
      send("a1");
      receive({ invisibleMs: 60_000 });
      const { ticket } = f.ask(t, g, { waitMs: 20_000 });
      send("a2", "a3");
      assert.equal(f.answers.has(ticket), false);
      assert.ok(f.state.nextTimerMs() > f.monotonicMs, "nothing to do before a wait or a lease ends");
      send("b1");
      assert.deepEqual(ids(f.got(ticket)), ["b1"]);
    });
  });

  describe("a group that is stuck", () => {
    it("costs nothing per message behind it: no look again, no record, whatever is polled", () => {
      const { f, send, receive, ack, lag } = opened();
      send("a1");
      const [stuck] = receive({ invisibleMs: 3_600_000 });
      send(...Array.from({ length: 500 }, (_, i) => `a${i + 2}`));
      assert.deepEqual(receive(), []);
      assert.deepEqual(lag(), [0, 500, 1]);
      const before = [f.log.recordCount, f.state.snapshot().length] as const;
      for (let i = 0; i < 50; i++) assert.deepEqual(receive(), []);
      assert.equal(f.log.recordCount, before[0]);
      send("b1");
      assert.deepEqual(ids(receive()), ["b1"], "another group passes it");
      f.assertRebuilt();
      ack(stuck);
      assert.deepEqual(ids(receive()), ["a2"]);
      assert.deepEqual(lag(), [0, 499, 2]);
      f.assertRebuilt();
    });

    it("has its next message found far behind, over several turns", () => {
      const { f, t, g, send, receive, ack } = opened({ messageTypes: 0b11110, inflightMax: 1_000_000 });
      send("a1", "a2");
      const [stuck] = receive({ invisibleMs: 3_600_000 });
      f.isAutoSync = false;
      f.sendMany(t, 2 * scanEntriesMax + 10);
      send("a3");
      f.sync();
      let others = 0;
      for (let got = receive(); got.length > 0; got = receive()) {
        others += got.length;
        for (const { receipt } of got) f.ack(g, receipt);
      }
      assert.equal(others, 2 * scanEntriesMax + 10);
      ack(stuck);
      const [a2] = receive();
      assert.equal(a2?.id, "a2");
      const { ticket } = f.ask(t, g, { waitMs: 60_000 });
      ack(a2);
      assert.equal(f.answers.has(ticket), false);
      assert.ok(f.state.nextTimerMs() <= f.monotonicMs, "the look goes on by itself");
      f.advance();
      assert.deepEqual(ids(f.got(ticket)), ["a3"]);
      f.sync();
      f.assertRebuilt();
    }).timeout(240_000);

    it("lets a batch with something in it go before it has seen a long backlog", () => {
      const { f, send, receive, lag } = opened();
      f.isAutoSync = false;
      send(...Array.from({ length: 5_000 }, (_, i) => `a${i + 1}`));
      f.sync();
      assert.deepEqual(ids(receive()), ["a1"]);
      const [ready = 0, blocked = 0] = lag();
      assert.ok(blocked > 1_000 && ready > 1_000, `${blocked} passed by, ${ready} not looked at`);
      f.sync();
      f.assertRebuilt();
    }).timeout(240_000);
  });

  describe("limits", () => {
    it("hold for a batch of many groups, and for those whose turn it is", () => {
      const { f, send, receive, ack, lag } = opened({ inflightMax: 3 });
      send("a1", "b1", "c1", "d1", "a2", "b2");
      const first = receive();
      assert.deepEqual(ids(first), ["a1", "b1", "c1"]);
      ack(first[0]);
      ack(first[1]);
      assert.deepEqual(ids(receive()), ["d1", "a2"]);
      assert.deepEqual(lag(), [1, 0, 3]);
      f.assertRebuilt();
    });

    it("of bytes hold back a group whose turn it is", () => {
      const { f, t, receive, ack } = opened();
      for (const id of ["a1", "b1", "a2", "b2"]) f.send(t, { id, group: id.slice(0, 1), body: "x".repeat(1_000) });
      const first = receive();
      assert.deepEqual(receive(), []);
      for (const got of first) ack(got);
      assert.deepEqual(ids(receive({ bytesMax: 1_500 })), ["a2"]);
      assert.deepEqual(ids(receive({ bytesMax: 1_500 })), ["b2"]);
      f.assertRebuilt();
    });

    it("of a batch take the group that has waited longest", () => {
      const { f, send, receive, ack } = opened();
      send("a1", "b1", "b2", "a2", "a3");
      const first = receive();
      assert.deepEqual(receive(), []);
      ack(first[0]);
      ack(first[1]);
      assert.deepEqual(ids(receive({ batch: 1 })), ["b2"]);
      assert.deepEqual(ids(receive({ batch: 1 })), ["a2"]);
      f.assertRebuilt();
    });
  });

  describe("filters", () => {
    it("pass what does not match when its turn comes, and never hold a group up", () => {
      const { f, t, receive, ack, lag } = opened();
      const send = (id: string, tag: string) => f.send(t, { id, tag, group: id.slice(0, 1) });
      const tags = ["red", "blue", "blue", "red", "blue", "red", "blue"];
      for (const [i, tag] of tags.entries()) send(`a${i + 1}`, tag);
      const filter = "red";
      for (const id of ["a1", "a4", "a6"]) {
        const got = receive({ filter });
        assert.deepEqual(ids(got), [id]);
        assert.deepEqual(receive({ filter }), []);
        f.assertRebuilt();
        ack(got[0]);
      }
      assert.deepEqual(receive({ filter }), []);
      assert.deepEqual(lag(), [0, 0, 0]);
      send("a8", "red");
      assert.deepEqual(ids(receive({ filter })), ["a8"]);
      f.assertRebuilt();
    });

    it("pass a message for good that a changed filter does not match: nobody would ever unlock its group", () => {
      const { f, t, receive, ack } = opened();
      f.send(t, { id: "a1", tag: "red", group: "a" });
      f.send(t, { id: "a2", tag: "blue", group: "a" });
      receive({ filter: "red", invisibleMs: 1_000 });
      f.pass(1_000);
      const [got] = [...receive({ filter: "blue" }), ...receive({ filter: "blue" })];
      assert.equal(got?.id, "a2");
      f.assertRebuilt();
      ack(got);
      assert.deepEqual(receive(), []);
    });
  });

  describe("the same attempt", () => {
    it("gets the same batch, though its own groups are locked by it", () => {
      const { f, g, send, receive } = opened();
      send("a1", "b1", "a2");
      const call = { attemptId: "try-1" };
      const first = receive(call);
      assert.deepEqual(ids(first), ["a1", "b1"]);
      const again = receive(call);
      assert.deepEqual(
        again.map(({ id, receipt, attempt }) => [id, receipt.toString(), attempt]),
        first.map(({ id, receipt }) => [id, receipt.toString(), 1]),
      );
      f.ack(g, again[0]!.receipt);
      assert.deepEqual(ids(receive(call)), ["b1"], "what is acked is not given again");
      assert.deepEqual(ids(receive({ attemptId: "try-2" })), ["a2"]);
    });

    it("keeps its right when it got nothing", () => {
      const { send, receive, ack } = opened();
      send("a1", "a2");
      const [first] = receive({ clientId: "client-2" });
      const call = { attemptId: "try-1" };
      assert.deepEqual(receive(call), []);
      ack(first);
      const got = receive(call);
      assert.deepEqual(ids(got), ["a2"]);
      assert.deepEqual(receive(call), got);
    });

    it("gets the same batch also after a crash", () => {
      const { f, send, receive } = opened();
      send("a1", "a2");
      const call = { attemptId: "try-1" };
      const first = receive(call);
      f.crash("kill");
      assert.deepEqual(receive(call), first);
    });
  });

  describe("what is not on disk", () => {
    const mustBeDurable = (f: BrokerFixture, ticket: number) => {
      const answer = f.answers.get(ticket);
      assert.ok(answer?.kind === "batch");
      return answer.mustBeDurable;
    };

    it("holds the answer back that shows a turn taken, and no other", () => {
      const { f, t, g, send } = opened({ messageTypes: 0b11110 });
      f.sendMany(t, 1);
      assert.equal(mustBeDurable(f, f.ask(t, g).ticket), false);
      send("a1");
      const call = { attemptId: "try-1" };
      assert.equal(mustBeDurable(f, f.ask(t, g, call).ticket), true);
      assert.equal(mustBeDurable(f, f.ask(t, g, call).ticket), true, "a repeated answer too");
      f.sendMany(t, 1);
      assert.equal(mustBeDurable(f, f.ask(t, g).ticket), false);
    });

    it("is undone by a power cut, ack and next hand-out together", () => {
      const { f, g, send, receive } = opened();
      send("a1", "a2");
      const [first] = receive({ invisibleMs: 1_000 });
      f.isAutoSync = false;
      f.ack(g, first!.receipt);
      assert.deepEqual(ids(receive()), ["a2"]);
      f.crash("power");
      f.isAutoSync = true;
      assert.deepEqual(receive(), []);
      f.pass(1_000);
      assert.deepEqual(ids(receive()), ["a1"]);
    });

    it("leaves a receipt void whose hand-out was lost, though the position is behind the message by now", () => {
      const { f, g, send, receive, ack } = opened();
      send("a1", "a2");
      const [a1] = receive({ invisibleMs: 60_000 });
      f.isAutoSync = false;
      ack(a1);
      const [lost] = receive();
      assert.equal(lost?.id, "a2");
      f.crash("power");
      f.isAutoSync = true;
      assert.deepEqual(receive(), []);
      assert.equal(f.ack(g, lost!.receipt).code, Code.InvalidReceiptHandle);
      ack(a1);
      assert.deepEqual(ids(receive()), ["a2"]);
    });
  });

  describe("orders of operators", () => {
    const redrive = (f: BrokerFixture, ...messageIds: string[]) =>
      assert.deepEqual(
        f.operate<{ messageIds: string[] }>("dlq.redrive", { group: "ns/billing", messageIds }).messageIds.sort(),
        messageIds.sort(),
      );

    /** a1 to a3 are dead, a4 is out, a5 waits. */
    function withDeadLetters() {
      const opening = opened({ attemptsMax: 1 });
      const { f, send, receive } = opening;
      send("a1", "a2", "a3", "a4", "a5", "b1");
      for (const id of ["a1", "a2", "a3"]) {
        assert.equal(receive({ invisibleMs: 100 })[0]?.id, id);
        f.pass(100);
      }
      const [a4] = receive();
      assert.equal(a4?.id, "a4");
      assert.equal(f.figures().deadLetters, 4, "b1 too");
      return { ...opening, a4 };
    }

    it("let a redriven message out alone: after the one that is out, before those that wait, oldest first", () => {
      const { f, receive, ack, lag, a4 } = withDeadLetters();
      redrive(f, "a3");
      redrive(f, "a1", "b1");
      redrive(f, "a2");
      assert.deepEqual(lag(), [1, 4, 1]);
      assert.deepEqual(ids(receive()), ["b1"], "another group does not wait");
      f.assertRebuilt();
      ack(a4);
      for (const id of ["a1", "a2", "a3", "a5"]) {
        const got = receive();
        assert.deepEqual(
          got.map(({ id, attempt }) => [id, attempt]),
          [[id, 1]],
        );
        assert.deepEqual(receive(), []);
        f.assertRebuilt();
        ack(got[0]);
      }
      assert.deepEqual(lag(), [0, 0, 1]);
    });

    it("lock the group for a redriven message where nothing of it is out", () => {
      const { f, send, receive, ack, a4 } = withDeadLetters();
      ack(a4);
      redrive(f, "a1");
      f.crash("kill", f.state.snapshot());
      send("a6");
      const first = receive();
      assert.deepEqual(ids(first), ["a1"]);
      assert.deepEqual(receive(), []);
      f.assertRebuilt();
      ack(first[0]);
      assert.deepEqual(ids(receive()), ["a5"]);
    });

    it("wake a call that waits when the message before the redriven one is acked", () => {
      const { f, t, g, ack, a4 } = withDeadLetters();
      redrive(f, "a1");
      const { ticket } = f.ask(t, g, { waitMs: 20_000 });
      assert.equal(f.answers.has(ticket), false);
      ack(a4);
      assert.deepEqual(ids(f.got(ticket)), ["a1"]);
    });

    it("forget the locks when the group goes on elsewhere, and count what was never handed out", () => {
      const { f, g, send, receive, a4 } = withDeadLetters();
      redrive(f, "a1");
      send("b2", "b3");
      receive();
      const reset = (to: object | string, dryRun: boolean) =>
        f.operate<{ topics: { queues: object[] }[] }>("group.reset", { group: "ns/billing", to, dryRun }).topics[0]
          ?.queues[0];
      // Of offsets 0 to 7: a1 waits, a4 and b2 are out, a5 and b3 wait.
      assert.deepEqual(reset("latest", true), { queueId: 0, from: 8, to: 8, again: 0, skipped: 5 });
      assert.deepEqual(reset({ offset: 4 }, false), { queueId: 0, from: 8, to: 4, again: 2, skipped: 2 });
      f.assertRebuilt();
      assert.equal(f.ack(g, a4.receipt).code, Code.Ok, "the group is past it");
      assert.deepEqual(ids(receive()), ["a5", "b1"]);
      f.assertRebuilt();
    });
  });

  describe("topics", () => {
    it("take their locks along when they go", () => {
      const { f, t, g, send, receive } = opened();
      const other = f.group("ns/audit");
      f.receive(t, other);
      send("a1", "a2", "b1", "b2");
      receive();
      f.receive(t, other, { batch: 1 });
      const young = f.topic("ns/orders", { messageTypes: fifo, incarnation: 2 });
      f.send(young, { id: "a9", group: "a" });
      f.receive(young, g);
      f.send(young, { id: "a10", group: "a" });
      assert.deepEqual(ids(f.receive(young, g)), ["a10"]);
      f.assertRebuilt();
    });

    it("keep each group in its queue when they get more queues", () => {
      const { f, t, g, send, ack } = opened({ queueCount: 2 });
      const groups = [..."abcdefgh"];
      send(...groups.map((group) => `${group}1`));
      f.topic("ns/orders", { messageTypes: fifo, queueCount: 8 });
      f.crash("kill", f.state.snapshot());
      send(...groups.map((group) => `${group}2`));
      const first = f.receive(t, g);
      assert.equal(first.length, 8);
      for (const got of first) ack(got);
      const queueOf = new Map(first.map(({ group, queueId }) => [group, queueId]));
      for (const { group, queueId } of f.receive(t, g)) assert.equal(queueId, queueOf.get(group));
    });

    it("cannot begin or cease to keep order", () => {
      const f = new BrokerFixture();
      for (const [name, types, otherTypes] of [
        ["ns/ordered", fifo, 0b10],
        ["ns/plain", 0b10, 0b11110],
      ] as const) {
        f.topic(name, { messageTypes: types });
        const opened = f.state.openTopic({ name, incarnation: 1, messageTypes: otherTypes, queueCount: 1 }, f.now);
        assert.ok(!opened.ok);
        assert.equal(opened.code, Code.BadRequest);
        assert.match(opened.message, /fixed for its life; delete it and create it anew/);
      }
    });
  });
});
