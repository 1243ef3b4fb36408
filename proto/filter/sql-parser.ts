import { ExpressionFault, shown } from "./expression-fault.ts";
import { type Keyword, type Sign, SqlLexer, type TokenKind } from "./sql-lexer.ts";
import {
  type CompareOperator,
  canonicalSql,
  compareNumbers,
  isTruth,
  type NumberNode,
  NumberType,
  type SearchKind,
  type SqlNode,
} from "./sql-syntax.ts";

/** Limits of one filter: a few hundred times what people write, and little enough to evaluate for every message. */
export const sqlLimits = {
  /** Values, properties and operators together. */
  nodes: 256,
  /** Parentheses, NOT and signs within one another. */
  depth: 32,
  /** Texts of one IN list. */
  inItems: 128,
  /** Different property names. */
  properties: 64,
} as const;

const int32Max = 2n ** 31n - 1n;
const int64Max = 2n ** 63n - 1n;

/**
 * Parses an SQL92 filter with the grammar of RocketMQ (docs/filter.md), loosest first:
 *
 *     or:         and { OR and }
 *     and:        equality { AND equality }
 *     equality:   comparison { ("=" | "<>") comparison | IS [NOT] NULL }
 *     comparison: unary { ("<" | "<=" | ">" | ">=") unary
 *                       | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) text
 *                       | [NOT] BETWEEN unary AND unary
 *                       | [NOT] IN "(" text { "," text } ")" }
 *     unary:      ("+" | "-" | NOT) unary | primary
 *     primary:    text | integer | decimal | TRUE | FALSE | NULL | name | "(" or ")"
 *
 * Throws `ExpressionFault`.
 */
export function parseSql(text: string): SqlNode {
  return new SqlParser(text).parse();
}

class SqlParser {
  readonly #lexer: SqlLexer;
  readonly #names = new Set<string>();
  #nodes = 0;
  #depth = 0;

  constructor(text: string) {
    this.#lexer = new SqlLexer(text);
  }

  parse(): SqlNode {
    const { kind } = this.#advance();
    if (kind === "end") throw new ExpressionFault(0, "it is empty; to get every message write TRUE");
    const at = this.#at;
    const node = this.#truth(this.#or(), at);
    if (this.#lexer.kind === "end") return node;
    throw this.#unexpected("the end, AND, OR or an operator");
  }

  #or(): SqlNode {
    const at = this.#at;
    let left = this.#and();
    while (this.#lexer.kind === "OR") {
      this.#advance();
      const rightAt = this.#at;
      const right = this.#and();
      left = this.#node({ kind: "or", left: this.#truth(left, at), right: this.#truth(right, rightAt) });
    }
    return left;
  }

  #and(): SqlNode {
    const at = this.#at;
    let left = this.#equality();
    while (this.#lexer.kind === "AND") {
      this.#advance();
      const rightAt = this.#at;
      const right = this.#equality();
      left = this.#node({ kind: "and", left: this.#truth(left, at), right: this.#truth(right, rightAt) });
    }
    return left;
  }

  #equality(): SqlNode {
    const at = this.#at;
    let left = this.#comparison();
    for (;;) {
      const { kind } = this.#lexer;
      if (kind === "=" || kind === "<>") {
        this.#advance();
        const rightAt = this.#at;
        const equal = this.#equal(left, at, this.#comparison(), rightAt);
        left = kind === "=" ? equal : this.#node({ kind: "not", operand: equal });
      } else if (kind === "IS") {
        this.#advance();
        const isNegated = this.#skipIf("NOT");
        this.#expect("NULL", "NULL or NOT NULL; true and false are compared with =");
        left = this.#node({ kind: "is-null", operand: left });
        if (isNegated) left = this.#node({ kind: "not", operand: left });
      } else return left;
    }
  }

  #equal(left: SqlNode, leftAt: number, right: SqlNode, rightAt: number): SqlNode {
    const nullAt = left.kind === "null" ? leftAt : right.kind === "null" ? rightAt : 0;
    if (nullAt > 0) {
      throw new ExpressionFault(nullAt, "NULL equals nothing; write IS NULL or IS NOT NULL");
    }
    const isPlain = right.kind === "text" || (right.kind === "number" && right.isPlain);
    if (left.kind === "boolean" && isPlain) {
      const what = `${canonicalSql(left)} cannot equal ${shown(canonicalSql(right))}`;
      throw new ExpressionFault(rightAt, `${what}; expected a property or a comparison`);
    }
    return this.#node({ kind: "compare", operator: "=", left, right });
  }

  #comparison(): SqlNode {
    const at = this.#at;
    let left = this.#unary();
    for (;;) {
      const { kind } = this.#lexer;
      switch (kind) {
        case "<":
        case "<=":
        case ">":
        case ">=": {
          this.#advance();
          const rightAt = this.#at;
          left = this.#ordered(kind, left, at, this.#unary(), rightAt);
          break;
        }
        case "CONTAINS":
        case "STARTSWITH":
        case "ENDSWITH":
          left = this.#search(left, kind, false);
          break;
        case "BETWEEN":
          left = this.#between(left, at, false);
          break;
        case "IN":
          left = this.#in(left, at, false);
          break;
        case "NOT": {
          const negated = this.#negated(left, at);
          if (negated === undefined) return left;
          left = negated;
          break;
        }
        default:
          return left;
      }
    }
  }

  /** `NOT CONTAINS` and its like behind an operand; undefined when NOT is followed by something else. */
  #negated(left: SqlNode, at: number): SqlNode | undefined {
    const lexer = this.#lexer;
    for (const search of ["CONTAINS", "STARTSWITH", "ENDSWITH"] as const) {
      if (!lexer.isFollowedBy(search)) continue;
      this.#advance();
      return this.#search(left, search, true);
    }
    if (lexer.isFollowedBy("BETWEEN")) {
      this.#advance();
      return this.#between(left, at, true);
    }
    if (lexer.isFollowedBy("IN")) {
      this.#advance();
      return this.#in(left, at, true);
    }
    return undefined;
  }

  #ordered(operator: CompareOperator, left: SqlNode, leftAt: number, right: SqlNode, rightAt: number): SqlNode {
    refuseUnordered(left, leftAt, operator);
    refuseUnordered(right, rightAt, operator);
    return this.#node({ kind: "compare", operator, left, right });
  }

  /** The operator is the current token. */
  #search(operand: SqlNode, search: SearchKind, isNegated: boolean): SqlNode {
    this.#advance();
    const text = this.#text(`a text in single quotes behind ${search}`);
    return this.#node({ kind: "search", search, operand, text, isNegated });
  }

  #between(value: SqlNode, at: number, isNegated: boolean): SqlNode {
    this.#advance();
    const lowAt = this.#at;
    const low = this.#unary();
    this.#expect("AND", "AND and the upper bound of BETWEEN");
    const highAt = this.#at;
    const high = this.#unary();
    if (isNegated) {
      const below = this.#ordered("<", value, at, low, lowAt);
      return this.#node({ kind: "or", left: below, right: this.#ordered(">", value, at, high, highAt) });
    }
    const fromLow = this.#ordered(">=", value, at, low, lowAt);
    const toHigh = this.#ordered("<=", value, at, high, highAt);
    if (
      low.kind === "number" &&
      high.kind === "number" &&
      low.isPlain &&
      high.isPlain &&
      compareNumbers(low, high) > 0
    ) {
      const what = `the upper bound ${canonicalSql(high)} is below the lower bound ${canonicalSql(low)}`;
      throw new ExpressionFault(highAt, `${what}; no value lies between, exchange them`);
    }
    return this.#node({ kind: "and", left: fromLow, right: toHigh });
  }

  #in(property: SqlNode, at: number, isNegated: boolean): SqlNode {
    if (property.kind !== "property") {
      const what = `IN is asked of ${described(property)}; expected the name of a property`;
      throw new ExpressionFault(at, `${what}. NOT stands in front of IN: a NOT IN ('x', 'y')`);
    }
    this.#advance();
    this.#expect("(", '"(" and the texts of the list');
    const items: string[] = [];
    do {
      if (items.length === sqlLimits.inItems) {
        const what = `the list of IN has more than ${sqlLimits.inItems} texts`;
        throw new ExpressionFault(this.#at, `${what}; split it with OR, or let the producer set a property for it`);
      }
      items.push(this.#text("a text in single quotes; lists hold no numbers"));
    } while (this.#skipIf(","));
    this.#expect(")", '"," or ")"');
    const node = this.#node({ kind: "in", name: property.name, items });
    return isNegated ? this.#node({ kind: "not", operand: node }) : node;
  }

  #unary(): SqlNode {
    const { kind } = this.#lexer;
    if (kind !== "+" && kind !== "-" && kind !== "NOT") return this.#primary();
    const at = this.#at;
    this.#advance();
    const operandAt = this.#at;
    this.#enter(at);
    const operand = this.#unary();
    this.#depth--;
    if (kind === "+") return operand;
    if (kind === "NOT") return this.#node({ kind: "not", operand: this.#truth(operand, operandAt) });
    return operand.kind === "number" ? minus(operand) : this.#node({ kind: "negated", operand });
  }

  #primary(): SqlNode {
    const lexer = this.#lexer;
    const at = this.#at;
    switch (lexer.kind) {
      case "(": {
        this.#advance();
        this.#enter(at);
        const node = this.#or();
        this.#depth--;
        this.#expect(")", '")" or an operator');
        return node;
      }
      case "name":
        return this.#property();
      case "text": {
        const { value } = lexer;
        this.#advance();
        return this.#node({ kind: "text", value });
      }
      case "integer":
      case "decimal": {
        const node = lexer.kind === "integer" ? integer(lexer.image, at) : decimal(lexer.image, at);
        this.#advance();
        return this.#node(node);
      }
      case "TRUE":
      case "FALSE": {
        const value = lexer.kind === "TRUE";
        this.#advance();
        return this.#node({ kind: "boolean", value });
      }
      case "NULL":
        this.#advance();
        return this.#node({ kind: "null" });
      default:
        throw this.#unexpected("a property, a value, NOT or an opening parenthesis");
    }
  }

  #property(): SqlNode {
    const name = this.#lexer.image;
    if (!this.#names.has(name) && this.#names.size === sqlLimits.properties) {
      throw new ExpressionFault(this.#at, `more than ${sqlLimits.properties} different properties; use fewer`);
    }
    this.#names.add(name);
    this.#advance();
    return this.#node({ kind: "property", name });
  }

  /** The node where a truth value is expected; a bare property becomes one. */
  #truth(node: SqlNode, at: number): SqlNode {
    if (node.kind === "property") return { kind: "truth-of", name: node.name };
    if (isTruth(node)) return node;
    throw new ExpressionFault(at, `${described(node)} is neither true nor false; expected a comparison`);
  }

  #text(expected: string): string {
    const { kind, value } = this.#lexer;
    if (kind !== "text") throw this.#unexpected(expected);
    this.#advance();
    return value;
  }

  #expect(kind: TokenKind, expected: string): void {
    if (this.#lexer.kind !== kind) throw this.#unexpected(expected);
    this.#advance();
  }

  #skipIf(kind: Keyword | Sign): boolean {
    if (this.#lexer.kind !== kind) return false;
    this.#advance();
    return true;
  }

  #enter(at: number): void {
    if (++this.#depth <= sqlLimits.depth) return;
    const what = `more than ${sqlLimits.depth} parentheses, NOT and signs within one another`;
    throw new ExpressionFault(at, `${what}; take out those that are not needed`);
  }

  #node<T extends SqlNode>(node: T): T {
    if (++this.#nodes > sqlLimits.nodes) {
      const what = `more than ${sqlLimits.nodes} values, properties and operators`;
      throw new ExpressionFault(this.#at, `${what}; shorten it, or let the producer set a property for it`);
    }
    return node;
  }

  #advance(): SqlLexer {
    this.#lexer.advance();
    return this.#lexer;
  }

  /** Of the current token, from 1. */
  get #at(): number {
    return this.#lexer.start + 1;
  }

  #unexpected(expected: string): ExpressionFault {
    const { kind, image } = this.#lexer;
    const found = kind === "end" ? "the end" : shown(image);
    return new ExpressionFault(this.#at, `found ${found}, expected ${expected}${adviceFor(kind, image)}`);
  }
}

/** For words that other dialects know. */
function adviceFor(kind: TokenKind, image: string): string {
  if (kind !== "name") return "";
  const upper = image.length <= 8 ? image.toUpperCase() : "";
  if (upper === "LIKE" || upper === "REGEXP") return `; there is no ${upper}: use CONTAINS, STARTSWITH or ENDSWITH`;
  return "";
}

function described(node: SqlNode): string {
  return shown(canonicalSql(node));
}

function refuseUnordered(node: SqlNode, at: number, operator: CompareOperator): void {
  if (node.kind === "text" || isTruth(node)) {
    const advice = node.kind === "text" ? "texts are compared with = and <>" : "NOT binds tighter: write NOT (a > 1)";
    throw new ExpressionFault(at, `${operator} orders numbers only, not ${described(node)}; ${advice}`);
  }
}

function integer(image: string, at: number): NumberNode {
  const digits = image.endsWith("L") || image.endsWith("l") ? image.slice(0, -1) : image;
  // More digits than any int64 has: not worth a BigInt of two thousand digits.
  const value = digits.length > 19 ? int64Max + 1n : BigInt(digits);
  if (value > int64Max) throw new ExpressionFault(at, `the integer ${shown(image)} is above ${int64Max}`);
  const type = value <= int32Max ? NumberType.Int32 : NumberType.Int64;
  return { kind: "number", type, value: Number(value), integer: value, isPlain: true };
}

function decimal(image: string, at: number): NumberNode {
  const value = Number(image);
  if (value === 0) {
    const what = `the decimal number ${shown(image)} is 0 or too near to it`;
    throw new ExpressionFault(at, `${what}; write the integer 0`);
  }
  if (value === Number.POSITIVE_INFINITY) {
    throw new ExpressionFault(at, `the decimal number ${shown(image)} is above ${Number.MAX_VALUE}`);
  }
  return { kind: "number", type: NumberType.Double, value, integer: 0n, isPlain: true };
}

/** Negating keeps the type. */
function minus(node: NumberNode): NumberNode {
  return { ...node, value: -node.value, integer: -node.integer, isPlain: false };
}
