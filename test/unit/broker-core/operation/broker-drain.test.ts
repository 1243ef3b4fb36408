import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture, messageBytes } from "../../../support/broker-fixture.ts";

const mixed = (1 << 1) | (1 << 2) | (1 << 3) | (1 << 4);

interface Remaining {
  readonly unconsumed: number;
  readonly behind: readonly { readonly group: string; readonly messages: number }[];
  readonly delayed: number;
  readonly openTransactions: number;
  readonly deadLetters: number;
  readonly unread: number;
}

function opened(attemptsMax = 0) {
  const f = new BrokerFixture();
  const t = f.topic("ns/orders", { messageTypes: mixed, queueCount: 2 });
  const g = f.group("ns/billing", { attemptsMax });
  f.receive(t, g);
  const drain = (patienceMs = 60_000, groupSpread = 7) =>
    f.operate<Remaining>("broker.drain", { drain: true, patienceMs, groupSpread });
  /** What becomes of a send: "taken", "moved", or the code of the refusal. */
  const send = (id: string, group = "", topic = t, groupSpread = 0) => {
    const messages = [messageBytes(group === "" ? { id } : { id, group })];
    const sent = f.state.send({ topicId: topic, laneMark: "", bornHost: "", messages, groupSpread }, f.now);
    f.sync();
    if (sent.ok) return "taken";
    return sent.isMoved === true ? "moved" : sent.code;
  };
  return { f, t, g, drain, send };
}

describe("broker.drain", () => {
  it("lets no new message in, and tells what is left until it is consumed", () => {
    const { f, t, g, drain, send } = opened();
    f.sendMany(t, 3);
    f.sendTimed(t, f.now.wallMs + 5_000);
    const [held] = f.receive(t, g, { batch: 1 });
    assert.deepEqual([drain().unconsumed, drain().delayed, drain().behind[0]?.messages], [3, 1, 3]);
    assert.equal(send("late"), "moved");
    f.ack(g, held!.receipt);
    for (const { receipt } of f.receive(t, g)) f.ack(g, receipt);
    assert.deepEqual([drain().unconsumed, drain().delayed], [0, 1]);
    f.pass(6_000);
    assert.deepEqual([drain().unconsumed, drain().delayed], [1, 0]);
    for (const { receipt } of f.receive(t, g)) f.ack(g, receipt);
    assert.deepEqual([drain().unconsumed, drain().delayed, drain().openTransactions], [0, 0, 0]);
    f.assertRebuilt();
  });

  it("takes messages of a message group as long as earlier ones are not settled, and never again after that", () => {
    const { f, t, g, drain, send } = opened();
    f.send(t, { id: "r1", group: "red" });
    f.send(t, { id: "b1", group: "blue" });
    for (const { id, receipt } of f.receive(t, g)) if (id === "b1") f.ack(g, receipt);
    drain();
    assert.deepEqual([send("r2", "red"), send("b2", "blue"), send("n", "none")], ["taken", "moved", "moved"]);
    f.pass(60_000);
    // r1 has come back; r2 waits behind it; both are settled before red goes.
    for (const id of ["r1", "r2"]) {
      assert.equal(send(`while ${id}`, "red"), Code.TooManyRequests, "the patience is over");
      const [got] = f.receive(t, g);
      assert.equal(got?.id, id);
      f.ack(g, got.receipt);
    }
    assert.equal(send("r3", "red"), "moved");
    f.assertRebuilt();
  });

  it("sees messages that nobody has looked at yet, and those of one group are not those of another", () => {
    const { f, t, g, drain, send } = opened();
    for (let i = 0; i < 20; i++) f.send(t, { id: `x${i}`, group: `g${i % 4}` });
    drain();
    for (const group of ["g0", "g1", "g2", "g3"]) assert.equal(send("more", group), "taken");
    assert.equal(send("other", "g4"), "moved");
    for (let left = 24; left > 0; ) {
      for (const { receipt } of f.receive(t, g)) {
        f.ack(g, receipt);
        left--;
      }
    }
    for (const group of ["g0", "g1", "g2", "g3"]) assert.equal(send("too late", group), "moved");
  });

  it("is kept over a crash, a checkpoint and a base image", () => {
    const { f, drain, send } = opened();
    drain();
    f.assertRebuilt();
    f.crash("kill");
    assert.equal(send("late"), "moved");
  });

  it("takes messages again when the drain is over, and message groups by a route that knows of it", () => {
    const { f, t, drain, send } = opened();
    assert.equal(send("r1", "red"), "taken");
    drain();
    f.operate("broker.drain", { drain: false });
    assert.deepEqual([send("n"), send("b1", "blue"), send("b1", "blue", t, 7)], ["taken", "moved", "moved"]);
    f.crash("kill");
    assert.deepEqual([send("b1", "blue", t, 8), send("g1", "green", t, 7)], ["taken", "moved"]);
    const later = f.topic("ns/later", { messageTypes: mixed, queueCount: 1 });
    assert.equal(send("b1", "blue", later), "taken");
    f.assertRebuilt();
  });

  it("tells of dead letters and of what nobody reads, which no wait takes away", () => {
    const { f, t, g, drain } = opened(1);
    f.sendMany(f.topic("ns/nobody", { queueCount: 1 }), 2);
    f.sendMany(t, 1);
    f.receive(t, g, { invisibleMs: 1_000 });
    f.pass(2_000);
    f.receive(t, g);
    const { unconsumed, deadLetters, unread } = drain();
    assert.deepEqual([unconsumed, deadLetters, unread], [0, 1, 2]);
  });

  it("writes nothing when it is said again", () => {
    const { f, drain } = opened();
    drain();
    const end = f.log.endPosition;
    drain();
    assert.equal(f.log.endPosition, end);
  });
});
