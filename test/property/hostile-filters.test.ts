import assert from "node:assert/strict";
import { apache } from "#codec/rocketmq-v2";
import { ReceiveMessageReader } from "../../proto/codec/receive-message.ts";
import { type FilterExpression, readFilterExpression } from "../../proto/filter/filter-expression.ts";
import { sqlLimits } from "../../proto/filter/sql-parser.ts";
import { MeshError } from "../../proto/runtime/mesh-error.ts";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { SeededRandomness } from "../../proto/runtime/seeded-randomness.ts";
import { refuseGroupName, refuseTopicName } from "../../sidecar/filter/resource-name.ts";
import { controls, notInNames, notUtf8, put, strangers, treacherous } from "../support/hostile-text.ts";
import { pick } from "../support/random-message.ts";
import { ConditionGenerator } from "../support/sql-generator.ts";
import { verdictOf } from "../support/sql-row.ts";
import { testSeed, withSeed } from "../support/test-seed.ts";

const casesEach = 1_250;

/** Places of an expression at which something may be put so that it is outside of texts and comments. */
function boundaries(expression: string): number[] {
  const places: number[] = [];
  let isText = false;
  for (let at = 0; at <= expression.length; at++) {
    if (!isText) places.push(at);
    if (expression[at] === "'") isText = !isText;
  }
  return places;
}

function refused(type: number, expression: string, why: string): void {
  const read = readFilterExpression(type, expression);
  assert.equal(read.ok, false, `${why}: ${JSON.stringify(expression)} is taken`);
  if (read.ok) return;
  assert.ok(read.message.length < 400, `a text of ${read.message.length} characters`);
  for (let i = 0; i < read.message.length; i++) {
    const code = read.message.charCodeAt(i);
    assert.ok(code >= 0x20 && code !== 0x7f, `a control character in ${JSON.stringify(read.message)}`);
  }
}

function taken(type: number, expression: string): FilterExpression {
  const read = readFilterExpression(type, expression);
  assert.ok(read.ok, read.ok ? "" : `${JSON.stringify(expression)}: ${read.message}`);
  assert.ok((read.sql?.instructionCount ?? 0) <= 2 * sqlLimits.nodes, "the work per message is bounded");
  return read;
}

/** Comments would hide what is put into them. */
function condition(generator: ConditionGenerator, randomness: Randomness): string {
  for (;;) {
    const { ours } = generator.condition(randomIndex(randomness, 3));
    if (!ours.includes("--") && !ours.includes("/*")) return ours;
  }
}

describe("hostile filters and names (T25)", () => {
  it(`none of ${casesEach} expressions with something foreign in them is taken`, () => {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      const generator = new ConditionGenerator(randomness);
      for (let i = 0; i < casesEach; i++) {
        const expression = condition(generator, randomness);
        const at = pick(boundaries(expression), randomness);
        refused(2, put(expression, at, pick(strangers, randomness)), "foreign");
        refused(2, put(expression, randomIndex(randomness, expression.length + 1), "\ud83d"), "half a character");
        refused(2, `${expression} '${"x".repeat(randomIndex(randomness, 50))}`, "an open text");
        refused(2, `${expression} /* ${"x".repeat(randomIndex(randomness, 50))}`, "an open comment");
        refused(
          2,
          `${expression} ${pick(["; DROP TABLE message", "OR", ")", "a b", "UNION SELECT 1"], randomness)}`,
          "more",
        );
      }
    }, testSeed);
  });

  it(`none of ${casesEach} expressions beyond a limit is taken`, () => {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      const over = (limit: number): number => limit + 1 + randomIndex(randomness, limit);
      const many = (count: number, part: (i: number) => string, separator: string): string =>
        Array.from({ length: count }, (_, i) => part(i)).join(separator);
      const make = [
        () => `a = '${"x".repeat(over(2_048))}'`,
        () => `${"(".repeat(over(sqlLimits.depth))}a`,
        () => `${pick(["NOT ", "NOT (", "- ", "+"], randomness).repeat(over(sqlLimits.depth))}a = 1`,
        () => `a IN (${many(over(sqlLimits.inItems), (n) => `'${n}'`, ",")})`,
        () => many(over(sqlLimits.properties), (n) => `p${n} IS NULL`, pick([" OR ", " AND "], randomness)),
        () => many(over(sqlLimits.nodes / 4), () => "a = 1", pick([" OR ", " AND "], randomness)),
        () => `a > ${"9".repeat(over(20))}`,
        () => `a > 1e${over(308)}`,
      ];
      for (let i = 0; i < casesEach; i++) refused(2, pick(make, randomness)(), "beyond a limit");
      refused(
        1,
        many(over(128), (n) => `t${n}`, "||"),
        "many tags",
      );
      refused(1, "t".repeat(over(2_048)), "a long tag");
    }, testSeed);
  });

  it(`${casesEach} expressions on treacherous names and texts are taken and touch nothing but the row`, () => {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      for (let i = 0; i < casesEach; i++) {
        const name = pick(treacherous, randomness);
        const text = Array.from({ length: 1 + randomIndex(randomness, 4) }, () => pick(strangers, randomness)).join("");
        const literal = `'${text.replaceAll("'", "''")}'`;
        const operator = pick(["=", "CONTAINS", "STARTSWITH", "ENDSWITH", "IN"], randomness);
        const { sql } = taken(2, `${name} ${operator} ${operator === "IN" ? `(${literal})` : literal}`);
        assert.ok(sql !== undefined);
        assert.equal(verdictOf(sql, {}), operator === "=" || operator === "IN" ? "unknown" : "false");
        const row: Record<string, string> = Object.create(null);
        row[name] = text;
        assert.equal(verdictOf(sql, row), "true", `${name} ${operator} ${literal}`);
      }
      assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
    }, testSeed);
  });

  it(`none of ${casesEach} tag expressions and names that no topic, group or tag has is taken`, () => {
    withSeed((seed) => {
      const randomness = new SeededRandomness(seed);
      for (let i = 0; i < casesEach; i++) {
        const at = 1 + randomIndex(randomness, 3);
        refused(1, `a || ${put("tags", at, pick([...controls, "|", "\udc00"], randomness))} || b`, "a tag");
        const name = put("orders", 1 + randomIndex(randomness, 5), pick(notInNames, randomness));
        assert.ok(refuseTopicName(name) !== undefined, `topic ${JSON.stringify(name)}`);
        assert.ok(refuseGroupName(name) !== undefined, `group ${JSON.stringify(name)}`);
      }
      for (const name of ["__proto__", "constructor"]) assert.equal(refuseTopicName(name), undefined);
      assert.deepEqual(taken(1, "__proto__ || constructor").tags, ["__proto__", "constructor"]);
    }, testSeed);
  });

  it("an expression that is not UTF-8 does not get as far as the parser", () => {
    const { ReceiveMessageRequest } = apache.rocketmq.v2;
    const reader = new ReceiveMessageReader();
    for (const bytes of notUtf8) {
      for (const expression of ["a = 'PLACE'", "PLACE", "PLACE || b"]) {
        const request = Buffer.from(
          ReceiveMessageRequest.encode({
            filterExpression: { type: 2, expression: expression.replace("PLACE", "x".repeat(bytes.length)) },
          }).finish(),
        );
        bytes.copy(request, request.indexOf("x"));
        assert.throws(() => reader.read(request, 0, request.length), MeshError);
      }
    }
  });
});
