import assert from "node:assert/strict";
import { byMark, LaneFixture } from "../../../support/lane-fixture.ts";

describe("the kill switch of a broker", () => {
  const turn = (l: LaneFixture, state: "off" | "on") => l.f.operate("lanes.switch", { state, by: "test" });

  /** A hand-out is of one lane at a time. */
  const drain = (l: LaneFixture, lane = "") => {
    const all: string[] = [];
    for (let got = l.handle(lane); got.length > 0; got = l.handle(lane)) all.push(...got);
    return all.sort();
  };

  it("hands every lane's messages to base at once, loses and doubles nothing, and gives back what is left", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(byMark("canary"));
    l.pop("canary");
    for (let i = 0; i < 4; i++) l.send(`c${i}`, "canary");
    const [held] = l.pop("canary", { batch: 1, invisibleMs: 10_000 });
    assert.equal(held?.id, "c0");
    const told = turn(l, "off");
    assert.deepEqual(
      [told["state"], told["isChanged"], told["lanes"], told["spilled"], told["ready"], told["inFlight"], told["by"]],
      ["off", true, 1, 1, 3, 1, "test"],
    );
    const { recordCount } = l.f.log;
    assert.equal(turn(l, "off")["isChanged"], false);
    assert.equal(l.f.log.recordCount, recordCount);
    // Consumers of all lanes are of base: whoever asks gets what is there, whosever it was.
    assert.deepEqual(l.handle("", { batch: 1 }), ["c1"]);
    l.send("b0");
    l.send("c4", "canary");
    const asCanary = l.handle("canary", { batch: 1 });
    const asBase = l.handle("", { batch: 1 });
    assert.deepEqual([...asCanary, ...asBase].sort(), ["b0", "c2"]);
    // What is in flight belongs to its receipt (L5).
    l.f.ack(l.groupId, held.receipt);
    assert.deepEqual(l.events, ["canary spilled", "canary resumed"], "no consumer resumes a lane that is suspended");
    l.f.assertRebuilt();
    l.f.assertRebuilt(l.f.state.snapshot());

    turn(l, "on");
    assert.deepEqual(l.ids("canary", { batch: 1 }), ["c3"], "what is left is the lane's again");
    assert.deepEqual(l.events.at(-1), "canary resumed");
    l.send("b1");
    assert.deepEqual(drain(l), ["b1"]);
    assert.deepEqual(drain(l, "canary"), ["c4"]);
    l.f.assertRebuilt();
  });

  it("outlives the process, and suspends rules that are set meanwhile", () => {
    const l = new LaneFixture();
    l.pop();
    turn(l, "off");
    l.f.crash("kill");
    l.rule({ ...byMark("canary", "blue"), whenEmpty: { action: "hold" } });
    l.pop("canary");
    for (const lane of ["canary", "blue"]) l.send(lane, lane);
    assert.deepEqual(drain(l), ["blue", "canary"]);
    assert.equal(l.f.operate("lanes.status", {})["state"], "off");
    l.f.crash("power", l.f.state.snapshot());
    assert.equal(l.f.operate("lanes.status", {})["rules"], 1);
    for (const lane of ["canary", "blue"]) l.send(`${lane}-later`, lane);
    // The rule that was stored holds its lanes: they are their own again at once.
    turn(l, "on");
    assert.deepEqual(l.events, ["canary resumed", "blue resumed"]);
    assert.deepEqual(l.handle(), []);
    assert.deepEqual(l.handle("blue"), ["blue-later"]);
    l.f.assertRebuilt();
  });

  it("gives nothing to consumers of a lane that its rule takes back", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(byMark("canary"));
    l.pop("canary");
    l.rule({ ...byMark("canary"), withdrawn: ["canary"] } as never);
    l.send("c0", "canary");
    l.send("b0");
    turn(l, "off");
    assert.deepEqual(l.ids("canary"), []);
    assert.deepEqual(drain(l), ["b0", "c0"]);
    turn(l, "on");
    assert.deepEqual(l.ids("canary"), []);
    l.f.assertRebuilt();
  });

  it("ends the receives that wait, so that whoever waited asks as what it is now", () => {
    const l = new LaneFixture();
    l.pop();
    l.rule(byMark("canary"));
    const waits = (clientId: string) => l.f.ask(l.topicId, l.groupId, { lane: "canary", waitMs: 20_000, clientId });
    const inLane = waits("c1");
    turn(l, "off");
    assert.deepEqual(l.f.got(inLane.ticket), []);
    const asBase = waits("c1");
    turn(l, "on");
    assert.deepEqual(l.f.got(asBase.ticket), []);
    const again = waits("c1");
    l.send("c0", "canary");
    assert.deepEqual(
      l.f.got(again.ticket).map(({ id }) => id),
      ["c0"],
    );
  });

  it("keeps the order of message groups (L7)", () => {
    const l = new LaneFixture({ messageTypes: 0b100, queueCount: 1 });
    l.pop();
    l.rule(byMark("canary"));
    l.pop("canary");
    for (const [id, mark] of [
      ["m0", "canary"],
      ["m1", ""],
      ["m2", "canary"],
    ] as const) {
      l.send(id, mark, { group: "g", type: 2 });
    }
    const [first] = l.pop("canary");
    turn(l, "off");
    assert.deepEqual(l.ids(), [], "the message before is out");
    l.f.ack(l.groupId, first!.receipt);
    assert.deepEqual(l.handle("canary", { clientId: "base-1" }), ["m1"]);
    turn(l, "on");
    assert.deepEqual([...l.handle(), ...l.handle("canary")], ["m2"]);
    l.f.assertRebuilt();
  });
});
