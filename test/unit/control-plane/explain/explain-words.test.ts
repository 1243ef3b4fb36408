import assert from "node:assert/strict";
import { groupLines } from "../../../../control-plane/explain/explain-group.ts";
import { messageLines, wouldLines } from "../../../../control-plane/explain/explain-message.ts";
import type {
  ExplainedCopy,
  ExplainedGroup,
  ExplainedTopicOfGroup,
  LaneFacts,
} from "../../../../control-plane/explain/explained.ts";
import { whoGets } from "../../../../control-plane/explain/lane-words.ts";

const facts = (lane: string, more: Partial<LaneFacts> = {}): LaneFacts => ({
  ...{
    lane,
    ready: 0,
    inFlight: 0,
    isSpilled: false,
    isClosing: false,
    isWithdrawn: false,
    waitingReceives: 0,
    holders: [],
    filter: null,
  },
  whenEmpty: lane === "base" ? null : { action: "spill", afterMs: 2_000 },
  ...more,
});
const rule = { name: "default/canary", number: 3, group: "", since: 4_096 };
const byMark: ExplainedGroup = {
  ...{ group: "default/billing", rule, clause: 1, lane: "canary" },
  verdicts: [
    {
      ...{ clause: 1, to: "canary", holds: true },
      conditions: [{ condition: "lane", holds: true, text: 'it carries the lane mark "canary"' }],
    },
  ],
  ownerLane: facts("canary", { isSpilled: true }),
  baseLane: facts("base", { holders: ["b-1"] }),
};

describe("explanations in sentences (L12)", () => {
  it("say who gets what is of a lane", () => {
    const base = facts("base", { holders: ["b-1"] });
    assert.match(whoGets(facts("canary", { holders: ["c-1"] }), base), /^Lane canary is live.*: c-1\.$/);
    assert.match(whoGets(facts("canary", { isSpilled: true }), base), /is spilled: .* \(b-1\)\.$/);
    assert.match(
      whoGets(facts("canary", { isSpilled: true, isWithdrawn: true, holders: ["c-1"] }), base),
      /is taken back by its rule .* its consumers get nothing, and base consumers .* \(b-1\)\.$/,
    );
    assert.match(whoGets(facts("canary"), base), /base takes over when that has lasted 2 s/);
    assert.match(whoGets(facts("canary", { whenEmpty: { action: "hold" } }), base), /says hold: it waits/);
    assert.match(whoGets(facts("canary", { isClosing: true, isSpilled: true }), base), /closing.*\(b-1\)/);
    assert.match(
      whoGets(facts("canary", { areOff: true, isSpilled: true }), base),
      /Lanes are off at this broker.*: b-1\.$/,
    );
    assert.match(whoGets(facts("base"), facts("base")), /Nobody consumes in the base lane now/);
  });

  it("tell a message's rule, clause, hand-outs and what it waits for", () => {
    const copy: ExplainedCopy = {
      ...{ topic: "default/orders", standing: "visible", queueId: 2, offset: 7, storedMs: 0, laneMark: "canary" },
      message: { messageId: "m1" },
      groups: [{ ...byMark, state: "in flight", holder: "b-1", attempt: 2, leftMs: 1_500 }],
      events: [
        { atMs: 0, event: "stored in queue 2" },
        {
          ...{ atMs: 1_000, event: "handed out", group: "default/billing", attempt: 2, holder: "b-1" },
          ...{ lane: "base", owner: "canary", invisibleMs: 15_000 },
        },
      ],
    };
    assert.deepEqual(messageLines("b", copy), [
      "m1 in default/orders on broker b: queue 2, offset 7; lane mark canary.",
      "  1970-01-01T00:00:00.000Z stored in queue 2",
      "Group default/billing:",
      "  It is rule default/canary, version 3, which is for every group, in force since log position 4096, that decided when it was stored.",
      '  Clause 1 (to canary) holds: it carries the lane mark "canary".',
      "  So it is of lane canary.",
      "  1970-01-01T00:00:01.000Z handed out to b-1 of lane base, standing in for lane canary, attempt 2, invisible for 15 s",
      "  Now: in flight at b-1, attempt 2; unless it is acknowledged within 1.5 s it returns to lane canary.",
    ]);
    const gone = { ...copy, groups: [], events: [], standing: "waiting", queueId: null };
    assert.match(messageLines("b", gone).join("\n"), /classified when it becomes visible/);
  });

  it("tell once what several brokers say alike", () => {
    const other = { ...byMark, rule: { ...rule, number: 2 } };
    const lines = wouldLines("default/orders", [
      { broker: "a", groups: [byMark] },
      { broker: "b", groups: [byMark] },
      { broker: "c", groups: [other] },
    ]);
    assert.deepEqual(
      lines.filter((line) => line.startsWith("Such")),
      [
        "Such a message of topic default/orders on brokers a, b:",
        "Such a message of topic default/orders on broker c:",
      ],
    );
  });

  it("tell why a lane gets nothing", () => {
    const said: ExplainedTopicOfGroup = {
      ...{ topic: "default/orders", isOrdered: false, inFlightMax: 100 },
      rule: { ...rule, clauses: [{ to: "canary", lane: "canary" }] },
      lanes: [facts("base", { holders: ["b-1"] }), facts("canary", { isSpilled: true })],
      recent: { looked: 50, byLane: { base: 50 }, marks: { "": 30, base: 2 } },
    };
    const text = (around: object = {}, lanes = said.lanes, only?: string) =>
      groupLines("default/billing", "b", { ...said, lanes }, { sidecarLanes: [], behind: [], ...around }, only).join(
        "\n",
      );
    assert.match(text(), /no sidecar of lane canary is connected \(start one: popmesh sidecar --lane canary\)/);
    assert.match(text({ sidecarLanes: ["canary", "base"] }), /1 sidecar of lane canary is connected, but no client/);
    assert.match(text(), /None of the last 50 messages is its own: lane mark "canary" goes to canary\./);
    assert.match(
      text(),
      /The lane marks of the last messages are: no mark \(30\), base \(2\)\. A message carries mark canary/,
    );
    assert.match(text({ behind: ["Version 4 is not in force here: refused."] }), /Version 4 is not in force here/);
    const live = facts("canary", { holders: ["c-1"], inFlight: 100 });
    assert.match(text({}, [facts("base"), live]), /100 messages in flight, its limit/);
    const one = (more: Partial<LaneFacts>) => text({}, [said.lanes[0]!, facts("canary", more)], "canary");
    const left = one({ isSpilled: true, holders: ["c-1"] });
    assert.match(left, /is spilled: nobody consumes in it, so base consumers handle its messages \(b-1\)/);
    assert.match(left, /Everything of it is handled\.$/m);
    const back = one({ isSpilled: true, isWithdrawn: true, holders: ["c-1"], waitingReceives: 1, ready: 5 });
    assert.match(back, /Lane canary: taken back by its rule, base stands in;/);
    assert.match(back, /its consumers get nothing/);
    assert.doesNotMatch(back, /nobody consumes|Consumers wait although/);
    assert.match(one({ holders: ["c-1"], waitingReceives: 1 }), /handled; its consumers wait for what comes\./);
    assert.match(text({}, said.lanes, "blue"), /has no lane blue here: no rule in force sends anything to it/);
    assert.doesNotMatch(text({}, said.lanes, "canary"), /Lane base:/);
  });
});
