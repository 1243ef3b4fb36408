import assert from "node:assert/strict";
import { ExpressionFault } from "../../../../proto/filter/expression-fault.ts";
import { SqlFilter } from "../../../../proto/filter/sql-filter.ts";
import { sqlLimits } from "../../../../proto/filter/sql-parser.ts";

function fault(expression: string): ExpressionFault {
  try {
    new SqlFilter(expression);
  } catch (error) {
    assert.ok(error instanceof ExpressionFault, String(error));
    return error;
  }
  assert.fail(`${expression.slice(0, 100)} is taken`);
}

/** Refused at this character, with these words in the text. */
function refuses(cases: readonly (readonly [expression: string, position: number, words: RegExp])[]): void {
  for (const [expression, position, words] of cases) {
    const { message, position: at } = fault(expression);
    assert.equal(at, position, `${expression}: ${message}`);
    assert.match(message, words, expression);
  }
}

const repeat = (count: number, part: (i: number) => string, separator: string): string =>
  Array.from({ length: count }, (_, i) => part(i)).join(separator);

describe("the grammar of SQL92 filters", () => {
  it("takes everything that the grammar has", () => {
    for (const fine of [
      "TRUE",
      "NULL",
      "a",
      "NOT NOT a",
      "a = +1",
      "a = 0",
      "a = 1.",
      "a = .5",
      "a = 1E+3",
      "a = 1e-3",
      "a = 00.5",
      "a = 5l",
      "a BETWEEN 1 AND 1",
      "a BETWEEN -1 AND -5",
      "a BETWEEN b AND c",
      "a NOT BETWEEN 5 AND 1",
      "a BETWEEN 1 AND 2.5",
      "((((a))))",
      "a = b = c",
      "a NOT IN ('x') IS NOT NULL",
      "a CONTAINS 'x' CONTAINS 'y'",
      "a IS NULL = TRUE",
      "a='x'AND b='y'",
      "$a_1 = _",
    ]) {
      assert.doesNotThrow(() => new SqlFilter(fine), fine);
    }
  });

  it("refuses the rest, with the place, what was expected, and how to mend it", () => {
    refuses([
      ["", 0, /empty.*TRUE/],
      ["  -- nothing", 0, /empty/],
      ["a = 'x' b", 9, /found "b", expected the end, AND, OR or an operator/],
      ["a = 1 )", 7, /found "\)"/],
      ["(a = 1", 7, /found the end, expected "\)"/],
      ["a =", 4, /found the end, expected a property, a value/],
      ["= 1", 1, /found "="/],
      ["a == 1", 3, /equality is written "="/],
      ["a != 1", 3, /written "<>"/],
      ["a = 1 && b = 2", 7, /write AND/],
      ["a || b", 3, /tags are joined/],
      ['a = "x"', 5, /single quotes/],
      ["a LIKE 'x%'", 3, /no LIKE: use CONTAINS/],
      ["a + 1 > 2", 3, /expected the end/],
      ["a * 2 > 2", 3, /no arithmetic/],
      ["a = 1 ; DROP TABLE t", 7, /found ";"/],
      ["5", 1, /"5" is neither true nor false; expected a comparison/],
      ["'x'", 1, /neither true nor false/],
      ["a AND 'x'", 7, /neither true nor false/],
      ["NOT 5", 5, /neither true nor false/],
      ["-a", 1, /neither true nor false/],
      ["a = 'x", 5, /a text begins here and does not end/],
      ["a = 1 /* x", 7, /a comment begins here and does not end/],
      ["a = é", 5, /found "U\+00E9"/],
      ["a = \u0000", 5, /found "U\+0000"/],
      ["a\u00a0= 1", 2, /U\+00A0/],
      ["a = 1x", 6, /right behind the number "1"/],
      ["a = 0L", 6, /right behind the number "0"/],
      ["a = 007", 5, /an integer begins with 1 to 9/],
      ["a = 5e", 6, /right behind the number "5"/],
      ["a IS 5", 6, /expected NULL or NOT NULL/],
      ["a IS NOT 5", 10, /expected NULL/],
      ["a NOT = 5", 3, /found "NOT"/],
      ["IN ('x')", 1, /found "IN"/],
    ]);
  });

  it("refuses decimals of 0 and numbers that no type holds", () => {
    refuses([
      ["a = 0.0", 5, /write the integer 0/],
      ["a > 0e5", 5, /write the integer 0/],
      ["a > 1e-400", 5, /too near/],
      ["a > 1e400", 5, /is above 1\.797/],
      ["a > 9223372036854775808", 5, /is above 9223372036854775807/],
      ["a > -9223372036854775808", 6, /is above/],
      [`a > ${"9".repeat(2_000)}`, 5, /is above/],
    ]);
  });

  it("refuses comparisons that can never be", () => {
    refuses([
      ["a BETWEEN 5 AND 1", 17, /upper bound 1 is below the lower bound 5; .* exchange them/],
      ["a BETWEEN 9223372036854775807 AND 9223372036854775806", 35, /exchange/],
      ["a BETWEEN 2.5 AND 2", 19, /exchange/],
      ["a BETWEEN 'a' AND 'b'", 11, />= orders numbers only, not "'a'"; texts are compared with = and <>/],
      ["a BETWEEN NULL AND 5", 11, /numbers only/],
      ["a BETWEEN 1", 12, /expected AND/],
      ["a < 'x'", 5, /numbers only/],
      ["'x' >= a", 1, /numbers only/],
      ["a > TRUE", 5, /numbers only/],
      ["TRUE < a", 1, /numbers only/],
      ["NOT a > 5", 1, /NOT binds tighter/],
      ["a > 1 > 2", 1, /numbers only/],
      ["a = NULL", 5, /write IS NULL/],
      ["a <> NULL", 6, /write IS NULL/],
      ["NULL = a", 1, /write IS NULL/],
      ["TRUE = 5", 8, /TRUE cannot equal "5"/],
      ["FALSE <> 'x'", 10, /cannot equal/],
    ]);
  });

  it("refuses IN of anything but a property, and lists of anything but texts", () => {
    refuses([
      ["5 IN ('x')", 1, /expected the name of a property/],
      ["'x' IN ('x')", 1, /name of a property/],
      ["NOT a IN ('x')", 1, /a NOT IN/],
      ["(a = 1) NOT IN ('x')", 1, /name of a property/],
      ["a IN ()", 7, /a text in single quotes/],
      ["a IN (1)", 7, /lists hold no numbers/],
      ["a IN ('x',)", 11, /a text in single quotes/],
      ["a IN ('x' 'y')", 11, /","/],
      ["a IN 'x'", 6, /"\("/],
      ["a CONTAINS b", 12, /a text in single quotes behind CONTAINS/],
      ["a NOT STARTSWITH 5", 18, /behind STARTSWITH/],
    ]);
  });

  it("takes what is at its limits and refuses what is over them", () => {
    const limits = [
      ["nodes", sqlLimits.nodes / 4, (count: number) => repeat(count, () => "a = 1", " OR "), /256 values/],
      ["depth", sqlLimits.depth, (depth: number) => `${"(".repeat(depth)}a${")".repeat(depth)}`, /32 parentheses/],
      ["NOTs", sqlLimits.depth, (depth: number) => `${"NOT ".repeat(depth)}a`, /32 parentheses/],
      ["signs", sqlLimits.depth, (depth: number) => `a = ${"- ".repeat(depth)}1`, /32 parentheses/],
      ["IN", sqlLimits.inItems, (count: number) => `a IN (${repeat(count, (i) => `'${i}'`, ",")})`, /128 texts/],
      [
        "properties",
        sqlLimits.properties,
        (count: number) => repeat(count, (i) => `p${i} IS NULL`, " AND "),
        /64 different properties/,
      ],
    ] as const;
    for (const [what, limit, make, words] of limits) {
      assert.doesNotThrow(() => new SqlFilter(make(limit)), what);
      const { message } = fault(make(limit + 1));
      assert.match(message, words, what);
    }
  });

  it("is done with the longest expressions in a bounded number of steps", () => {
    const longest = [
      "(".repeat(2_048),
      "NOT ".repeat(512),
      "-".repeat(2_048),
      "- ".repeat(1_024),
      "'".repeat(2_048),
      "/*".repeat(1_024),
      "a".repeat(2_048),
      "1".repeat(2_048),
      `a = ${".1".repeat(1_000)}`,
      `a = 1e${"9".repeat(2_000)}`,
      repeat(170, () => "a IS NULL", " OR "),
    ];
    for (const expression of longest) {
      try {
        const { instructionCount } = new SqlFilter(expression);
        assert.ok(instructionCount <= sqlLimits.nodes * 2, `${instructionCount} instructions`);
      } catch (error) {
        assert.ok(error instanceof ExpressionFault, String(error));
        assert.ok(error.message.length < 300, error.message);
      }
    }
  });
});
