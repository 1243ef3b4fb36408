import assert from "node:assert/strict";
import { byMark, LaneFixture, type RuleParts } from "../../../support/lane-fixture.ts";

const canary: RuleParts = byMark("canary");
const withdrawn: RuleParts & { withdrawn: string[] } = { ...canary, withdrawn: ["canary"] };

describe("A lane that its rule takes back", () => {
  for (const messageTypes of [0b11011, 0b11111]) {
    const kind = messageTypes === 0b11111 ? "ordered" : "unordered";
    it(`gives what it had to base, though its consumers live, and by a record (L3); ${kind}`, () => {
      const l = new LaneFixture({ messageTypes });
      l.pop();
      l.pop("canary");
      l.rule(canary);
      l.pop("canary");
      for (const id of ["a", "b"]) l.send(id, "canary", kind === "ordered" ? { group: id } : {});
      const [a] = l.pop("canary", { batch: 1, invisibleMs: 10_000 });
      assert.deepEqual(l.pop(), [], "the lane is live");
      l.rule(withdrawn);
      assert.equal(l.events.at(-1), "canary spilled");
      assert.deepEqual(l.handle("canary"), [], "its consumers get nothing");
      assert.equal(l.events.at(-1), "canary spilled", "and do not resume it by asking");
      assert.deepEqual(l.handle(), ["b"]);
      l.f.pass(10_001);
      assert.deepEqual(l.handle("canary"), []);
      assert.deepEqual(l.handle(), [a!.id], "what was in flight comes back and is base's too");
      l.f.assertRebuilt();
    });
  }

  for (const wasClosing of [false, true]) {
    const when = wasClosing ? "while it is closing" : "and does not name any more";
    it(`gives its consumers nothing where a rule takes it back ${when}`, () => {
      const l = new LaneFixture();
      l.pop();
      l.rule(canary);
      l.pop("canary");
      for (const id of ["a", "b"]) l.send(id, "canary");
      const [a] = l.pop("canary", { batch: 1, invisibleMs: 10_000 });
      if (wasClosing) l.rule(byMark("blue"));
      l.rule({ ...byMark("blue"), withdrawn: ["canary"] });
      const before = l.events.length;
      assert.equal(l.events.filter((each) => each.startsWith("canary")).at(-1), "canary spilled");
      l.f.assertRebuilt(l.f.state.snapshot());
      for (const image of [undefined, l.f.state.snapshot()]) {
        assert.deepEqual(l.ids("canary"), []);
        l.f.crash("kill", image);
      }
      l.f.advance();
      // A rule that says nothing of it gives nothing back.
      l.rule(byMark("blue"));
      assert.deepEqual(l.ids("canary"), []);
      assert.deepEqual(l.handle(), ["b"]);
      l.f.pass(10_001);
      assert.deepEqual(l.ids("canary"), []);
      assert.deepEqual(l.handle(), [a!.id]);
      assert.ok(!l.events.slice(before).includes("canary resumed"));
      l.f.advance();
      assert.equal(l.events.filter((each) => each.startsWith("canary")).at(-1), "canary closed");
      l.f.assertRebuilt();
    });
  }

  it("lets those who hold a message settle it (L5)", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(canary);
    l.send("a", "canary");
    const [a] = l.pop("canary");
    l.rule(withdrawn);
    l.f.ack(l.groupId, a!.receipt);
    l.f.pass(60_000);
    assert.deepEqual(l.handle(), []);
  });

  it("is its consumers' again when it is given back, also of those who have waited all the time", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(withdrawn);
    const waiting = l.f.ask(l.topicId, l.groupId, { lane: "canary", clientId: "canary-1", waitMs: 60_000 });
    l.send("a", "canary");
    assert.deepEqual(l.handle(), ["a"]);
    l.rule(canary);
    assert.equal(l.events.at(-1), "canary resumed");
    l.send("b", "canary");
    assert.deepEqual(l.ids(), []);
    assert.deepEqual(
      l.f.got(waiting.ticket).map(({ id }) => id),
      ["b"],
    );
    l.f.assertRebuilt();
  });

  it("is so after a start too, from the log and from an image", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(withdrawn);
    for (const image of [undefined, l.f.state.snapshot()]) {
      l.f.crash("kill", image);
      l.send("a", "canary");
      assert.deepEqual(l.handle("canary"), []);
      assert.deepEqual(l.handle(), ["a"]);
      assert.equal(l.events.at(-1), "canary spilled");
    }
  });

  it("takes nothing new with a share of nothing, and is not closed by it", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule({ clauses: [{ to: "canary", percent: 0 }] });
    l.pop("canary");
    l.send("a");
    assert.deepEqual(l.handle("canary"), []);
    assert.deepEqual(l.handle(), ["a"]);
  });
});
