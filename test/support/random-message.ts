import protobuf from "protobufjs";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";

/** Properties of a message as codecs of protobufjs take them. */
export type Properties = Record<string, unknown>;

export interface RandomMessageOptions {
  /** Fields not to be set, as "Settings.clientProperties". */
  readonly without?: ReadonlySet<string>;
}

const depthMax = 6;
const texts = ["", "a", "orders", "Größe", "漢字", "🦊", "tag || other", "%RETRY%g", "x".repeat(200), " "];
const numbers32 = [0, 1, -1, 127, 128, 2_147_483_647, -2_147_483_648];
const numbers64 = [
  0,
  1,
  -1,
  127,
  128,
  2 ** 31,
  2 ** 32,
  2 ** 40 + 5,
  Number.MAX_SAFE_INTEGER,
  -Number.MAX_SAFE_INTEGER,
];

/** A message of any type with values at and between the borders; about a third of the fields stay unset. */
export function randomMessage(
  type: protobuf.Type,
  randomness: Randomness,
  options: RandomMessageOptions = {},
  depth = 0,
): Properties {
  const properties: Properties = {};
  for (const oneof of type.oneofsArray) {
    if (oneof.isProto3Optional || randomness.fraction() < 0.15) continue;
    const field = pick(oneof.fieldsArray, randomness);
    setField(properties, field, randomness, options, depth);
  }
  for (const field of type.fieldsArray) {
    if (options.without?.has(`${type.name}.${field.name}`)) continue;
    if (field.partOf !== null && !field.partOf.isProto3Optional) continue;
    if (randomness.fraction() < 0.3) continue;
    setField(properties, field, randomness, options, depth);
  }
  return properties;
}

function setField(
  properties: Properties,
  field: protobuf.Field,
  randomness: Randomness,
  options: RandomMessageOptions,
  depth: number,
): void {
  const isMessage = field.resolvedType instanceof protobuf.Type;
  if (isMessage && depth >= depthMax) return;
  const value = () => randomValue(field, randomness, options, depth);
  if (field instanceof protobuf.MapField) {
    const entries = Array.from(
      { length: randomIndex(randomness, 4) },
      () => [randomText(randomness), value()] as const,
    );
    properties[field.name] = Object.fromEntries(entries);
  } else if (field.repeated) {
    properties[field.name] = Array.from({ length: randomIndex(randomness, 4) }, value);
  } else {
    properties[field.name] = value();
  }
}

function randomValue(
  field: protobuf.Field,
  randomness: Randomness,
  options: RandomMessageOptions,
  depth: number,
): unknown {
  const resolved = field.resolvedType;
  if (resolved instanceof protobuf.Type) return randomMessage(resolved, randomness, options, depth + 1);
  if (resolved instanceof protobuf.Enum) {
    // Enums are open: a newer peer sends numbers that we have no name for.
    return randomness.fraction() < 0.1 ? 987_654 : pick(Object.values(resolved.values), randomness);
  }
  switch (field.type) {
    case "bool":
      return randomness.fraction() < 0.5;
    case "string":
      return randomText(randomness);
    case "bytes":
      return randomness.bytes(randomIndex(randomness, 40));
    case "float":
      return Math.fround(randomness.fraction() * 1000 - 500);
    case "double":
      return randomness.fraction() * 1e9 - 5e8;
    case "uint32":
    case "fixed32":
      return randomness.fraction() < 0.3 ? Math.abs(pick(numbers32, randomness)) : randomness.uint32();
    case "int32":
    case "sint32":
    case "sfixed32":
      return randomness.fraction() < 0.5 ? pick(numbers32, randomness) : randomness.uint32() | 0;
    case "uint64":
    case "fixed64":
      return Math.abs(randomNumber64(randomness));
    case "int64":
    case "sint64":
    case "sfixed64":
      return randomNumber64(randomness);
    default:
      throw new Error(`no random values for type ${field.type} of ${field.fullName}`);
  }
}

function randomNumber64(randomness: Randomness): number {
  if (randomness.fraction() < 0.5) return pick(numbers64, randomness);
  return Math.floor((randomness.fraction() - 0.5) * 2 ** randomIndex(randomness, 54));
}

function randomText(randomness: Randomness): string {
  if (randomness.fraction() < 0.4) return pick(texts, randomness);
  return Array.from({ length: randomIndex(randomness, 24) }, () =>
    String.fromCodePoint(0x20 + randomIndex(randomness, 0x5f)),
  ).join("");
}

export function pick<Value>(values: readonly Value[], randomness: Randomness): Value {
  const value = values[randomIndex(randomness, values.length)];
  if (value === undefined) throw new Error("nothing to pick from");
  return value;
}
