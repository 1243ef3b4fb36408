/** Truth values of SQL. */
export const Truth = { False: 0, True: 1, Unknown: 2 } as const;
export type Truth = (typeof Truth)[keyof typeof Truth];

/**
 * Instructions of a compiled filter: `opWords` numbers each, the operation and up to three operands. They work on a stack of
 * truth values; a property is meant by its number in the filter's names, a text by its number in `texts`.
 */
export const Op = {
  /** Push truth a. */
  Push: 0,
  /** Push unknown when property a is missing, else false: a property is a text, and a text is not true. */
  TruthOf: 1,
  /** Push whether property a, as an int32, is in relation c to `numbers[b]`. */
  Int32: 2,
  /** The same as an int64, to `numbers[b]` * 10^9 + `numbers[b + 1]`. */
  Int64: 3,
  /** The same as a double, to `numbers[b]`. */
  Double: 4,
  /** Push whether properties a and b, as doubles, are in relation c. */
  Properties: 5,
  /** Push whether property a is text b. */
  SameText: 6,
  /** Push whether properties a and b are the same text. */
  SameProperties: 7,
  /** Push whether property a, read as a boolean, is b (0 or 1). */
  SameBoolean: 8,
  /** Pop two, push whether they are the same. */
  SameTruth: 9,
  /** Pop one, push whether property a, read as a boolean, is the same. */
  SameTruthAsProperty: 10,
  /** Push whether property a is one of the texts b to b + c - 1. */
  In: 11,
  /** Push whether property a contains, begins or ends with text b; the opposite when c is 1; false when it is missing. */
  Contains: 12,
  StartsWith: 13,
  EndsWith: 14,
  /** Push whether property a is missing. */
  IsMissing: 15,
  /** Pop one, push whether it is unknown. */
  IsUnknown: 16,
  Not: 17,
  And: 18,
  Or: 19,
  /** Go on at instruction a when the top is false; the top stays. */
  JumpIfFalse: 20,
  JumpIfTrue: 21,
  /** Replace the top. */
  MakeUnknown: 22,
  MakeFalse: 23,
  /** Replace the top by false, unless it is unknown. */
  MakeFalseIfKnown: 24,
  /** The evaluation has failed: the message does not match. */
  Fail: 25,
} as const;

export const opWords = 4;

/**
 * Which orders a comparison takes: bit 0 below, bit 1 equal, bit 2 above. `(relation >> (order + 1)) & 1`, with -1, 0 or 1 as
 * the order, is its result.
 */
export const Relation = { "=": 0b010, "<": 0b001, "<=": 0b011, ">": 0b100, ">=": 0b110 } as const;

/** What a compiled filter consists of. */
export interface SqlProgram {
  /** Instructions of `opWords` numbers. */
  readonly code: Int32Array;
  readonly numbers: Float64Array;
  /** UTF-8. */
  readonly texts: readonly Buffer[];
  /** By text that `Op.Contains` looks for: how far its own beginning comes again (Knuth, Morris, Pratt). */
  readonly overlaps: readonly (Int16Array | undefined)[];
  /** Property names by number. */
  readonly names: readonly string[];
}
