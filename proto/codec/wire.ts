import { Code } from "../code.ts";
import { MeshError } from "../runtime/mesh-error.ts";

/**
 * The protobuf wire format at its lowest: reads and writes of single values at an offset, for the hand-written codecs of
 * the hot messages. Nothing here allocates. A read takes `bytes[at, end)`, returns the value and leaves in `next` the
 * offset behind it; a write returns the offset behind what it wrote. A function that reads a message to its end leaves
 * `next` there.
 *
 * Stricter than the general codec about what is never sent by an honest peer: groups, varints longer than ten bytes.
 */

/** Offset behind the last value that was read. One reader at a time: read it before anything else is called. */
export let next = 0;

export const WireType = { Varint: 0, Fixed64: 1, Bytes: 2, Fixed32: 5 } as const;

const two32 = 4294967296;

/** The bytes are no message of this type. `what` completes "the message is malformed: ...". */
export function malformed(what: string): MeshError {
  return new MeshError(
    Code.BadRequest,
    `the message is malformed: ${what}; was it encoded with the schema of this service?`,
  );
}

/** A request holds more parts than are taken at once. */
export function tooMany(what: string, count: number, limit: number): MeshError {
  return malformed(`it holds ${count} ${what}, at most ${limit} are taken`);
}

/** Fields that one request may have, parts included: 128 messages of 128 properties are some 50 000. */
export const tagsMax = 65_536;
let tagsLeft = 0;

/**
 * Begins a request: the reads that follow, until the next call, may meet `tagsMax` fields together. It bounds the time
 * that a message of tiny fields can take.
 */
export function beginReading(): void {
  tagsLeft = tagsMax;
}

/** Field number and wire type, as `number << 3 | type`, unsigned. */
export function readTag(bytes: Uint8Array, at: number, end: number): number {
  if (--tagsLeft < 0) throw malformed(`it has more than ${tagsMax} fields`);
  return readTagAgain(bytes, at, end);
}

/** As `readTag`, for bytes that were read before. */
export function readTagAgain(bytes: Uint8Array, at: number, end: number): number {
  if (at < end) {
    const first = bytes[at]!;
    if (first < 0x80) {
      if (first < 8) throw malformed("a field has number 0");
      next = at + 1;
      return first;
    }
  }
  return readLongTag(bytes, at, end);
}

function readLongTag(bytes: Uint8Array, at: number, end: number): number {
  let tag = 0;
  for (let shift = 0; shift <= 28; shift += 7, at++) {
    if (at >= end) throw malformed("it ends inside a field tag");
    const byte = bytes[at]!;
    if (shift === 28 && byte > 0x0f) throw malformed("a field tag is longer than 32 bits");
    tag |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (tag >>> 3 === 0) throw malformed("a field has number 0");
      next = at + 1;
      return tag >>> 0;
    }
  }
  throw malformed("a field tag is longer than 32 bits");
}

/** A value with a length in front (text, bytes, a message): returns where its content begins; it ends at `next`. */
export function readRange(bytes: Uint8Array, at: number, end: number): number {
  let length = 0;
  if (at < end && bytes[at]! < 0x80) {
    length = bytes[at]!;
    next = at + 1;
  } else {
    length = readLongLength(bytes, at, end);
  }
  const start = next;
  if (length > end - start) throw malformed(`a field claims ${length} bytes, ${end - start} are left`);
  next = start + length;
  return start;
}

function readLongLength(bytes: Uint8Array, at: number, end: number): number {
  let length = 0;
  for (let shift = 0; shift <= 28; shift += 7, at++) {
    if (at >= end) throw malformed("it ends inside a length");
    const byte = bytes[at]!;
    if (shift === 28 && byte > 0x07) throw malformed("a length is negative or longer than 31 bits");
    length |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      next = at + 1;
      return length;
    }
  }
  throw malformed("a length is longer than 31 bits");
}

/** Upper half of the varint that `readHalves` read; the lower half is its result. */
let upper = 0;

function readHalves(bytes: Uint8Array, at: number, end: number): number {
  let lower = 0;
  upper = 0;
  for (let i = 0; i < 10; i++, at++) {
    if (at >= end) throw malformed("it ends inside a number");
    const byte = bytes[at]!;
    const bits = byte & 0x7f;
    if (i < 4) lower |= bits << (7 * i);
    else if (i === 4) {
      lower |= bits << 28;
      upper = bits >>> 4;
    } else upper |= bits << (7 * i - 32);
    if (byte < 0x80) {
      next = at + 1;
      upper >>>= 0;
      return lower >>> 0;
    }
  }
  throw malformed("a number is longer than 10 bytes");
}

/** uint32: the lower 32 bits. */
export function readUint32(bytes: Uint8Array, at: number, end: number): number {
  if (at < end && bytes[at]! < 0x80) {
    next = at + 1;
    return bytes[at]!;
  }
  return readHalves(bytes, at, end);
}

/** int32 and enums: the lower 32 bits, signed. */
export function readInt32(bytes: Uint8Array, at: number, end: number): number {
  return readUint32(bytes, at, end) | 0;
}

/** uint64, exact up to 2^53, the nearest double above. */
export function readUint64(bytes: Uint8Array, at: number, end: number): number {
  if (at < end && bytes[at]! < 0x80) {
    next = at + 1;
    return bytes[at]!;
  }
  const lower = readHalves(bytes, at, end);
  return upper * two32 + lower;
}

/** int64, exact between -2^53 and 2^53, the nearest double beyond. */
export function readInt64(bytes: Uint8Array, at: number, end: number): number {
  if (at < end && bytes[at]! < 0x80) {
    next = at + 1;
    return bytes[at]!;
  }
  const lower = readHalves(bytes, at, end);
  if (upper < 0x80000000) return upper * two32 + lower;
  // Two's complement: negate both halves before they become one double, so that it is rounded only once.
  const negatedLower = (~lower + 1) >>> 0;
  const negatedUpper = (negatedLower === 0 ? ~upper + 1 : ~upper) >>> 0;
  return -(negatedUpper * two32 + negatedLower);
}

/** True when any bit is set. */
export function readBool(bytes: Uint8Array, at: number, end: number): boolean {
  let any = 0;
  for (let i = 0; i < 10; i++, at++) {
    if (at >= end) throw malformed("it ends inside a number");
    const byte = bytes[at]!;
    any |= byte & 0x7f;
    if (byte < 0x80) {
      next = at + 1;
      return any !== 0;
    }
  }
  throw malformed("a number is longer than 10 bytes");
}

/** Steps over the value of a field that is not of interest: unknown, or of a wire type that does not fit. */
export function skipValue(bytes: Uint8Array, at: number, end: number, tag: number): void {
  switch (tag & 7) {
    case WireType.Varint:
      skipVarint(bytes, at, end);
      return;
    case WireType.Fixed64:
      skipFixed(at + 8, end);
      return;
    case WireType.Bytes:
      readRange(bytes, at, end);
      return;
    case WireType.Fixed32:
      skipFixed(at + 4, end);
      return;
    default:
      throw malformed(`field ${tag >>> 3} is a group or of an unknown wire type`);
  }
}

function skipVarint(bytes: Uint8Array, at: number, end: number): void {
  const last = Math.min(end, at + 10);
  while (at < last) {
    if (bytes[at++]! < 0x80) {
      next = at;
      return;
    }
  }
  throw malformed("it ends inside a number, or the number is longer than 10 bytes");
}

function skipFixed(at: number, end: number): void {
  if (at > end) throw malformed("it ends inside a number of fixed size");
  next = at;
}

/** In bytes that were read before: where the value of the next field with this tag begins, or -1. */
export function seekAgain(bytes: Uint8Array, start: number, end: number, wanted: number): number {
  for (let at = start; at < end; at = next) {
    const tag = readTagAgain(bytes, at, end);
    if (tag === wanted) return next;
    skipValue(bytes, next, end, tag);
  }
  return -1;
}

// ---- Writing. The caller has made room: at most 10 bytes for a number, 5 for a tag or a length. ----

export function writeByte(into: Uint8Array, at: number, byte: number): number {
  into[at] = byte;
  return at + 1;
}

/** Unsigned, below 2^53. Also lengths and tags. */
export function writeVarint(into: Uint8Array, at: number, value: number): number {
  while (value >= two32) {
    into[at++] = (value % 128) | 0x80;
    value = Math.floor(value / 128);
  }
  let bits = value >>> 0;
  while (bits > 0x7f) {
    into[at++] = (bits & 0x7f) | 0x80;
    bits >>>= 7;
  }
  into[at] = bits;
  return at + 1;
}

/** Bytes that `writeVarint` takes. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  if (value < 0x10000000) return 4;
  let count = 5;
  for (let rest = Math.floor(value / 0x800000000); rest > 0; rest = Math.floor(rest / 128)) count++;
  return count;
}

/** int32 and enums, also negative ones (ten bytes then). */
export function writeInt32(into: Uint8Array, at: number, value: number): number {
  if (value >= 0) return writeVarint(into, at, value);
  let bits = value;
  for (let i = 0; i < 4; i++) {
    into[at++] = (bits & 0x7f) | 0x80;
    bits >>= 7;
  }
  into[at++] = (bits & 0x7f) | 0x80;
  for (let i = 0; i < 4; i++) into[at++] = 0xff;
  into[at] = 0x01;
  return at + 1;
}
