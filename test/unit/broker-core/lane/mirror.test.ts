import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { messageBytes } from "../../../support/broker-fixture.ts";
import { LaneFixture } from "../../../support/lane-fixture.ts";
import fc from "../../../support/seeded-fast-check.ts";

const clauses = [{ to: "canary", lane: "canary" }];
const mirror = { topic: "ns/shadow" };

/** A broker with topic ns/orders and one that gets copies. */
function mirrored(options: ConstructorParameters<typeof LaneFixture>[0] = {}, rule: object = { mirror }) {
  const l = new LaneFixture(options);
  const shadowId = l.f.topic("ns/shadow", { messageTypes: 0b11111, queueCount: 2 });
  const watcher = l.f.group("ns/watcher");
  l.rule({ clauses, ...rule });
  const copies = (call: object = {}) => l.f.receive(shadowId, watcher, { batch: 32, clientId: "w", ...call });
  return { l, shadowId, watcher, copies };
}

describe("A mirror", () => {
  it("copies messages by reference, each with a place of its own and the mark of its origin", () => {
    const { l, watcher, copies } = mirrored();
    l.send("a", "", { body: "first", properties: { user: "7" } });
    l.send("b", "canary", { tag: "red" });
    const got = copies();
    assert.deepEqual(got.map(({ id, body, mirrorOf }) => [id, body, mirrorOf]).sort(), [
      ["a", "first", "ns/orders/0/0"],
      ["b", "body", "ns/orders/0/1"],
    ]);
    assert.deepEqual([...l.handle(), ...l.handle("canary")].sort(), ["a", "b"], "the originals are there as ever");
    assert.equal(l.f.log.countOf(RecordType.Message), 2, "no copy of a body");
    for (const { receipt } of got) assert.equal(l.f.ack(watcher, receipt).message, "");
    assert.deepEqual(copies(), []);
    l.f.assertRebuilt();
  });

  it("comes back and dies as any message, and its original knows nothing of it", () => {
    const { l, watcher, copies } = mirrored();
    l.send("a");
    const [first] = copies({ invisibleMs: 10_000 });
    l.f.pass(10_001);
    const [again] = copies();
    assert.deepEqual([again?.id, again?.attempt, again?.mirrorOf], ["a", 2, first?.mirrorOf]);
    const dead = l.f.state.deadLetter(watcher, [again!.receipt], l.f.now);
    assert.ok(dead.ok);
    assert.deepEqual(l.handle(), ["a"]);
    l.f.assertRebuilt();
  });

  it("leaves messages alone where the shadow topic is missing, takes no such messages, or is dropped later", () => {
    const l = new LaneFixture({ messageTypes: 0b11111 });
    l.rule({ clauses, mirror: { topic: "ns/none" } });
    l.send("a");
    assert.deepEqual(l.handle(), ["a"]);
    const strict = l.f.topic("ns/none", { messageTypes: 0b10 });
    l.send("b", "", { group: "g" });
    assert.deepEqual(l.handle(), ["b"]);
    const watcher = l.f.group("ns/watcher");
    assert.deepEqual(l.f.receive(strict, watcher), []);
    l.send("c");
    assert.deepEqual(
      l.f.receive(strict, watcher).map(({ id }) => id),
      ["c"],
    );
    l.f.assertRebuilt();
    l.f.topic("ns/none", { messageTypes: 0b10, incarnation: 2 });
    l.send("d");
    assert.deepEqual(l.handle(), ["c", "d"]);
    l.f.assertRebuilt();
  });

  it("copies a share, the same users each time", () => {
    const { l, copies } = mirrored({ messageTypes: 0b11111 }, { mirror: { ...mirror, percent: 30 } });
    for (let round = 0; round < 2; round++) {
      for (let user = 0; user < 100; user++) l.send(`${user}`, "", { group: `user-${user}` });
    }
    const seen = new Map<string, number>();
    for (let got = copies(); got.length > 0; got = copies()) {
      for (const { group, receipt } of got) {
        seen.set(group, (seen.get(group) ?? 0) + 1);
        l.f.ack(l.f.group("ns/watcher"), receipt);
      }
    }
    assert.ok(seen.size > 15 && seen.size < 45, `${seen.size} of 100 users`);
    assert.ok([...seen.values()].every((count) => count === 2));
  });

  it("copies sends of several messages with their last one, or not at all", () => {
    const { l, copies } = mirrored();
    const messages = ["a", "b", "c"].map((id) => messageBytes({ id }));
    const sent = l.f.state.send({ topicId: l.topicId, laneMark: "", bornHost: "h", messages }, l.f.now);
    assert.ok(sent.ok);
    l.f.sync();
    assert.deepEqual(
      copies().map(({ id, mirrorOf }) => [id, mirrorOf]),
      [
        ["a", "ns/orders/0/0"],
        ["b", "ns/orders/0/1"],
        ["c", "ns/orders/0/2"],
      ],
    );
    l.f.assertRebuilt();
  });

  it("keeps its places where messages before are lost with a part of the log", () => {
    const { l, watcher, copies } = mirrored();
    for (const id of ["a", "b", "c", "d"]) l.send(id);
    const [b] = [...l.f.log.records(0)].filter(({ type }) => type === RecordType.Message).slice(1, 2);
    const [d] = copies({ invisibleMs: 10_000 }).filter(({ id }) => id === "d");
    if (d !== undefined) l.f.ack(watcher, d.receipt);
    l.f.lost.add(b!.position);
    l.f.crash("kill");
    l.f.pass(60_000);
    const seen: string[] = [];
    for (let got = copies(); got.length > 0; got = copies()) {
      for (const { id, receipt } of got) {
        seen.push(id);
        l.f.ack(watcher, receipt);
      }
    }
    assert.deepEqual(seen.sort(), d === undefined ? ["a", "c", "d"] : ["a", "c"]);
  });

  it("is refused where it would copy copies, or itself", () => {
    const { l } = mirrored();
    const set = (parameters: object) => {
      const order = { name: "r", number: 9, group: "", ...parameters };
      const operated = l.f.state.operate("lane.rule", order, l.f.now);
      assert.ok(!(operated instanceof Promise));
      return operated.ok ? "taken" : operated.message;
    };
    const rule = (topic: string) => ({ clauses, mirror: { topic } });
    l.f.topic("ns/third", { messageTypes: 0b11111 });
    assert.match(set({ topic: "ns/orders", rule: rule("ns/orders") }), /cannot be its own copy/);
    assert.match(set({ topic: "ns/shadow", rule: rule("ns/third") }), /holds the copies of ns\/orders/);
    assert.match(set({ topic: "ns/third", rule: rule("ns/orders") }), /is copied to ns\/shadow itself/);
    assert.match(set({ topic: "ns/orders", group: "ns/g", rule: rule("ns/third") }), /another rule .* copies/);
    assert.match(set({ topic: "ns/third", rule: rule("ns/%DLQ%g") }), /dead-letter queue/);
    assert.equal(set({ topic: "ns/third", rule: rule("ns/shadow") }), "taken");
  });

  it("is in the state as the log says: after any sends, crashes and starts each visible message has one copy", () => {
    const act = fc.oneof(
      fc.record({ kind: fc.constant("send" as const), count: fc.integer({ min: 1, max: 3 }), group: fc.nat(3) }),
      fc.record({ kind: fc.constant("pop" as const) }),
      fc.record({ kind: fc.constant("crash" as const), power: fc.boolean(), image: fc.boolean() }),
      fc.record({ kind: fc.constant("rule" as const), isMirrored: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40 }), fc.boolean(), (acts, losesIndex) => {
        const { l, watcher, copies } = mirrored({ messageTypes: 0b11111, losesIndex });
        let isMirrored = true;
        let next = 0;
        const copied: string[] = [];
        const seen: string[] = [];
        const take = () => {
          for (const { id, receipt, mirrorOf } of copies()) {
            assert.match(mirrorOf, /^ns\/orders\/0\/\d+$/);
            seen.push(id);
            l.f.ack(watcher, receipt);
          }
        };
        for (const each of acts) {
          if (each.kind === "send") {
            const ids = Array.from({ length: each.count }, () => `m${next++}`);
            const messages = ids.map((id) =>
              messageBytes({ id, ...(each.group === 0 ? {} : { group: `g${each.group}` }) }),
            );
            const sent = l.f.state.send({ topicId: l.topicId, laneMark: "", bornHost: "h", messages }, l.f.now);
            assert.ok(sent.ok);
            l.f.sync();
            if (isMirrored) copied.push(...ids);
          } else if (each.kind === "pop") take();
          else if (each.kind === "rule") {
            isMirrored = each.isMirrored;
            l.rule({ clauses, ...(isMirrored ? { mirror } : {}) });
          } else l.f.crash(each.power ? "power" : "kill", each.image ? l.f.state.snapshot() : undefined);
        }
        for (let before = -1; before !== seen.length; ) {
          before = seen.length;
          take();
        }
        assert.deepEqual(seen.sort(), copied.sort());
        l.f.assertRebuilt();
      }),
      { numRuns: 60 },
    );
  });
});
