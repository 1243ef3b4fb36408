import { malformed } from "./wire.ts";

/**
 * Text in messages: strict UTF-8 both ways, without allocation unless a string is wanted. Most of what passes is short
 * ASCII, for which loops in JavaScript are quicker than calls into the engine.
 */

/** Texts and runs up to this length are handled by loops here. */
const shortBytesMax = 64;

/** Throws when `bytes[start, end)` is not UTF-8. */
export function assertUtf8(bytes: Uint8Array, start: number, end: number): void {
  // Nearly everything is ASCII: look at four bytes with one branch.
  let at = start;
  for (const last = end - 4; at <= last; at += 4) {
    if ((bytes[at]! | bytes[at + 1]! | bytes[at + 2]! | bytes[at + 3]!) >= 0x80) break;
  }
  while (at < end && bytes[at]! < 0x80) at++;
  if (at < end && !isUtf8(bytes, at, end)) throw malformed("a string is not valid UTF-8");
}

/** RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
export function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const lead = bytes[at]!;
    if (lead < 0x80) {
      at++;
      continue;
    }
    let following = 0;
    let secondMin = 0x80;
    let secondMax = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) following = 1;
    else if (lead >= 0xe0 && lead <= 0xef) {
      following = 2;
      if (lead === 0xe0) secondMin = 0xa0;
      else if (lead === 0xed) secondMax = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      following = 3;
      if (lead === 0xf0) secondMin = 0x90;
      else if (lead === 0xf4) secondMax = 0x8f;
    } else return false;
    if (at + following >= end) return false;
    const second = bytes[at + 1]!;
    if (second < secondMin || second > secondMax) return false;
    for (let i = 2; i <= following; i++) {
      if ((bytes[at + i]! & 0xc0) !== 0x80) return false;
    }
    at += following + 1;
  }
  return true;
}

/** The string in `bytes[start, end)`, which was checked to be UTF-8. */
export function readText(bytes: Buffer, start: number, end: number): string {
  if (end <= start) return "";
  if (end - start > shortBytesMax) return bytes.toString("utf8", start, end);
  for (let at = start; at < end; at++) {
    if (bytes[at]! >= 0x80) return bytes.toString("utf8", start, end);
  }
  return bytes.toString("latin1", start, end);
}

/** UTF-8 length of a string, in bytes. */
export function textBytes(text: string): number {
  if (text.length > shortBytesMax) return Buffer.byteLength(text);
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) >= 0x80) return Buffer.byteLength(text);
  }
  return text.length;
}

/** Writes the UTF-8 of a string; the caller has made `textBytes` of room. Lone surrogates become U+FFFD. */
export function writeText(into: Buffer, at: number, text: string): number {
  if (text.length > shortBytesMax) return at + into.write(text, at);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) return at + into.write(text, at);
    into[at + i] = unit;
  }
  return at + text.length;
}

/** Copies `from[start, end)`; quicker than a native copy when it is short, and without a view. */
export function copyBytes(from: Buffer, start: number, end: number, into: Buffer, at: number): number {
  if (end - start > shortBytesMax) {
    from.copy(into, at, start, end);
    return at + end - start;
  }
  for (let i = start; i < end; i++) into[at++] = from[i]!;
  return at;
}

/** Slots of `cachedText`, a power of two: topics, groups, hosts, lanes and filters that one process meets again and again. */
const cacheSlots = 2048;
const cache: string[] = new Array<string>(cacheSlots).fill("");

/**
 * As `readText`, for texts that come again and again: the same string each time, without allocation, and with its hash
 * already computed for the Map it is looked up in. A rare text merely takes the slot of another.
 */
export function cachedText(bytes: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length <= 0) return "";
  if (length > shortBytesMax) return readText(bytes, start, end);
  let hash = 0x811c9dc5 ^ length;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  const slot = (hash ^ (hash >>> 15)) & (cacheSlots - 1);
  const known = cache[slot]!;
  if (known.length === length) {
    // Only ASCII compares equal: a text with longer characters has fewer characters than bytes.
    let i = 0;
    while (i < length && known.charCodeAt(i) === bytes[start + i]!) i++;
    if (i === length) return known;
  }
  const text = readText(bytes, start, end);
  cache[slot] = text;
  return text;
}
