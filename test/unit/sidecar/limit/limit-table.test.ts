import assert from "node:assert/strict";
import { LimitTable } from "../../../../sidecar/limit/limit-table.ts";
import type { RateLimit } from "../../../../sidecar/limit/rate-limit.ts";
import { paceReceive, settleReceive } from "../../../../sidecar/limit/receive-pace.ts";

const limit = (name: string, said: Partial<RateLimit> = {}): RateLimit => ({
  ...{ name: `ns/${name}`, generation: 1, namespace: "ns", direction: "send", topic: "", group: "", client: "" },
  ...{ messagesPerSecond: 10, bytesPerSecond: 0, burstMs: 1_000 },
  ...said,
});
const whole = { messages: 1, bytes: 1 };
const tableOf = (...limits: RateLimit[]) => {
  const table = new LimitTable(whole);
  table.replace(limits, 0);
  return table;
};
const names = (found: readonly { readonly limit: RateLimit }[]) => found.map(({ limit: { name } }) => name);

describe("the table of limits", () => {
  const receive = { direction: "receive" } as const;

  it("finds what holds for a send, most particular first, and nothing of another namespace", () => {
    const table = tableOf(
      limit("all"),
      limit("client", { client: "a*" }),
      limit("topic", { topic: "t" }),
      limit("other", { topic: "u" }),
      limit("both", { topic: "t", client: "a*" }),
      limit("foreign", { namespace: "red", topic: "t" }),
      limit("receives", { topic: "t", ...receive }),
    );
    assert.deepEqual(names(table.forSend("ns", "t")), ["ns/both", "ns/topic", "ns/client", "ns/all"]);
    assert.deepEqual(names(table.forSend("ns", "unnamed")), ["ns/client", "ns/all"]);
    assert.deepEqual(names(table.forSend("blue", "t")), []);
  });

  it("finds what holds for a receive by topic, group and client", () => {
    const table = tableOf(
      limit("all", receive),
      limit("topic", { topic: "t", ...receive }),
      limit("group", { group: "g", ...receive }),
      limit("one", { topic: "t", group: "g", client: "c-*", ...receive }),
    );
    assert.deepEqual(names(table.forReceive("ns", "t", "g", "c-1")), ["ns/one", "ns/topic", "ns/group", "ns/all"]);
    assert.deepEqual(names(table.forReceive("ns", "u", "g", "c-1")), ["ns/group", "ns/all"]);
    assert.deepEqual(names(table.forReceive("ns", "t", "h", "c-1")), ["ns/topic", "ns/all"]);
    assert.deepEqual(names(table.forReceive("red", "t", "g", "c-1")), []);
  });

  it("keeps what is in the bucket of a limit that stays, and the share of one that changes", () => {
    const stays = limit("stays");
    const table = tableOf(stays, limit("changes"));
    table.limiters.get("ns/changes")?.setShare({ messages: 0.5, bytes: 0.25 }, 0);
    const before = table.limiters.get("ns/stays");
    table.replace([stays, limit("changes", { messagesPerSecond: 20 })], 0);
    assert.equal(table.limiters.get("ns/stays"), before);
    assert.deepEqual(table.limiters.get("ns/changes")?.share, { messages: 0.5, bytes: 0.25 });
    table.replace([], 0);
    assert.deepEqual([table.isEmpty, table.limiters.size], [true, 0]);
  });

  it("gives a receive the least that one limit allows, and reserves that in all", () => {
    const table = tableOf(
      limit("wide", { messagesPerSecond: 100, ...receive }),
      limit("narrow", { group: "g", ...receive }),
    );
    const limiters = table.forReceive("ns", "t", "g", "c");
    const pace = paceReceive(limiters, 32, 1_000, 1_000);
    assert.deepEqual(pace, { kind: "go", allowed: { messages: 5, bytes: 1_000 } });
    assert.ok(pace.kind === "go");
    settleReceive(limiters, pace.allowed, 32, Array(5).fill({ message: Buffer.alloc(10) }));
    for (const limiter of limiters) {
      // It got all that it was allowed, so it wants as much as it asked for.
      assert.deepEqual(limiter.takeDemand(), { usedMessages: 5, usedBytes: 50, wantedMessages: 32, wantedBytes: 320 });
    }
    assert.deepEqual(paceReceive(limiters, 32, 1_000, 1_000), { kind: "go", allowed: { messages: 2, bytes: 1_000 } });
  });

  it("lets a receive wait where one limit has nothing left, and takes nothing of the others", () => {
    const table = tableOf(
      limit("wide", { messagesPerSecond: 100, ...receive }),
      limit("used", { group: "g", ...receive }),
    );
    const limiters = table.forReceive("ns", "t", "g", "c");
    const [used, wide] = limiters;
    used?.take(1, 0);
    assert.deepEqual(paceReceive(limiters, 32, 1_000, 0), { kind: "wait", ms: 100 });
    assert.equal(used?.takeDemand().wantedMessages, 1 + 32 * 0.1);
    assert.equal(wide?.reservableMessages(32, 1_000), 32);
    assert.equal(paceReceive(limiters, 32, 1_000, 100).kind, "go");
  });
});
