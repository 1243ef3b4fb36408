import type { Code } from "../code.ts";
import {
  fieldHeadBytesMax,
  numberFieldBytes,
  numberFieldBytesMax,
  readCachedText,
  textFieldBytes,
  textFieldBytesMax,
  writeFieldHead,
  writeNumberField,
  writeTextElement,
  writeTextField,
} from "./field.ts";
import { beginReading, next, readRange, readTag, readUint32, seekAgain, skipValue, tooMany, WireType } from "./wire.ts";

/** AckRequest, and the results that answer acks and changes; the rules of use are in frame-body.ts. */

/** Receipts in one AckRequest or ChangeRequest, and results in their answers. */
export const receiptsMax = 1024;

const emptyBuffer = Buffer.alloc(0);

export function ackRequestBytesMax(receipts: readonly string[]): number {
  let bytes = numberFieldBytesMax;
  for (let i = 0; i < receipts.length; i++) bytes += textFieldBytesMax(receipts[i]!);
  return bytes;
}

export function writeAckRequest(into: Buffer, at: number, groupId: number, receipts: readonly string[]): number {
  at = writeNumberField(into, at, 1, groupId);
  for (let i = 0; i < receipts.length; i++) at = writeTextElement(into, at, 2, receipts[i]!);
  return at;
}

export class AckRequestReader {
  groupId = 0;
  receiptCount = 0;
  /** The receipt at the cursor. */
  receiptStart = 0;
  receiptEnd = 0;
  #bytes: Buffer = emptyBuffer;
  #cursor = 0;
  #end = 0;

  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.groupId = 0;
    this.receiptCount = 0;
    this.#bytes = bytes;
    this.#cursor = start;
    this.#end = end;
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Varint:
          this.groupId = readUint32(bytes, next, end);
          break;
        case (2 << 3) | WireType.Bytes:
          readRange(bytes, next, end);
          this.receiptCount++;
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
    }
    if (this.receiptCount > receiptsMax) throw tooMany("receipts", this.receiptCount, receiptsMax);
  }

  /** Moves to the first, then to the next receipt; false behind the last. */
  nextReceipt(): boolean {
    const at = seekAgain(this.#bytes, this.#cursor, this.#end, (2 << 3) | WireType.Bytes);
    if (at < 0) return false;
    this.receiptStart = readRange(this.#bytes, at, this.#end);
    this.receiptEnd = next;
    this.#cursor = next;
    return true;
  }
}

/** Of one result in an AckAnswer, or in a ChangeAnswer with its new receipt ("" in an AckAnswer). */
export function resultBytesMax(message: string, receipt: string): number {
  return fieldHeadBytesMax + numberFieldBytesMax + textFieldBytesMax(message) + textFieldBytesMax(receipt);
}

/** Appends one result to the body of an AckAnswer. */
export function writeAckResult(into: Buffer, at: number, code: Code, message: string): number {
  return writeChangeResult(into, at, code, message, "");
}

/** Appends one result to the body of a ChangeAnswer; `receipt` is the one that is valid from now on. */
export function writeChangeResult(into: Buffer, at: number, code: Code, message: string, receipt: string): number {
  at = writeFieldHead(into, at, 1, numberFieldBytes(code) + textFieldBytes(message) + textFieldBytes(receipt));
  at = writeNumberField(into, at, 1, code);
  at = writeTextField(into, at, 2, message);
  return writeTextField(into, at, 3, receipt);
}

/** Reads an AckAnswer or a ChangeAnswer; the fields of the result at the cursor are set by `nextResult`. */
export class ResultsReader {
  resultCount = 0;
  /** As sent: a number, which a newer peer may have taken from a newer API. */
  code = 0;
  message = "";
  /** Of a ChangeAnswer. */
  receiptStart = 0;
  receiptEnd = 0;
  #bytes: Buffer = emptyBuffer;
  #cursor = 0;
  #end = 0;

  read(bytes: Buffer, start: number, end: number): void {
    beginReading();
    this.resultCount = 0;
    this.#bytes = bytes;
    this.#cursor = start;
    this.#end = end;
    let at = start;
    while (at < end) {
      const tag = readTag(bytes, at, end);
      if (tag === ((1 << 3) | WireType.Bytes)) {
        const from = readRange(bytes, next, end);
        at = next;
        this.resultCount++;
        this.#readResult(bytes, from, at);
      } else {
        skipValue(bytes, next, end, tag);
        at = next;
      }
    }
    if (this.resultCount > receiptsMax) throw tooMany("results", this.resultCount, receiptsMax);
  }

  /** Moves to the first, then to the next result; false behind the last. */
  nextResult(): boolean {
    const at = seekAgain(this.#bytes, this.#cursor, this.#end, (1 << 3) | WireType.Bytes);
    if (at < 0) return false;
    const from = readRange(this.#bytes, at, this.#end);
    this.#cursor = next;
    beginReading();
    this.#readResult(this.#bytes, from, next);
    return true;
  }

  #readResult(bytes: Buffer, start: number, end: number): void {
    this.code = 0;
    this.message = "";
    this.receiptStart = start;
    this.receiptEnd = start;
    for (let at = start; at < end; at = next) {
      const tag = readTag(bytes, at, end);
      switch (tag) {
        case (1 << 3) | WireType.Varint:
          this.code = readUint32(bytes, next, end);
          break;
        case (2 << 3) | WireType.Bytes:
          this.message = readCachedText(bytes, next, end);
          break;
        case (3 << 3) | WireType.Bytes:
          this.receiptStart = readRange(bytes, next, end);
          this.receiptEnd = next;
          break;
        default:
          skipValue(bytes, next, end, tag);
      }
    }
  }
}
