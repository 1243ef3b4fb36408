import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { BrokerFixture } from "../../../support/broker-fixture.ts";

interface Described {
  readonly isKnown: boolean;
  readonly topics: readonly {
    topic: string;
    ready: number;
    blocked: number;
    inFlight: number;
    deadLetters: number;
    delayed: number;
    filter: string | null;
    oldestStoreMs: number | null;
    lagMs: number;
    queues: readonly { queueId: number; position: number; end: number }[];
  }[];
}

describe("The operator call group.describe", () => {
  it("tells ready, in flight and dead apart, and the lag by the oldest message that is not done", () => {
    const broker = new BrokerFixture({ groupStart: "beginning" });
    const topicId = broker.topic();
    const groupId = broker.group("ns/billing", { attemptsMax: 1 });
    const firstMs = broker.wallMs;
    broker.send(topicId);
    broker.pass(1_000);
    broker.sendMany(topicId, 4);
    const describe = () => broker.operate<Described>("group.describe", { group: "ns/billing" }).topics[0]!;
    const [first, second] = broker.receive(topicId, groupId, { batch: 2, invisibleMs: 10_000 });
    broker.pass(2_000);
    assert.deepEqual(
      { ...describe(), inFlightMax: undefined },
      {
        ...{
          topic: "ns/orders",
          instance: null,
          ready: 3,
          blocked: 0,
          inFlight: 2,
          inFlightMax: undefined,
          deadLetters: 0,
          delayed: 0,
          filter: 'TAG "*"',
          waitingReceives: 0,
        },
        ...{ oldestStoreMs: firstMs, lagMs: 3_000, lanes: [], queues: [{ queueId: 0, position: 2, end: 5 }] },
      },
    );
    broker.ack(groupId, first!.receipt);
    assert.deepEqual([describe().oldestStoreMs, describe().lagMs], [firstMs + 1_000, 2_000], "the next is older now");
    broker.pass(10_000);
    assert.deepEqual([describe().inFlight, describe().deadLetters], [0, 1], "its one attempt ended");
    assert.equal(second!.attempt, 1);
    for (const { receipt } of broker.receive(topicId, groupId)) broker.ack(groupId, receipt);
    assert.deepEqual([describe().ready, describe().oldestStoreMs, describe().lagMs], [0, null, 0]);
  });

  it("tells what waits behind a message of its group, and how old that is when its turn has come", () => {
    const broker = new BrokerFixture({ groupStart: "beginning" });
    const topicId = broker.topic();
    const groupId = broker.group();
    broker.send(topicId, { group: "a" });
    broker.pass(1_000);
    broker.send(topicId, { group: "a" });
    const [first] = broker.receive(topicId, groupId);
    const describe = () => {
      const { ready, blocked, inFlight, lagMs } = broker.operate<Described>("group.describe", { group: "ns/billing" })
        .topics[0]!;
      return [ready, blocked, inFlight, lagMs];
    };
    broker.pass(500);
    assert.deepEqual(describe(), [0, 1, 1, 1_500]);
    broker.ack(groupId, first!.receipt);
    assert.deepEqual(describe(), [1, 0, 0, 500]);
  });

  it("tells what waits for its time, and the filter that is in force as long as somebody receives with it", () => {
    const broker = new BrokerFixture({ groupStart: "beginning" });
    const topicId = broker.topic();
    const groupId = broker.group();
    const describe = () => {
      const { ready, delayed, filter } = broker.operate<Described>("group.describe", { group: "ns/billing" })
        .topics[0]!;
      return [ready, delayed, filter];
    };
    broker.receive(topicId, groupId, { filterType: 2, filter: "amount > 10" });
    broker.sendTimed(topicId, broker.wallMs + 90_000);
    assert.deepEqual(describe(), [0, 1, 'SQL92 "amount > 10"']);
    broker.pass(90_000);
    assert.deepEqual(describe(), [1, 0, null]);
  });

  it("tells a group that reads nothing from one that is not known", () => {
    const broker = new BrokerFixture();
    broker.group("ns/idle");
    assert.deepEqual(broker.operate("group.describe", { group: "ns/idle" }), {
      ...{ group: "ns/idle", isKnown: true, topics: [] },
    });
    assert.equal(broker.operate<Described>("group.describe", { group: "ns/none" }).isKnown, false);
  });

  it("refuses parameters of the wrong shape by name, and says which methods there are", () => {
    const { state, now } = new BrokerFixture();
    const wrong = state.operate("group.describe", { group: 7 }, now);
    assert.ok(!(wrong instanceof Promise) && !wrong.ok && wrong.code === Code.BadRequest);
    assert.match(wrong.message, /^group\.describe: group: /);
    const unknown = state.operate("group.dance", {}, now);
    assert.ok(!(unknown instanceof Promise) && !unknown.ok && unknown.code === Code.NotImplemented);
    assert.match(unknown.message, /no operation "group\.dance", it knows .*group\.describe/);
  });
});
