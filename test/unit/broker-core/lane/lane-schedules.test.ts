import assert from "node:assert/strict";
import { TrimReason } from "../../../../broker-core/record/log-trimmed-record.ts";
import { Code } from "../../../../proto/code.ts";
import { byMark, byShare, LaneFixture } from "../../../support/lane-fixture.ts";

describe("Lanes of a topic without order", () => {
  it("give each message to consumers of the lane that its rule names, and to nobody else", () => {
    const l = new LaneFixture();
    l.pop();
    l.pop("canary");
    l.rule(byMark("canary"));
    assert.deepEqual(l.ids("canary"), []);
    for (let i = 0; i < 6; i++) l.send(`m${i}`, i % 2 === 0 ? "canary" : "");
    l.send("other", "blue");
    assert.deepEqual(l.ids("canary"), ["m0", "m2", "m4"]);
    assert.deepEqual(l.ids("green"), ["m1", "m3", "m5", "other"], "an unknown lane is the base lane (L8)");
    assert.deepEqual(l.ids(""), []);
    l.f.assertRebuilt();
  });

  it("do not exist without a rule: whoever asks gets everything, whatever its lane", () => {
    const l = new LaneFixture();
    l.send("m0", "canary");
    l.send("m1");
    assert.deepEqual(l.ids("canary"), ["m0", "m1"]);
    l.f.assertRebuilt();
  });

  it("are decided by the rule in force where the message lies, not by those before and after (L1)", () => {
    const l = new LaneFixture();
    l.pop("canary");
    l.send("before", "canary");
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("during", "canary");
    l.rule(byMark("blue"));
    l.send("after", "canary");
    assert.deepEqual(l.ids("canary"), ["during"]);
    assert.deepEqual(l.ids(""), ["before", "after"]);
    l.f.assertRebuilt();
  });

  it("hand receives that wait what comes for their lane, and leave those of others alone", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    const call = { batch: 1, waitMs: 20_000 };
    const canary = l.f.ask(l.topicId, l.groupId, { ...call, lane: "canary", clientId: "c" });
    const base = l.f.ask(l.topicId, l.groupId, { ...call, clientId: "b" });
    l.send("m0", "canary");
    assert.equal(l.f.answers.has(base.ticket), false);
    assert.deepEqual(
      l.f.got(canary.ticket).map(({ id }) => id),
      ["m0"],
    );
    l.send("m1");
    assert.deepEqual(
      l.f.got(base.ticket).map(({ id }) => id),
      ["m1"],
    );
    l.f.assertRebuilt();
  });

  it("cost no record per message of another lane", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.f.ask(l.topicId, l.groupId, { waitMs: 20_000, lane: "canary", clientId: "c" });
    l.f.ask(l.topicId, l.groupId, { waitMs: 20_000, clientId: "b" });
    const before = l.f.log.recordCount;
    for (let i = 0; i < 100; i++) {
      l.send(`m${i}`);
      if (i === 0) l.f.ask(l.topicId, l.groupId, { waitMs: 20_000, clientId: "b" });
      else l.handle("", { batch: 1 });
    }
    assert.ok(l.f.log.recordCount - before < 400, `${l.f.log.recordCount - before} records`);
    l.f.assertRebuilt();
  });

  it("apply to one group where the rule names one, also before that group is known", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"), "ns/audit");
    l.send("m0", "canary");
    const audit = l.f.group("ns/audit");
    assert.deepEqual(l.ids(""), ["m0"]);
    const got = l.f.receive(l.topicId, audit, { lane: "canary", clientId: "c" });
    assert.deepEqual(
      got.map(({ id }) => id),
      ["m0"],
    );
    l.f.assertRebuilt();
  });

  it("keep what was classified after a restart that finds the index lost, over several rules", () => {
    const l = new LaneFixture({ losesIndex: true });
    l.pop("canary");
    const sent: string[] = [];
    const send = (count: number): void => {
      for (let i = 0; i < count; i++) sent.push(l.send(`m${sent.length}`));
    };
    send(50);
    l.rule(byShare(30));
    send(350);
    l.rule(byShare(60));
    l.f.sendTimed(l.topicId, l.f.wallMs + 100, { id: "timed", laneMark: "canary" });
    l.f.pass(101);
    l.rule(byMark("canary", "blue"));
    l.f.sendTimed(l.topicId, l.f.wallMs + 100, { id: "marked", laneMark: "canary" });
    l.f.pass(101);
    send(200);
    // The blocks of the index that this names are not there for the next state: it reads them from the log.
    const image = l.f.state.snapshot();
    const reads = l.f.log.readCount;
    l.f.crash("kill", image);
    assert.ok(l.f.log.readCount - reads > 500, "the log is read again");
    const drained = (lane: string): string[] => {
      const ids: string[] = [];
      for (let got = l.handle(lane); got.length > 0; got = l.handle(lane)) ids.push(...got);
      return ids;
    };
    const canary = drained("canary");
    const base = drained("");
    assert.deepEqual([...canary, ...base].sort(), [...sent, "timed", "marked"].sort());
    assert.ok(canary.includes("marked"));
    assert.ok(canary.length > 70 && canary.length < 150, `${canary.length} of 350 by 30 percent`);
    l.f.assertRebuilt(image);
  });

  it("go on after the log was trimmed, and free what is not needed any more", () => {
    const l = new LaneFixture();
    l.pop("canary");
    for (let round = 1; round <= 4; round++) {
      l.rule(byShare(20 * round));
      for (let i = 0; i < 20; i++) l.send(`m${round}.${i}`);
    }
    const kept = () => l.f.operate<{ topics: { ruleSets: number; outcomes: number }[] }>("lane.list", {}).topics[0]!;
    assert.deepEqual([kept().ruleSets, kept().outcomes], [5, 8]);
    for (const lane of ["canary", ""]) for (let i = 0; i < 4; i++) l.handle(lane);
    const begin = l.f.state.appliedPosition;
    const base = l.f.state.baseImage(begin);
    l.f.state.trimLog(begin, TrimReason.Age, l.f.now);
    l.f.sync();
    assert.deepEqual([kept().ruleSets, kept().outcomes], [1, 2]);
    l.f.log.removeBelow(begin);
    l.f.base = base;
    l.send("after");
    l.f.assertRebuilt();
    assert.equal([...l.handle("canary"), ...l.handle("")].length, 1);
    l.f.assertRebuilt();
  });
});

describe("The schedules that lanes survive", () => {
  it("F1: the base lane excludes before a canary exists: it goes on handling everything until one does", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(byMark("canary"));
    l.send("m0", "canary");
    assert.deepEqual(l.handle(), ["m0"]);
    assert.deepEqual(l.events, ["canary spilled"]);
    assert.deepEqual(l.handle("canary"), []);
    l.send("m1", "canary");
    assert.deepEqual(l.handle(), []);
    assert.deepEqual(l.handle("canary"), ["m1"]);
    l.f.assertRebuilt();
  });

  it("F2: a canary starts before the base lane knows of it: nothing is handled twice", () => {
    const l = new LaneFixture();
    l.send("m0", "canary");
    l.send("m1", "canary");
    assert.deepEqual(l.handle("canary", { batch: 1 }), ["m0"]);
    l.rule(byMark("canary"));
    assert.deepEqual(l.handle("canary"), []);
    assert.deepEqual(l.handle(), ["m1"]);
    assert.deepEqual(l.handle("canary"), []);
    l.f.assertRebuilt();
  });

  it("F3: a canary dies after the base lane has passed its messages: base gets them when the lane is spilled", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.handle("canary");
    l.send("m0", "canary");
    l.send("m1");
    assert.deepEqual(l.handle(), ["m1"]);
    l.f.pass(1_999);
    assert.deepEqual(l.handle(), []);
    l.f.pass(2);
    assert.deepEqual(l.handle(), ["m0"]);
    l.f.assertRebuilt();
  });

  it("F3: the same when the canary's receive is taken out, because its client is gone", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    const { handle } = l.f.ask(l.topicId, l.groupId, { lane: "canary", waitMs: 20_000, clientId: "c" });
    l.f.pass(15_000);
    assert.deepEqual(l.handle(), []);
    assert.ok(l.f.state.cancelReceive(handle));
    l.f.advance();
    l.send("m0", "canary");
    assert.deepEqual(l.handle(), [], "it may come back");
    l.f.pass(2_000);
    assert.deepEqual(l.handle(), ["m0"]);
    l.f.assertRebuilt();
  });

  it("F3: the same when the broker starts again from a checkpoint meanwhile", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.handle("canary");
    l.send("m0", "canary");
    assert.deepEqual(l.handle(), []);
    l.f.crash("kill", l.f.state.snapshot());
    l.f.pass(1_900);
    assert.deepEqual(l.handle(), [], "everybody has the time of the rule again");
    l.f.pass(101);
    assert.deepEqual(l.handle(), ["m0"]);
    l.f.assertRebuilt();
  });

  it("F4: the rule goes while the canary drains: what was the canary's stays its own, and the lane ends", () => {
    const l = new LaneFixture();
    l.pop("canary");
    l.rule(byMark("canary"));
    l.pop("canary");
    for (const id of ["m0", "m1", "m2"]) l.send(id, "canary");
    const held = l.pop("canary", { batch: 1 });
    l.rule(null);
    l.send("m3", "canary");
    assert.deepEqual(l.handle(), ["m3"]);
    assert.deepEqual(l.handle("canary"), ["m1", "m2"]);
    assert.deepEqual(l.events.at(-1), "canary resumed");
    assert.equal(l.f.ack(l.groupId, held[0]!.receipt).code, Code.Ok);
    assert.deepEqual(l.events.at(-1), "canary closed");
    l.send("m4", "canary");
    assert.deepEqual(l.handle("canary"), ["m4"], "the lane is unknown now");
    l.f.assertRebuilt();
  });

  it("F4: a lane that is done stays until the base lane has passed what was the lane's", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("m0", "canary");
    assert.deepEqual(l.handle("canary"), ["m0"]);
    l.rule(null);
    assert.equal(l.events.includes("canary closed"), false, "base has not looked at m0 yet");
    assert.deepEqual(l.handle(), []);
    assert.equal(l.events.at(-1), "canary closed");
    l.f.assertRebuilt();
  });

  it("F4: a lane that is made anew owns nothing of what a lane of its name was given before", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("m0", "canary");
    l.f.deadLetter(l.groupId, l.pop("canary")[0]!.receipt);
    l.rule(null);
    l.handle();
    assert.equal(l.events.at(-1), "canary closed");
    l.rule(byMark("canary"));
    l.pop("canary");
    l.f.operate("dlq.redrive", { group: "ns/billing" });
    assert.deepEqual([l.handle("canary"), l.handle()], [[], ["m0"]]);
    l.f.assertRebuilt();
  });

  it("F5: a lane that flaps faster than any poll loses and doubles nothing", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    const handled: string[] = [];
    for (let i = 0; i < 30; i++) {
      l.send(`m${i}`, "canary");
      if (i % 3 === 0) l.f.state.lanePresence("ns/billing", "ns/orders", "canary", false, l.f.now);
      handled.push(...l.handle(i % 2 === 0 ? "canary" : "", { batch: 2 }));
    }
    handled.push(...l.handle("canary"));
    assert.deepEqual(handled.sort(), Array.from({ length: 30 }, (_, i) => `m${i}`).sort());
    l.f.assertRebuilt();
  });

  it("F6: a message that failed waits while its rule changes: it comes back in its lane, and at last in the base lane", () => {
    const l = new LaneFixture();
    l.pop("canary");
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("m0", "canary");
    assert.deepEqual(l.ids("canary", { invisibleMs: 5_000 }), ["m0"]);
    l.rule(byMark("blue"));
    l.f.pass(5_001);
    assert.deepEqual(l.handle(), ["m0"]);
    assert.equal(l.events.at(-1), "canary closed");
    l.f.assertRebuilt();
  });

  it("F7: a canary dies with messages in hand: they come to the base lane when their leases end", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("m0", "canary");
    assert.deepEqual(l.ids("canary", { invisibleMs: 30_000 }), ["m0"]);
    l.f.pass(10_000);
    assert.deepEqual(l.handle(), [], "it is in flight (L5)");
    l.f.pass(20_001);
    assert.deepEqual(l.handle(), ["m0"]);
    l.f.assertRebuilt();
  });

  it("F9: a timed message becomes due when its lane is gone: it is classified then", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.pop("canary");
    l.f.sendTimed(l.topicId, l.f.wallMs + 5_000, { id: "early", laneMark: "canary" });
    l.f.sendTimed(l.topicId, l.f.wallMs + 50_000, { id: "late", laneMark: "canary" });
    l.f.pass(4_000);
    l.pop("canary");
    l.f.pass(1_001);
    assert.deepEqual(l.handle("canary"), ["early"]);
    l.rule(null);
    l.f.pass(60_000);
    assert.deepEqual(l.handle(), ["late"]);
    l.f.assertRebuilt();
  });

  it("F12: a reset gives each lane again what it owns, and nothing of others", () => {
    const l = new LaneFixture();
    l.rule(byMark("canary"));
    l.pop("canary");
    for (let i = 0; i < 6; i++) l.send(`m${i}`, i % 2 === 0 ? "canary" : "");
    const canary = l.handle("canary");
    const base = l.handle();
    l.f.operate("group.reset", { group: "ns/billing", to: "earliest" });
    assert.deepEqual([l.handle("canary"), l.handle()], [canary, base]);
    l.f.assertRebuilt();
  });

  it("F13: a group's filter means in its lanes what it means without them", () => {
    const l = new LaneFixture();
    const sql = { filterType: 2, filter: "lane NOT IN ('gray')" };
    l.pop("", sql);
    l.rule(byMark("canary"));
    l.send("unmarked");
    l.send("blue", "", { properties: { lane: "blue" } });
    assert.deepEqual(l.handle("", sql), ["blue"], "NOT IN is unknown for what has no such property, as before");
    l.f.assertRebuilt();
  });

  it("F15: rules cut over at a place in the log, whatever the wall clock says", () => {
    const l = new LaneFixture();
    l.pop("canary");
    l.f.wallMs += 3_600_000;
    l.rule(byMark("canary"));
    l.pop("canary");
    l.f.wallMs -= 7_200_000;
    l.send("m0", "canary");
    assert.deepEqual([l.handle(), l.handle("canary")], [[], ["m0"]]);
    l.f.assertRebuilt();
  });

  it("F17: lanes make no group, no topic and no queue: everything of a lane has the names that it had", () => {
    const l = new LaneFixture({ attemptsMax: 1 });
    const seen = () => ({
      topics: l.f.state.topics().map(({ name, queueCount }) => `${name} ${queueCount}`),
      subscriptions: l.f.state.subscriptions().map(({ group, topic }) => `${group} of ${topic}`),
    });
    l.pop();
    const before = seen();
    l.rule(byMark("canary", "blue"));
    for (const lane of ["canary", "blue"]) {
      l.pop(lane);
      l.send(`${lane}-1`, lane);
      l.send(`${lane}-2`, lane);
      assert.deepEqual(l.handle(lane, { batch: 1 }), [`${lane}-1`]);
    }
    l.f.pass(5_000);
    assert.deepEqual([...l.handle(), ...l.handle()], ["canary-2", "blue-2"]);
    assert.deepEqual(seen(), before);
    // What dies in a lane goes to the one dead-letter queue that the group has anyway.
    l.pop("canary");
    l.send("dead", "canary");
    l.pop("canary", { invisibleMs: 1 });
    l.f.pass(10);
    const dead = seen();
    assert.deepEqual(dead.topics, [...before.topics, "ns/%DLQ%billing 1"]);
    l.f.assertRebuilt();
  });

  it("F18: a canary that was announced and receives nothing is not live; one receive makes it so", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(byMark("canary"));
    l.f.state.lanePresence("ns/billing", "ns/orders", "canary", true, l.f.now);
    l.send("m0", "canary");
    assert.deepEqual(l.handle(), ["m0"]);
    l.pop("canary");
    l.send("m1", "canary");
    l.f.pass(1_500);
    l.f.state.lanePresence("ns/billing", "ns/orders", "canary", true, l.f.now);
    l.f.pass(1_500);
    assert.deepEqual(l.handle(), [], "busy, and said to be there");
    l.f.state.lanePresence("ns/billing", "ns/orders", "canary", false, l.f.now);
    assert.deepEqual(l.handle(), ["m1"], "gone, and said so");
    l.f.assertRebuilt();
  });
});
