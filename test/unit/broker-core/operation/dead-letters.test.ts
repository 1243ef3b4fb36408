import assert from "node:assert/strict";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

interface Item {
  readonly offset: number;
  readonly state: string;
  readonly messageId: string;
  readonly topic: string;
  readonly reason: string;
  readonly attempts: number;
  readonly lastHolder: string;
  readonly deadMs: number;
}
interface Listing {
  readonly items: readonly Item[];
  readonly next: number | null;
}
interface Redriven {
  readonly messageIds: readonly string[];
  readonly next: number | null;
}

describe("The operator calls on dead letters", () => {
  /** Three dead letters of orders (m1 to m3), one of bills, one minute apart; `forwarded` of orders was given up. */
  function buried() {
    const f = new BrokerFixture({ groupStart: "beginning" });
    const orders = f.topic("ns/orders");
    const bills = f.topic("ns/bills");
    const g = f.group("ns/billing", { attemptsMax: 1 });
    for (const topic of [orders, orders, orders, bills]) {
      f.send(topic, { body: "poison" });
      f.receive(topic, g, { clientId: "worker" });
      f.pass(60_000);
    }
    f.send(orders, { id: "forwarded" });
    f.deadLetter(g, f.receive(orders, g)[0]!.receipt);
    const list = (parts: object = {}) => f.operate<Listing>("dlq.list", { group: "ns/billing", ...parts });
    const ids = (parts: object = {}) => list(parts).items.map(({ messageId }) => messageId);
    const redrive = (parts: object = {}) => f.operate<Redriven>("dlq.redrive", { group: "ns/billing", ...parts });
    return { f, orders, g, list, ids, redrive };
  }

  it("list what died, where, why, when, and who had it last", () => {
    const { list } = buried();
    const { items, next } = list();
    assert.equal(next, null);
    assert.deepEqual(
      items.map(({ offset, state, messageId, topic, reason, attempts, lastHolder }) =>
        [offset, state, messageId, topic, reason, attempts, lastHolder].join(" · "),
      ),
      [
        "0 · dead · m1 · ns/orders · attempts exhausted · 1 · worker",
        "1 · dead · m2 · ns/orders · attempts exhausted · 1 · worker",
        "2 · dead · m3 · ns/orders · attempts exhausted · 1 · worker",
        "3 · dead · m4 · ns/bills · attempts exhausted · 1 · worker",
        "4 · dead · forwarded · ns/orders · forwarded by the consumer · 1 · client-1",
      ],
    );
  });

  it("choose by topic, reason, time and id, and go on where a page ended", () => {
    const { list, ids } = buried();
    assert.deepEqual(ids({ topic: "ns/bills" }), ["m4"]);
    assert.deepEqual(ids({ reason: "forwarded" }), ["forwarded"]);
    const secondMs = list().items[1]!.deadMs;
    assert.deepEqual(ids({ sinceMs: secondMs, untilMs: secondMs + 1 }), ["m2"]);
    assert.deepEqual(ids({ messageIds: ["m3", "none"] }), ["m3"]);
    const page = list({ count: 2 });
    assert.deepEqual(
      page.items.map(({ messageId }) => messageId),
      ["m1", "m2"],
    );
    assert.deepEqual(ids({ from: page.next, count: 500 }), ["m3", "m4", "forwarded"]);
    assert.deepEqual(list({ group: "ns/nobody" }), { group: "ns/nobody", items: [], next: null });
  });

  it("show one with its message", () => {
    const { f } = buried();
    const shown = f.operate<{ message: { bodyBase64: string; storedMs: number } }>("dlq.show", {
      ...{ group: "ns/billing", messageId: "m2" },
    });
    assert.equal(Buffer.from(shown.message.bodyBase64, "base64").toString(), "poison");
    const absent = f.state.operate("dlq.show", { group: "ns/billing", messageId: "none" }, f.now);
    assert.ok(!(absent instanceof Promise) && !absent.ok && absent.code === Code.MessageNotFound);
  });

  it("redrive to the group alone, with the same id, as a first attempt", () => {
    const { f, orders, g, ids, redrive, list } = buried();
    const other = f.group("ns/audit");
    const seen = f.receive(orders, other).map(({ receipt }) => receipt);
    for (const receipt of seen) f.ack(other, receipt);
    assert.deepEqual(redrive({ topic: "ns/orders" }).messageIds, ["m1", "m2", "m3", "forwarded"]);
    assert.deepEqual([f.figures().deadLetters, f.figures().ready], [0, 4]);
    const got = f.receive(orders, g);
    assert.deepEqual(
      got.map(({ id, attempt, deadLetter }) => [id, attempt, deadLetter]),
      ["m1", "m2", "m3", "forwarded"].map((id) => [id, 1, undefined]),
    );
    for (const { receipt } of got) assert.equal(f.ack(g, receipt).code, Code.Ok);
    assert.deepEqual(f.receive(orders, other), [], "nobody else gets it a second time");
    assert.deepEqual(
      list().items.map(({ state }) => state),
      ["redriven", "redriven", "redriven", "dead", "redriven"],
    );
    assert.deepEqual(ids({ topic: "ns/bills" }), ["m4"]);
    f.assertRebuilt();
  });

  it("redrive each once, however often they are told, and again after another death", () => {
    const { f, orders, g, redrive, list } = buried();
    assert.deepEqual(redrive({ messageIds: ["m1"] }).messageIds, ["m1"]);
    assert.deepEqual(redrive({ messageIds: ["m1"] }).messageIds, []);
    assert.equal(f.log.countOf(RecordType.Redrive), 1);
    f.receive(orders, g);
    f.pass(60_000);
    assert.deepEqual(
      list({ messageIds: ["m1"] }).items.map(({ offset, state }) => [offset, state]),
      [
        [0, "redriven"],
        [5, "dead"],
      ],
    );
    assert.deepEqual(redrive({ messageIds: ["m1"] }).messageIds, ["m1"]);
    f.assertRebuilt();
  });

  it("redrive no more than the count, and only count in a dry run", () => {
    const { f, redrive } = buried();
    assert.deepEqual(redrive({ dryRun: true }).messageIds.length, 5);
    assert.equal(f.log.countOf(RecordType.Redrive), 0);
    const first = redrive({ count: 2 });
    assert.deepEqual([first.messageIds, first.next], [["m1", "m2"], 2]);
    assert.deepEqual(redrive({ from: first.next, count: 500 }).messageIds, ["m3", "m4", "forwarded"]);
  });

  it("are left alone by an order with a misspelled parameter", () => {
    const { f, list } = buried();
    const before = list();
    const refused = f.state.operate("dlq.redrive", { group: "ns/billing", dryrun: true }, f.now);
    assert.ok(!(refused instanceof Promise) && !refused.ok);
    assert.equal(refused.code, Code.BadRequest);
    assert.match(refused.message, /dlq\.redrive: .*dryrun/);
    assert.deepEqual(list(), before);
  });

  it("serve who waits, and survive kill and power cut", () => {
    for (const how of ["kill", "power"] as const) {
      const { f, orders, g, redrive } = buried();
      const { ticket } = f.ask(orders, g, { waitMs: 20_000, batch: 1 });
      redrive({ messageIds: ["m2"] });
      assert.deepEqual(
        f.got(ticket).map(({ id }) => id),
        ["m2"],
      );
      redrive({ messageIds: ["m3"] });
      f.crash(how);
      assert.deepEqual(
        f.receive(orders, g).map(({ id }) => id),
        ["m3"],
        how,
      );
    }
  });

  it("keep a redriven message ready in a checkpoint that is used after a reboot with a clock set back", () => {
    const { f, orders, g, redrive } = buried();
    redrive({ messageIds: ["m1"] });
    const image = f.state.snapshot();
    f.bootId = "another-boot";
    f.monotonicMs = 5_000;
    f.wallMs -= 3_600_000;
    f.crash("power", image);
    f.advance();
    assert.deepEqual(
      f.receive(orders, g).map(({ id, attempt }) => [id, attempt]),
      [["m1", 1]],
    );
  });

  it("pass over what somebody sent to the dead-letter topic, and over damaged bytes", () => {
    const { f, ids } = buried();
    const dead = f.topic("ns/%DLQ%billing", { incarnation: 7 });
    f.send(dead, { id: "stray" });
    const [first] = [...f.log.records()].filter(({ type }) => type === RecordType.DeadLetter);
    f.log.damaged.add(first!.position);
    assert.deepEqual(ids(), ["m2", "m3", "m4", "forwarded"]);
  });
});
