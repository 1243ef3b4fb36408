import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { pick } from "./random-message.ts";
import type { Row } from "./sql-row.ts";

/** A property that has values of one kind, so that SQL with its types can say the same. */
interface Column {
  readonly name: string;
  readonly sqlType: "INTEGER" | "REAL" | "TEXT";
  /** The value as a client writes it, and as a literal of standard SQL. */
  value(randomness: Randomness): { readonly text: string; readonly sql: string };
}

/** The same condition in both languages. `level`: how tightly it binds in ours, as in `levels`. */
export interface Condition {
  readonly ours: string;
  readonly sql: string;
  readonly level: number;
}

const levels = { or: 0, and: 1, equality: 2, comparison: 3, unary: 4, primary: 5 } as const;
const orders = ["<", "<=", ">", ">="] as const;
const texts = [
  "",
  "x",
  "X",
  "abc",
  "ab",
  "b",
  "c",
  "it's",
  "Größe",
  "日本",
  "a b",
  "%",
  "true",
  "5",
  "bcab",
  "aab",
  "aaab",
] as const;

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

function integerText(value: bigint, randomness: Randomness): string {
  const digits = (value < 0n ? -value : value).toString();
  const sign = value < 0n ? "-" : randomness.fraction() < 0.2 ? "+" : "";
  return sign + (randomness.fraction() < 0.2 ? "00" : "") + digits;
}

const smallIntegers = [0n, 1n, 2n, 3n, 5n, 10n, -1n, -5n, 2_147_483_647n, -2_147_483_648n];
const largeIntegers = [2_147_483_648n, -2_147_483_649n, 9_007_199_254_740_993n, 9_223_372_036_854_775_807n];
const decimals = [0.5, 1.5, 2.5, -1.5, 3, 1e10, 0.1, 1e-3, 123.456, -0.25];

function decimalText(value: number, randomness: Randomness): string {
  const text = pick([String(value), value.toExponential()], randomness);
  const longer = text.includes("e") ? text : text.includes(".") ? `${text}0` : `${text}.`;
  return pick([text, longer, ` ${text} `, `${text}d`], randomness);
}

const integerColumn = (name: string, values: readonly bigint[]): Column => ({
  name,
  sqlType: "INTEGER",
  value: (randomness) => {
    const value = pick(values, randomness);
    return { text: integerText(value, randomness), sql: String(value) };
  },
});

const textColumn = (name: string, values: readonly string[]): Column => ({
  name,
  sqlType: "TEXT",
  value: (randomness) => {
    const text = pick(values, randomness);
    return { text, sql: quoted(text) };
  },
});

const decimalColumn = (name: string): Column => ({
  name,
  sqlType: "REAL",
  value: (randomness) => {
    const value = pick(decimals, randomness);
    return { text: decimalText(value, randomness), sql: String(value) };
  },
});

const integerNames = ["n1", "n2"] as const;
const decimalNames = ["d1", "d2"] as const;
const textNames = ["t1", "t2", "$t_3"] as const;
const largeName = "l1";
const booleanName = "b1";

const columns: readonly Column[] = [
  ...integerNames.map((name) => integerColumn(name, smallIntegers)),
  ...decimalNames.map(decimalColumn),
  ...textNames.map((name) => textColumn(name, texts)),
  integerColumn(largeName, [...largeIntegers, ...smallIntegers]),
  textColumn(booleanName, ["true", "TRUE", "tRue", "false", "yes", "1", ""]),
];

const sqlName = (name: string): string => `"${name}"`;

export const tableSql = `CREATE TABLE message (id INTEGER PRIMARY KEY, ${columns.map(({ name, sqlType }) => `${sqlName(name)} ${sqlType}`).join(", ")})`;

/** A row in both worlds; about a quarter of the properties are missing. */
export function randomRow(id: number, randomness: Randomness): { readonly row: Row; readonly insertSql: string } {
  const row: Record<string, string> = {};
  const literals = columns.map((column) => {
    if (randomness.fraction() < 0.25) return "NULL";
    const { text, sql } = column.value(randomness);
    row[column.name] = text;
    return sql;
  });
  return { row, insertSql: `INSERT INTO message VALUES (${id}, ${literals.join(", ")})` };
}

/**
 * Random conditions of what both languages have, in ours spelt in random ways. Where the meaning differs knowingly the SQL says
 * what ours means; docs/filter.md lists those differences.
 */
export class ConditionGenerator {
  readonly #randomness: Randomness;

  constructor(randomness: Randomness) {
    this.#randomness = randomness;
  }

  condition(depth: number): Condition {
    const kind = randomIndex(this.#randomness, depth > 0 ? 16 : 9);
    switch (kind) {
      case 9:
      case 10:
      case 11:
        return this.#joined("AND", levels.and, depth);
      case 12:
      case 13:
        return this.#joined("OR", levels.or, depth);
      case 14: {
        const operand = this.condition(depth - 1);
        return {
          ours: `${this.#word("NOT")} ${this.#atLeast(operand, levels.unary)}`,
          sql: `(NOT ${operand.sql})`,
          level: levels.unary,
        };
      }
      case 15:
        return this.#ofTruths(depth);
      default:
        return this.#simple(kind);
    }
  }

  #simple(kind: number): Condition {
    switch (kind) {
      case 0:
        return this.#ordered();
      case 1:
        return this.#equal();
      case 2:
        return this.#between();
      case 3:
        return this.#in();
      case 4:
        return this.#search();
      case 5:
        return this.#isNull();
      case 6:
        return this.#ordered();
      case 7:
        return this.#equal();
      default:
        return this.#word("x") === "x" ? this.#literal() : this.#bare();
    }
  }

  #joined(word: "AND" | "OR", level: number, depth: number): Condition {
    const left = this.condition(depth - 1);
    const right = this.condition(depth - 1);
    return {
      ours: `${this.#atLeast(left, level)} ${this.#word(word)} ${this.#atLeast(right, level + 1)}`,
      sql: `(${left.sql} ${word} ${right.sql})`,
      level,
    };
  }

  /** Truth values compared with one another, with TRUE and FALSE, with a property, and asked for NULL. */
  #ofTruths(depth: number): Condition {
    const left = this.#comparable(depth - 1);
    const operator = pick(["=", "<>"], this.#randomness);
    const leftOurs = this.#atLeast(left, levels.equality);
    switch (randomIndex(this.#randomness, 4)) {
      case 0: {
        const right = this.#comparable(depth - 1);
        return {
          ours: `${leftOurs} ${operator} ${this.#atLeast(right, levels.comparison)}`,
          sql: `(${left.sql} ${operator} ${right.sql})`,
          level: levels.equality,
        };
      }
      case 1: {
        const isTrue = this.#randomness.fraction() < 0.5;
        return {
          ours: `${leftOurs} ${operator} ${this.#word(isTrue ? "TRUE" : "FALSE")}`,
          sql: `(${left.sql} ${operator} ${isTrue ? 1 : 0})`,
          level: levels.equality,
        };
      }
      case 2:
        return {
          ours: `${leftOurs} ${operator} ${booleanName}`,
          sql: `(${left.sql} ${operator} (lower(${sqlName(booleanName)}) = 'true'))`,
          level: levels.equality,
        };
      default: {
        const isNegated = this.#randomness.fraction() < 0.5;
        return {
          ours: `${leftOurs} ${this.#word("IS")} ${isNegated ? `${this.#word("NOT")} ` : ""}${this.#word("NULL")}`,
          sql: `(${left.sql} IS ${isNegated ? "NOT " : ""}NULL)`,
          level: levels.equality,
        };
      }
    }
  }

  /** A condition that is no bare property and no constant: those mean something else beside `=`. */
  #comparable(depth: number): Condition {
    for (;;) {
      const condition = this.condition(depth);
      if (condition.level < levels.primary) return condition;
    }
  }

  #ordered(): Condition {
    const operator = pick(orders, this.#randomness);
    const [left, right] = this.#numbers();
    const isTurned = this.#randomness.fraction() < 0.3;
    const [a, b] = isTurned ? [right, left] : [left, right];
    return {
      ours: `${a.ours}${this.#gap()}${operator}${this.#gap()}${b.ours}`,
      sql: `(${a.sql} ${operator} ${b.sql})`,
      level: levels.comparison,
    };
  }

  #equal(): Condition {
    const operator = pick(["=", "<>"], this.#randomness);
    const [left, right] = this.#equals();
    const isTurned = this.#randomness.fraction() < 0.3;
    const [a, b] = isTurned ? [right, left] : [left, right];
    return {
      ours: `${a.ours}${this.#gap()}${operator}${this.#gap()}${b.ours}`,
      sql: `(${a.sql} ${operator} ${b.sql})`,
      level: levels.equality,
    };
  }

  /** Two things that are ordered as numbers in both languages. */
  #numbers(): readonly [Side, Side] {
    switch (randomIndex(this.#randomness, 6)) {
      case 0:
        return [this.#column(pick(integerNames, this.#randomness)), this.#integer(smallIntegers)];
      case 1:
        return [this.#column(largeName), this.#integer(largeIntegers)];
      case 2:
        return [this.#column(pick([...integerNames, ...decimalNames], this.#randomness)), this.#decimal()];
      case 3: {
        const names = [...integerNames, ...decimalNames];
        return [this.#column(pick(names, this.#randomness)), this.#column(pick(names, this.#randomness))];
      }
      case 4:
        return [
          this.#integer([...smallIntegers, ...largeIntegers]),
          this.#integer([...smallIntegers, ...largeIntegers]),
        ];
      default:
        return [this.#decimal(), this.#randomness.fraction() < 0.5 ? this.#decimal() : this.#integer(smallIntegers)];
    }
  }

  #equals(): readonly [Side, Side] {
    switch (randomIndex(this.#randomness, 4)) {
      case 0: {
        const [left, right] = this.#numbers();
        // Two properties are equal as texts, which numbers written in two ways are not.
        return left.isColumn && right.isColumn ? this.#equals() : [left, right];
      }
      case 1:
        return [this.#column(pick(textNames, this.#randomness)), this.#column(pick(textNames, this.#randomness))];
      case 2: {
        const isTrue = this.#randomness.fraction() < 0.5;
        const sql = `(lower(${sqlName(booleanName)}) = 'true')`;
        return [
          { ours: booleanName, sql, isColumn: true },
          { ours: this.#word(isTrue ? "TRUE" : "FALSE"), sql: isTrue ? "1" : "0", isColumn: false },
        ];
      }
      default:
        return [this.#column(pick(textNames, this.#randomness)), this.#text()];
    }
  }

  #between(): Condition {
    const { ours, sql } = this.#column(pick([...integerNames, ...decimalNames], this.#randomness));
    const isInteger = ours.startsWith("n");
    const bound = (): Side => {
      if (this.#randomness.fraction() < 0.2)
        return this.#column(pick([...integerNames, ...decimalNames], this.#randomness));
      return isInteger ? this.#integer(smallIntegers) : this.#decimal();
    };
    let [low, high] = [bound(), bound()];
    if (!low.isColumn && !high.isColumn && Number(low.sql) > Number(high.sql)) [low, high] = [high, low];
    const isNegated = this.#randomness.fraction() < 0.4;
    const not = isNegated ? `${this.#word("NOT")} ` : "";
    return {
      ours: `${ours} ${not}${this.#word("BETWEEN")} ${low.ours} ${this.#word("AND")} ${high.ours}`,
      sql: `(${sql} ${isNegated ? "NOT " : ""}BETWEEN ${low.sql} AND ${high.sql})`,
      level: levels.comparison,
    };
  }

  #in(): Condition {
    const { ours, sql } = this.#column(pick(textNames, this.#randomness));
    const isNegated = this.#randomness.fraction() < 0.4;
    const items = Array.from({ length: 1 + randomIndex(this.#randomness, 6) }, () => this.#text().ours);
    return {
      ours: `${ours} ${isNegated ? `${this.#word("NOT")} ` : ""}${this.#word("IN")}${this.#gap()}(${items.join(",")})`,
      sql: `(${sql} ${isNegated ? "NOT " : ""}IN (${items.join(", ")}))`,
      level: levels.comparison,
    };
  }

  #search(): Condition {
    const { ours, sql } = this.#column(pick(textNames, this.#randomness));
    const search = pick(["CONTAINS", "STARTSWITH", "ENDSWITH"], this.#randomness);
    const text = pick(texts, this.#randomness);
    const isNegated = this.#randomness.fraction() < 0.4;
    const literal = quoted(text);
    const found =
      search === "CONTAINS"
        ? `instr(${sql}, ${literal}) > 0`
        : search === "STARTSWITH"
          ? `substr(${sql}, 1, length(${literal})) = ${literal}`
          : `length(${sql}) >= length(${literal}) AND substr(${sql}, -length(${literal})) = ${literal}`;
    return {
      ours: `${ours} ${isNegated ? `${this.#word("NOT")} ` : ""}${this.#word(search)} ${literal}`,
      sql: text === "" ? "(0)" : `(${sql} IS NOT NULL AND ${isNegated ? "NOT " : ""}(${found}))`,
      level: levels.comparison,
    };
  }

  #isNull(): Condition {
    const { ours, sql } = this.#column(pick(columns, this.#randomness).name);
    const isNegated = this.#randomness.fraction() < 0.5;
    return {
      ours: `${ours} ${this.#word("IS")} ${isNegated ? `${this.#word("NOT")} ` : ""}${this.#word("NULL")}`,
      sql: `(${sql} IS ${isNegated ? "NOT " : ""}NULL)`,
      level: levels.equality,
    };
  }

  #literal(): Condition {
    const literal = pick(["TRUE", "FALSE", "NULL"], this.#randomness);
    return { ours: this.#word(literal), sql: `(${literal})`, level: levels.primary };
  }

  #bare(): Condition {
    const { ours, sql } = this.#column(pick(columns, this.#randomness).name);
    return { ours, sql: `(CASE WHEN ${sql} IS NULL THEN NULL ELSE 0 END)`, level: levels.primary };
  }

  #column(name: string): Side {
    const ours = this.#randomness.fraction() < 0.05 ? `(${name})` : name;
    return { ours, sql: sqlName(name), isColumn: true };
  }

  #integer(values: readonly bigint[]): Side {
    const value = pick(values, this.#randomness);
    // The smallest int64 has no literal: its digits alone are too large.
    const digits = (value < 0n ? -value : value).toString();
    const suffix = digits !== "0" && this.#randomness.fraction() < 0.2 ? "L" : "";
    const sign = value < 0n ? pick(["-", "- ", "+-"], this.#randomness) : pick(["", "", "+"], this.#randomness);
    return { ours: ` ${sign}${digits}${suffix}`, sql: String(value), isColumn: false };
  }

  #decimal(): Side {
    const value = pick(decimals, this.#randomness);
    const plain = Math.abs(value);
    const text = plain.toString().includes(".") ? plain.toString() : `${plain}.0`;
    const digits = pick(
      [text, plain.toExponential(), plain < 1 && text.startsWith("0.") ? text.slice(1) : text],
      this.#randomness,
    );
    return { ours: ` ${value < 0 ? "-" : ""}${digits}`, sql: String(value), isColumn: false };
  }

  #text(): Side {
    const literal = quoted(pick(texts, this.#randomness));
    return { ours: literal, sql: literal, isColumn: false };
  }

  /** In parentheses where it would be read otherwise, and sometimes where it would not. */
  #atLeast(condition: Condition, level: number): string {
    const isNeeded = condition.level < level;
    return isNeeded || this.#randomness.fraction() < 0.1 ? `(${condition.ours})` : condition.ours;
  }

  #word(word: string): string {
    return pick([word, word, word.toLowerCase(), word.slice(0, 1) + word.slice(1).toLowerCase()], this.#randomness);
  }

  #gap(): string {
    return pick([" ", " ", " ", "", "\n", "\t ", " /* c */ ", " -- c\n"], this.#randomness);
  }
}

/** One side of a comparison in both languages. */
interface Side {
  readonly ours: string;
  readonly sql: string;
  readonly isColumn: boolean;
}
