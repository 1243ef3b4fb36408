import { compareDoubles, halvesOf, read, readDouble, readInt32, readInt64 } from "./number-text.ts";
import { Op, Relation, type SqlProgram, Truth } from "./sql-program.ts";
import { compareNumbers, isTruth, type NumberNode, NumberType, type SqlNode } from "./sql-syntax.ts";

type Compare = SqlNode & { readonly kind: "compare" };
type Search = SqlNode & { readonly kind: "search" };

/** Turns a filter's tree into instructions; see `SqlFilter` for how they run. */
export function compileNode(node: SqlNode): SqlProgram {
  const compiler = new SqlCompiler();
  compiler.truth(node);
  return compiler.program();
}

class SqlCompiler {
  readonly #code: number[] = [];
  readonly #numbers: number[] = [];
  readonly #texts: Buffer[] = [];
  readonly #overlaps: (Int16Array | undefined)[] = [];
  readonly #names: string[] = [];

  program(): SqlProgram {
    return {
      code: Int32Array.from(this.#code),
      numbers: Float64Array.from(this.#numbers),
      texts: this.#texts,
      overlaps: this.#overlaps,
      names: this.#names,
    };
  }

  /** Instructions that push the truth value of a node, whatever it is. */
  truth(node: SqlNode): void {
    switch (node.kind) {
      case "truth-of":
        this.#emit(Op.TruthOf, this.#name(node.name));
        break;
      case "boolean":
        this.#push(node.value);
        break;
      case "null":
        this.#emit(Op.Push, Truth.Unknown);
        break;
      case "not":
        this.truth(node.operand);
        this.#emit(Op.Not);
        break;
      case "and":
        this.#joined(node.left, node.right, Op.JumpIfFalse, Op.And);
        break;
      case "or":
        this.#joined(node.left, node.right, Op.JumpIfTrue, Op.Or);
        break;
      case "compare":
        if (node.operator === "=") this.#equal(node.left, node.right);
        else this.#ordered(node);
        break;
      case "is-null":
        this.#isNull(node.operand);
        break;
      case "in": {
        const first = this.#texts.length;
        const items = [...new Set(node.items)];
        for (const item of items) this.#text(item);
        this.#emit(Op.In, this.#name(node.name), first, items.length);
        break;
      }
      case "search":
        this.#search(node);
        break;
      case "negated":
        // It is evaluated, because that may fail; what comes out of it is unknown.
        if (isTruth(node.operand) || node.operand.kind === "negated") this.truth(node.operand);
        else this.#emit(Op.Push, Truth.Unknown);
        this.#emit(Op.MakeUnknown);
        break;
      default:
        throw new RangeError(`a ${node.kind} has no truth value`);
    }
  }

  /** The right side is not evaluated when the left one decides: it might fail. */
  #joined(left: SqlNode, right: SqlNode, jump: number, join: number): void {
    this.truth(left);
    const at = this.#emit(jump);
    this.truth(right);
    this.#emit(join);
    this.#code[at + 1] = this.#code.length;
  }

  #equal(left: SqlNode, right: SqlNode): void {
    if (left.kind === "property") this.#propertyEquals(left.name, right);
    else if (right.kind === "property") this.#propertyEquals(right.name, left);
    else if (left.kind === "number" && right.kind === "number") this.#push(compareNumbers(left, right) === 0);
    else if (left.kind === "text" && right.kind === "text") this.#push(left.value === right.value);
    else if (left.kind === "text" && right.kind === "number") this.#textEquals(left.value, right);
    else if (left.kind === "number" && right.kind === "text") this.#textEquals(right.value, left);
    else this.#truthEquals(left, right);
  }

  #propertyEquals(name: string, other: SqlNode): void {
    const property = this.#name(name);
    switch (other.kind) {
      case "property":
        this.#emit(Op.SameProperties, property, this.#name(other.name));
        break;
      case "text":
        this.#emit(Op.SameText, property, this.#text(other.value));
        break;
      case "number":
        this.#number(property, other, Relation["="]);
        break;
      case "boolean":
        this.#emit(Op.SameBoolean, property, other.value ? 1 : 0);
        break;
      default:
        this.truth(other);
        this.#emit(Op.SameTruthAsProperty, property);
    }
  }

  /** A constant text and a constant number: the text is read as a property's value would be. */
  #textEquals(text: string, number: NumberNode): void {
    const order = orderOfText(Buffer.from(text), number);
    if (order === undefined) this.#emit(Op.Fail);
    else this.#push(order === 0);
  }

  /** At least one side is a truth value or unknown; the other may be a text or a number. */
  #truthEquals(left: SqlNode, right: SqlNode): void {
    const [truth, other] = isTruth(left) || left.kind === "negated" ? [left, right] : [right, left];
    this.truth(truth);
    if (other.kind === "number") this.#emit(Op.MakeFalseIfKnown);
    else {
      if (other.kind === "text") this.#push(other.value.toLowerCase() === "true");
      else this.truth(other);
      this.#emit(Op.SameTruth);
    }
  }

  #ordered({ operator, left, right }: Compare): void {
    const relation = Relation[operator];
    if (left.kind === "property" && right.kind === "property") {
      this.#emit(Op.Properties, this.#name(left.name), this.#name(right.name), relation);
    } else if (left.kind === "property" && right.kind === "number") {
      this.#number(this.#name(left.name), right, relation);
    } else if (left.kind === "number" && right.kind === "property") {
      this.#number(this.#name(right.name), left, mirrored(relation));
    } else if (left.kind === "number" && right.kind === "number") {
      this.#push(((relation >> (Math.sign(compareNumbers(left, right)) + 1)) & 1) === 1);
    } else {
      this.#orderedUnknown(left, right);
    }
  }

  /** One side is a negated one, so the result is unknown. But evaluating it may fail, unless the left side is known to be missing. */
  #orderedUnknown(left: SqlNode, right: SqlNode): void {
    if (left.kind === "negated") this.truth(left);
    else if (left.kind !== "property") this.truth(right);
    else {
      this.#emit(Op.IsMissing, this.#name(left.name));
      const at = this.#emit(Op.JumpIfTrue);
      this.truth(right);
      this.#emit(Op.SameTruth);
      this.#code[at + 1] = this.#code.length;
      this.#emit(Op.MakeUnknown);
    }
  }

  #number(property: number, node: NumberNode, relation: number): void {
    const at = this.#numbers.length;
    if (node.type === NumberType.Int64) {
      const { hi, lo } = halvesOf(node.integer);
      this.#numbers.push(hi, lo);
      this.#emit(Op.Int64, property, at, relation);
    } else {
      this.#numbers.push(node.value);
      this.#emit(node.type === NumberType.Int32 ? Op.Int32 : Op.Double, property, at, relation);
    }
  }

  #isNull(operand: SqlNode): void {
    if (operand.kind === "property") this.#emit(Op.IsMissing, this.#name(operand.name));
    else if (operand.kind === "text" || operand.kind === "number") this.#push(false);
    else {
      this.truth(operand);
      this.#emit(Op.IsUnknown);
    }
  }

  #search({ search, operand, text, isNegated }: Search): void {
    if (text === "" || operand.kind === "number") this.#push(false);
    else if (operand.kind === "text") {
      const { value } = operand;
      const isFound =
        search === "CONTAINS"
          ? value.includes(text)
          : search === "STARTSWITH"
            ? value.startsWith(text)
            : value.endsWith(text);
      this.#push(isFound !== isNegated);
    } else if (operand.kind === "property") {
      const op = search === "CONTAINS" ? Op.Contains : search === "STARTSWITH" ? Op.StartsWith : Op.EndsWith;
      const number = this.#text(text);
      if (op === Op.Contains) this.#overlaps[number] = overlapsOf(this.#texts[number]!);
      this.#emit(op, this.#name(operand.name), number, isNegated ? 1 : 0);
    } else {
      this.truth(operand);
      this.#emit(Op.MakeFalse);
    }
  }

  #push(truth: boolean): void {
    this.#emit(Op.Push, truth ? Truth.True : Truth.False);
  }

  /** Returns where the instruction lies. */
  #emit(op: number, a = 0, b = 0, c = 0): number {
    return this.#code.push(op, a, b, c) - 4;
  }

  #text(text: string): number {
    this.#overlaps.push(undefined);
    return this.#texts.push(Buffer.from(text)) - 1;
  }

  #name(name: string): number {
    const known = this.#names.indexOf(name);
    return known >= 0 ? known : this.#names.push(name) - 1;
  }
}

/** The relation that holds for (b, a) when this one holds for (a, b). */
function mirrored(relation: number): number {
  return (relation & 0b010) | ((relation & 0b001) << 2) | ((relation & 0b100) >> 2);
}

/** Order of a text, read as the number's type, to the number; undefined when the text is no such number. */
function orderOfText(text: Buffer, number: NumberNode): number | undefined {
  switch (number.type) {
    case NumberType.Int32:
      return readInt32(text, 0, text.length) ? Math.sign(read.value[0]! - number.value) : undefined;
    case NumberType.Int64: {
      if (!readInt64(text, 0, text.length)) return undefined;
      const { hi, lo } = halvesOf(number.integer);
      return Math.sign(read.hi - hi || read.lo - lo);
    }
    case NumberType.Double:
      return readDouble(text, 0, text.length) ? compareDoubles(read.value[0]!, number.value) : undefined;
  }
}

/** Entry i: length of the longest proper beginning of `text[0, i]` that is also its end. */
function overlapsOf(text: Buffer): Int16Array {
  const overlaps = new Int16Array(text.length);
  for (let i = 1, length = 0; i < text.length; i++) {
    while (length > 0 && text[i] !== text[length]) length = overlaps[length - 1]!;
    if (text[i] === text[length]) length++;
    overlaps[i] = length;
  }
  return overlaps;
}
