/** How an integer or decimal literal compares: a property is read as this type before it is compared with it. */
export const NumberType = { Int32: 0, Int64: 1, Double: 2 } as const;
export type NumberType = (typeof NumberType)[keyof typeof NumberType];

export type CompareOperator = "=" | "<" | "<=" | ">" | ">=";
export type SearchKind = "CONTAINS" | "STARTSWITH" | "ENDSWITH";

/** A number as it is written, sign included. */
export interface NumberNode {
  readonly kind: "number";
  readonly type: NumberType;
  /** The nearest double; exact for int32 and double. */
  readonly value: number;
  /** Exact, of int32 and int64; 0 of a double. */
  readonly integer: bigint;
  /** Written without a minus: only such bounds of BETWEEN are held against each other. */
  readonly isPlain: boolean;
}

/**
 * A filter as a tree. What the language writes in several ways is one node here: `<>` is NOT over `=`, IS NOT NULL is NOT
 * over "is-null", BETWEEN is an AND of two comparisons, NOT BETWEEN an OR.
 */
export type SqlNode =
  | NumberNode
  | { readonly kind: "property"; readonly name: string }
  | { readonly kind: "text"; readonly value: string }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "null" }
  /** A minus in front of what is no number: evaluated, and unknown. */
  | { readonly kind: "negated"; readonly operand: SqlNode }
  /** A property where a truth value is expected. */
  | { readonly kind: "truth-of"; readonly name: string }
  | { readonly kind: "not"; readonly operand: SqlNode }
  | { readonly kind: "and" | "or"; readonly left: SqlNode; readonly right: SqlNode }
  | { readonly kind: "compare"; readonly operator: CompareOperator; readonly left: SqlNode; readonly right: SqlNode }
  | { readonly kind: "is-null"; readonly operand: SqlNode }
  | { readonly kind: "in"; readonly name: string; readonly items: readonly string[] }
  | {
      readonly kind: "search";
      readonly search: SearchKind;
      readonly operand: SqlNode;
      readonly text: string;
      readonly isNegated: boolean;
    };

/** Below 0, 0 or above 0. Integers exactly; as doubles when one is a double. */
export function compareNumbers(a: NumberNode, b: NumberNode): number {
  if (a.type === NumberType.Double || b.type === NumberType.Double) return a.value - b.value;
  return a.integer < b.integer ? -1 : a.integer > b.integer ? 1 : 0;
}

/** Whether a node has a truth value: true, false or unknown. */
export function isTruth(node: SqlNode): boolean {
  switch (node.kind) {
    case "property":
    case "text":
    case "number":
    case "negated":
      return false;
    default:
      return true;
  }
}

/** One spelling for all that differ in blanks, comments, case of keywords, needless parentheses and order of lists only. */
export function canonicalSql(node: SqlNode): string {
  switch (node.kind) {
    case "property":
    case "truth-of":
      return node.name;
    case "text":
      return quoted(node.value);
    case "number":
      return node.type === NumberType.Double ? doubleText(node.value) : String(node.integer);
    case "boolean":
      return node.value ? "TRUE" : "FALSE";
    case "null":
      return "NULL";
    case "negated":
      return `-(${canonicalSql(node.operand)})`;
    case "not":
      return `NOT (${canonicalSql(node.operand)})`;
    case "and":
    case "or":
      return `(${canonicalSql(node.left)}) ${node.kind.toUpperCase()} (${canonicalSql(node.right)})`;
    case "compare":
      return `${enclosed(node.left)} ${node.operator} ${enclosed(node.right)}`;
    case "is-null":
      return `${enclosed(node.operand)} IS NULL`;
    case "in":
      return `${node.name} IN (${[...new Set(node.items)].sort().map(quoted).join(", ")})`;
    case "search":
      return `${enclosed(node.operand)} ${node.isNegated ? "NOT " : ""}${node.search} ${quoted(node.text)}`;
  }
}

function enclosed(node: SqlNode): string {
  const text = canonicalSql(node);
  return isTruth(node) && node.kind !== "boolean" && node.kind !== "null" ? `(${text})` : text;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Never looks like an integer: `a = 5` and `a = 5.0` read the property differently. */
function doubleText(value: number): string {
  const text = String(value);
  return text.includes(".") || text.includes("e") ? text : `${text}.0`;
}
