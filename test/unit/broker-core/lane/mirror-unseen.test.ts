import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { messageBytes } from "../../../support/broker-fixture.ts";
import { LaneFixture } from "../../../support/lane-fixture.ts";
import fc from "../../../support/seeded-fast-check.ts";

const clauses = [{ to: "canary", lane: "canary" }];
const mirror = { topic: "ns/shadow" };
const takesAll = 0b11111;

/** A broker with topic ns/orders, which is copied to ns/shadow. */
function mirrored(options: ConstructorParameters<typeof LaneFixture>[0] = {}, rule: object = { mirror }) {
  const l = new LaneFixture({ messageTypes: takesAll, ...options });
  const shadowId = l.f.topic("ns/shadow", { messageTypes: 0b110, queueCount: 2 });
  const watcher = l.f.group("ns/watcher");
  l.rule({ clauses, ...rule });
  const copies = () => l.f.receive(shadowId, watcher, { batch: 32, clientId: "w" });
  const seen = () =>
    copies()
      .map(({ id, mirrorOf }) => `${id} of ${mirrorOf}`)
      .sort();
  return { l, shadowId, watcher, copies, seen };
}

const count = ({ f }: LaneFixture, type: RecordType) => f.log.countOf(type);

describe("A mirror of messages that are stored unseen", () => {
  it("copies a timed message when its time comes, and not before", () => {
    const { l, watcher, copies } = mirrored();
    const dueMs = l.f.wallMs + 5_000;
    l.f.sendTimed(l.topicId, dueMs, { id: "later", body: "b", laneMark: "canary" });
    l.send("now");
    const [now] = copies();
    assert.deepEqual([now?.id, now?.mirrorOf], ["now", "ns/orders/0/0"]);
    l.f.pass(4_999);
    assert.deepEqual(copies(), []);
    l.f.pass(1);
    const [copy, ...others] = copies();
    assert.deepEqual(others, []);
    assert.deepEqual(
      [copy?.id, copy?.body, copy?.mirrorOf, copy?.laneMark, copy?.storeMs, copy?.attempt],
      ["later", "b", "ns/orders/0/1", "canary", dueMs, 1],
    );
    assert.deepEqual(
      [...l.handle(), ...l.handle("canary")].sort(),
      ["later", "now"],
      "the originals are there as ever",
    );
    assert.equal(count(l, RecordType.Due), 1);
    for (const each of [now!, copy!]) assert.equal(l.f.ack(watcher, each.receipt).message, "");
    l.f.pass(60_000);
    assert.deepEqual(copies(), []);
    l.f.assertRebuilt();
  });

  it("asks the rule that is in force then, of a timed message and of a commit", () => {
    const { l, seen } = mirrored();
    l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: "timed" });
    const half = l.f.sendHalf(l.topicId, { id: "half" });
    l.rule({ clauses });
    l.f.pass(1_000);
    l.f.endOk(half, "COMMIT");
    assert.deepEqual(seen(), []);
    l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: "timed-2" });
    const half2 = l.f.sendHalf(l.topicId, { id: "half-2" });
    l.rule({ clauses, mirror });
    l.f.pass(1_000);
    l.f.endOk(half2, "COMMIT");
    assert.deepEqual(seen(), ["half-2 of ns/orders/0/3", "timed-2 of ns/orders/0/2"]);
    assert.deepEqual(l.handle().sort(), ["half", "half-2", "timed", "timed-2"]);
    l.f.assertRebuilt();
  });

  it("copies a message of a transaction with its commit, once, and never one that is open or rolled back", () => {
    const { l, copies, seen } = mirrored();
    const [committed = "", rolledBack = "", open = ""] = ["a", "b", "c"].map((id) => l.f.sendHalf(l.topicId, { id }));
    assert.deepEqual(copies(), []);
    l.f.endOk(rolledBack, "ROLLBACK");
    l.f.endOk(open, "UNKNOWN");
    assert.deepEqual(copies(), []);
    for (let again = 0; again < 2; again++) l.f.endOk(committed, "COMMIT");
    const [copy, ...others] = copies();
    assert.deepEqual(others, []);
    assert.deepEqual([copy?.id, copy?.laneMark, copy?.mirrorOf], ["a", "gray", "ns/orders/0/0"]);
    l.f.crash("power");
    l.f.endOk(committed, "COMMIT");
    assert.deepEqual(seen(), []);
    assert.equal(count(l, RecordType.Commit), 1);
    assert.deepEqual(l.handle(), ["a"]);
    l.f.assertRebuilt();
  });

  it("makes no copy of what is taken back before its time", () => {
    const { l, seen } = mirrored();
    const handle = l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: "a" });
    l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: "b" });
    assert.ok(l.f.recall(l.topicId, handle).ok);
    l.f.pass(1_000);
    assert.deepEqual(seen(), ["b of ns/orders/0/0"]);
  });

  it("keeps the message groups of timed messages in order in the shadow topic", () => {
    const { l, watcher, copies } = mirrored();
    for (const [i, id] of ["a", "b", "c"].entries())
      l.f.sendTimed(l.topicId, l.f.wallMs + 1_000 + i, { id, group: "user-7" });
    l.f.pass(2_000);
    const order: string[] = [];
    for (let got = copies(); got.length > 0; got = copies()) {
      assert.equal(got.length, 1, "of a message group one copy is out at a time");
      order.push(got[0]!.id);
      l.f.ack(watcher, got[0]!.receipt);
    }
    assert.deepEqual(order, ["a", "b", "c"]);
    l.f.assertRebuilt();
  });

  it("copies a share of them, the same users as of other messages", () => {
    const { l, shadowId } = mirrored({}, { mirror: { ...mirror, percent: 30 } });
    const usersOf = (prefix: string) => {
      const watcher = l.f.group(`ns/watcher-of-${prefix}`);
      const users = new Set<string>();
      const take = () => l.f.receive(shadowId, watcher, { batch: 32, clientId: "w" });
      for (let got = take(); got.length > 0; got = take()) {
        for (const { id, receipt } of got) {
          if (id.startsWith(prefix)) users.add(id.slice(prefix.length));
          l.f.ack(watcher, receipt);
        }
      }
      return users;
    };
    const users = Array.from({ length: 100 }, (_, i) => `user-${i}`);
    for (const user of users) {
      l.send(`sent ${user}`, "", { group: user });
      l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: `timed ${user}`, group: user });
    }
    l.f.pass(1_000);
    const sent = usersOf("sent ");
    assert.ok(sent.size > 15 && sent.size < 45, `${sent.size} of 100 users`);
    assert.deepEqual(usersOf("timed "), sent);
  });

  it("finds the message of a copy whose segment is old: the release carries it for both", () => {
    const { l, seen } = mirrored();
    l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: "timed" });
    const half = l.f.sendHalf(l.topicId, { id: "half" });
    const old = l.f.log.endPosition;
    l.f.log.youngPosition = old;
    l.f.pass(1_000);
    l.f.endOk(half, "COMMIT");
    for (const { position } of l.f.log.records(0)) if (position < old) l.f.log.damaged.add(position);
    assert.deepEqual(seen(), ["half of ns/orders/0/1", "timed of ns/orders/0/0"]);
    assert.deepEqual(l.handle().sort(), ["half", "timed"]);
  });

  it("gives the copies their places again where the index is lost", () => {
    const { l, seen } = mirrored({ losesIndex: true });
    l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: "timed" });
    l.f.endOk(l.f.sendHalf(l.topicId, { id: "half" }), "COMMIT");
    l.f.pass(1_000);
    // So many that what came first is no longer in memory, nor in the image.
    for (let i = 0; i < 600; i++) l.send(`behind ${i}`);
    l.f.crash("kill", l.f.state.snapshot());
    const found = [...seen(), ...seen()];
    for (const copy of ["half of ns/orders/0/0", "timed of ns/orders/0/1"]) assert.ok(found.includes(copy), copy);
    l.f.assertRebuilt();
  });

  it("gives pulls the mark of the origin", () => {
    const { l, shadowId, watcher } = mirrored();
    l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: "timed" });
    l.f.pass(1_000);
    const pulled = [0, 1].flatMap((queueId) => {
      const call = { topicId: shadowId, groupId: watcher, queueId, offset: 0, batch: 9, bytesMax: 0 };
      const answer = l.f.state.pull({ ...call, filterType: 1, filter: "*" });
      assert.ok(answer.ok);
      return answer.messages.map(({ mirrorOf, offset }) => ({ mirrorOf, offset }));
    });
    assert.deepEqual(pulled, [{ mirrorOf: "ns/orders/0/0", offset: 0 }]);
  });

  it("keeps the places of copies whose message is lost with a part of the log", () => {
    const { l, shadowId, watcher, copies } = mirrored();
    for (const id of ["a", "b", "c", "d"]) l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id });
    const stored = [...l.f.log.records(0)].filter(({ type }) => type === RecordType.TimedMessage);
    l.f.pass(1_000);
    for (const gone of [1, 3]) l.f.lost.add(stored[gone]!.position);
    l.f.crash("kill");
    const ends = [0, 1].map((queueId) => {
      const found = l.f.state.queryOffset({ policy: "end", topicId: shadowId, groupId: 0, queueId, value: 0 });
      return found.ok ? found.offset : -1;
    });
    assert.deepEqual(ends, [2, 2], "their offsets stay taken");
    const seen: string[] = [];
    for (let got = copies(); got.length > 0; got = copies()) {
      for (const { id, receipt } of got) {
        seen.push(id);
        l.f.ack(watcher, receipt);
      }
    }
    assert.deepEqual(seen.sort(), ["a", "c"]);
    assert.deepEqual(l.handle().sort(), ["a", "c"]);
  });

  it("has one copy of each message that became visible, after any sends, ends, crashes and starts", () => {
    const act = fc.oneof(
      fc.record({ kind: fc.constant("send" as const), group: fc.nat(3) }),
      fc.record({ kind: fc.constant("timed" as const), inMs: fc.integer({ min: 1, max: 3_000 }), group: fc.nat(3) }),
      fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 2_000 }) }),
      fc.record({ kind: fc.constant("half" as const) }),
      fc.record({ kind: fc.constant("end" as const), commits: fc.boolean(), which: fc.nat() }),
      fc.record({ kind: fc.constant("age" as const) }),
      fc.record({ kind: fc.constant("pop" as const) }),
      fc.record({ kind: fc.constant("crash" as const), power: fc.boolean(), image: fc.boolean() }),
      fc.record({ kind: fc.constant("rule" as const), isMirrored: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 50 }), fc.boolean(), (acts, losesIndex) => {
        const { l, watcher, copies } = mirrored({ losesIndex });
        let isMirrored = true;
        let next = 0;
        let waiting: { readonly id: string; readonly dueMs: number }[] = [];
        const open: { readonly id: string; readonly transactionId: string }[] = [];
        const visible: string[] = [];
        const copied: string[] = [];
        const handled: string[] = [];
        const seen: string[] = [];
        const show = (id: string) => {
          visible.push(id);
          if (isMirrored) copied.push(id);
        };
        const release = () => {
          for (const { id } of waiting.filter(({ dueMs }) => dueMs <= l.f.wallMs)) show(id);
          waiting = waiting.filter(({ dueMs }) => dueMs > l.f.wallMs);
        };
        const take = () => {
          handled.push(...l.handle(), ...l.handle("canary"));
          for (const { id, receipt, mirrorOf } of copies()) {
            assert.match(mirrorOf, /^ns\/orders\/0\/\d+$/);
            seen.push(id);
            l.f.ack(watcher, receipt);
          }
        };
        const groupOf = (group: number) => (group === 0 ? {} : { group: `g${group}` });
        for (const each of acts) {
          const id = `m${next++}`;
          if (each.kind === "send") {
            l.send(id, "", groupOf(each.group));
            show(id);
          } else if (each.kind === "timed") {
            const dueMs = l.f.wallMs + each.inMs;
            l.f.sendTimed(l.topicId, dueMs, { id, laneMark: "canary", ...groupOf(each.group) });
            waiting.push({ id, dueMs });
          } else if (each.kind === "pass") {
            l.f.pass(each.ms);
            release();
          } else if (each.kind === "half") open.push({ id, transactionId: l.f.sendHalf(l.topicId, { id }) });
          else if (each.kind === "end") {
            const [ended] = open.splice(each.which % Math.max(1, open.length), 1);
            if (ended === undefined) continue;
            l.f.endOk(ended.transactionId, each.commits ? "COMMIT" : "ROLLBACK");
            if (each.commits) show(ended.id);
          } else if (each.kind === "age") l.f.log.youngPosition = l.f.log.endPosition;
          else if (each.kind === "pop") take();
          else if (each.kind === "rule") {
            isMirrored = each.isMirrored;
            l.rule({ clauses, ...(isMirrored ? { mirror } : {}) });
          } else l.f.crash(each.power ? "power" : "kill", each.image ? l.f.state.snapshot() : undefined);
        }
        l.f.pass(3_000);
        release();
        for (let before = -1; before !== seen.length + handled.length; ) {
          before = seen.length + handled.length;
          take();
        }
        assert.deepEqual(seen.sort(), copied.sort());
        assert.deepEqual(handled.sort(), visible.sort());
        l.f.assertRebuilt();
      }),
      { numRuns: 80 },
    );
  });
});

describe("A mirror of priorities", () => {
  const priorities = 1 << 6;
  const send = (l: LaneFixture, ...priority: readonly number[]) => {
    for (const each of priority) {
      const messages = [messageBytes({ id: `p${each}`, priority: each, type: 6 })];
      const sent = l.f.state.send({ topicId: l.topicId, laneMark: "", bornHost: "h", messages }, l.f.now);
      assert.ok(sent.ok, sent.ok ? "" : sent.message);
    }
    l.f.sync();
  };

  it("copies to a topic of priorities, where the highest goes first as well", () => {
    const l = new LaneFixture({ messageTypes: priorities, queueCount: 3 });
    const shadowId = l.f.topic("ns/shadow", { messageTypes: priorities, queueCount: 3 });
    l.rule({ clauses, mirror });
    send(l, 0, 2, 1, 7);
    const got = l.f.receive(shadowId, l.f.group("ns/watcher"));
    assert.deepEqual(
      got.map(({ id, queueId, mirrorOf }) => `${id} in ${queueId} of ${mirrorOf}`),
      ["p2 in 2 of ns/orders/2/0", "p7 in 2 of ns/orders/2/1", "p1 in 1 of ns/orders/1/0", "p0 in 0 of ns/orders/0/0"],
    );
    l.f.assertRebuilt();
  });

  it("copies to a topic of ordinary messages, and timed ones by their priority", () => {
    const ordinary = new LaneFixture({ messageTypes: priorities, queueCount: 3 });
    const shadowId = ordinary.f.topic("ns/shadow", { messageTypes: 0b10 });
    ordinary.rule({ clauses, mirror });
    send(ordinary, 1, 0);
    const got = ordinary.f.receive(shadowId, ordinary.f.group("ns/watcher"));
    assert.deepEqual(got.map(({ id }) => id).sort(), ["p0", "p1"]);

    const l = new LaneFixture({ messageTypes: takesAll });
    const byPriority = l.f.topic("ns/shadow", { messageTypes: priorities, queueCount: 3 });
    l.rule({ clauses, mirror });
    l.f.sendTimed(l.topicId, l.f.wallMs + 1_000, { id: "low", priority: 1 });
    l.f.sendTimed(l.topicId, l.f.wallMs + 1_001, { id: "high", priority: 2 });
    l.send("in a group", "", { group: "g" });
    l.f.pass(2_000);
    const copies = l.f.receive(byPriority, l.f.group("ns/watcher"));
    assert.deepEqual(
      copies.map(({ id }) => id),
      ["high", "low"],
      "and none of a message group, which a topic of priorities does not take",
    );
  });
});
