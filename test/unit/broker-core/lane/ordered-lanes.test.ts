import assert from "node:assert/strict";
import { byMark, byShare, LaneFixture } from "../../../support/lane-fixture.ts";

const fifo = { messageTypes: 0b11111 };
const of = (group: string) => ({ group });

describe("Lanes of a topic that keeps order", () => {
  it("L7: the next message of a message group goes out when the one before is settled, in whichever lane it is", () => {
    const l = new LaneFixture(fifo);
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("a0", "", of("a"));
    l.send("a1", "canary", of("a"));
    l.send("a2", "", of("a"));
    l.send("b0", "canary", of("b"));
    assert.deepEqual(l.ids("canary"), ["b0"]);
    l.f.assertRebuilt();
    const [a0] = l.pop();
    assert.equal(a0?.id, "a0");
    assert.deepEqual(l.ids("canary"), []);
    l.f.ack(l.groupId, a0.receipt);
    l.f.assertRebuilt();
    assert.deepEqual(l.ids(), []);
    const [a1] = l.pop("canary");
    assert.equal(a1?.id, "a1");
    assert.deepEqual(l.ids(), []);
    l.f.ack(l.groupId, a1.receipt);
    assert.deepEqual(l.ids(), ["a2"]);
    l.f.assertRebuilt();
  });

  it("wake who waits in the lane that has the turn", () => {
    const l = new LaneFixture(fifo);
    l.rule(byMark("canary"));
    const canary = l.f.ask(l.topicId, l.groupId, { waitMs: 20_000, lane: "canary", clientId: "c" });
    l.send("a0", "", of("a"));
    l.send("a1", "canary", of("a"));
    const [a0] = l.pop();
    assert.equal(l.f.answers.has(canary.ticket), false);
    l.f.ack(l.groupId, a0!.receipt);
    assert.deepEqual(
      l.f.got(canary.ticket).map(({ id }) => id),
      ["a1"],
    );
    const base = l.f.ask(l.topicId, l.groupId, { waitMs: 20_000, clientId: "b" });
    l.send("a2", "", of("a"));
    l.send("c0", "", of("c"));
    assert.deepEqual(
      l.f.got(base.ticket).map(({ id }) => id),
      ["c0"],
    );
    l.f.assertRebuilt();
  });

  it("F11: a share splits no message group, and a rule that moves one waits for what is in flight", () => {
    const l = new LaneFixture(fifo);
    l.pop("canary");
    l.rule(byShare(30));
    l.pop("canary");
    const groups = Array.from({ length: 20 }, (_, i) => `g${i}`);
    for (let round = 0; round < 2; round++) for (const g of groups) l.send(`${g}.${round}`, "", of(g));
    const laneOf = new Map<string, string>();
    const held = new Map(
      ["canary", ""].flatMap((lane) => l.pop(lane).map((got) => [got.group, { lane, got }] as const)),
    );
    for (const [group, { lane }] of held) laneOf.set(group, lane);
    assert.equal(held.size, 20);
    const inCanary = [...laneOf.values()].filter((lane) => lane === "canary").length;
    assert.ok(inCanary > 1 && inCanary < 14, `${inCanary} of 20`);
    l.rule(byShare(80));
    for (const g of groups) l.send(`${g}.2`, "", of(g));
    assert.deepEqual([...l.ids("canary"), ...l.ids()], [], "each message group has one out");
    const order: string[] = [];
    for (const { got } of held.values()) {
      order.push(got.id);
      l.f.ack(l.groupId, got.receipt);
    }
    for (let i = 0; i < 4; i++) order.push(...l.handle("canary"), ...l.handle());
    assert.equal(order.length, 60);
    for (const g of groups) {
      assert.deepEqual(
        order.filter((id) => id.startsWith(`${g}.`)),
        [`${g}.0`, `${g}.1`, `${g}.2`],
      );
    }
    l.f.assertRebuilt();
  });

  it("let the base lane go on with message groups of a spilled lane, in their order, and close", () => {
    const l = new LaneFixture(fifo);
    l.rule(byMark("canary"));
    l.pop("canary");
    for (let i = 0; i < 4; i++) l.send(`a${i}`, i % 2 === 1 ? "canary" : "", of("a"));
    const order = l.handle();
    l.f.pass(2_001);
    for (let i = 0; i < 6; i++) order.push(...l.handle());
    assert.deepEqual(order, ["a0", "a1", "a2", "a3"]);
    l.send("a4", "canary", of("a"));
    l.rule(null);
    l.send("a5", "canary", of("a"));
    for (let i = 0; i < 3; i++) order.push(...l.handle());
    assert.deepEqual(order.slice(4), ["a4", "a5"]);
    l.f.advance();
    assert.equal(l.events.at(-1), "canary closed");
    l.f.assertRebuilt();
  });

  it("keep messages without a message group that another lane's scan passes", () => {
    const l = new LaneFixture(fifo);
    l.rule(byMark("canary"));
    l.pop("canary");
    for (let i = 0; i < 100; i++) l.send(`m${i}`, i % 4 === 0 ? "canary" : "");
    const base: string[] = [];
    for (let i = 0; i < 5; i++) base.push(...l.handle());
    l.f.assertRebuilt();
    const canary: string[] = [];
    for (let i = 0; i < 5; i++) canary.push(...l.handle("canary"));
    assert.deepEqual([base.length, canary.length], [75, 25]);
    l.send("late", "canary");
    assert.deepEqual([l.handle(), l.handle("canary")], [[], ["late"]]);
    l.f.assertRebuilt();
  });

  it("keep the turn of a message that failed, through a restart", () => {
    const l = new LaneFixture(fifo);
    l.rule(byMark("canary"));
    l.pop("canary");
    l.send("a0", "canary", of("a"));
    l.send("a1", "", of("a"));
    assert.deepEqual(l.ids("canary", { invisibleMs: 1_000 }), ["a0"]);
    assert.deepEqual(l.ids(), []);
    const image = l.f.state.snapshot();
    l.f.crash("kill", image);
    l.f.pass(1_500);
    assert.deepEqual(l.ids(), [], "a0 is the canary's, and first");
    assert.deepEqual(l.handle("canary"), ["a0"]);
    assert.deepEqual(l.handle(), ["a1"]);
    l.f.assertRebuilt(image);
  });
});
