import assert from "node:assert/strict";
import type { ReceiveCall } from "../../../../broker-core/broker-port.ts";
import { RecordType } from "../../../../broker-core/commit-log/log.ts";
import type { BrokerTables } from "../../../../broker-core/dispatch/broker-tables.ts";
import { clientAliveMs } from "../../../../broker-core/filter/filter-agreement.ts";
import { scanReadBytesMax, scanReadsMax } from "../../../../broker-core/pop/pop-plan.ts";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

const ids = (got: readonly { readonly id: string }[]) => got.map(({ id }) => id);
const sql = (filter: string): Partial<ReceiveCall> => ({ filterType: 2, filter });

function opened(options: ConstructorParameters<typeof BrokerFixture>[0] = {}) {
  const f = new BrokerFixture({ groupStart: "beginning", ...options });
  const t = f.topic("ns/orders");
  const g = f.group();
  return { f, t, g };
}

describe("receiving by SQL92", () => {
  it("hands out what the expression is true for, by user properties and by those that the system keeps", () => {
    for (const [expression, expected] of [
      ["amount > 10", ["big"]],
      ["amount <= 10", ["small"]],
      ["amount IS NULL", ["none"]],
      ["TAGS = 'paid'", ["big"]],
      ["UNIQ_KEY = 'small'", ["small"]],
      ["TAGS = 'paid' AND amount < 10 OR UNIQ_KEY ENDSWITH 'ne'", ["none"]],
      ["NULL", []],
    ] as const) {
      const { f, t, g } = opened();
      f.send(t, { id: "big", tag: "paid", properties: { amount: "100" } });
      f.send(t, { id: "small", properties: { amount: "5" } });
      f.send(t, { id: "none", properties: { other: "1" } });
      assert.deepEqual(ids(f.receive(t, g, sql(expression))), expected, expression);
      assert.equal(f.figures().ready, 0, "the rest is passed");
      f.assertRebuilt();
    }
  });

  it("wakes a receive that waits when a message that matches becomes visible, and by no other", () => {
    const { f, t, g } = opened();
    const { ticket } = f.ask(t, g, { waitMs: 20_000, ...sql("n > 40") });
    for (let n = 0; n < 50; n += 10) f.send(t, { properties: { n: String(n) } });
    assert.equal(f.answers.has(ticket), false);
    f.send(t, { id: "wanted", properties: { n: "41" } });
    assert.deepEqual(ids(f.got(ticket)), ["wanted"]);
  });

  it("goes through a long backlog in slices, by itself, and reads no more than a slice per turn", () => {
    const { f, t, g } = opened();
    f.isAutoSync = false;
    f.sendMany(t, scanReadsMax * 3 + 10, { properties: { n: "1" } });
    f.send(t, { id: "wanted", properties: { n: "2" } });
    f.sync();
    f.isAutoSync = true;
    let reads = f.log.readCount;
    const { ticket } = f.ask(t, g, { waitMs: 20_000, ...sql("n = 2") });
    let turns = 1;
    for (;;) {
      assert.ok(f.log.readCount - reads <= scanReadsMax + 1, `${f.log.readCount - reads} reads in one turn`);
      reads = f.log.readCount;
      if (f.answers.has(ticket)) break;
      assert.ok(f.state.nextTimerMs() <= f.monotonicMs, "the scan goes on at once");
      f.state.advance(f.now);
      turns++;
    }
    assert.deepEqual(ids(f.got(ticket)), ["wanted"]);
    assert.equal(turns, 4);
  });

  it("reads few large messages per turn", () => {
    const { f, t, g } = opened();
    const body = "x".repeat(scanReadBytesMax / 4);
    for (let i = 0; i < 8; i++) f.send(t, { body });
    const reads = f.log.readCount;
    f.ask(t, g, { waitMs: 20_000, ...sql("n = 2") });
    assert.equal(f.log.readCount - reads, 4);
  });

  it("asks redeliveries too", () => {
    const { f, t, g } = opened();
    f.send(t, { properties: { n: "1" } });
    f.send(t, { properties: { n: "2" } });
    assert.deepEqual(ids(f.receive(t, g, sql("n > 0"))), ["m1", "m2"]);
    f.pass(10_000);
    assert.deepEqual(ids(f.receive(t, g, sql("n = 2"))), ["m2"]);
    assert.deepEqual(ids(f.receive(t, g, sql("n = 1"))), ["m1"]);
  });

  it("finds the redelivery that matches behind hundreds that do not, and those when their filter is back", () => {
    const { f, t, g } = opened();
    f.sendMany(t, 1_000, { tag: "a" });
    f.send(t, { id: "wanted", tag: "b" });
    for (let i = 0; i < 32; i++) f.receive(t, g, { filter: "a || b" });
    f.pass(10_000);
    assert.deepEqual(ids(f.receive(t, g, { filter: "b" })), ["wanted"]);
    assert.equal(f.figures().ready, 1_000);
    f.assertRebuilt();
    f.pass(10_000);
    const reads = f.log.readCount;
    assert.deepEqual(ids(f.receive(t, g, { filter: "b" })), ["wanted"]);
    assert.ok(f.log.readCount - reads < 10, "what did not match is not looked at again");
    const [first, ...rest] = f.receive(t, g, { filter: "a" });
    assert.deepEqual([first?.id, rest.length], ["m1", 31]);
    f.assertRebuilt();
  });

  it("finds it by a receive that waits, in turns", () => {
    const { f, t, g } = opened();
    f.sendMany(t, 600, { properties: { n: "1" } });
    f.send(t, { id: "wanted", properties: { n: "2" } });
    for (let i = 0; i < 19; i++) f.receive(t, g, sql("n > 0"));
    f.pass(10_000);
    const { ticket } = f.ask(t, g, { waitMs: 20_000, ...sql("n = 2") });
    for (let turns = 0; !f.answers.has(ticket); turns++) {
      assert.ok(turns < 5 && f.state.nextTimerMs() <= f.monotonicMs, `after ${turns} turns`);
      f.state.advance(f.now);
    }
    assert.deepEqual(ids(f.got(ticket)), ["wanted"]);
  });

  it("lets go of a redelivery that was set aside when its topic or its dead-letter decision takes it", () => {
    const { f, t } = opened();
    const g = f.group("ns/strict", { attemptsMax: 3 });
    f.sendMany(t, 3, { tag: "a" });
    f.receive(t, g, { filter: "a" });
    f.pass(10_000);
    assert.deepEqual(f.receive(t, g, { filter: "b" }), []);
    f.group("ns/strict", { attemptsMax: 1, generation: 2 });
    assert.deepEqual(f.receive(t, g, { filter: "a" }), []);
    assert.equal(f.figures("ns/strict").deadLetters, 3);
    assert.equal(f.figures("ns/strict").ready, 0);
    f.assertRebuilt();
    assert.deepEqual(f.receive(f.topic("ns/orders", { incarnation: 2 }), g, { filter: "a" }), []);
  });

  it("reads few large redeliveries per turn", () => {
    const { f, t, g } = opened();
    const body = "x".repeat(scanReadBytesMax / 4);
    for (let i = 0; i < 8; i++) f.send(t, { body, properties: { n: "1" } });
    while (f.receive(t, g, sql("n = 1")).length > 0);
    f.pass(10_000);
    const reads = f.log.readCount;
    const { ticket } = f.ask(t, g, { waitMs: 20_000, ...sql("n = 2") });
    assert.equal(f.log.readCount - reads, 4);
    for (let turns = 0; turns < 3; turns++) f.state.advance(f.now);
    assert.equal(f.log.readCount - reads, 8);
    assert.ok(f.state.nextTimerMs() > f.monotonicMs, "it has seen all");
    assert.equal(f.answers.has(ticket), false);
  });

  it("counts a damaged message as a match, so that somebody sees it", () => {
    const { f, t, g } = opened();
    f.send(t, { properties: { n: "1" } });
    const [message] = [...f.log.records()].filter(({ type }) => type === RecordType.Message);
    f.log.damaged.add(message!.position);
    const { ticket } = f.ask(t, g, sql("n = 2"));
    const answer = f.answers.get(ticket);
    assert.ok(answer?.kind === "batch");
    assert.equal(answer.damagedCount, 1);
  });

  it("refuses what does not parse with the words that the sidecar uses", () => {
    const { f, t, g } = opened();
    const { code, message } = f.refusal(f.ask(t, g, sql("n =")).ticket);
    assert.equal(code, Code.IllegalFilterExpression);
    assert.match(message, /SQL92 filter is refused: at character 4: found the end, expected/);
  });
});

describe("the filters of one group", () => {
  const tag = (filter: string, clientId: string, more: Partial<ReceiveCall> = {}): Partial<ReceiveCall> => ({
    filter,
    clientId,
    ...more,
  });

  it("a newcomer with another filter is refused, and told who stands in its way", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a || b", "old-client"));
    f.pass(2_500);
    const { code, message } = f.refusal(f.ask(t, g, tag("c", "new-client")).ticket);
    assert.equal(code, Code.IllegalFilterExpression);
    assert.match(message, /group ns\/billing reads ns\/orders with the filter TAG "a \|\| b" of client "old-client"/);
    assert.match(message, /its last receive began 2\.5 s ago/);
    assert.match(message, /asks with TAG "c"/);
    assert.match(message, /use another group, or the same filter/);
  });

  it("a refused newcomer passes nothing: all that it does not want is still there for the others", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a", "c1"));
    f.send(t, { id: "first", tag: "a" });
    f.refusal(f.ask(t, g, tag("b", "c2")).ticket);
    f.refusal(f.ask(t, g, { ...sql("TAGS = 'a'"), clientId: "c2" }).ticket);
    assert.deepEqual(ids(f.receive(t, g, tag("a", "c1"))), ["first"]);
  });

  it("a client that waits keeps its filter in force however long it waits", () => {
    const { f, t, g } = opened();
    const { handle } = f.ask(t, g, tag("a", "c1", { waitMs: 110_000 }));
    f.pass(100_000);
    const { message } = f.refusal(f.ask(t, g, tag("b", "c2")).ticket);
    assert.match(message, /client "c1" \(it waits for messages now\)/);
    f.state.cancelReceive(handle);
    assert.deepEqual(f.receive(t, g, tag("b", "c2")), []);
  });

  it("when the last client with the old filter is gone the new one comes into force, and the old one is refused", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a", "c1"));
    f.pass(30_000);
    f.receive(t, g, tag("a", "c2"));
    f.pass(clientAliveMs - 1);
    assert.match(f.refusal(f.ask(t, g, tag("b", "c3")).ticket).message, /client "c2"/);
    f.pass(1);
    f.send(t, { id: "wanted", tag: "b" });
    assert.deepEqual(ids(f.receive(t, g, tag("b", "c3"))), ["wanted"]);
    assert.match(f.refusal(f.ask(t, g, tag("a", "c1")).ticket).message, /client "c3"/);
  });

  it("what the old filter passed stays passed", () => {
    const { f, t, g } = opened();
    f.send(t, { tag: "b" });
    f.receive(t, g, tag("a", "c1"));
    f.pass(clientAliveMs);
    assert.deepEqual(f.receive(t, g, tag("b", "c2")), []);
  });

  it("a client may change its own filter, and what it still waited for by the old one is answered empty", () => {
    const { f, t, g } = opened();
    const { ticket } = f.ask(t, g, tag("a", "c1", { waitMs: 20_000 }));
    const second = f.ask(t, g, tag("b", "c1", { waitMs: 20_000 }));
    assert.deepEqual(f.got(ticket), []);
    f.send(t, { id: "old", tag: "a" });
    f.send(t, { id: "new", tag: "b" });
    assert.deepEqual(ids(f.got(second.ticket)), ["new"]);
  });

  it("a client may not change it while another one uses it", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a", "c1"));
    f.receive(t, g, tag("a", "c2"));
    assert.match(f.refusal(f.ask(t, g, tag("b", "c1")).ticket).message, /client "c2"/);
  });

  it("equal filters in other spellings agree", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a||b", "c1"));
    f.receive(t, g, tag("b || a", "c2"));
    f.receive(t, g, tag(" b||a||a ", "c3"));
    const other = f.group("ns/shipping");
    f.receive(t, other, tag("*", "c1"));
    f.receive(t, other, tag("", "c2"));
    const third = f.group("ns/audit");
    f.receive(t, third, { ...sql("a = 1"), clientId: "c1" });
    f.receive(t, third, { ...sql("(a=1)"), clientId: "c2" });
  });

  it("each group and each topic has its own", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a", "c1"));
    f.receive(t, f.group("ns/shipping"), tag("b", "c2"));
    f.receive(f.topic("ns/other"), g, tag("b", "c2"));
  });

  it("are remembered however many subscriptions are in use", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a", "c1"));
    for (let i = 0; i < 20_000; i++) f.receive(f.topic(`ns/topic-${i}`), g, tag("a", "c1"));
    assert.match(f.refusal(f.ask(t, g, tag("b", "c2")).ticket).message, /client "c1"/);
  }).timeout(240_000);

  it("end with the topic", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a", "c1"));
    const again = f.topic("ns/orders", { incarnation: 2 });
    assert.deepEqual(f.receive(again, g, tag("b", "c2")), []);
  });

  it("are known to this run only: after a start the first receive decides", () => {
    const { f, t, g } = opened();
    f.receive(t, g, tag("a", "c1"));
    f.crash("kill");
    f.receive(t, g, tag("b", "c2"));
    f.refusal(f.ask(t, g, tag("a", "c1")).ticket);
    f.assertRebuilt();
  });
});

function openedWithTables() {
  let tables: BrokerTables | undefined;
  const lookUps = (of: BrokerTables) => {
    tables = of;
    return [];
  };
  return { ...opened({ lookUps }), tables: () => tables! };
}

describe("the filter that a group agreed on", () => {
  const cases = { everything: "*", "a tag": "paid" } as const;

  for (const [what, inForce] of Object.entries(cases)) {
    it(`is kept while the subscription is idle and put away: ${what}`, () => {
      const { f, t, g, tables } = openedWithTables();
      const others = Array.from({ length: 5 }, (_, i) => f.topic(`ns/other-${i}`));
      f.receive(t, g, { filter: inForce, clientId: "first" });
      const clientsBefore = { filter: inForce, clientId: "second" };
      if (inForce !== "*") f.receive(t, g, clientsBefore);
      const visitOthers = () => {
        for (const other of others) {
          tables().topics.byId(other);
          f.advance();
        }
      };
      visitOthers();
      assert.equal(tables().subscriptions.inUseCount, 0, "it is put away");
      const { message } = f.refusal(f.ask(t, g, { filter: "cancelled", clientId: "third" }).ticket);
      assert.match(message, /of client "first"/);
      visitOthers();
      f.pass(clientAliveMs);
      visitOthers();
      f.receive(t, g, { filter: "cancelled", clientId: "third" });
      visitOthers();
      assert.equal(
        f.refusal(f.ask(t, g, { filter: inForce, clientId: "first" }).ticket).code,
        Code.IllegalFilterExpression,
      );
    });
  }

  it("is forgotten for subscriptions whose clients are gone", () => {
    const { f, g, tables } = openedWithTables();
    for (let i = 0; i < 3_000; i++) f.receive(f.topic(`ns/t${i}`), g, { filter: "paid" });
    assert.ok(tables().subscriptions.agreementCount > 2_900);
    f.pass(clientAliveMs);
    for (let i = 0; i < 3_000; i++) f.send(f.topic(`ns/u${i}`));
    assert.ok(tables().subscriptions.agreementCount <= 1_030, `${tables().subscriptions.agreementCount} are kept`);
  });
});
