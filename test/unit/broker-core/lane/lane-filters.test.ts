import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { messageBytes } from "../../../support/broker-fixture.ts";
import { byMark, LaneFixture } from "../../../support/lane-fixture.ts";

const red = { filter: "red" };

/** A group that reads with the filter "red", with a lane canary whose consumers read with `canary` and are gone; undefined: none came. */
function spilled(canary: string | undefined, options: ConstructorParameters<typeof LaneFixture>[0] = {}): LaneFixture {
  const l = new LaneFixture(options);
  l.pop("", red);
  l.rule(byMark("canary"));
  if (canary !== undefined) l.pop("canary", { filter: canary });
  l.f.pass(2_001);
  assert.equal(l.events.at(-1), "canary spilled");
  return l;
}

function rows(l: LaneFixture): unknown {
  const { ready, blocked, inFlight } = l.f.figures();
  return { ready, blocked, inFlight };
}

const nothing = { ready: 0, blocked: 0, inFlight: 0 };

describe("A group with a filter whose lane is spilled", () => {
  for (const [what, canary] of [
    ["has the same filter", "red"],
    ["has another one that does not want it either", "green || red"],
    ["had no consumer yet", undefined],
  ] as const) {
    it(`settles what nobody of it wants, where the lane ${what}`, () => {
      const l = spilled(canary);
      for (let i = 0; i < 300; i++) l.send(`m${i}`, "canary", { tag: i % 100 === 99 ? "red" : "blue" });
      const handled: string[] = [];
      for (let got = l.handle("", red); got.length > 0; got = l.handle("", red)) handled.push(...got);
      assert.deepEqual(handled.sort(), ["m199", "m299", "m99"]);
      assert.deepEqual(rows(l), nothing);
      l.f.assertRebuilt();
      l.f.crash("kill", l.f.state.snapshot());
      assert.deepEqual(l.pop("canary", { filter: "*" }), [], "it is done with them, also for who wants more later");
      l.f.assertRebuilt();
    });
  }

  it("keeps what the lane's consumers want, also over a restart, and gives it to them", () => {
    const l = spilled("red || blue");
    l.f.crash("power");
    l.send("blue", "canary", { tag: "blue" });
    l.send("green", "canary", { tag: "green" });
    l.send("red", "canary", { tag: "red" });
    assert.deepEqual(l.handle("", red), ["red"]);
    assert.deepEqual(rows(l), { ...nothing, ready: 1 });
    l.f.assertRebuilt();
    l.f.crash("kill", l.f.state.snapshot());
    assert.deepEqual(l.handle("", red), []);
    assert.deepEqual(l.handle("canary", { filter: "red || blue" }), ["blue"]);
    assert.deepEqual(rows(l), nothing);
    l.f.assertRebuilt();
  });

  it("settles what was kept when its consumers come back and do not want it any more", () => {
    const l = spilled("*");
    for (let i = 0; i < 5; i++) l.send(`m${i}`, "canary", { tag: "blue" });
    assert.deepEqual(l.handle("", red), []);
    assert.deepEqual(rows(l), { ...nothing, ready: 5 });
    l.f.pass(61_000);
    for (let again = 0; again < 3; again++) assert.deepEqual(l.pop("canary", red), []);
    assert.deepEqual(rows(l), nothing);
    l.f.assertRebuilt();
    assert.equal(l.f.log.countOf(RecordType.LaneFilter), 2, "each filter is written down once");
  });

  it("settles what was kept, and goes on settling, when its rule takes the lane back", () => {
    const l = spilled("*");
    l.send("before", "canary", { tag: "blue" });
    for (let again = 0; again < 3; again++) assert.deepEqual(l.handle("", red), []);
    assert.deepEqual(rows(l), { ...nothing, ready: 1 });
    l.rule({ ...byMark("canary"), withdrawn: ["canary"] });
    l.send("behind", "canary", { tag: "blue" });
    l.send("red", "canary", { tag: "red" });
    assert.deepEqual(l.handle("", red), ["red"]);
    assert.deepEqual(l.handle("", red), []);
    assert.deepEqual(rows(l), nothing);
    l.f.assertRebuilt();
  });

  it("leaves what consumers of the lane have had in hand to a consumer that wants it", () => {
    const l = spilled("*");
    l.send("m0", "canary", { tag: "blue" });
    const [held] = l.pop("canary", { filter: "*", invisibleMs: 1_000 });
    assert.equal(held?.id, "m0");
    l.f.pass(10_000);
    assert.deepEqual(l.handle("", red), []);
    assert.deepEqual(rows(l), { ...nothing, ready: 1 });
    assert.deepEqual(l.handle("canary", { filter: "*" }), ["m0"]);
    l.f.assertRebuilt();
  });

  it("is held up by nothing that it does not want, however much there is", () => {
    const l = spilled(undefined);
    for (let round = 0; round < 410; round++) {
      const messages = Array.from({ length: 50 }, (_, i) => messageBytes({ id: `${round}-${i}`, tag: "blue" }));
      const call = { topicId: l.topicId, laneMark: "canary", bornHost: "h", messages };
      assert.ok(l.f.state.send(call, l.f.now).ok);
    }
    l.f.sync();
    l.send("behind", "canary", { tag: "red" });
    const waiting = l.f.ask(l.topicId, l.groupId, { ...red, clientId: "base-1", waitMs: 20_000 });
    l.f.advance();
    assert.deepEqual(
      l.f.got(waiting.ticket).map(({ id }) => id),
      ["behind"],
    );
    assert.deepEqual(rows(l), { ...nothing, inFlight: 1 });
    l.f.assertRebuilt();
  });

  it("lets a message group go on behind what nobody wants, and stops it before what the lane's consumers want", () => {
    for (const [canary, first] of [
      ["red", ["m1"]],
      [undefined, ["m1"]],
      ["*", []],
    ] as const) {
      const l = spilled(canary, { messageTypes: 0b11111 });
      l.send("m0", "canary", { tag: "blue", group: "g" });
      l.send("m1", "canary", { tag: "red", group: "g" });
      assert.deepEqual([...l.handle("", red), ...l.handle("", red)], first, `canary reads with ${canary}`);
      if (first.length > 0) assert.deepEqual(rows(l), nothing);
      l.f.assertRebuilt();
      if (canary !== "*") continue;
      assert.deepEqual([...l.handle("canary"), ...l.handle("canary")], ["m0", "m1"]);
      l.f.assertRebuilt();
    }
  });
});
