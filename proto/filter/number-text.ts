/**
 * Numbers in the values of properties, read as RocketMQ reads them: a text either is a number of the type that the constant
 * has, or the evaluation fails. All of it works on the stored bytes, and nothing is allocated but for decimals with many
 * digits. What was read is in the fields of `read`.
 */
export const read = {
  /** Of `readInt32` and `readDouble`. */
  value: new Float64Array(1),
  /** Of `readInt64`: hi * 10^9 + lo, both with the sign of the number. */
  hi: 0,
  lo: 0,
};

const int32Max = 2_147_483_647;
/** 2^63 - 1 is 9 223 372 036 854 775 807. */
const int64MaxHi = 9_223_372_036;
const int64MaxLo = 854_775_807;
const loLimit = 1_000_000_000;

/** A sign or none, and digits; from -2^31 to 2^31 - 1. No blanks. */
export function readInt32(bytes: Buffer, start: number, end: number): boolean {
  const isNegative = bytes[start] === minus;
  let at = start + (isNegative || bytes[start] === plus ? 1 : 0);
  if (at >= end) return false;
  let value = 0;
  for (; at < end; at++) {
    const digit = bytes[at]! - zero;
    if (digit < 0 || digit > 9) return false;
    value = value * 10 + digit;
    if (value > int32Max + 1) return false;
  }
  if (value > int32Max && !isNegative) return false;
  read.value[0] = isNegative ? -value : value;
  return true;
}

/** As `readInt32`, from -2^63 to 2^63 - 1. */
export function readInt64(bytes: Buffer, start: number, end: number): boolean {
  const isNegative = bytes[start] === minus;
  let at = start + (isNegative || bytes[start] === plus ? 1 : 0);
  if (at >= end) return false;
  let hi = 0;
  let lo = 0;
  for (; at < end; at++) {
    const digit = bytes[at]! - zero;
    if (digit < 0 || digit > 9) return false;
    const shifted = lo * 10 + digit;
    const carry = Math.floor(shifted / loLimit);
    hi = hi * 10 + carry;
    lo = shifted - carry * loLimit;
    if (hi > int64MaxHi) return false;
  }
  if (hi === int64MaxHi && lo > int64MaxLo + (isNegative ? 1 : 0)) return false;
  read.hi = isNegative ? -hi : hi;
  read.lo = isNegative ? -lo : lo;
  return true;
}

/** The halves of a constant, as `readInt64` leaves them. */
export function halvesOf(integer: bigint): { hi: number; lo: number } {
  return { hi: Number(integer / BigInt(loLimit)), lo: Number(integer % BigInt(loLimit)) };
}

/** 10^n is exact in a double up to n = 22. */
const powers = Float64Array.from({ length: 23 }, (_, n) => Number(`1e${n}`));
/** So many digits are exact in a double. */
const exactDigits = 15;

/**
 * A decimal number as Java reads a double: blanks around it are dropped; a sign, digits with a point, an exponent, and a last
 * letter f or d; NaN; Infinity. Hexadecimal ones are refused.
 */
export function readDouble(bytes: Buffer, from: number, to: number): boolean {
  let start = from;
  let end = to;
  while (start < end && bytes[start]! <= blank) start++;
  while (end > start && bytes[end - 1]! <= blank) end--;
  const isNegative = bytes[start] === minus;
  const at = start + (start < end && (isNegative || bytes[start] === plus) ? 1 : 0);
  if (isWord(bytes, at, end, infinity))
    read.value[0] = isNegative ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  else if (isWord(bytes, at, end, notANumber)) read.value[0] = Number.NaN;
  else return readDecimal(bytes, start, at, end, isNegative);
  return true;
}

function readDecimal(bytes: Buffer, start: number, from: number, to: number, isNegative: boolean): boolean {
  let end = to;
  const last = bytes[end - 1]! | 0x20;
  if (end > from && (last === letterF || last === letterD)) end--;
  let at = from;
  let mantissa = 0;
  let digits = 0;
  let isAny = false;
  let scale = 0;
  let isBehindPoint = false;
  for (; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === dot && !isBehindPoint) {
      isBehindPoint = true;
      continue;
    }
    const digit = byte - zero;
    if (digit < 0 || digit > 9) break;
    isAny = true;
    if (isBehindPoint) scale--;
    if (digits > 0 || digit > 0) digits++;
    if (digits <= exactDigits) mantissa = mantissa * 10 + digit;
  }
  if (!isAny) return false;
  if (at < end) {
    const exponent = readExponent(bytes, at, end);
    if (Number.isNaN(exponent)) return false;
    scale += exponent;
  }
  let value: number;
  if (mantissa === 0) value = 0;
  else if (digits <= exactDigits && scale >= -22 && scale <= 22) {
    value = scale < 0 ? mantissa / powers[-scale]! : mantissa * powers[scale]!;
  } else {
    // The grammar was checked: digits, one point, one exponent.
    value = Math.abs(Number(bytes.toString("latin1", start, end)));
  }
  read.value[0] = isNegative ? -value : value;
  return true;
}

/** From its letter e; NaN when it is none. Far beyond what a double holds it is cut. */
function readExponent(bytes: Buffer, from: number, end: number): number {
  if ((bytes[from]! | 0x20) !== letterE) return Number.NaN;
  const sign = bytes[from + 1];
  let at = from + (from + 1 < end && (sign === minus || sign === plus) ? 2 : 1);
  if (at >= end) return Number.NaN;
  let exponent = 0;
  for (; at < end; at++) {
    const digit = bytes[at]! - zero;
    if (digit < 0 || digit > 9) return Number.NaN;
    exponent = Math.min(exponent * 10 + digit, 1_000_000);
  }
  return sign === minus ? -exponent : exponent;
}

function isWord(bytes: Buffer, start: number, end: number, word: Uint8Array): boolean {
  if (end - start !== word.length) return false;
  for (let i = 0; i < word.length; i++) {
    if (bytes[start + i] !== word[i]) return false;
  }
  return true;
}

/**
 * The order of doubles in Java: -0 is below 0, NaN above all and equal to itself. Otherwise `NaN > 5` would be false here and
 * true there.
 */
export function compareDoubles(a: number, b: number): number {
  if (a < b) return -1;
  if (a > b) return 1;
  if (a === b) return a !== 0 ? 0 : Number(Object.is(b, -0)) - Number(Object.is(a, -0));
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}

const infinity = new TextEncoder().encode("Infinity");
const notANumber = new TextEncoder().encode("NaN");
const blank = 0x20;
const plus = 0x2b;
const minus = 0x2d;
const dot = 0x2e;
const zero = 0x30;
const letterD = 0x64;
const letterE = 0x65;
const letterF = 0x66;
