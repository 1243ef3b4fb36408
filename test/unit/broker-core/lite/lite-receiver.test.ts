import assert from "node:assert/strict";
import type { LiteStart, LiteSync } from "../../../../broker-core/broker-port.ts";
import { ChangeKind } from "../../../../broker-core/broker-port.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture, messageBytes } from "../../../support/broker-fixture.ts";

const liteOnly = 1 << 5;

describe("lite topics", () => {
  function opened(groupStart: "beginning" | "end" = "beginning") {
    const f = new BrokerFixture({ groupStart });
    const t = f.topic("ns/chat", { messageTypes: liteOnly });
    const g = f.group("ns/agents");
    const sync = (clientId: string, action: LiteSync["action"], liteTopics: readonly string[], start?: LiteStart) => {
      const synced = f.state.syncLite({ topicId: t, groupId: g, clientId, action, liteTopics, start }, f.now);
      f.sync();
      return synced;
    };
    const send = (lite: string, id: string) => {
      const messages = [messageBytes({ id, lite, type: 5 })];
      const sent = f.state.send({ topicId: t, laneMark: "", bornHost: "", messages }, f.now);
      f.sync();
      return sent;
    };
    const ids = (clientId: string, parts: object = {}) => f.receive(t, g, { clientId, ...parts }).map(({ id }) => id);
    return { f, t, g, sync, send, ids };
  }

  it("go to who subscribes to them, and to nobody else", () => {
    const { sync, send, ids } = opened();
    assert.ok(sync("alice", "add", ["room-1", "room-2"]).ok);
    assert.ok(sync("bob", "add", ["room-3"]).ok);
    for (const [lite, id] of [
      ["room-1", "m1"],
      ["room-2", "m2"],
      ["room-3", "m3"],
      ["room-4", "m4"],
    ] as const) {
      assert.ok(send(lite, id).ok);
    }
    assert.deepEqual([...ids("alice"), ...ids("alice")].sort(), ["m1", "m2"]);
    assert.deepEqual(ids("bob"), ["m3"]);
    assert.deepEqual([ids("alice"), ids("bob"), ids("nobody")], [[], [], []]);
  });

  it("keep their order, one queue each, and take turns: a busy one starves none", () => {
    const { sync, send, ids } = opened();
    sync("alice", "add", ["busy", "quiet"]);
    for (let i = 0; i < 6; i++) send("busy", `b${i}`);
    send("quiet", "q");
    const got = Array.from({ length: 4 }, () => ids("alice", { batch: 2 }));
    assert.deepEqual(got.flat().sort(), ["b0", "b1", "b2", "b3", "b4", "b5", "q"]);
    assert.ok(got.slice(0, 2).flat().includes("q"), "the quiet one is second at the latest");
    assert.deepEqual(
      got.flat().filter((id) => id !== "q"),
      ["b0", "b1", "b2", "b3", "b4", "b5"],
    );
  });

  it("wake a receive that waits: by a message, by a subscription, by what comes back from a lease", () => {
    const { f, t, g, sync, send } = opened();
    sync("alice", "add", ["room-1"]);
    const wait = () => f.ask(t, g, { clientId: "alice", waitMs: 20_000, invisibleMs: 5_000 }).ticket;
    const first = wait();
    send("room-1", "m1");
    assert.deepEqual(
      f.got(first).map(({ id, attempt }) => [id, attempt]),
      [["m1", 1]],
    );
    const second = wait();
    f.pass(5_000);
    const [again] = f.got(second);
    assert.deepEqual([again?.id, again?.attempt], ["m1", 2]);
    const third = wait();
    f.change(g, again!.receipt, ChangeKind.Suspend, 0);
    assert.deepEqual(
      f.got(third).map(({ id, attempt }) => [id, attempt]),
      [["m1", 2]],
    );
    assert.equal(f.ack(g, f.got(third)[0]!.receipt).code, Code.Ok);
    send("room-2", "early");
    const fourth = wait();
    assert.equal(f.answers.has(fourth), false);
    sync("alice", "add", ["room-2"], { kind: "min" });
    assert.deepEqual(
      f.got(fourth).map(({ id }) => id),
      ["early"],
    );
    f.assertRebuilt();
  });

  it("end a wait when it is over, and forget one that is cancelled", () => {
    const { f, t, g, sync, send } = opened();
    sync("alice", "add", ["room-1"]);
    const { ticket } = f.ask(t, g, { clientId: "alice", waitMs: 3_000 });
    const cancelled = f.ask(t, g, { clientId: "alice", waitMs: 3_000 });
    assert.equal(f.state.cancelReceive(cancelled.handle), true);
    assert.equal(f.state.cancelReceive(cancelled.handle), false);
    f.pass(2_999);
    assert.equal(f.answers.has(ticket), false);
    f.pass(1);
    assert.deepEqual(f.got(ticket), []);
    send("room-1", "m1");
    assert.equal(f.answers.has(cancelled.ticket), false);
  });

  it("are removed, replaced and cleared", () => {
    const { sync, send, ids } = opened();
    sync("alice", "add", ["a", "b", "c"]);
    sync("alice", "remove", ["a", "not-there"]);
    send("a", "m1");
    assert.deepEqual(ids("alice"), []);
    sync("alice", "replace", ["a"]);
    send("b", "m2");
    assert.deepEqual(ids("alice"), ["m1"]);
    assert.deepEqual(ids("alice"), []);
    sync("alice", "clear", []);
    send("a", "m3");
    assert.deepEqual(ids("alice"), []);
    sync("alice", "add", ["a", "b"]);
    assert.deepEqual([...ids("alice"), ...ids("alice")].sort(), ["m2", "m3"], "the group goes on where it was");
  });

  it("begin where the client says, for a group that is new to them", () => {
    const { f, sync, send, ids } = opened("end");
    for (let i = 0; i < 5; i++) {
      for (const lite of ["min", "max", "offset", "tail", "time", "none"]) send(lite, `${lite}${i}`);
      f.pass(1_000);
    }
    const timeMs = f.wallMs - 2_500;
    const seen = (lite: string, start?: LiteStart) => {
      assert.ok(sync("alice", "replace", [lite], start).ok);
      return ids("alice");
    };
    assert.deepEqual(seen("min", { kind: "min" }), ["min0", "min1", "min2", "min3", "min4"]);
    assert.deepEqual(seen("max", { kind: "max" }), []);
    assert.deepEqual(seen("offset", { kind: "offset", value: 3 }), ["offset3", "offset4"]);
    assert.deepEqual(seen("tail", { kind: "tail", value: 1 }), ["tail4"]);
    assert.deepEqual(seen("time", { kind: "time", value: timeMs }), ["time3", "time4"]);
    assert.deepEqual(seen("none"), [], "as in any topic of this broker");
    assert.deepEqual(seen("tail", { kind: "min" }), [], "who has a position keeps it");
  });

  it("refuse bad names, too many, and topics and messages that have none", () => {
    const { f, g, t, sync, send } = opened();
    for (const name of ["", "a b", "a/b", "x".repeat(65), "%DLQ%g"]) {
      const synced = sync("alice", "add", ["fine", name]);
      assert.ok(!synced.ok && synced.code === Code.IllegalLiteTopic, name);
    }
    const many = sync(
      "alice",
      "replace",
      Array.from({ length: 2_301 }, (_, i) => `r${i}`),
    );
    assert.ok(!many.ok && many.code === Code.LiteSubscriptionQuotaExceeded);
    const plain = f.topic("ns/plain");
    const onPlain = f.state.syncLite(
      { topicId: plain, groupId: g, clientId: "alice", action: "add", liteTopics: ["a"], start: undefined },
      f.now,
    );
    assert.ok(!onPlain.ok && onPlain.code === Code.IllegalTopic);
    const bad = send("a b", "m");
    assert.ok(!bad.ok && bad.code === Code.IllegalLiteTopic);
    const none = f.state.send({ topicId: t, laneMark: "", bornHost: "", messages: [messageBytes({ id: "m" })] }, f.now);
    assert.ok(!none.ok && none.code === Code.MessagePropertyConflictWithType);
    const two = ["a", "b"].map((lite) => messageBytes({ lite, type: 5 }));
    const mixed = f.state.send({ topicId: t, laneMark: "", bornHost: "", messages: two }, f.now);
    assert.ok(!mixed.ok && mixed.code === Code.BadRequest);
  });

  it("forget a client that says nothing for 90 s, not one that waits or says its set again", () => {
    const { f, sync, send, ids } = opened();
    sync("alice", "add", ["a"]);
    sync("bob", "add", ["b"]);
    for (let i = 0; i < 4; i++) {
      f.pass(30_000);
      sync("bob", "replace", ["b"]);
    }
    send("a", "m1");
    send("b", "m2");
    assert.deepEqual([ids("alice"), ids("bob")], [[], ["m2"]]);
  });

  it("keep messages and positions through a crash; clients say their sets anew", () => {
    for (const how of ["kill", "power"] as const) {
      const { f, sync, send, ids, t, g } = opened();
      sync("alice", "add", ["a"]);
      send("a", "m1");
      send("a", "m2");
      f.ack(g, f.receive(t, g, { clientId: "alice", batch: 1 })[0]!.receipt);
      f.assertRebuilt();
      f.crash(how);
      assert.deepEqual(ids("alice"), []);
      sync("alice", "replace", ["a"]);
      assert.deepEqual(ids("alice"), ["m2"], how);
    }
  });

  it("go with their parent, and its waiting receives are refused", () => {
    const { f, t, g, sync, send } = opened();
    sync("alice", "add", ["a"]);
    const { ticket } = f.ask(t, g, { clientId: "alice", waitMs: 20_000 });
    f.topic("ns/chat", { messageTypes: liteOnly, incarnation: 2 });
    assert.equal(f.refusal(ticket).code, Code.TopicNotFound);
    const gone = send("a", "m1");
    assert.ok(!gone.ok && gone.code === Code.TopicNotFound);
    assert.deepEqual(
      f.state.topics().map(({ name }) => name),
      ["ns/chat"],
    );
    f.assertRebuilt();
  });
});
