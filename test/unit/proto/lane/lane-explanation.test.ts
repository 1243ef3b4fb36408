import assert from "node:assert/strict";
import { MessageScan, scanMessage } from "../../../../proto/codec/message-scan.ts";
import { CompiledLaneRule, noClause } from "../../../../proto/lane/lane-classifier.ts";
import { explainRule } from "../../../../proto/lane/lane-explanation.ts";
import { type LaneClause, type LaneRule, whenEmptyDefault } from "../../../../proto/lane/lane-rule.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { type MessageParts, messageBytes } from "../../../support/broker-fixture.ts";
import { withSeed } from "../../../support/test-seed.ts";

const scan = new MessageScan();
const ruleOf = (clauses: readonly LaneClause[]): LaneRule => ({ clauses, whenEmpty: whenEmptyDefault });
const explain = (rule: LaneRule, parts: MessageParts, mark = "") => {
  const bytes = messageBytes(parts);
  scanMessage(bytes, 0, bytes.length, scan);
  return explainRule(rule, scan, mark);
};
const texts = (rule: LaneRule, parts: MessageParts, mark = "") =>
  explain(rule, parts, mark).verdicts.flatMap(({ clause, holds, conditions }) =>
    conditions.map((condition) => `${clause} ${holds} ${condition.holds} ${condition.text}`),
  );

describe("why a rule sends a message where it does (L12)", () => {
  it("names each condition with what the message says, up to the clause that decides", () => {
    const rule = ruleOf([
      { to: "canary", lane: "canary" },
      { to: "canary", tag: "a || b", properties: { user: "42" } },
      { to: "blue", sql: "amount > 100" },
      { to: "green" },
      { to: "never" },
    ]);
    assert.deepEqual(texts(rule, { tag: "c", properties: { user: "7", amount: "100" } }, "base"), [
      '1 false false its lane mark is "base" and not "canary"',
      '2 false false its tag is "c", and a || b is asked for',
      '2 false false its property user is "7" and not "42"',
      "3 false false amount > 100 is not true (false, or unknown because a property is missing) for it",
    ]);
    const { clause, lane, verdicts } = explain(rule, {});
    assert.deepEqual([clause, lane, verdicts.length], [4, "green", 4]);
    assert.deepEqual(texts(rule, { tag: "b", properties: { user: "42" } }), [
      '1 false false it carries no lane mark, and "canary" is asked for',
      '2 true true its tag is "b", which fits a || b',
      '2 true true its property user is "42"',
    ]);
  });

  it("tells bucket and share, and what they are counted by", () => {
    const [told = ""] = texts(ruleOf([{ to: "canary", percent: 5 }]), { group: "alice" });
    const [, bucket = ""] = /message group "alice" is in bucket (\d+); .* buckets 0 to 499 of 10 000/.exec(told) ?? [];
    assert.equal(told.startsWith(`1 ${Number(bucket) < 500}`), true, told);
    const [byId = ""] = texts(ruleOf([{ to: "canary", percent: 5 }]), { id: "m1" });
    assert.match(byId, /its id "m1" is in bucket/);
  });

  it("always agrees with what decides", () => {
    withSeed((seed) => {
      const random = new SeededRandomness(seed);
      const pick = <T>(...values: readonly T[]): T => values[random.uint32() % values.length]!;
      for (let i = 0; i < 300; i++) {
        const clauses = Array.from({ length: 1 + (random.uint32() % 4) }, (): LaneClause => {
          const part = {
            ...pick<Partial<LaneClause>>({}, { lane: pick("canary", "blue") }),
            ...pick<Partial<LaneClause>>({}, { tag: pick("a", "a || b") }),
            ...pick<Partial<LaneClause>>({}, { properties: { user: pick("1", "2") } }),
            ...pick<Partial<LaneClause>>({}, { sql: pick("n > 3", "user IN ('1')") }),
            ...pick<Partial<LaneClause>>({}, { percent: pick(1, 50) }),
          };
          return { to: pick("canary", "blue", "base"), ...part };
        });
        const parts = {
          id: `m${i}`,
          tag: pick("a", "b", "c"),
          properties: { user: pick("1", "2"), n: pick("2", "5") },
        };
        const mark = pick("", "canary", "blue");
        const explained = explain(ruleOf(clauses), parts, mark);
        const decided = new CompiledLaneRule(ruleOf(clauses)).classify(scan, mark);
        assert.equal(
          explained.clause,
          decided === noClause ? null : decided + 1,
          JSON.stringify({ clauses, parts, mark }),
        );
      }
    });
  });
});
