import { compareDoubles, read, readDouble, readInt32, readInt64 } from "./number-text.ts";
import { PropertyNames } from "./property-names.ts";
import { PropertyRow } from "./property-row.ts";
import { compileNode } from "./sql-compiler.ts";
import { parseSql, sqlLimits } from "./sql-parser.ts";
import { Op, opWords, type SqlProgram, Truth } from "./sql-program.ts";
import { canonicalSql } from "./sql-syntax.ts";

/** One value per node at most; one filter runs at a time. */
const stack = new Uint8Array(sqlLimits.nodes + 1);
const row = new PropertyRow();

/**
 * A compiled SQL92 filter (docs/filter.md). It is a list of instructions over the bytes of the message's properties; running
 * it takes each instruction at most once, so the time of an evaluation is bounded by the limits of the language and the size of
 * the values, and nothing is allocated but for unusual decimals.
 */
export class SqlFilter {
  /** One spelling for all that mean the same by their syntax. */
  readonly canonical: string;
  readonly names: PropertyNames;
  /** Instructions that an evaluation takes at most. */
  readonly instructionCount: number;
  readonly #program: SqlProgram;

  /** Throws `ExpressionFault`. */
  constructor(expression: string) {
    const node = parseSql(expression);
    this.canonical = canonicalSql(node);
    this.#program = compileNode(node);
    this.names = new PropertyNames(this.#program.names);
    this.instructionCount = this.#program.code.length / opWords;
  }

  /**
   * Whether the stored message `bytes[start, end)`, an `apache.rocketmq.v2.Message`, is wanted. Throws `MeshError` when the
   * bytes are no message.
   */
  matchesMessage(bytes: Buffer, start: number, end: number): boolean {
    row.readMessage(bytes, start, end, this.names);
    return this.matches(row);
  }

  /** Whether the filter is true for these values. Unknown is not, and neither is an evaluation that fails. */
  matches(values: PropertyRow): boolean {
    return run(this.#program, values) === Truth.True;
  }

  /** The value itself, for tests; undefined when the evaluation fails. */
  evaluate(values: PropertyRow): Truth | undefined {
    const result = run(this.#program, values);
    return result === failed ? undefined : (result as Truth);
  }
}

const failed = -1;

function run({ code, numbers, texts, overlaps }: SqlProgram, { starts, ends, sources }: PropertyRow): number {
  let top = -1;
  for (let at = 0; at < code.length; at += opWords) {
    const a = code[at + 1]!;
    switch (code[at]) {
      case Op.Push:
        stack[++top] = a;
        break;
      case Op.TruthOf:
        stack[++top] = starts[a]! < 0 ? Truth.Unknown : Truth.False;
        break;
      case Op.Int32:
        if (starts[a]! < 0) stack[++top] = Truth.Unknown;
        else {
          if (!readInt32(sources[a]!, starts[a]!, ends[a]!)) return failed;
          stack[++top] = (code[at + 3]! >> (sign(read.value[0]! - numbers[code[at + 2]!]!) + 1)) & 1;
        }
        break;
      case Op.Int64:
        if (starts[a]! < 0) stack[++top] = Truth.Unknown;
        else {
          if (!readInt64(sources[a]!, starts[a]!, ends[a]!)) return failed;
          const b = code[at + 2]!;
          const order = sign(read.hi - numbers[b]!) || sign(read.lo - numbers[b + 1]!);
          stack[++top] = (code[at + 3]! >> (order + 1)) & 1;
        }
        break;
      case Op.Double:
        if (starts[a]! < 0) stack[++top] = Truth.Unknown;
        else {
          if (!readDouble(sources[a]!, starts[a]!, ends[a]!)) return failed;
          stack[++top] = (code[at + 3]! >> (compareDoubles(read.value[0]!, numbers[code[at + 2]!]!) + 1)) & 1;
        }
        break;
      case Op.Properties: {
        const b = code[at + 2]!;
        if (starts[a]! < 0 || starts[b]! < 0) stack[++top] = Truth.Unknown;
        else {
          if (!readDouble(sources[a]!, starts[a]!, ends[a]!)) return failed;
          const value = read.value[0]!;
          if (!readDouble(sources[b]!, starts[b]!, ends[b]!)) return failed;
          stack[++top] = (code[at + 3]! >> (compareDoubles(value, read.value[0]!) + 1)) & 1;
        }
        break;
      }
      case Op.SameText:
        stack[++top] =
          starts[a]! < 0 ? Truth.Unknown : isText(sources[a]!, starts[a]!, ends[a]!, texts[code[at + 2]!]!);
        break;
      case Op.SameProperties: {
        const b = code[at + 2]!;
        if (starts[a]! < 0 || starts[b]! < 0) stack[++top] = Truth.Unknown;
        else {
          const isSame = ends[a]! - starts[a]! === ends[b]! - starts[b]!;
          stack[++top] = isSame ? isAt(sources[a]!, starts[a]!, sources[b]!, starts[b]!, ends[b]! - starts[b]!) : 0;
        }
        break;
      }
      case Op.SameBoolean:
        stack[++top] =
          starts[a]! < 0 ? Truth.Unknown : Number(readBoolean(sources[a]!, starts[a]!, ends[a]!) === code[at + 2]!);
        break;
      case Op.SameTruth: {
        const right = stack[top--]!;
        const left = stack[top]!;
        stack[top] = left === Truth.Unknown || right === Truth.Unknown ? Truth.Unknown : Number(left === right);
        break;
      }
      case Op.SameTruthAsProperty:
        if (starts[a]! < 0) stack[top] = Truth.Unknown;
        else if (stack[top] !== Truth.Unknown) {
          stack[top] = Number(readBoolean(sources[a]!, starts[a]!, ends[a]!) === stack[top]);
        }
        break;
      case Op.In:
        if (starts[a]! < 0) stack[++top] = Truth.Unknown;
        else {
          const first = code[at + 2]!;
          let result = 0;
          for (let i = first, end = first + code[at + 3]!; i < end && result === 0; i++) {
            result = isText(sources[a]!, starts[a]!, ends[a]!, texts[i]!);
          }
          stack[++top] = result;
        }
        break;
      case Op.Contains:
      case Op.StartsWith:
      case Op.EndsWith:
        if (starts[a]! < 0) stack[++top] = Truth.False;
        else {
          const b = code[at + 2]!;
          const isFound = search(code[at]!, sources[a]!, starts[a]!, ends[a]!, texts[b]!, overlaps[b]);
          stack[++top] = isFound ^ code[at + 3]!;
        }
        break;
      case Op.IsMissing:
        stack[++top] = starts[a]! < 0 ? Truth.True : Truth.False;
        break;
      case Op.IsUnknown:
        stack[top] = stack[top] === Truth.Unknown ? Truth.True : Truth.False;
        break;
      case Op.Not:
        if (stack[top] !== Truth.Unknown) stack[top] = 1 - stack[top]!;
        break;
      case Op.And: {
        const right = stack[top--]!;
        if (right === Truth.False) stack[top] = Truth.False;
        else if (right === Truth.Unknown && stack[top] !== Truth.False) stack[top] = Truth.Unknown;
        break;
      }
      case Op.Or: {
        const right = stack[top--]!;
        if (right === Truth.True) stack[top] = Truth.True;
        else if (right === Truth.Unknown && stack[top] !== Truth.True) stack[top] = Truth.Unknown;
        break;
      }
      case Op.JumpIfFalse:
        if (stack[top] === Truth.False) at = a - opWords;
        break;
      case Op.JumpIfTrue:
        if (stack[top] === Truth.True) at = a - opWords;
        break;
      case Op.MakeUnknown:
        stack[top] = Truth.Unknown;
        break;
      case Op.MakeFalse:
        stack[top] = Truth.False;
        break;
      case Op.MakeFalseIfKnown:
        if (stack[top] !== Truth.Unknown) stack[top] = Truth.False;
        break;
      case Op.Fail:
        return failed;
      default:
        throw new RangeError(`no instruction ${code[at]}`);
    }
  }
  return stack[0]!;
}

/** -1, 0 or 1 of a number that is not NaN. */
function sign(value: number): number {
  return value < 0 ? -1 : value > 0 ? 1 : 0;
}

function isText(bytes: Buffer, start: number, end: number, text: Buffer): 0 | 1 {
  return end - start === text.length ? isAt(bytes, start, text, 0, text.length) : 0;
}

function isAt(bytes: Buffer, at: number, text: Buffer, textAt: number, length: number): 0 | 1 {
  for (let i = 0; i < length; i++) {
    if (bytes[at + i] !== text[textAt + i]) return 0;
  }
  return 1;
}

/** Java's Boolean.valueOf: "true" in any case is true, everything else false. */
function readBoolean(bytes: Buffer, start: number, end: number): 0 | 1 {
  return end - start === 4 &&
    (bytes[start]! | 0x20) === 0x74 &&
    (bytes[start + 1]! | 0x20) === 0x72 &&
    (bytes[start + 2]! | 0x20) === 0x75 &&
    (bytes[start + 3]! | 0x20) === 0x65
    ? 1
    : 0;
}

function search(
  op: number,
  bytes: Buffer,
  start: number,
  end: number,
  text: Buffer,
  overlaps: Int16Array | undefined,
): 0 | 1 {
  if (end - start < text.length) return 0;
  if (op === Op.StartsWith) return isAt(bytes, start, text, 0, text.length);
  if (op === Op.EndsWith) return isAt(bytes, end - text.length, text, 0, text.length);
  return contains(bytes, start, end, text, overlaps!);
}

/** Looks at each byte of the value at most twice, whatever value and text are. */
function contains(bytes: Buffer, start: number, end: number, text: Buffer, overlaps: Int16Array): 0 | 1 {
  let matched = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    while (matched > 0 && byte !== text[matched]) matched = overlaps[matched - 1]!;
    if (byte === text[matched] && ++matched === text.length) return 1;
  }
  return 0;
}
