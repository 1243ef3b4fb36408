import protobuf from "protobufjs";
import { type Randomness, randomIndex } from "../../proto/runtime/randomness.ts";
import { type Properties, pick, randomMessage } from "./random-message.ts";

/** What a variant may do that an ordinary encoder does not; all of it is allowed by the protobuf rules. */
export interface VariantOptions {
  /** Sub-messages in two pieces, which a reader has to merge. */
  readonly pieces: boolean;
}

/**
 * One of the many ways in which a message may be written: fields in any order, scalars that were written before with
 * another value, unknown fields in between, numbers and lengths longer than needed, repeated numbers packed or not.
 */
export function encodeVariant(
  type: protobuf.Type,
  properties: Properties,
  randomness: Randomness,
  options: VariantOptions,
): Buffer {
  return Buffer.concat(parts(type, properties, randomness, options));
}

/** The fields of a message, each whole, in an order in which they mean `properties`. */
function parts(type: protobuf.Type, properties: Properties, randomness: Randomness, options: VariantOptions): Buffer[] {
  // Parts of one field stay in order; fields of one oneof are not written twice.
  const sequences: Buffer[][] = [];
  for (const field of type.fieldsArray) {
    const value = properties[field.name];
    if (value === undefined || value === null) continue;
    sequences.push(fieldParts(field, value, randomness, options));
  }
  while (randomness.fraction() < 0.3) sequences.push([unknownField(type, randomness)]);
  return shuffled(sequences, randomness);
}

function fieldParts(field: protobuf.Field, value: unknown, randomness: Randomness, options: VariantOptions): Buffer[] {
  if (field instanceof protobuf.MapField) {
    return Object.entries(value as Properties).map(([key, entry]) =>
      withLength(field.id, Buffer.concat(entryParts(field, key, entry, randomness, options)), randomness),
    );
  }
  if (field.repeated) {
    const values = value as unknown[];
    if (isNumber(field) && randomness.fraction() < 0.5) {
      const content = Buffer.concat(values.map((element) => scalar(field, element, randomness).value));
      return [withLength(field.id, content, randomness)];
    }
    return values.flatMap((element) => single(field, element, randomness, options, false));
  }
  const result = single(field, value, randomness, options, options.pieces);
  const isSafeTwice = !(field.resolvedType instanceof protobuf.Type) && (field.partOf?.isProto3Optional ?? true);
  if (isSafeTwice && randomness.fraction() < 0.2) {
    const holder = randomMessage(new protobuf.Type("Earlier").add(copyOf(field)), randomness);
    const earlier = holder[field.name];
    // Unset in the random message: nothing to overwrite.
    if (earlier !== undefined) result.unshift(...single(field, earlier, randomness, options, false));
  }
  return result;
}

function isNumber(field: protobuf.Field): boolean {
  return !(field.resolvedType instanceof protobuf.Type) && field.type !== "string" && field.type !== "bytes";
}

function copyOf(field: protobuf.Field): protobuf.Field {
  const copy = new protobuf.Field(
    field.name,
    field.id,
    field.resolvedType instanceof protobuf.Enum ? "int32" : field.type,
  );
  copy.resolve();
  return copy;
}

/** One value of a field; a message in two pieces where it may be. An element of a repeated field may not: it would be two. */
function single(
  field: protobuf.Field,
  value: unknown,
  randomness: Randomness,
  options: VariantOptions,
  mayBeInPieces: boolean,
): Buffer[] {
  const inner = field.resolvedType;
  if (!(inner instanceof protobuf.Type)) {
    const { wireType, value: bytes } = scalar(field, value, randomness);
    return [Buffer.concat([tag(field.id, wireType, randomness), bytes])];
  }
  const content = parts(inner, value as Properties, randomness, options);
  if (!mayBeInPieces || randomness.fraction() < 0.5) return [withLength(field.id, Buffer.concat(content), randomness)];
  const cut = randomIndex(randomness, content.length + 1);
  return [content.slice(0, cut), content.slice(cut)].map((piece) =>
    withLength(field.id, Buffer.concat(piece), randomness),
  );
}

function entryParts(
  field: protobuf.MapField,
  key: string,
  value: unknown,
  randomness: Randomness,
  options: VariantOptions,
): Buffer[] {
  const keyPart = withLength(1, Buffer.from(key), randomness);
  const valueField = new protobuf.Field("value", 2, field.type);
  valueField.resolvedType = field.resolvedType;
  const valueParts = single(valueField, value, randomness, options, false);
  if (key === "" && randomness.fraction() < 0.5) return valueParts;
  return shuffled([[keyPart], valueParts], randomness);
}

function scalar(field: protobuf.Field, value: unknown, randomness: Randomness): { wireType: number; value: Buffer } {
  switch (field.type) {
    case "string":
      return { wireType: 2, value: lengthAnd(Buffer.from(value as string), randomness) };
    case "bytes":
      return { wireType: 2, value: lengthAnd(Buffer.from(value as Uint8Array), randomness) };
    case "float": {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(value as number);
      return { wireType: 5, value: bytes };
    }
    case "double": {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(value as number);
      return { wireType: 1, value: bytes };
    }
    case "fixed64": {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(BigInt(value as number));
      return { wireType: 1, value: bytes };
    }
    case "bool":
      return { wireType: 0, value: varint(value === true ? 1n : 0n, randomness, 10) };
    default:
      // int32, int64, uint32, uint64 and enums; negative ones as 64-bit two's complement.
      return { wireType: 0, value: varint(BigInt.asUintN(64, BigInt(value as number)), randomness, 10) };
  }
}

/** A field that the type does not have. */
function unknownField(type: protobuf.Type, randomness: Randomness): Buffer {
  let id = pick([23, 40, 99, 1000, 20_000, 536_870_911], randomness);
  while (type.fieldsById[id] !== undefined) id++;
  switch (pick([0, 1, 2, 5], randomness)) {
    case 0:
      return Buffer.concat([tag(id, 0, randomness), varint(BigInt(randomness.uint32()), randomness, 10)]);
    case 1:
      return Buffer.concat([tag(id, 1, randomness), randomness.bytes(8)]);
    case 5:
      return Buffer.concat([tag(id, 5, randomness), randomness.bytes(4)]);
    default:
      return withLength(id, randomness.bytes(randomIndex(randomness, 30)), randomness);
  }
}

function withLength(id: number, content: Buffer, randomness: Randomness): Buffer {
  return Buffer.concat([tag(id, 2, randomness), lengthAnd(content, randomness)]);
}

function lengthAnd(content: Buffer, randomness: Randomness): Buffer {
  return Buffer.concat([varint(BigInt(content.length), randomness, 5), content]);
}

function tag(id: number, wireType: number, randomness: Randomness): Buffer {
  return varint(BigInt(id) * 8n + BigInt(wireType), randomness, 5);
}

/** Now and then with more bytes than needed, up to `bytesMax`. */
export function varint(value: bigint, randomness: Randomness, bytesMax: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  } while (rest > 0n);
  while (bytes.length < bytesMax && randomness.fraction() < 0.05) bytes.push(0x80);
  bytes.push((bytes.pop() ?? 0) & 0x7f);
  return Buffer.from(bytes);
}

/** Interleaves the sequences at random; each keeps its own order. */
function shuffled(sequences: readonly (readonly Buffer[])[], randomness: Randomness): Buffer[] {
  const rest = sequences.filter((sequence) => sequence.length > 0).map((sequence) => [...sequence]);
  const result: Buffer[] = [];
  while (rest.length > 0) {
    const index = randomIndex(randomness, rest.length);
    const sequence = rest[index] ?? [];
    const part = sequence.shift();
    if (part !== undefined) result.push(part);
    if (sequence.length === 0) rest.splice(index, 1);
  }
  return result;
}
