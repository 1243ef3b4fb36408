import type { Code } from "../code.ts";
import { assertUtf8, cachedText, readText, textBytes, writeText } from "./text.ts";
import { next, readRange, varintBytes, WireType, writeVarint } from "./wire.ts";

/**
 * Whole fields of proto3 messages: a number 0 and a text "" are left out. Field numbers here are below 16, so that a tag
 * is one byte. `…Bytes` is the exact size of what the writer of that name writes.
 */

/** Most bytes of a field that is a number. */
export const numberFieldBytesMax = 1 + 10;
/** Most bytes in front of the content of a field that is text, bytes or a message. */
export const fieldHeadBytesMax = 1 + 5;

/** Unsigned, below 2^53. */
export function numberFieldBytes(value: number): number {
  return value === 0 ? 0 : 1 + varintBytes(value);
}

export function writeNumberField(into: Buffer, at: number, field: number, value: number): number {
  if (value === 0) return at;
  into[at] = field << 3;
  return writeVarint(into, at + 1, value);
}

/** A quick upper bound: a UTF-16 unit takes at most three bytes. */
export function textFieldBytesMax(text: string): number {
  return fieldHeadBytesMax + 3 * text.length;
}

export function textFieldBytes(text: string): number {
  if (text === "") return 0;
  const bytes = textBytes(text);
  return 1 + varintBytes(bytes) + bytes;
}

export function writeTextField(into: Buffer, at: number, field: number, text: string): number {
  return text === "" ? at : writeTextElement(into, at, field, text);
}

/** As an element of a repeated field, which is written also when it is empty. */
export function writeTextElement(into: Buffer, at: number, field: number, text: string): number {
  at = writeFieldHead(into, at, field, textBytes(text));
  return writeText(into, at, text);
}

/** Tag and length of a field whose content the caller writes. */
export function writeFieldHead(into: Buffer, at: number, field: number, contentBytes: number): number {
  into[at] = (field << 3) | WireType.Bytes;
  return writeVarint(into, at + 1, contentBytes);
}

/** Size of a field with `contentBytes` of content. */
export function fieldBytes(contentBytes: number): number {
  return 1 + varintBytes(contentBytes) + contentBytes;
}

/** Content of an `apache.rocketmq.v2.Status`. */
export function statusBytes(code: Code, message: string): number {
  return numberFieldBytes(code) + textFieldBytes(message);
}

/** Nearly every answer of the API begins with its Status in field 1. */
export function writeStatusField(into: Buffer, at: number, field: number, code: Code, message: string): number {
  at = writeFieldHead(into, at, field, statusBytes(code, message));
  at = writeNumberField(into, at, 1, code);
  return writeTextField(into, at, 2, message);
}

/** Reads a text that comes again and again: names, hosts, lanes. Leaves `next` behind it. */
export function readCachedText(bytes: Buffer, at: number, end: number): string {
  const start = readRange(bytes, at, end);
  assertUtf8(bytes, start, next);
  return cachedText(bytes, start, next);
}

/** Reads a text that is different each time: ids, handles. Leaves `next` behind it. */
export function readFreshText(bytes: Buffer, at: number, end: number): string {
  const start = readRange(bytes, at, end);
  assertUtf8(bytes, start, next);
  return readText(bytes, start, next);
}

/** A range that is UTF-8; it ends at `next`. */
export function readTextRange(bytes: Buffer, at: number, end: number): number {
  const start = readRange(bytes, at, end);
  assertUtf8(bytes, start, next);
  return start;
}
