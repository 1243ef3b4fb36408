import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

interface Reset {
  readonly topics: readonly {
    readonly topic: string;
    readonly queues: readonly { queueId: number; from: number; to: number; again: number; skipped: number }[];
  }[];
}

describe("The operator call group.reset", () => {
  /** A group that has acked m1 and m2, holds m3, and has not seen m4 and m5; one second lies between two messages. */
  function midway() {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic();
    const g = f.group();
    const storedMs: number[] = [];
    for (let i = 0; i < 5; i++) {
      storedMs.push(f.wallMs);
      f.send(t);
      f.pass(1_000);
    }
    const [first, second, held] = f.receive(t, g, { batch: 3, invisibleMs: 60_000 });
    f.ack(g, first!.receipt);
    f.ack(g, second!.receipt);
    const reset = (to: unknown, parts: object = {}) =>
      f.operate<Reset>("group.reset", { group: "ns/billing", to, ...parts });
    const ids = () => f.receive(t, g).map(({ id }) => id);
    return { f, t, g, storedMs, held: held!, reset, ids };
  }

  it("goes back: what was acked and what is in hand comes again, as a first attempt", () => {
    const { f, t, g, held, reset } = midway();
    assert.deepEqual(reset("earliest").topics[0]?.queues, [{ queueId: 0, from: 3, to: 0, again: 3, skipped: 0 }]);
    const got = f.receive(t, g);
    assert.deepEqual(
      got.map(({ id, attempt }) => [id, attempt]),
      ["m1", "m2", "m3", "m4", "m5"].map((id) => [id, 1]),
    );
    assert.equal(f.ack(g, held.receipt).code, Code.InvalidReceiptHandle, "the old lease settles nothing any more");
    f.assertRebuilt();
  });

  it("goes forward: what was not seen and what is in hand does not come", () => {
    const { f, g, held, reset, ids } = midway();
    assert.deepEqual(reset("latest").topics[0]?.queues, [{ queueId: 0, from: 3, to: 5, again: 0, skipped: 3 }]);
    f.pass(100_000);
    assert.deepEqual(ids(), []);
    assert.deepEqual([f.figures().ready, f.figures().inFlight], [0, 0]);
    assert.equal(f.ack(g, held.receipt).code, Code.Ok, "the group is done with it");
    f.assertRebuilt();
  });

  it("finds the message of a time, also between two and beyond the last", () => {
    const { storedMs, reset } = midway();
    const to = (timeMs: number) => reset({ timeMs }, { dryRun: true }).topics[0]!.queues[0]!.to;
    storedMs.forEach((ms, i) => {
      assert.equal(to(ms), i, `at message ${i}`);
      assert.equal(to(ms + 1), i + 1, `behind message ${i}`);
    });
    assert.equal(to(0), 0);
    assert.equal(to(Number.MAX_SAFE_INTEGER), 5);
  });

  it("only counts in a dry run", () => {
    const { f, reset, ids } = midway();
    const records = f.log.recordCount;
    assert.deepEqual(reset({ offset: 1 }, { dryRun: true }).topics[0]?.queues, [
      { queueId: 0, from: 3, to: 1, again: 2, skipped: 0 },
    ]);
    assert.equal(f.log.recordCount, records);
    assert.deepEqual(ids(), ["m4", "m5"]);
  });

  it("moves all queues of a topic by one record, or only the one that is named", () => {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic("ns/orders", { queueCount: 4 });
    f.group();
    f.sendMany(t, 8);
    f.receive(t, f.group());
    const records = f.log.recordCount;
    const all = f.operate<Reset>("group.reset", { group: "ns/billing", to: "earliest" });
    assert.deepEqual(
      all.topics[0]?.queues.map(({ queueId, to, again }) => [queueId, to, again]),
      [0, 1, 2, 3].map((queueId) => [queueId, 0, 2]),
    );
    assert.equal(f.log.recordCount, records + 1);
    assert.equal(f.log.countOf(RecordType.CursorReset), 1);
    f.receive(t, f.group());
    f.operate("group.reset", { group: "ns/billing", topic: "ns/orders", queue: 2, to: "earliest" });
    assert.deepEqual(
      f.receive(t, f.group()).map(({ queueId }) => queueId),
      [2, 2],
    );
    f.assertRebuilt();
  });

  it("serves who waits with what comes again", () => {
    const { f, t, g, ids, reset } = midway();
    ids();
    const { ticket } = f.ask(t, g, { waitMs: 20_000 });
    assert.equal(f.answers.has(ticket), false);
    reset("earliest");
    assert.equal(f.got(ticket).length, 5);
  });

  it("gives dead letters behind the new position another life, and leaves those before it", () => {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const t = f.topic();
    const g = f.group("ns/billing", { attemptsMax: 1 });
    f.sendMany(t, 3);
    f.receive(t, g);
    f.pass(10_000);
    assert.equal(f.figures().deadLetters, 3);
    f.operate("group.reset", { group: "ns/billing", to: { offset: 1 } });
    assert.equal(f.figures().deadLetters, 1);
    assert.deepEqual(
      f.receive(t, g).map(({ id }) => id),
      ["m2", "m3"],
    );
    f.assertRebuilt();
  });

  it("keeps to what is there: a position beyond the end is the end, and a queue that is not there is named", () => {
    const { f, reset } = midway();
    assert.equal(reset({ offset: 1e9 }, { dryRun: true }).topics[0]?.queues[0]?.to, 5);
    const refused = f.state.operate("group.reset", { group: "ns/billing", queue: 7, to: "latest" }, f.now);
    assert.ok(!(refused instanceof Promise) && !refused.ok && refused.code === Code.NotFound);
    assert.match(refused.message, /no queue 7/);
    assert.deepEqual(f.operate("group.reset", { group: "ns/nobody", to: "latest" })["topics"], []);
  });

  it("survives a kill, and a power cut once it was answered", () => {
    for (const how of ["kill", "power"] as const) {
      const { f, t, g, reset } = midway();
      reset("earliest");
      f.crash(how);
      assert.equal(f.receive(t, g).length, 5, how);
    }
  });
});
