import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { byMark, LaneFixture } from "../../../support/lane-fixture.ts";

const rules = { topic: "ns/orders", name: "r", number: 1 };

function refusal(l: LaneFixture, parameters: object): { code: number; message: string } {
  const operated = l.f.state.operate("lane.rule", { ...rules, ...parameters }, l.f.now);
  assert.ok(!(operated instanceof Promise) && !operated.ok, "it is refused");
  return operated;
}

describe("The operator calls of lane rules", () => {
  it("say which clause is wrong, and what with it", () => {
    const l = new LaneFixture();
    const wrong: readonly (readonly [object, RegExp])[] = [
      [{ clauses: [{ to: "a" }, { to: "b", sqll: "1" }] }, /clause 2: .*sqll/],
      [{ clauses: [{ to: "a" }, { to: "b", percent: 0.001 }] }, /clause 2, percent/],
      [{ clauses: [{ to: "a", percent: 1.234 }] }, /clause 1, percent: .*0.01 percent/],
      [{ clauses: [{ to: "a b" }] }, /clause 1, to: the lane "a b" may hold small letters/],
      [{ clauses: [{ to: "a" }, { to: "a", sql: "x = " }] }, /clause 2, sql: /],
      [{ clauses: [] }, /clauses: /],
      [{ clauses: [{ to: "a" }], whenEmpty: { action: "spill", afterMs: -1 } }, /whenEmpty/],
    ];
    for (const [rule, message] of wrong) {
      const refused = refusal(l, { rule });
      assert.equal(refused.code, Code.BadRequest);
      assert.match(refused.message, message);
    }
    assert.equal(l.f.log.countOf(30), 0);
  });

  it("refuse rules for topics that are not here, for dead letters and for lite topics", () => {
    const l = new LaneFixture();
    assert.match(refusal(l, { topic: "ns/none", rule: byMark("a") }).message, /no topic "ns\/none"/);
    l.f.topic("ns/%DLQ%billing");
    assert.match(refusal(l, { topic: "ns/%DLQ%billing", rule: byMark("a") }).message, /dead-letter queue/);
    l.f.topic("ns/lite", { messageTypes: 1 << 5 });
    assert.match(refusal(l, { topic: "ns/lite", rule: byMark("a") }).message, /lite topics/);
  });

  it("take a rule once, newer ones only, and list what is in force", () => {
    const l = new LaneFixture();
    const set = (number: number, rule: object | null) => l.f.operate("lane.rule", { ...rules, number, rule });
    assert.equal(set(5, byMark("canary"))["isChanged"], true);
    const { recordCount } = l.f.log;
    assert.equal(set(5, byMark("canary"))["isChanged"], false);
    assert.equal(l.f.log.recordCount, recordCount);
    assert.match(refusal(l, { number: 5, rule: byMark("blue") }).message, /has number 5, this one has 5/);
    assert.match(refusal(l, { number: 4, rule: null }).message, /newer rule has a higher one/);
    const listed = l.f.operate<{ topics: { rules: object[] }[] }>("lane.list", {});
    assert.deepEqual(
      listed.topics.map((topic) => topic.rules),
      [
        [
          {
            group: "",
            name: "r",
            number: 5,
            rule: { ...byMark("canary"), whenEmpty: { action: "spill", afterMs: 2_000 } },
          },
        ],
      ],
    );
    assert.equal(set(6, null)["isChanged"], true);
    assert.match(refusal(l, { number: 6, rule: byMark("canary") }).message, /number 6/, "also after a restart");
    l.f.assertRebuilt();
  });

  it("F14: tell of clauses that never decide anything, and which one shadows them (L10)", () => {
    const l = new LaneFixture();
    const clauses = [
      { to: "canary", lane: "canary" },
      { to: "blue", lane: "canary", tag: "red" },
    ];
    assert.deepEqual(l.rule({ clauses })["shadowed"], [{ clause: 2, by: 1 }]);
  });

  it("refuse what could tell more kinds of messages apart than an index entry can", () => {
    const l = new LaneFixture();
    let number = 1;
    for (let i = 0; i < 15; i++)
      l.f.operate("lane.rule", { ...rules, group: `ns/g${i}`, number: number++, rule: byMark("a") });
    const refused = refusal(l, { group: "ns/g15", number, rule: byMark("a") });
    assert.match(refused.message, /would tell 65536 kinds .* Withdraw rules of single groups/);
  });

  it("F8: the dead letters of a lane lie in the queue of the group, and say lane, rule and holder", () => {
    const l = new LaneFixture({ attemptsMax: 1 });
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("m0", "canary");
    assert.deepEqual(l.ids("canary", { invisibleMs: 100 }), ["m0"]);
    l.f.pass(101);
    const { items } = l.f.operate<{ items: Record<string, unknown>[] }>("dlq.list", { group: "ns/billing" });
    assert.equal(items.length, 1);
    assert.equal(items[0]!["lane"], "canary");
    assert.deepEqual(items[0]!["laneRule"], { name: "orders-canary", number: 1 });
    assert.equal(items[0]!["lastHolder"], "canary-1");
    l.pop("canary");
    l.f.operate("dlq.redrive", { group: "ns/billing" });
    assert.deepEqual(l.ids(), []);
    assert.deepEqual(l.handle("canary"), ["m0"], "redriven into its lane");
    l.f.assertRebuilt();
  });

  it("describe a group by lane", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(byMark("canary"));
    l.pop("canary");
    for (let i = 0; i < 5; i++) l.send(`m${i}`, i < 3 ? "canary" : "");
    l.pop("canary", { batch: 1 });
    const describe = () =>
      l.f.operate<{ topics: { ready: number; lanes: Record<string, unknown>[] }[] }>("group.describe", {
        group: "ns/billing",
      }).topics[0]!;
    const told = describe();
    assert.equal(told.ready, 4);
    assert.deepEqual(
      told.lanes.map(({ lane, ready, inFlight, isSpilled, holders }) => ({
        lane,
        ready,
        inFlight,
        isSpilled,
        holders,
      })),
      [
        { lane: "base", ready: 2, inFlight: 0, isSpilled: false, holders: ["base-1"] },
        { lane: "canary", ready: 2, inFlight: 1, isSpilled: false, holders: ["canary-1"] },
      ],
    );
    l.f.pass(2_001);
    l.rule(null);
    assert.deepEqual(
      describe().lanes.map(({ isSpilled, isClosing }) => [isSpilled, isClosing]),
      [
        [false, false],
        [true, true],
      ],
    );
  });

  it("count what a reset does over all lanes", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.pop("canary");
    for (let i = 0; i < 6; i++) l.send(`m${i}`, i % 2 === 0 ? "canary" : "");
    l.handle("canary");
    const reset = (to: unknown) =>
      l.f
        .operate<{ topics: { queues: { again: number; skipped: number }[] }[] }>("group.reset", {
          ...{ group: "ns/billing", to, dryRun: true },
        })
        .topics[0]!.queues.map(({ again, skipped }) => [again, skipped])[0];
    assert.deepEqual(reset("earliest"), [3, 0]);
    assert.deepEqual(reset("latest"), [0, 3]);
  });

  it("keep for the lane's own consumers what base consumers with another filter do not want (L2)", () => {
    const l = new LaneFixture();
    l.pop("", { filter: "red" });
    l.rule(byMark("canary"));
    l.pop("canary", { filter: "*" });
    l.f.pass(2_001);
    l.send("m0", "canary", { tag: "blue" });
    l.send("m1", "canary", { tag: "red" });
    assert.deepEqual(l.handle("", { filter: "red" }), ["m1"]);
    l.f.assertRebuilt();
    const [kept] = l.pop("canary", { filter: "*" });
    assert.deepEqual([kept?.id, kept?.attempt], ["m0", 1]);
    l.f.assertRebuilt();
  });

  it("let a lane wait that its rule holds, until the rule goes", () => {
    const l = new LaneFixture();
    l.rule({ ...byMark("canary"), whenEmpty: { action: "hold" } });
    l.send("m0", "canary");
    l.f.pass(100_000);
    assert.deepEqual(l.ids(), []);
    l.rule(null);
    assert.deepEqual(l.handle(), ["m0"]);
    assert.deepEqual(l.events, ["canary spilled", "canary closed"]);
    l.f.assertRebuilt();
  });

  it("take a spilled lane back when a rule comes that holds it", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(byMark("canary"));
    l.rule({ ...byMark("canary"), whenEmpty: { action: "hold" } });
    l.send("m0", "canary");
    l.f.pass(10_000);
    assert.deepEqual([l.handle(), l.events], [[], ["canary spilled", "canary resumed"]]);
    assert.deepEqual(l.handle("canary"), ["m0"]);
    l.f.assertRebuilt();
  });

  it("go with the topic", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("m0", "canary");
    const waiting = l.f.ask(l.topicId, l.groupId, { lane: "canary", waitMs: 20_000, clientId: "c" });
    l.f.got(waiting.ticket);
    const parked = l.f.ask(l.topicId, l.groupId, { lane: "canary", waitMs: 20_000, clientId: "c" });
    l.f.topic("ns/orders", { incarnation: 2, messageTypes: 0b11011 });
    assert.equal(l.f.refusal(parked.ticket).code, Code.TopicNotFound);
    assert.deepEqual(l.f.operate("lane.list", {}), { topics: [] });
    l.f.assertRebuilt();
  });

  it("L12: explain by which rule and clause a message came into its lane, and how it stands", () => {
    const l = new LaneFixture();
    interface Explained {
      laneMark: string;
      groups: Record<string, unknown>[];
    }
    const explain = (offset: number) =>
      l.f.operate<Explained>("lane.explain", { topic: "ns/orders", queueId: 0, offset }).groups[0]!;
    l.pop();
    l.send("m0", "canary");
    l.rule({ clauses: [{ to: "blue", tag: "red" }, ...byMark("canary").clauses] });
    l.pop("canary");
    l.send("m1", "canary");
    l.send("m2");
    assert.deepEqual([explain(0)["rule"], explain(0)["lane"], explain(0)["state"]], [null, "base", "ahead"]);
    const told = explain(1);
    assert.deepEqual([told["clause"], told["lane"], told["owner"], told["state"]], [2, "canary", "canary", "ahead"]);
    assert.deepEqual([explain(2)["clause"], explain(2)["lane"]], [null, "base"]);
    const [held] = l.pop("canary");
    l.rule(null);
    assert.deepEqual([explain(1)["clause"], explain(1)["state"], explain(1)["holder"]], [2, "in flight", "canary-1"]);
    l.f.ack(l.groupId, held!.receipt);
    assert.equal(explain(1)["state"], "done");
    const outside = l.f.state.operate("lane.explain", { topic: "ns/orders", queueId: 0, offset: 3 }, l.f.now);
    assert.ok(!(outside instanceof Promise) && !outside.ok && outside.code === Code.IllegalOffset);
  });
});
