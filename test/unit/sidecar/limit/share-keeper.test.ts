import assert from "node:assert/strict";
import { LimitTable } from "../../../../sidecar/limit/limit-table.ts";
import type { LimitShare } from "../../../../sidecar/limit/limiter.ts";
import type { RateLimit } from "../../../../sidecar/limit/rate-limit.ts";
import { type ShareAnswer, ShareKeeper, type ShareQuestion } from "../../../../sidecar/limit/share-keeper.ts";
import { ManualClock } from "../../../support/manual-clock.ts";

const limit = (name: string): RateLimit => ({
  ...{ name, generation: 1, namespace: "ns", direction: "send", topic: "", group: "", client: "" },
  ...{ messagesPerSecond: 100, bytesPerSecond: 0, burstMs: 1_000 },
});

describe("the keeper of shares", () => {
  let clock: ManualClock;
  let table: LimitTable;
  let asked: (readonly ShareQuestion[])[];
  let answer: ShareAnswer | undefined;
  let goodbyes: number;
  let saved: Map<string, LimitShare>;
  let writes: number;
  let keeper: ShareKeeper;
  beforeEach(() => {
    clock = new ManualClock();
    table = new LimitTable();
    asked = [];
    goodbyes = 0;
    writes = 0;
    saved = new Map();
    answer = { shares: [{ name: "ns/a", messages: 0.5, bytes: 0 }], reportAfterMs: 1_000 };
    const source = {
      ask: async (questions: readonly ShareQuestion[]) => {
        asked.push(questions);
        return answer;
      },
      leave: async () => {
        goodbyes++;
      },
    };
    const memory = {
      get: (name: string) => saved.get(name),
      put: (name: string, share: LimitShare) => {
        writes++;
        saved.set(name, share);
      },
    };
    keeper = new ShareKeeper(table, source, memory, clock);
  });
  const settle = async () => {
    for (let i = 0; i < 5; i++) await Promise.resolve();
  };
  const advance = async (ms: number) => {
    clock.advance(ms);
    await settle();
  };
  const shareOf = (name: string) => table.limiters.get(name)?.share.messages;

  it("asks nothing while there is no limit, at once when there is one, and on while there is one", async () => {
    await advance(5_000);
    assert.equal(asked.length, 0);
    table.replace([limit("ns/a")], clock.monotonicMs());
    assert.equal(shareOf("ns/a"), 0);
    await settle();
    assert.equal(shareOf("ns/a"), 0.5);
    await advance(1_000);
    assert.equal(asked.length, 2);
    table.replace([], clock.monotonicMs());
    await advance(10_000);
    assert.equal(asked.length, 2);
  });

  it("says what it holds, and what is wanted per second", async () => {
    table.replace([limit("ns/a")], clock.monotonicMs());
    await settle();
    const limiter = table.limiters.get("ns/a");
    limiter?.take(30, 0);
    limiter?.refuse(50, 0);
    await advance(1_000);
    assert.deepEqual(asked[1], [{ name: "ns/a", messagesWanted: 80, bytesWanted: 0, messagesHeld: 0.5, bytesHeld: 0 }]);
  });

  it("goes on with the last share when nobody answers, and asks again every second", async () => {
    table.replace([limit("ns/a")], clock.monotonicMs());
    await settle();
    answer = { shares: [{ name: "ns/a", messages: 0.52, bytes: 0 }], reportAfterMs: 1_000 };
    await advance(1_000);
    answer = undefined;
    for (let i = 0; i < 3; i++) await advance(1_000);
    assert.equal(shareOf("ns/a"), 0.52, "the last one, not the one on disk");
    assert.equal(asked.length, 5);
  });

  it("takes the share of an earlier life where nobody answers from the start, else a tenth", async () => {
    answer = undefined;
    saved.set("ns/a", { messages: 0.7, bytes: 0 });
    table.replace([limit("ns/a"), limit("ns/b")], clock.monotonicMs());
    assert.deepEqual([shareOf("ns/a"), shareOf("ns/b")], [0, 0], "not before it has asked");
    await settle();
    assert.deepEqual([shareOf("ns/a"), shareOf("ns/b")], [0.7, 0.1]);
  });

  it("keeps a share on disk when it is another one, not with every small change", async () => {
    table.replace([limit("ns/a")], clock.monotonicMs());
    await settle();
    for (const messages of [0.51, 0.52, 0.5, 0.4]) {
      answer = { shares: [{ name: "ns/a", messages, bytes: 0 }], reportAfterMs: 1_000 };
      await advance(1_000);
    }
    assert.equal(writes, 2);
    assert.equal(saved.get("ns/a")?.messages, 0.4);
  });

  it("believes no share that is none, and says goodbye once", async () => {
    answer = {
      shares: [
        { name: "ns/a", messages: 7, bytes: Number.NaN },
        { name: "ns/x", messages: 1, bytes: 1 },
      ],
      reportAfterMs: 0,
    };
    table.replace([limit("ns/a")], clock.monotonicMs());
    await settle();
    assert.deepEqual(table.limiters.get("ns/a")?.share, { messages: 1, bytes: 0 });
    await keeper.stop();
    await keeper.stop();
    assert.equal(goodbyes, 1);
    await advance(5_000);
    assert.equal(asked.length, 1);
  });
});
