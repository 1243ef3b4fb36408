import assert from "node:assert/strict";
import { BrokerFixture, messageBytes } from "../../../support/broker-fixture.ts";

const fifo = 1 << 2;

function opened(groupStart: "beginning" | "end" = "end") {
  const f = new BrokerFixture({ groupStart });
  const t = f.topic("ns/orders", { messageTypes: fifo, queueCount: 2 });
  const g = f.group("ns/billing");
  let count = 0;
  /** What becomes of a send by a route of a spread, to the home that the message group has by it or had before it. */
  const send = (group: string, groupSpread = 0, home: "now" | "earlier" = "now", topicId = t) => {
    const messages = [messageBytes({ id: `${group}${++count}`, group })];
    const place = { groupSpread, isEarlierHome: home === "earlier" };
    const sent = f.state.send({ topicId, laneMark: "", bornHost: "", messages, ...place }, f.now);
    f.sync();
    return sent.ok ? "taken" : sent.isMoved === true ? "moved" : sent.message;
  };
  const consume = () => {
    for (let got = f.receive(t, g); got.length > 0; got = f.receive(t, g)) {
      for (const { receipt } of got) f.ack(g, receipt);
    }
  };
  return { f, t, g, send, consume };
}

describe("A topic whose message groups are spread anew", () => {
  it("keeps a message group at its earlier home until nothing of it is left there, and never takes it again there", () => {
    const { f, t, g, send, consume } = opened();
    f.receive(t, g);
    assert.equal(send("red"), "taken");
    assert.deepEqual([send("red", 5, "earlier"), send("blue", 5, "earlier")], ["taken", "moved"]);
    consume();
    assert.equal(send("red", 5, "earlier"), "moved");
    f.assertRebuilt();
  });

  it("believes nobody who knows of an older spread, but about message groups that are here", () => {
    const { f, t, g, send, consume } = opened();
    f.receive(t, g);
    assert.deepEqual([send("red", 5), send("blue", 4), send("blue")], ["taken", "moved", "moved"]);
    assert.deepEqual([send("red", 4), send("red")], ["taken", "taken"]);
    consume();
    assert.deepEqual([send("red", 4), send("red"), send("red", 5)], ["moved", "moved", "taken"]);
    f.assertRebuilt();
  });

  it("learns of a spread by what it does not take, too, and remembers it over crashes and images", () => {
    const { f, t, g, send } = opened();
    f.receive(t, g);
    assert.equal(send("red", 5, "earlier"), "moved");
    f.assertRebuilt();
    f.crash("power", f.state.snapshot());
    assert.deepEqual([send("red"), send("red", 4), send("red", 6)], ["moved", "moved", "taken"]);
    f.crash("power");
    assert.equal(send("blue", 5), "moved");
    f.assertRebuilt();
  });

  it("rests what it gives away on records that must be on disk first: the spread, and the last ack", () => {
    const { f, t, g, send } = opened();
    f.receive(t, g);
    assert.equal(send("red"), "taken");
    const [got] = f.receive(t, g);
    f.isAutoSync = false;
    f.ack(g, got!.receipt);
    const messages = [messageBytes({ group: "red" })];
    const call = { topicId: t, laneMark: "", bornHost: "", messages, groupSpread: 5, isEarlierHome: true };
    const sent = f.state.send(call, f.now);
    assert.ok(!sent.ok && sent.isMoved === true);
    const last = [...f.log.records(0)].at(-1);
    assert.equal(sent.position, last?.position, "the last record of all");
    assert.ok((sent.position ?? 0) >= f.log.durablePosition, "which is not on disk yet");
  });

  it("keeps a message group that nobody has begun to read, because who begins will find all of it", () => {
    const { f, t, g, send, consume } = opened("beginning");
    assert.equal(send("red"), "taken");
    assert.deepEqual([send("red", 5, "earlier"), send("blue", 5, "earlier")], ["taken", "moved"]);
    f.receive(t, g, { batch: 1 });
    assert.equal(send("red", 5, "earlier"), "taken");
    f.pass(20_000);
    consume();
    assert.equal(send("red", 5, "earlier"), "moved");
  });

  it("keeps a message group of which only a lane has something left", () => {
    const { f, t, g, send, consume } = opened();
    f.receive(t, g);
    const rule = { clauses: [{ to: "canary", percent: 100 }] };
    f.operate("lane.rule", { topic: "ns/orders", group: "", name: "canary", number: 1, rule });
    f.receive(t, g, { lane: "canary", clientId: "canary-1" });
    assert.equal(send("red"), "taken");
    consume();
    assert.equal(send("red", 5, "earlier"), "taken", "base has passed what is the canary's");
    for (let i = 0; i < 2; i++) {
      for (const { receipt } of f.receive(t, g, { lane: "canary", clientId: "canary-1" })) f.ack(g, receipt);
    }
    assert.equal(send("red", 5, "earlier"), "moved");
  });

  it("looks through a long backlog by parts, and says so meanwhile", () => {
    const { f, t, g, send, consume } = opened();
    f.receive(t, g);
    f.isAutoSync = false;
    for (let i = 0; i < 25_000; i++) {
      const messages = [messageBytes({ group: `old-${i % 5_000}` })];
      assert.ok(f.state.send({ topicId: t, laneMark: "", bornHost: "", messages }, f.now).ok);
    }
    f.isAutoSync = true;
    const answers: string[] = [];
    for (let i = 0; i < 3 && answers.at(-1) !== "moved"; i++) answers.push(send("new", 5, "earlier"));
    assert.deepEqual([answers.length, answers.at(-1)], [2, "moved"], "12 500 entries of a queue are two looks");
    assert.match(answers[0] ?? "", /still looks for what is left of message groups in topic ns\/orders; send again/);
    assert.equal(send("old-17", 5, "earlier"), "taken");
    assert.equal(send("old-4999", 5, "earlier"), "taken");
    // What is consumed is forgotten, what is not is known.
    consume();
    assert.equal(send("young", 5), "taken");
    for (const group of ["old-17", "old-4999", "new"]) assert.equal(send(group, 5, "earlier"), "moved");
    assert.equal(send("young", 5, "earlier"), "taken");
  }).timeout(240_000);

  it("forgets it with the topic", () => {
    const { f, send } = opened();
    assert.equal(send("red", 5), "taken");
    const anew = f.topic("ns/orders", { messageTypes: fifo, queueCount: 2, incarnation: 2 });
    assert.equal(send("red", 0, "now", anew), "taken");
    f.assertRebuilt();
  });
});
