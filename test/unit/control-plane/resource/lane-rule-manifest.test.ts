import assert from "node:assert/strict";
import { readManifests } from "../../../../control-plane/resource/manifest.ts";
import type { ManifestMistake } from "../../../../control-plane/resource/manifest-mistake.ts";

/** Line 6 is the first of the spec, which is indented by two. */
const rule = (spec: string) =>
  `apiVersion: popmesh.io/v1\nkind: LaneRule\nmetadata:\n  name: orders-canary\nspec:\n${spec}`;
const clauses = (...lines: string[]) =>
  rule(`  topic: orders\n  rules:\n${lines.map((line) => `    - ${line}\n`).join("")}`);

function mistakesOf(text: string): readonly ManifestMistake[] {
  const reading = readManifests(text);
  assert.ok(!reading.ok, "the text was accepted");
  return reading.mistakes;
}

describe("a LaneRule", () => {
  it("is read as the platform team writes it", () => {
    const reading = readManifests(
      rule(`  topic: orders
  group: billing
  rules:
    - { when: { lane: canary }, to: canary }
    - { when: { sql: "amount > 100 AND region IN ('eu','us')" }, to: canary }
    - { when: { tag: "a || b", properties: { user: "42", area: north } }, percent: 0.5, to: blue }
    - { percent: 5, to: canary }
  whenEmpty: { action: hold }
`),
    );
    assert.ok(reading.ok, JSON.stringify(reading));
    assert.deepEqual(reading.manifests[0]?.spec, {
      topic: "orders",
      group: "billing",
      clauses: [
        { to: "canary", lane: "canary" },
        { to: "canary", sql: "amount > 100 AND region IN ('eu','us')" },
        { to: "blue", tag: "a || b", properties: { area: "north", user: "42" }, percent: 0.5 },
        { to: "canary", percent: 5 },
      ],
      whenEmpty: { action: "hold" },
    });
  });

  it("is for every group and spills after two seconds where it says nothing", () => {
    const reading = readManifests(clauses("{ to: canary }"));
    assert.ok(reading.ok);
    assert.deepEqual(reading.manifests[0]?.spec, {
      topic: "orders",
      group: "",
      clauses: [{ to: "canary" }],
      whenEmpty: { action: "spill", afterMs: 2_000 },
    });
  });

  it("says at which line and column each mistake is, all at once", () => {
    const mistakes = mistakesOf(
      rule(
        "  topic: a b\n  rules:\n    - when:\n        sql: amount >\n      to: canary\n    - { percent: 101, to: blue }\n" +
          '    - { when: { lnae: x }, to: "no lane" }\n  whenEmpty: { action: hold, after: 2s }\n',
      ),
    );
    assert.deepEqual(
      mistakes.map(({ line, column, path }) => `${line}:${column} ${path}`),
      [
        "6:3 spec.topic",
        "9:9 spec.rules.0.when.sql",
        "11:9 spec.rules.1.percent",
        "12:17 spec.rules.2.when.lnae",
        "12:28 spec.rules.2.to",
        "13:30 spec.whenEmpty.after",
      ],
    );
  });

  for (const [what, text, path, reason] of [
    ["no topic", rule("  rules: [{ to: canary }]\n"), "spec.topic", /is missing; it must be a text/],
    ["no rules", rule("  topic: orders\n"), "spec.rules", /is missing; it must be a list/],
    ["no clause", rule("  topic: orders\n  rules: []\n"), "spec.rules", /no clause.*delete it/],
    ["no lane to go to", clauses("{ percent: 5 }"), "spec.rules.0.to", /is missing; it must be a text/],
    ["a lane that is no name", clauses("{ to: a/b }"), "spec.rules.0.to", /"a\/b" may hold/],
    [
      "a reserved group",
      rule("  topic: orders\n  group: CID_RMQ_SYS_x\n  rules: [{ to: a }]\n"),
      "spec.group",
      /reserved/,
    ],
    ["an empty when", clauses("{ when: {}, to: canary }"), "spec.rules.0.when", /no condition; leave it out/],
    ["a tag that is none", clauses('{ when: { tag: "a |" }, to: canary }'), "spec.rules.0.when.tag", /refused/],
    ["an expression that is none", clauses("{ when: { sql: a = }, to: canary }"), "spec.rules.0.when.sql", /SQL/],
    [
      "a number as a property",
      clauses("{ when: { properties: { user: 42 } }, to: c }"),
      "spec.rules.0.when.properties.user",
      /write "42"/,
    ],
    ["a share below nothing", clauses("{ percent: -1, to: canary }"), "spec.rules.0.percent", /from 0 to 100/],
    [
      "a lane taken back that is not its own",
      `${clauses("{ to: canary }")}\n  withdrawn: [blue]`,
      "spec.withdrawn.0",
      /no clause of this rule has to: blue/,
    ],
    ["a share too fine", clauses("{ percent: 0.001, to: canary }"), "spec.rules.0.percent", /steps of 0\.01/],
    ["a misspelt clause", clauses("{ percnt: 5, to: canary }"), "spec.rules.0.percnt", /did you mean "percent"/],
    ["a condition beside when", clauses("{ lane: canary, to: canary }"), "spec.rules.0.lane", /no field/],
    [
      "a spill at once",
      `${clauses("{ to: a }")}  whenEmpty: { action: spill, after: 0s }\n`,
      "spec.whenEmpty.after",
      /from 0\.1s/,
    ],
    ["another action", `${clauses("{ to: a }")}  whenEmpty: { action: drop }\n`, "spec.whenEmpty.action", /spill/],
  ] as const) {
    it(`with ${what} is refused at ${path}`, () => {
      const mistakes = mistakesOf(text);
      const found = mistakes.find((mistake) => mistake.path === path && reason.test(mistake.reason));
      assert.ok(found, JSON.stringify(mistakes));
      assert.ok(found.line > 4, "the mistake has no place");
    });
  }

  it("with a clause that is never reached is refused there, with the clause that shadows it (L10)", () => {
    const [mistake, ...others] = mistakesOf(
      clauses("{ when: { lane: canary }, to: canary }", "{ to: blue }", "{ percent: 5, to: canary }"),
    );
    assert.deepEqual(others, []);
    assert.equal(mistake?.path, "spec.rules.2");
    assert.equal(mistake?.line, 10);
    assert.match(mistake?.reason ?? "", /never reached: rules\.1 \(to: blue\) takes every message/);
  });
});
