import { z } from "zod";

/** Where in the text, both from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** One mistake in a manifest: where, at which field, and what is wrong with it. */
export interface ManifestMistake extends Place {
  /** For example "spec.type"; "" for the whole document. */
  readonly path: string;
  readonly reason: string;
}

/** Place of what a path leads to, or of the deepest on the way that there is. */
export type PlaceOf = (path: readonly PropertyKey[]) => Place;

/** `prefix`: where in the manifest what `schema` describes is. */
export function mistakesOf(
  error: z.ZodError,
  schema: z.ZodType,
  prefix: readonly string[],
  place: PlaceOf,
): ManifestMistake[] {
  return error.issues.flatMap((issue) => {
    const path = [...prefix, ...issue.path];
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        ...place([...path, key]),
        path: pathText([...path, key]),
        reason: unknownField(key, pathText(path), fieldsAt(schema, issue.path)),
      }));
    }
    return [{ ...place(path), path: pathText(path), reason: issue.message }];
  });
}

/**
 * What a value must be, for schemas that have no words of their own for it: to be given to every reading as `error`. A mistake is told with
 * what to write instead; what was written is told where it is short.
 */
export function mistakeWords(issue: z.core.$ZodRawIssue): string | undefined {
  const isMissing = issue.input === undefined;
  switch (issue.code) {
    case "invalid_type": {
      const wanted = typeText[issue.expected] ?? issue.expected;
      return isMissing
        ? `is missing; it must be ${wanted}`
        : `must be ${wanted}${foundText(issue.input, issue.expected)}`;
    }
    case "invalid_value": {
      const values = issue.values.map(String);
      const wanted = values.length === 1 ? `"${values[0]}"` : `one of ${values.join(", ")}`;
      if (isMissing) return `is missing; it must be ${wanted}`;
      const near = typeof issue.input === "string" && values.length > 1 ? nearest(issue.input, values) : undefined;
      const hint = near === undefined ? "" : `; did you mean "${near}"?`;
      return `must be ${wanted}${foundText(issue.input)}${hint}`;
    }
    case "too_small":
      return `must ${amountText(issue.origin, Number(issue.minimum), "or more")}`;
    case "too_big":
      return `must ${amountText(issue.origin, Number(issue.maximum), "or less")}`;
    case "invalid_key":
      return issue.issues[0]?.message;
    default:
      return undefined;
  }
}

/** Types as zod calls them, in words. */
const typeText: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list, such as [a, b]",
  object: "a group of fields, such as { name: value }",
  record: "a group of fields, such as { name: value }",
};

/** Longer texts are not repeated. */
const toldLengthMax = 40;

/** What was written instead of the type that was expected, and how to mend it where that is plain. */
function foundText(input: unknown, expected = ""): string {
  if (input === null) return ", and nothing is written there";
  if (Array.isArray(input)) return ", and is a list";
  if (typeof input === "object") return ", and is a group of fields";
  const text = String(input);
  if (text.length > toldLengthMax) return "";
  if (typeof input !== "string")
    return `, and is ${text}${expected === "string" ? `; for a text write "${text}"` : ""}`;
  const isNumber = (expected === "number" || expected === "int") && text.trim() !== "" && !Number.isNaN(Number(text));
  return `, and is the text "${text}"${isNumber ? "; leave out the quotes" : ""}`;
}

function amountText(origin: string, count: number, more: string): string {
  switch (origin) {
    case "array":
      return `have ${count} ${more} entries`;
    case "string":
      return `have ${count} ${more} characters`;
    default:
      return `be ${count} ${more}`;
  }
}

/** What people write into a consumer group to have it consume in order, here or in RocketMQ. */
const orderFields = ["consumeMessageOrderly", "consumeOrderly", "fifo", "order", "ordered", "orderly"];

function unknownField(key: string, path: string, known: readonly string[]): string {
  if (path === "spec" && orderFields.includes(key)) {
    return "is no field: whether messages are consumed in order is said by the topic alone, with type: fifo or mixed";
  }
  const near = nearest(key, known);
  if (near !== undefined) return `is no field; did you mean "${near}"?`;
  const where = path === "" ? "a manifest" : path;
  return `is no field of ${where}; leave it out${known.length === 0 ? "" : `, or take one of ${known.join(", ")}`}`;
}

/** Names of the fields that a schema knows at a path. */
function fieldsAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): readonly string[] {
  if (schema instanceof z.ZodPipe) return fieldsAt(schema.in, path);
  if (schema instanceof z.ZodOptional) return fieldsAt(schema.unwrap(), path);
  const [key, ...rest] = path;
  if (schema instanceof z.ZodArray) return fieldsAt(schema.element, rest);
  if (!(schema instanceof z.ZodObject)) return [];
  if (key === undefined) return Object.keys(schema.shape);
  const field: z.ZodType | undefined = schema.shape[String(key)];
  return field === undefined ? [] : fieldsAt(field, rest);
}

/** What of `known` was probably meant. */
function nearest(written: string, known: readonly string[]): string | undefined {
  // Of a long text nobody means a short word.
  if (written.length > toldLengthMax) return undefined;
  return known.find((word) => distance(word.toLowerCase(), written.toLowerCase()) <= 2);
}

/** Levenshtein distance of two short words. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map((key) => (key === "" ? '""' : String(key))).join(".");
}
