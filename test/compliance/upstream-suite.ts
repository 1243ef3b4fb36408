import assert from "node:assert/strict";
import { Code } from "../../proto/code.ts";
import { receiptBrokerName } from "../../proto/receipt-handle.ts";
import type { Delivery, UpstreamResults } from "../../sidecar/upstream/upstream.ts";
import { Stopwatch } from "../support/stopwatch.ts";
import {
  deadline,
  encodedMessage,
  groupRef,
  messageIdOf,
  receiveRequest,
  topicRef,
  UpstreamClient,
} from "../support/upstream-client.ts";
import { waitUntil } from "../support/wait-until.ts";

/** A broker with the driver under test. */
export interface UpstreamSubject {
  /** A new driver, as another sidecar has it. */
  connect(): UpstreamClient;
  /** Ends the broker with all that is open on it, and starts it again on the same data and address. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** NORMAL and TRANSACTION. */
const takesTransactions = 0b10010;
const takesDelays = 0b01010;

/** What every driver of the upstream port must do, whatever the broker behind it (docs/upstream-port.md). */
export function upstreamSuite(name: string, start: () => Promise<UpstreamSubject>): void {
  describe(`${name} as an upstream`, () => {
    let subject: UpstreamSubject;
    let client: UpstreamClient;
    let count = 0;
    /** Names of their own for each test. */
    const names = () => ({ topic: topicRef(`topic-${++count}`), group: groupRef(`group-${count}`) });

    before(async () => {
      subject = await start();
      client = subject.connect();
    });
    after(() => subject.stop());

    it("stores messages and hands them out once, byte for byte", async () => {
      const { topic, group } = names();
      const sent = encodedMessage("first", { tag: "a", body: Buffer.alloc(10_000, 0xc3) });
      const answer = await client.send(topic, [sent], { bornHost: "10.1.2.3", laneMark: "canary" });
      assert.ok(answer.ok);
      assert.ok(Math.abs(answer.storeMs - Date.now()) < 60_000);
      const [delivery, ...others] = await client.take(topic, group);
      assert.equal(others.length, 0);
      assert.ok(delivery);
      assert.deepEqual(Buffer.from(delivery.message), Buffer.from(sent));
      const { queueId, firstOffset, storeMs } = answer;
      assert.deepEqual(
        [delivery.queueId, delivery.offset, delivery.storeMs, delivery.attempt, delivery.bornHost, delivery.lane],
        [queueId, firstOffset, storeMs, 1, "10.1.2.3", "canary"],
      );
      assert.equal(receiptBrokerName(delivery.receipt), client.upstream.brokerName);
      assert.ok(delivery.receipt.length <= 255);
      assert.deepEqual(await client.take(topic, group, { waitMs: 0 }), []);
    });

    it("stores the messages of one send in one queue without a gap", async () => {
      const { topic, group } = names();
      const ids = ["a", "b", "c", "d", "e"];
      const answer = await client.send(
        topic,
        ids.map((id) => encodedMessage(id)),
      );
      assert.ok(answer.ok);
      const deliveries = await takeAll(client, topic, group, ids.length);
      deliveries.sort((x, y) => x.offset - y.offset);
      assert.deepEqual(deliveries.map(messageIdOf), ids);
      assert.deepEqual(
        deliveries.map(({ queueId, offset }) => [queueId, offset]),
        ids.map((_, i) => [answer.queueId, answer.firstOffset + i]),
      );
    });

    it("gives each group its own copy", async () => {
      const { topic, group } = names();
      const other = groupRef(`${group.name}-other`);
      await client.store(topic, "shared");
      const [first] = await client.take(topic, group);
      const [second] = await client.take(topic, other);
      assert.deepEqual(
        [first, second].map((delivery) => delivery && messageIdOf(delivery)),
        ["shared", "shared"],
      );
      assert.ok(first && second);
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, first.receipt)), [Code.Ok]);
      assert.notDeepEqual(UpstreamClient.codes(await client.ack(group, second.receipt)), [Code.Ok], "another group's");
      assert.deepEqual(UpstreamClient.codes(await client.ack(other, second.receipt)), [Code.Ok]);
    });

    it("answers a waiting receive as soon as a message is stored", async () => {
      const { topic, group } = names();
      await client.take(topic, group, { waitMs: 0 });
      // Whoever looks only when the wait is over comes too late for this test.
      const waiting = client.take(topic, group, { waitMs: 100_000 });
      await client.store(topic, "awaited");
      assert.deepEqual((await waiting).map(messageIdOf), ["awaited"]);
    }).timeout(60_000);

    it("answers a receive with nothing when its wait is over", async () => {
      const { topic, group } = names();
      const startedMs = performance.now();
      assert.deepEqual(await client.take(topic, group, { waitMs: 300 }), []);
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs >= 290, `it took ${tookMs} ms`);
    });

    it("never hands out again what was acknowledged, not even after its invisible time", async () => {
      const { topic, group } = names();
      await client.store(topic, "done");
      const { receipt, invisibleMs } = await settledInTime(
        (lease) => client.take(topic, group, lease),
        (receipt) => client.ack(group, receipt),
      );
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, receipt)), [Code.Ok], "acks are idempotent");
      assert.deepEqual(await client.take(topic, group, { waitMs: invisibleMs + 300 }), []);
    });

    it("hands out again within 50 ms after the invisible time, with the next attempt", async () => {
      const { topic, group } = names();
      await client.store(topic, "again");
      const earlyMs: number[] = [];
      const lateMs: number[] = [];
      let delivery: Delivery | undefined;
      for (let attempt = 1; attempt <= 5; attempt++) {
        const handedMs = performance.now();
        const watch = new Stopwatch();
        [delivery] = await client.take(topic, group, { invisibleMs: 300, waitMs: 3_000 });
        assert.equal(delivery?.attempt, attempt);
        const tookMs = watch.stop();
        if (attempt === 1) continue;
        earlyMs.push(300 - (performance.now() - handedMs));
        lateMs.push(tookMs - 300);
      }
      // The lease began a little before the answer arrived, so it may end slightly early.
      lateMs.sort((a, b) => a - b);
      assert.ok(Math.max(...earlyMs) < 50, `early by ${earlyMs} ms`);
      assert.ok(lateMs[1]! <= 50, `redelivered ${lateMs} ms late`);
    });

    it("refuses the receipt of an older attempt, without touching the newer one", async () => {
      const { topic, group } = names();
      await client.store(topic, "stale");
      const [old] = await client.take(topic, group, { invisibleMs: 100 });
      const [current] = await client.take(topic, group, { waitMs: 3_000 });
      assert.ok(old && current);
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, old.receipt)), [Code.InvalidReceiptHandle]);
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, current.receipt)), [Code.Ok]);
    });

    it("refuses receipts that nobody gave out", async () => {
      const { topic, group } = names();
      await client.take(topic, group, { waitMs: 0 });
      const results = await client.ack(group, `${client.upstream.brokerName}.AAAA`, "nonsense", "");
      assert.deepEqual(UpstreamClient.codes(results), Array(3).fill(Code.InvalidReceiptHandle));
    });

    it("acknowledges through another sidecar, also after the first is gone", async () => {
      const { topic, group } = names();
      await client.store(topic, "popped elsewhere");
      const second = subject.connect();
      const { invisibleMs } = await settledInTime(
        async (lease) => {
          const first = subject.connect();
          const deliveries = await first.take(topic, group, lease);
          await first.upstream.close(0);
          return deliveries;
        },
        (receipt) => second.ack(group, receipt),
      );
      assert.deepEqual(await second.take(topic, group, { waitMs: invisibleMs + 300 }), []);
    });

    it("answers each entry of an ack by itself, in order", async () => {
      const { topic, group } = names();
      await client.send(
        topic,
        ["a", "b"].map((id) => encodedMessage(id)),
      );
      const deliveries = await takeAll(client, topic, group, 2);
      const [a, b] = deliveries;
      assert.ok(a && b);
      const codes = UpstreamClient.codes(await client.ack(group, a.receipt, "nonsense", b.receipt));
      assert.deepEqual(codes, [Code.Ok, Code.InvalidReceiptHandle, Code.Ok]);
    });

    it("renews: a new receipt, the old one is void", async () => {
      const { topic, group } = names();
      await client.store(topic, "renewed");
      const { receipt, newReceipt, invisibleMs } = await settledInTime(
        (lease) => client.take(topic, group, lease),
        (receipt) => client.change(group, receipt, "renew", 30_000),
      );
      assert.deepEqual(await client.take(topic, group, { waitMs: invisibleMs + 300 }), [], "it stays invisible");
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, receipt)), [Code.InvalidReceiptHandle]);
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, newReceipt)), [Code.Ok]);
    });

    it("extends: the receipt that the client holds stays valid", async () => {
      const { topic, group } = names();
      await client.store(topic, "extended");
      const { receipt, invisibleMs } = await settledInTime(
        (lease) => client.take(topic, group, lease),
        (receipt) => client.change(group, receipt, "extend", 30_000),
      );
      assert.deepEqual(await client.take(topic, group, { waitMs: invisibleMs + 300 }), []);
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, receipt)), [Code.Ok]);
    });

    it("hands back: visible at once, and the attempt does not count", async () => {
      const { topic, group } = names();
      await client.store(topic, "handed back");
      const [delivery] = await client.take(topic, group);
      assert.ok(delivery);
      assert.deepEqual(UpstreamClient.codes(await client.change(group, delivery.receipt, "hand-back", 0)), [Code.Ok]);
      const [again] = await client.take(topic, group, { waitMs: 1_000 });
      assert.equal(again?.attempt, 1);
    });

    it("nacks: a renewal of 0 makes the message visible at once, as the next attempt", async () => {
      const { topic, group } = names();
      await client.store(topic, "nacked");
      const [delivery] = await client.take(topic, group);
      assert.ok(delivery);
      assert.deepEqual(UpstreamClient.codes(await client.change(group, delivery.receipt, "renew", 0)), [Code.Ok]);
      const [again] = await client.take(topic, group, { waitMs: 1_000 });
      assert.equal(again?.attempt, 2);
    });

    it("gives a message up: it is not handed out again, and saying so twice is OK", async () => {
      const { topic, group } = names();
      await client.store(topic, "given up");
      const { receipt, invisibleMs } = await settledInTime(
        (lease) => client.take(topic, group, lease),
        (receipt) => client.deadLetter(group, receipt),
      );
      assert.deepEqual(UpstreamClient.codes(await client.deadLetter(group, receipt, "nonsense")), [
        Code.Ok,
        Code.InvalidReceiptHandle,
      ]);
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, receipt)), [Code.InvalidReceiptHandle]);
      assert.deepEqual(await client.take(topic, group, { waitMs: invisibleMs + 300 }), []);
    });

    it("[S2] keeps a message group at its earlier home while something of it is left, then says who else takes it", async () => {
      const { topic, group } = { ...names(), topic: topicRef(`moving-${count}`, { messageTypes: 1 << 2 }) };
      await client.store(topic, "a1", { messageGroup: "a" });
      const [held] = await client.take(topic, group);
      assert.ok(held);
      const outcome = async (id: string, groupSpread: number, isEarlierHome: boolean) => {
        const message = encodedMessage(id, { messageGroup: id.slice(0, 1) });
        const answer = await client.send(topic, [message], { groupSpread, isEarlierHome });
        return answer.ok ? "taken" : answer.reach;
      };
      assert.equal(await outcome("a2", 7, true), "taken");
      assert.equal(await outcome("b1", 7, true), "moved");
      assert.equal(await outcome("c1", 7, false), "taken", "its home of now");
      assert.equal(
        await outcome("d1", 6, false),
        "moved",
        "by a route that is older than one that the broker knows of",
      );
      await client.ack(group, held.receipt);
      for (const { receipt } of await takeAll(client, topic, group, 2)) await client.ack(group, receipt);
      assert.equal(await outcome("a3", 7, true), "moved");
      await subject.restart();
      assert.equal(await outcome("e1", 6, false), "moved", "also after a restart");
      assert.equal(await outcome("e1", 7, false), "taken");
    });

    it("hands out one message of a message group at a time, in order, and lets the other groups go on", async () => {
      const { topic, group } = names();
      for (const id of ["a1", "a2", "b1", "a3", "b2"]) await client.store(topic, id, { messageGroup: id.slice(0, 1) });
      const first = await takeAll(client, topic, group, 2);
      assert.deepEqual(first.map(messageIdOf).sort(), ["a1", "b1"]);
      assert.deepEqual(await client.take(topic, group, { waitMs: 0 }), []);
      const waiting = client.take(topic, group, { waitMs: 8_000, clientId: "another" });
      const receiptOf = (id: string) => first.find((delivery) => messageIdOf(delivery) === id)!.receipt;
      await client.ack(group, receiptOf("b1"));
      assert.deepEqual((await waiting).map(messageIdOf), ["b2"], "a waiting receive gets what an ack unlocks");
      await client.ack(group, receiptOf("a1"));
      const [second] = await client.take(topic, group);
      assert.equal(second && messageIdOf(second), "a2");
      await client.ack(group, second?.receipt ?? "");
      assert.deepEqual((await client.take(topic, group)).map(messageIdOf), ["a3"]);
    });

    it("keeps a message group waiting for a message that fails, until that is dead", async () => {
      const { topic, group: policy } = names();
      const group = { ...policy, attemptsMax: 3 };
      await client.store(topic, "poison", { messageGroup: "a" });
      await client.store(topic, "next", { messageGroup: "a" });
      const seen: string[] = [];
      while (seen.at(-1) !== "next 1") {
        const [delivery] = await client.take(topic, group, { invisibleMs: 300, waitMs: 5_000 });
        assert.ok(delivery);
        seen.push(`${messageIdOf(delivery)} ${delivery.attempt}`);
        // A nack, then the end of the lease, then a nack that gives it back at once.
        if (seen.length === 1) await client.change(group, delivery.receipt, "renew", 50);
        if (seen.length === 3) await client.change(group, delivery.receipt, "renew", 0);
      }
      assert.deepEqual(seen, ["poison 1", "poison 2", "poison 3", "next 1"]);
    });

    it("gives the same attempt the same messages again, though it has locked their groups itself", async () => {
      const { topic, group } = names();
      for (const id of ["a1", "a2", "b1"]) await client.store(topic, id, { messageGroup: id.slice(0, 1) });
      const attempt = { attemptId: "attempt-1", clientId: "client-1", waitMs: 0 };
      await client.take(topic, group, { waitMs: 0, clientId: "client-2", batch: 1 });
      const first = await client.take(topic, group, attempt);
      assert.equal(first.length, 1);
      const again = await client.take(topic, group, attempt);
      assert.deepEqual(
        again.map(({ receipt, attempt }) => [receipt, attempt]),
        first.map(({ receipt }) => [receipt, 1]),
      );
      assert.deepEqual(await client.take(topic, group, { ...attempt, attemptId: "attempt-2" }), []);
    });

    it("remembers across a restart which message of a group is out", async () => {
      const { topic, group } = names();
      for (const id of ["a1", "a2", "a3"]) await client.store(topic, id, { messageGroup: "a" });
      const [a1] = await client.take(topic, group, { invisibleMs: 60_000 });
      await client.ack(group, a1?.receipt ?? "");
      const [a2] = await client.take(topic, group, { invisibleMs: 60_000 });
      await subject.restart();
      // The first call finds the connection gone; it is opened again meanwhile.
      await waitUntil("the broker answers", async () => {
        const answer = await client.receive(topic, group, { waitMs: 0 });
        if (answer.ok) assert.deepEqual(answer.deliveries, []);
        return answer.ok;
      });
      assert.deepEqual(UpstreamClient.codes(await client.ack(group, a2?.receipt ?? "")), [Code.Ok]);
      assert.deepEqual((await client.take(topic, group)).map(messageIdOf), ["a3"]);
    });

    it("pulls by offset without a lease, and waits where nothing is yet", async () => {
      const { topic, group } = names();
      const { queueId, firstOffset } = await client.store(topic, "first");
      const pulled = await client.pull(topic, group, queueId, firstOffset);
      assert.ok(pulled.ok, pulled.ok ? "" : pulled.message);
      assert.deepEqual(
        pulled.deliveries.map((delivery) => [
          messageIdOf(delivery),
          delivery.queueId,
          delivery.offset,
          delivery.receipt,
        ]),
        [["first", queueId, firstOffset, ""]],
      );
      const waiting = client.pull(topic, group, queueId, pulled.nextOffset, { waitMs: 20_000 });
      // The queues are filled in turn: one of these comes where the pull waits.
      await Promise.all(Array.from({ length: 8 }, (_, i) => client.store(topic, `later-${i}`)));
      const later = await waiting;
      assert.ok(later.ok && later.deliveries.length > 0);
      assert.equal(later.deliveries[0]?.offset, pulled.nextOffset);
      const over = await client.pull(topic, group, queueId, later.nextOffset + 1_000);
      assert.ok(!over.ok && over.code === Code.IllegalOffset, "an offset that is not there yet");
      const none = await client.pull(topic, group, queueId, 0, { filter: "no-such-tag", waitMs: 100 });
      assert.ok(none.ok && none.deliveries.length === 0 && none.nextOffset > 0);
    });

    it("keeps the offset of a group, which is where its receives go on", async () => {
      const { topic, group } = names();
      const { queueId } = await client.store(topic, "first");
      const end = await client.offset({ policy: "end", topic, queueId });
      assert.deepEqual(end, { ok: true, offset: 1 });
      assert.deepEqual(await client.offset({ policy: "begin", topic, queueId }), { ok: true, offset: 0 });
      assert.deepEqual(await client.offset({ policy: "time", topic, queueId, timeMs: 0 }), { ok: true, offset: 0 });
      const none = await client.offset({ policy: "group", topic, queueId, group });
      assert.ok(!none.ok && none.code === Code.OffsetNotFound);
      assert.deepEqual(await client.offset({ policy: "set-group", topic, queueId, group, offset: 1 }), end);
      assert.deepEqual(await client.offset({ policy: "group", topic, queueId, group }), end);
      assert.deepEqual(await client.take(topic, group, { waitMs: 0 }), [], "the first message is passed");
    });

    it("gives a wait up: the callback comes once with nothing, and later messages go to others", async () => {
      const { topic, group } = names();
      await client.take(topic, group, { waitMs: 0 });
      const { answer, cancel } = client.receiveCancellable(topic, group, { waitMs: 20_000 });
      cancel();
      cancel();
      assert.deepEqual(await answer, { ok: true, deliveries: [] });
      await client.store(topic, "for another");
      const deliveries = await client.take(topic, group);
      assert.deepEqual(deliveries.map(messageIdOf), ["for another"]);
      assert.equal(deliveries[0]?.attempt, 1, "nobody had it before, or it was handed back");
    });

    it("hands back what had been popped for a receive that is given up while its answer is on the way", async () => {
      const { topic, group } = names();
      await client.take(topic, group, { waitMs: 0 });
      for (let round = 0; round < 10; round++) {
        const id = `message ${round}`;
        await client.store(topic, id);
        const { answer, cancel } = client.receiveCancellable(topic, group, { waitMs: 20_000, invisibleMs: 60_000 });
        cancel();
        assert.deepEqual(await answer, { ok: true, deliveries: [] });
        const deliveries = await client.take(topic, group, { waitMs: 5_000 });
        assert.deepEqual(
          deliveries.map((delivery) => [messageIdOf(delivery), delivery.attempt]),
          [[id, 1]],
        );
        await client.ack(group, ...deliveries.map(({ receipt }) => receipt));
      }
    });

    it("hands back what comes for a receive whose deadline is over", async () => {
      const { topic, group } = names();
      await client.take(topic, group, { waitMs: 0 });
      // The deadline comes long before the wait ends: the caller is told in time, the broker keeps the message.
      const answer = await client.receive(topic, group, { waitMs: 20_000 }, 300);
      assert.ok(answer.ok ? answer.deliveries.length === 0 : answer.code === Code.ProxyTimeout);
      await client.store(topic, "too late for one");
      const deliveries = await client.take(topic, group, { waitMs: 2_000 });
      assert.deepEqual(
        deliveries.map((delivery) => [messageIdOf(delivery), delivery.attempt]),
        [["too late for one", 1]],
      );
    });

    it("never calls back from within the call, and exactly once", async () => {
      const { topic, group } = names();
      const { upstream } = client;
      let calls = 0;
      let isInside = true;
      const done = (): void => {
        assert.equal(isInside, false);
        calls++;
      };
      upstream.send({ topic, laneMark: "", bornHost: "", messages: [encodedMessage("x")] }, deadline(5_000), done);
      upstream.send({ topic, laneMark: "", bornHost: "", messages: [encodedMessage("y")] }, deadline(-1), done);
      upstream.receive(receiveRequest(topic, group, { waitMs: 0 }), deadline(5_000), done);
      upstream.ack({ group, receipts: ["nonsense"] }, deadline(5_000), done);
      upstream.change(
        { group, changes: [{ receipt: "nonsense", kind: "renew", invisibleMs: 0 }] },
        deadline(5_000),
        done,
      );
      isInside = false;
      await waitUntil("all five have called back", () => calls >= 5);
      assert.equal(calls, 5);
    });

    it("answers a call whose time is over without asking the broker", async () => {
      const { topic } = names();
      const message = encodedMessage("out of time");
      const answer = await new Promise<{ ok: boolean; reach?: string }>((resolve) => {
        client.upstream.send({ topic, laneMark: "", bornHost: "", messages: [message] }, deadline(-1), resolve);
      });
      assert.deepEqual([answer.ok, answer.reach], [false, "not-sent"]);
    });

    it("keeps what a caller's buffer held when the call was made, also when the call has to wait", async () => {
      const { topic, group } = names();
      const fresh = subject.connect();
      const buffer = Buffer.from(encodedMessage("reused buffer"));
      const answer = fresh.send(topic, [buffer]);
      buffer.fill(0);
      assert.ok((await answer).ok);
      assert.deepEqual((await client.take(topic, group)).map(messageIdOf), ["reused buffer"]);
    });

    it("carries thousands of calls at the same time, each with its own answer", async () => {
      const { topic, group } = names();
      const total = 1_000;
      const stored = new Map<string, string>();
      await Promise.all(
        Array.from({ length: total }, async (_, i) => {
          const { queueId, firstOffset } = await client.store(topic, `many-${i}`);
          stored.set(`many-${i}`, `${queueId}/${firstOffset}`);
        }),
      );
      assert.equal(new Set(stored.values()).size, total, "no offset is given twice");
      const deliveries = await takeAll(client, topic, group, total);
      for (const delivery of deliveries) {
        assert.equal(stored.get(messageIdOf(delivery)), `${delivery.queueId}/${delivery.offset}`);
      }
      const results = await Promise.all(deliveries.map(({ receipt }) => client.ack(group, receipt)));
      assert.ok(results.every((result) => result.ok && result.results[0]?.code === Code.Ok));
    });

    it("keeps timed messages until their time, and takes back those that still wait", async () => {
      const { topic: ref, group } = names();
      const topic = { ...ref, messageTypes: takesDelays };
      const [soonMs, laterMs] = [Date.now() + 700, Date.now() + 3_600_000];
      const soon = await client.store(topic, "soon", { deliveryMs: soonMs });
      const { recallHandles = [] } = await client.store(topic, "later", { deliveryMs: laterMs });
      assert.deepEqual([soon.recallHandles?.length, recallHandles.length], [1, 1]);
      const [handle = ""] = recallHandles;
      assert.equal(receiptBrokerName(handle), client.upstream.brokerName);
      const deliveries = await client.take(topic, group, { waitMs: 10_000 });
      assert.ok(Date.now() >= soonMs, "never early");
      assert.deepEqual(deliveries.map(messageIdOf), ["soon"]);
      assert.deepEqual(await subject.connect().recall(topic, handle), { ok: true, messageId: "later" });
      assert.deepEqual(await client.recall(topic, handle), { ok: true, messageId: "later" }, "again");
      const refusals = [
        [await client.recall(topic, soon.recallHandles?.[0] ?? ""), Code.Forbidden],
        [await client.recall({ ...names().topic, messageTypes: takesDelays }, handle), Code.BadRequest],
        [await client.recall(topic, `${handle}x`), Code.BadRequest],
      ] as const;
      for (const [answer, code] of refusals) {
        assert.deepEqual(
          [answer.ok, answer.ok ? "" : answer.reach, answer.ok ? 0 : answer.code],
          [false, "refused", code],
        );
      }
    });

    it("stores half messages unseen, and shows them when they are committed, once", async () => {
      const { topic: ref, group } = names();
      const topic = { ...ref, messageTypes: takesTransactions };
      const [committed, rolledBack, open] = await Promise.all(["c", "r", "o"].map((id) => client.begin(topic, id)));
      assert.ok(committed && rolledBack && open);
      assert.equal(receiptBrokerName(committed), client.upstream.brokerName);
      assert.deepEqual(await client.take(topic, group, { waitMs: 300 }), []);
      const other = subject.connect();
      assert.deepEqual(await other.endTransaction(topic, committed, "COMMIT"), { ok: true });
      assert.deepEqual(await client.endTransaction(topic, committed, "COMMIT"), { ok: true }, "again");
      assert.deepEqual(await client.endTransaction(topic, rolledBack, "ROLLBACK"), { ok: true });
      assert.deepEqual(await client.endTransaction(topic, open, "UNKNOWN"), { ok: true });
      assert.deepEqual((await client.take(topic, group)).map(messageIdOf), ["c"]);
      assert.deepEqual(await client.take(topic, group, { waitMs: 300 }), []);
      for (const [id, resolution] of [
        [committed, "ROLLBACK"],
        [rolledBack, "COMMIT"],
        ["nonsense", "COMMIT"],
      ] as const) {
        const answer = await client.endTransaction(topic, id, resolution);
        assert.deepEqual([answer.ok, answer.ok ? "" : answer.reach], [false, "refused"]);
      }
    });

    it("asks about open transactions where a live producer is announced, also on a new connection", async () => {
      const topic = { ...names().topic, messageTypes: takesTransactions };
      const [near, far] = [subject.connect(), subject.connect()];
      const [asked, unasked] = [near.orphans(), far.orphans()];
      far.upstream.announceProducer(topic.name, true);
      far.upstream.announceProducer(topic.name, false);
      const transactionId = await client.begin(topic, "orphan", { recoveryMs: 300, tag: "a" });
      near.upstream.announceProducer(topic.name, true);
      await waitUntil("a question", () => asked.length > 0);
      const { message, ...orphan } = asked[0]!;
      assert.deepEqual(
        { ...orphan, storeMs: 0 },
        { topic: topic.name, transactionId, storeMs: 0, bornHost: "127.0.0.1", lane: "" },
      );
      assert.deepEqual(message, Buffer.from(encodedMessage("orphan", { isHalf: true, recoveryMs: 300, tag: "a" })));
      assert.deepEqual(unasked, []);
      assert.deepEqual(await near.endTransaction(topic, transactionId, "ROLLBACK"), { ok: true });
      // The restarted broker knows nobody until it is told again.
      await subject.restart();
      await waitUntil(
        "the drivers have found the broker again",
        () => near.upstream.isReady && client.upstream.isReady,
      );
      const next = await client.begin(topic, "second", { recoveryMs: 1 });
      await waitUntil("another question", () => asked.length > 1);
      assert.equal(asked[1]?.transactionId, next);
      assert.deepEqual(await client.endTransaction(topic, next, "COMMIT"), { ok: true });
    });

    it("tells nobody too early when the broker goes, and goes on when it is back", async () => {
      const { topic, group } = names();
      await client.store(topic, "before");
      const [held] = await client.take(topic, group, { invisibleMs: 60_000 });
      assert.ok(held);
      const parked = client.receive(topic, group, { waitMs: 20_000 });
      await subject.restart();
      const gone = await parked;
      assert.ok(!gone.ok || gone.deliveries.length === 0);
      await waitUntil("the driver has found the broker again", () => client.upstream.isReady);
      await client.store(topic, "after");
      const deliveries = await client.take(topic, group, { waitMs: 3_000 });
      assert.deepEqual(deliveries.map(messageIdOf), ["after"], "what is held stays held");
      assert.deepEqual(
        UpstreamClient.codes(await client.ack(group, held.receipt)),
        [Code.Ok],
        "and can be acknowledged",
      );
    });
  });
}

/** A lease that was taken and settled before its end, which is soon: what a test waits for to see that nothing comes of it. */
interface Settled {
  readonly receipt: string;
  /** Of the answer: the one that is valid from now on. */
  readonly newReceipt: string;
  readonly invisibleMs: number;
}

/** Takes one message and settles it. Where the machine stood still until the lease was over, it is taken again, for twice as long. */
async function settledInTime(
  take: (lease: { readonly invisibleMs: number; readonly waitMs: number }) => Promise<readonly Delivery[]>,
  settle: (receipt: string) => Promise<UpstreamResults>,
): Promise<Settled> {
  for (let invisibleMs = 300; ; invisibleMs *= 2) {
    const startedMs = performance.now();
    const [delivery] = await take({ invisibleMs, waitMs: 5_000 });
    assert.ok(delivery);
    const results = await settle(delivery.receipt);
    const isLate = performance.now() - startedMs >= invisibleMs;
    const { receipt } = delivery;
    if (results.ok && results.results[0]?.code === Code.Ok) {
      return { receipt, newReceipt: results.results[0].receipt, invisibleMs };
    }
    assert.ok(isLate, `refused in time: ${JSON.stringify(results)}`);
  }
}

/** Receives until `count` messages have come. */
async function takeAll(
  client: UpstreamClient,
  topic: ReturnType<typeof topicRef>,
  group: ReturnType<typeof groupRef>,
  count: number,
): Promise<Delivery[]> {
  const deliveries: Delivery[] = [];
  while (deliveries.length < count) {
    const batch = await client.take(topic, group);
    assert.ok(batch.length > 0, `only ${deliveries.length} of ${count} came`);
    deliveries.push(...batch);
  }
  assert.equal(deliveries.length, count);
  return deliveries;
}
