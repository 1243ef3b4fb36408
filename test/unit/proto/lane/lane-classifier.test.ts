import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { MessageScan, scanMessage } from "../../../../proto/codec/message-scan.ts";
import { CompiledLaneRule, LaneRuleFault, noClause } from "../../../../proto/lane/lane-classifier.ts";
import { type LaneClause, whenEmptyDefault } from "../../../../proto/lane/lane-rule.ts";
import { SeededRandomness } from "../../../../proto/runtime/seeded-randomness.ts";
import { testSeed, withSeed } from "../../../support/test-seed.ts";

interface Sample {
  readonly id?: string;
  readonly tag?: string;
  readonly keys?: string[];
  readonly messageGroup?: string;
  readonly properties?: Record<string, string>;
  readonly mark?: string;
}

const scan = new MessageScan();

function laneOf(clauses: readonly LaneClause[], sample: Sample): string {
  const rule = new CompiledLaneRule({ clauses, whenEmpty: whenEmptyDefault });
  return rule.laneOf(classify(rule, sample));
}

function classify(
  rule: CompiledLaneRule,
  { id = "id", tag, keys, messageGroup, properties, mark = "" }: Sample,
): number {
  const bytes = apache.rocketmq.v2.Message.encode({
    topic: { name: "orders" },
    userProperties: properties ?? {},
    systemProperties: {
      messageId: id,
      keys: keys ?? [],
      ...(tag === undefined ? {} : { tag }),
      ...(messageGroup === undefined ? {} : { messageGroup }),
    },
    body: Buffer.from("x"),
  }).finish() as Buffer;
  scanMessage(bytes, 0, bytes.length, scan);
  return rule.classify(scan, mark);
}

describe("A lane rule", () => {
  it("sends what no clause holds for to the base lane", () => {
    assert.equal(laneOf([], {}), "base");
    assert.equal(laneOf([{ lane: "canary", to: "canary" }], { mark: "blue" }), "base");
    const rule = new CompiledLaneRule({ clauses: [{ lane: "canary", to: "canary" }], whenEmpty: whenEmptyDefault });
    assert.equal(classify(rule, {}), noClause);
  });

  it("lets the first clause that holds decide", () => {
    const clauses: LaneClause[] = [
      { tag: "vip", to: "base" },
      { lane: "canary", to: "canary" },
      { properties: { region: "eu" }, to: "blue" },
    ];
    assert.equal(laneOf(clauses, { tag: "vip", mark: "canary", properties: { region: "eu" } }), "base");
    assert.equal(laneOf(clauses, { tag: "x", mark: "canary", properties: { region: "eu" } }), "canary");
    assert.equal(laneOf(clauses, { properties: { region: "eu" } }), "blue");
  });

  it("wants all conditions of a clause", () => {
    const clauses: LaneClause[] = [
      { lane: "canary", tag: "a || b", properties: { user: "42", region: "eu" }, sql: "amount > 100", to: "canary" },
    ];
    const sample = { mark: "canary", tag: "b", properties: { user: "42", region: "eu", amount: "101" } };
    assert.equal(laneOf(clauses, sample), "canary");
    assert.equal(laneOf(clauses, { ...sample, mark: "" }), "base");
    assert.equal(laneOf(clauses, { ...sample, tag: "c" }), "base");
    assert.equal(laneOf(clauses, { ...sample, properties: { ...sample.properties, user: "43" } }), "base");
    assert.equal(laneOf(clauses, { ...sample, properties: { user: "42", amount: "101" } }), "base");
    assert.equal(laneOf(clauses, { ...sample, properties: { ...sample.properties, amount: "100" } }), "base");
  });

  it("takes an SQL expression that is unknown for one that is false", () => {
    assert.equal(laneOf([{ sql: "region NOT IN ('eu')", to: "canary" }], {}), "base");
    assert.equal(laneOf([{ sql: "region NOT IN ('eu')", to: "canary" }], { properties: { region: "us" } }), "canary");
  });

  it("says which clause it cannot read, and why", () => {
    const clauses: LaneClause[] = [{ to: "canary" }, { sql: "a >", to: "canary" }];
    assert.throws(
      () => new CompiledLaneRule({ clauses, whenEmpty: whenEmptyDefault }),
      (error) => error instanceof LaneRuleFault && error.clause === 1 && error.field === "sql",
    );
  });

  describe(`with a share (seed ${testSeed})`, () => {
    const count = 20_000;
    const ids = () => {
      const randomness = new SeededRandomness(testSeed);
      return Array.from({ length: count }, () => randomness.bytes(8).toString("hex"));
    };
    const members = (percent: number, to = "canary") => {
      const rule = new CompiledLaneRule({ clauses: [{ percent, to }], whenEmpty: whenEmptyDefault });
      return new Set(ids().filter((id) => classify(rule, { id }) === 0));
    };

    it("takes that share", () =>
      withSeed(() => {
        for (const percent of [0.01, 1, 5, 25, 50, 99.99]) {
          const expected = (count * percent) / 100;
          // Six standard deviations of a binomial distribution: one run in 500 million would be outside.
          const tolerance = 6 * Math.sqrt(expected * (1 - percent / 100)) + 1;
          const { size } = members(percent);
          assert.ok(Math.abs(size - expected) <= tolerance, `${percent} %: ${size} of ${count}`);
        }
      }));

    it("keeps everybody of a smaller one in a larger one", () => {
      const [small, large] = [members(5), members(25)];
      for (const id of small) assert.ok(large.has(id));
    });

    it("cuts the shares of two lanes without regard to each other", () =>
      withSeed(() => {
        const [canary, blue] = [members(50), members(50, "blue")];
        const both = [...canary].filter((id) => blue.has(id)).length;
        assert.ok(Math.abs(both - count / 4) <= 6 * Math.sqrt((count * 3) / 16), `${both} of ${count} in both`);
      }));

    it("goes by the message group, else by the first key, else by the id", () => {
      const rule = new CompiledLaneRule({ clauses: [{ percent: 50, to: "canary" }], whenEmpty: whenEmptyDefault });
      for (const text of ids().slice(0, 200)) {
        const byId = classify(rule, { id: text });
        assert.equal(classify(rule, { id: "other", keys: [text, "more"] }), byId);
        assert.equal(classify(rule, { id: "other", keys: ["other"], messageGroup: text }), byId);
        assert.equal(classify(rule, { id: text, keys: [""] }), byId);
      }
    });
  });
});
