import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

const expiryMs = 60_000;

function fixture(options: { readonly messageTypes?: number; readonly attemptsMax?: number } = {}) {
  const f = new BrokerFixture({ groupStart: "beginning" });
  const t = f.topic("ns/orders", options.messageTypes === undefined ? {} : { messageTypes: options.messageTypes });
  const instance = (clientId: string) => {
    const backoff = { delaysMs: [1000], initialMs: 0, maxMs: 0, multiplier: 0 };
    const opened = f.state.openGroup(
      {
        ...{
          name: `ns/news@${clientId}`,
          generation: 1,
          attemptsMax: options.attemptsMax ?? 0,
          inflightMax: 0,
          backoff,
        },
        broadcast: { group: "ns/news", clientId, expiryMs },
      },
      f.now,
    );
    assert.ok(opened.ok);
    f.sync();
    return opened.id;
  };
  const ids = (groupId: number, call = {}) => f.receive(t, groupId, call).map(({ id }) => id);
  return { f, t, instance, ids };
}

describe("instances of a broadcast group", () => {
  it("each get every message from their first receive on, with leases, acks and filters of their own", () => {
    const { f, t, instance, ids } = fixture();
    f.send(t, { id: "before" });
    const [a, b] = [instance("a"), instance("b")];
    assert.deepEqual([ids(a), ids(b, { filter: "red" })], [[], []], "what was there before is not for them");
    f.send(t, { id: "m1", tag: "red" });
    f.send(t, { id: "m2", tag: "blue" });
    const gotA = f.receive(t, a);
    assert.deepEqual(
      gotA.map(({ id }) => id),
      ["m1", "m2"],
    );
    assert.equal(f.ack(a, gotA[0]!.receipt).code, Code.Ok);
    assert.deepEqual(ids(b, { filter: "red", clientId: "b" }), ["m1"]);
    f.pass(11_000);
    assert.deepEqual(ids(a), ["m2"]);
    f.assertRebuilt();
  });

  it("keep the order of message groups each by itself", () => {
    const { f, t, instance, ids } = fixture({ messageTypes: 0b110 });
    const [a, b] = [instance("a"), instance("b")];
    ids(a);
    ids(b);
    for (const id of ["1", "2"]) f.send(t, { id, group: "ann" });
    const [first] = f.receive(t, a);
    assert.deepEqual([first?.id, ids(a), ids(b)], ["1", [], ["1"]]);
    f.ack(a, first!.receipt);
    assert.deepEqual([ids(a), ids(b)], [["2"], []], "the lock of one is not that of the other");
  });

  it("all go on elsewhere when their group is reset, each told by its client", () => {
    const { f, t, instance, ids } = fixture();
    const [a, b] = [instance("a"), instance("b")];
    ids(a);
    ids(b);
    f.send(t, { id: "m1" });
    f.send(t, { id: "m2" });
    for (const { receipt } of f.receive(t, a)) f.ack(a, receipt);
    const { topics } = f.operate<{ topics: { instance: string; queues: object[] }[] }>("group.reset", {
      ...{ group: "ns/news", to: "earliest" },
    });
    const queue = { queueId: 0, to: 0, skipped: 0 };
    assert.deepEqual(
      topics.map(({ instance, queues }) => [instance, queues]),
      [
        ["a", [{ ...queue, from: 2, again: 2 }]],
        ["b", [{ ...queue, from: 0, again: 0 }]],
      ],
    );
    assert.deepEqual(
      [ids(a), ids(b)],
      [
        ["m1", "m2"],
        ["m1", "m2"],
      ],
    );
    f.assertRebuilt();
  });

  it("share the dead-letter queue of their group", () => {
    const { f, t, instance, ids } = fixture({ attemptsMax: 1 });
    const [a, b] = [instance("a"), instance("b")];
    ids(a);
    ids(b);
    f.send(t, { id: "m1" });
    ids(a);
    ids(b);
    f.pass(11_000);
    const { items } = f.operate<{ items: { messageId: string; lastHolder: string }[] }>("dlq.list", {
      group: "ns/news",
    });
    assert.deepEqual(
      items.map(({ messageId }) => messageId),
      ["m1", "m1"],
    );
    assert.deepEqual(
      f.state
        .topics()
        .map(({ name }) => name)
        .sort(),
      ["ns/%DLQ%news", "ns/orders"],
    );
  });

  it("are described one by one under the name of their group", () => {
    const { f, t, instance, ids } = fixture();
    const [a, b] = [instance("a"), instance("b")];
    ids(a);
    ids(b);
    f.sendMany(t, 3);
    ids(a, { batch: 1 });
    const { isKnown, topics } = f.operate<{
      isKnown: boolean;
      topics: { instance: string; ready: number; inFlight: number }[];
    }>("group.describe", { group: "ns/news" });
    assert.deepEqual(
      [isKnown, topics.map(({ instance: of, ready, inFlight }) => [of, ready, inFlight])],
      [
        true,
        [
          ["a", 2, 1],
          ["b", 3, 0],
        ],
      ],
    );
  });

  it("go on where they were within the time, and are forgotten with everything after it", () => {
    const { f, t, instance, ids } = fixture();
    const [a, b] = [instance("a"), instance("b")];
    ids(a);
    ids(b);
    const sent = f.sendMany(t, 2);
    f.receive(t, a);
    f.pass(expiryMs - 1_000);
    assert.equal(instance("b"), b, "it came back in time");
    assert.deepEqual(ids(b), sent);
    f.pass(2_000);
    f.assertRebuilt();
    assert.equal(f.log.countOf(RecordType.GroupDropped), 1, "who was gone for the time is forgotten");
    assert.deepEqual(
      f.state.subscriptions().map(({ group }) => group),
      ["ns/news@b"],
      "nothing of it counts any more",
    );
    const { ticket } = f.ask(t, a);
    assert.equal(f.refusal(ticket).code, Code.ConsumerGroupNotFound);
    const anew = instance("a");
    assert.notEqual(anew, a, "a number is never used again");
    assert.deepEqual(ids(anew), [], "and it begins anew");
    f.assertRebuilt();
  });

  it("stay as long as they wait for messages, and over a restart get the whole time again", () => {
    const { f, t, instance } = fixture();
    const a = instance("a");
    f.ask(t, a, { waitMs: 120_000 });
    f.pass(expiryMs + 5_000);
    assert.equal(f.log.countOf(RecordType.GroupDropped), 0);
    f.crash("kill");
    f.pass(expiryMs - 2_000);
    assert.equal(f.log.countOf(RecordType.GroupDropped), 0);
    f.pass(3_000);
    assert.equal(f.log.countOf(RecordType.GroupDropped), 1);
  });

  it("stay on a log that takes nothing, and go when it does again", () => {
    const { f, instance } = fixture();
    instance("a");
    f.log.isFull = true;
    f.pass(expiryMs + 5_000);
    f.log.isFull = false;
    f.pass(1_000);
    assert.equal(f.log.countOf(RecordType.GroupDropped), 1);
  });
});
