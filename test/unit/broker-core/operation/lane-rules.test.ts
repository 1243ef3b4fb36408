import assert from "node:assert/strict";
import { byMark, LaneFixture } from "../../../support/lane-fixture.ts";

interface Listed {
  readonly topics: readonly {
    readonly topic: string;
    readonly incarnation: number;
    readonly rules: readonly { readonly name: string; readonly number: number }[];
  }[];
}

describe("lane.rule and lane.list", () => {
  let l: LaneFixture;
  beforeEach(() => {
    l = new LaneFixture();
  });

  const set = (topic: string, number: number, more: object = {}) =>
    l.f.operate("lane.rule", { topic, group: "", name: "ns/rule", number, rule: byMark("canary"), ...more });
  const opening = (incarnation: number) => ({ opening: { incarnation, messageTypes: 0b10, queueCount: 2 } });
  const listed = () =>
    l.f
      .operate<Listed>("lane.list", {})
      .topics.map(({ topic, incarnation, rules }) => [topic, incarnation, ...rules.map(({ number }) => number)]);

  it("set a rule for a topic that nobody has used here, if they are told what it is", () => {
    assert.throws(() => set("ns/new", 1), /holds no topic "ns\/new"/);
    set("ns/new", 1, opening(1));
    assert.deepEqual(listed(), [["ns/new", 1, 1]]);
    l.f.assertRebuilt();
  });

  it("set it again for a topic that was deleted and made again, whose rules are gone", () => {
    set("ns/new", 4, opening(1));
    set("ns/new", 4, opening(2));
    assert.deepEqual(listed(), [["ns/new", 2, 4]]);
    assert.throws(() => set("ns/new", 5, opening(1)), /lane\.rule: .*incarnation 1, was deleted/);
    l.f.assertRebuilt();
  });

  it("do nothing for a rule that is there, and refuse an older one", () => {
    set("ns/orders", 3);
    const before = l.f.state.appliedPosition;
    set("ns/orders", 3);
    assert.equal(l.f.state.appliedPosition, before);
    assert.throws(() => set("ns/orders", 2, { rule: byMark("blue") }), /has number 3, this one has 2/);
    set("ns/orders", 4, { rule: null, ...opening(9) });
    assert.deepEqual(listed(), [["ns/orders", 1]], "a withdrawal opens nothing");
    l.f.assertRebuilt();
  });
});
