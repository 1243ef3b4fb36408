import assert from "node:assert/strict";
import { Code } from "../../../../proto/code.ts";
import { byMark, LaneFixture } from "../../../support/lane-fixture.ts";

interface Facts {
  readonly lane: string;
  readonly isSpilled: boolean;
  readonly holders: readonly string[];
  readonly ready: number;
}
interface Group {
  readonly group: string;
  readonly rule: { readonly name: string; readonly number: number } | null;
  readonly clause: number | null;
  readonly lane: string;
  readonly verdicts: readonly { readonly conditions: readonly { readonly text: string }[] }[];
  readonly ownerLane: Facts | null;
  readonly baseLane: Facts | null;
  readonly state?: string;
  readonly before?: number;
  readonly leftMs?: number;
}

describe("explanations by a broker (L12)", () => {
  let l: LaneFixture;
  beforeEach(() => {
    l = new LaneFixture();
  });
  const evaluate = (parts: object) =>
    l.f.operate<{ groups: Group[] }>("lane.evaluate", { topic: "ns/orders", ...parts }).groups;
  const explain = (offset: number) =>
    l.f.operate<{ groups: Group[] }>("lane.explain", { topic: "ns/orders", queueId: 0, offset }).groups[0]!;

  it("of a message that does not exist: rule, clause, lane, who would get it; and store nothing", () => {
    l.pop();
    l.rule({ clauses: [{ to: "canary", properties: { user: "42" } }, ...byMark("canary").clauses] });
    const before = l.f.state.appliedPosition;
    const [canary] = evaluate({ properties: { user: "42" } });
    assert.deepEqual(
      [canary?.group, canary?.rule?.number, canary?.clause, canary?.lane],
      ["ns/billing", 1, 1, "canary"],
    );
    assert.deepEqual([canary?.ownerLane?.isSpilled, canary?.baseLane?.holders], [true, ["base-1"]], "nobody is there");
    const [marked] = evaluate({ lane: "canary", properties: { user: "7" } });
    assert.equal(marked?.clause, 2);
    assert.equal(marked?.verdicts[0]?.conditions[0]?.text, 'its property user is "7" and not "42"');
    assert.deepEqual(
      evaluate({}).map(({ clause, lane }) => [clause, lane]),
      [[null, "base"]],
    );
    l.pop("canary");
    assert.deepEqual(evaluate({ lane: "canary" })[0]?.ownerLane?.holders, ["canary-1"]);
    assert.equal(evaluate({ lane: "canary" })[0]?.ownerLane?.isSpilled, false);
    // The pop resumed the lane, and nothing else was written.
    assert.deepEqual(l.events, ["canary spilled", "canary resumed"]);
    assert.ok(l.f.state.appliedPosition > before);
  });

  it("of groups with rules of their own that never read the topic, and of none without any", () => {
    assert.deepEqual(evaluate({}), []);
    l.rule(byMark("canary"), "ns/later");
    const [later] = evaluate({ lane: "canary" });
    assert.deepEqual([later?.group, later?.lane, later?.ownerLane], ["ns/later", "canary", null]);
    assert.equal(evaluate({ group: "ns/other" })[0]?.rule, null);
    const refused = l.f.state.operate("lane.evaluate", { topic: "ns/none" }, l.f.now);
    assert.ok(!(refused instanceof Promise) && !refused.ok && refused.code === Code.TopicNotFound);
  });

  it("of one that is there: how many are before it, who holds it and for how long", () => {
    l.pop();
    l.rule(byMark("canary"));
    l.pop("canary");
    for (const [id, mark] of [
      ["c0", "canary"],
      ["b0", ""],
      ["c1", "canary"],
    ] as const)
      l.send(id, mark);
    assert.deepEqual([explain(0).state, explain(0).before], ["ahead", 0]);
    assert.deepEqual([explain(2).state, explain(2).before], ["ahead", 1], "what is base's does not count");
    l.pop("canary", { batch: 1, invisibleMs: 5_000 });
    assert.deepEqual([explain(0).state, explain(0).leftMs], ["in flight", 5_000]);
    assert.equal(explain(2).before, 0);
  });

  it("of a group: its lanes, what came lately, and with which marks", () => {
    interface Topic {
      readonly rule: { readonly clauses: readonly object[] } | null;
      readonly lanes: readonly Facts[];
      readonly recent: { readonly looked: number; readonly byLane: object; readonly marks: object };
    }
    const group = (parts: object = {}) =>
      l.f.operate<{ topics: Topic[] }>("lane.group", { group: "ns/billing", ...parts }).topics;
    l.pop();
    l.send("early", "canary");
    assert.equal(group()[0]?.rule, null);
    l.rule(byMark("canary"));
    l.send("c0", "canary");
    l.send("b0", "");
    const [told] = group({ topic: "ns/orders" });
    assert.deepEqual(told?.recent, { looked: 3, byLane: { base: 2, canary: 1 }, marks: { canary: 2, "": 1 } });
    assert.deepEqual(
      told?.lanes.map(({ lane, ready, isSpilled }) => [lane, ready, isSpilled]),
      [
        ["base", 2, false],
        ["canary", 1, true],
      ],
    );
    assert.equal(told?.rule?.clauses.length, 1);
    assert.throws(() => group({ topic: "ns/none" }), /has not read topic "ns\/none" here yet/);
  });
});
